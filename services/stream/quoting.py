"""Names of files within SQL, where DuckDB takes no parameter."""

from pathlib import Path


def quoted(path: Path) -> str:
    """`path` as it stands between the quotes of a SQL string."""
    return str(path).replace("'", "''")

"""One transaction of a DuckDB connection."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit at the end what is done within, or nothing of it where anything fails, the COMMIT included."""
    con.execute("BEGIN")
    try:
        yield
        con.execute("COMMIT")
    except BaseException:
        with suppress(
            duckdb.Error
        ):  # a COMMIT that failed has ended the transaction: its reason is what counts
            con.execute("ROLLBACK")
        raise

"""Files of earlier layouts, kept as SQL scripts of their tables that are not derived.

Before a layout changes, the one that ends is written down:

    week12 compute tests/old_layouts/events.jsonl --as-of 2025-01-15 --out old
    python tests/layouts.py old/outcomes.duckdb > tests/old_layouts/outcomes_2.sql
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb

from services.outcomes.definition import OUTCOMES
from services.safety.definition import SAFETY
from services.stream.definition import StoreDefinition
from services.stream.store import EventStore

FOLDER = Path(__file__).parent / "old_layouts"
EVENTS = FOLDER / "events.jsonl"
DEFINITIONS = {"outcomes": OUTCOMES, "safety": SAFETY}

COLUMNS = """
SELECT table_name, column_name, data_type FROM duckdb_columns()
WHERE database_name = 'store' AND schema_name = 'main' AND NOT internal
AND table_name IN (SELECT table_name FROM duckdb_tables() WHERE database_name = 'store')
ORDER BY ALL
"""

Column = tuple[str, str, str]


def not_derived(definition: StoreDefinition, folder: Path) -> list[Column]:
    """(table, column, type) of everything that a new store holds and no definition derives."""
    bare = replace(
        definition, macros="SELECT 1", parameters=lambda *_: None, steps=(), views=(), dated=(), histories=(),
        settled=(), on_change=(), on_redefinition=None,
    )  # fmt: skip
    store = EventStore(folder / f"bare_{definition.name}.duckdb", bare, [], today=date(2025, 1, 1))
    try:
        return store.execute(COLUMNS)  # type: ignore[return-value]
    finally:
        store.close()


def digest(columns: list[Column]) -> str:
    """Short for all of them."""
    return hashlib.sha256(repr(columns).encode()).hexdigest()[:16]


def dump(path: Path, folder: Path) -> str:
    """SQL that makes the tables of a store which are not derived, with their rows."""
    tables = dict.fromkeys(table for table, *_ in not_derived(DEFINITIONS[path.stem], folder))
    lines: list[str] = []
    with duckdb.connect(str(path), read_only=True) as con:
        for table in tables:
            for (creation,) in con.execute(
                "SELECT sql FROM duckdb_tables() WHERE table_name = ?", [table]
            ).fetchall():
                lines += [creation, *_rows(con, table)]
    return "\n".join(lines) + "\n"


def _rows(con: duckdb.DuckDBPyConnection, table: str) -> Iterator[str]:
    names = [f'"{row[0]}"' for row in con.execute(f"DESCRIBE {table}").fetchall()]
    texts = ", ".join(f"{name}::VARCHAR" for name in names)
    for row in con.execute(f"SELECT {texts} FROM {table} ORDER BY ALL").fetchall():
        given = {name: value for name, value in zip(names, row, strict=True) if value is not None}
        values = ", ".join("'" + value.replace("'", "''") + "'" for value in given.values())
        yield f"INSERT INTO {table} ({', '.join(given)}) VALUES ({values});"


def load(name: str, number: int, path: Path) -> None:
    """Make a store's file as that layout's script has it."""
    with duckdb.connect(str(path)) as con:
        con.execute((FOLDER / f"{name}_{number}.sql").read_text(encoding="utf-8"))
        con.execute(
            "DELETE FROM store_info WHERE name = 'fingerprint'"
        )  # of what is derived, and not in the script


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(dump(Path(sys.argv[1]), Path(scratch)), end="")

"""Tables of stores at rest, what they must equal, and what derived topics must say about them."""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from stores import OUTCOMES, SAFETY, open_store, select

from services.stream.files import compute_stores

STORES = {"outcomes": OUTCOMES, "safety": SAFETY}
TODAY = date(2025, 3, 1)
"""The study's data end in February 2025; every window of its cohort is closed then."""

Row = dict[str, Any]
Contents = dict[str, list[tuple[Any, ...]]]


def computed(folder: Path, values: Iterable[bytes], today: date = TODAY) -> dict[str, Contents]:
    """The tables that `week12 compute` makes of these events, by store."""
    folder.mkdir()
    file = folder / "events.jsonl"
    file.write_bytes(b"".join(value.replace(b"\n", b" ") + b"\n" for value in values))
    stores = {
        name: open_store(definition, today, folder / f"{name}.duckdb") for name, definition in STORES.items()
    }
    loaded = compute_stores([file], list(stores.values()))
    assert not loaded.rejects, loaded.rejects[:3]
    for store in stores.values():
        store.close()
    return {name: contents_of(store.path, name) for name, store in stores.items()}


def contents_of(path: Path, name: str) -> Contents:
    """Every compared table of a store at rest, as any DuckDB reads it, in a comparable order."""
    with duckdb.connect(str(path), read_only=True) as con:
        return {
            table: sorted(con.execute(select(table, left_out)).fetchall(), key=repr)
            for table, left_out in STORES[name].compared.items()
        }


def rows_of(path: Path, sql: str) -> list[Row]:
    """Rows of a query on a store at rest."""
    with duckdb.connect(str(path), read_only=True) as con:
        found = con.execute(sql)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def assert_topics_show_the_tables(folder: Path, outcomes: dict[str, Any], alerts: dict[str, Any]) -> None:
    """The newest value of every key says what the tables of the stopped services say, and nothing else."""
    of_patient: dict[str, list[Row]] = {}
    for row in rows_of(folder / "outcomes.duckdb", "FROM patient_outcomes"):
        of_patient.setdefault(row["patient_id"], []).append(row)
    assert outcomes.keys() == of_patient.keys()
    for patient_id, rows in of_patient.items():
        told = outcomes[patient_id]["outcomes"]
        assert _plain(told) == [
            _plain({name: row[name] for name in said})
            for said, row in zip(told, sorted(rows, key=_rank), strict=True)
        ]
    rows = rows_of(folder / "safety.duckdb", "FROM alerts")
    assert {key: _plain(alert) for key, alert in alerts.items()} == {
        row["alert_id"]: _plain(row) for row in rows
    }


def _rank(row: Row) -> tuple[str, ...]:
    return row["protocol"], row["timepoint"], row["endpoint"]


def _plain(value: Any) -> Any:
    """As JSON has it: numbers are floats, days and times text."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
    if isinstance(value, date):
        return str(value)
    return value

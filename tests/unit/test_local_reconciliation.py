"""The account of events: every record in one place, and the sums right. Expected counts are counted by hand."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from stores import OUTCOMES, SAFETY, Row, kafka_records, load, open_store

from schemas import EventType
from schemas.topics import EVENT_TOPICS
from services.local.reconciliation import DEAD, LOGGED, SENT, _logged, read_sent, reconcile
from services.query.stores import open_stores

LABS = EVENT_TOPICS[EventType.LAB]
TODAY = date(2024, 6, 30)
COMMON = {"site_id": "S01", "patient_id": "P1", "recorded_at": "2024-06-01T09:00:00Z"}
START = COMMON | {
    "event_type": "treatment",
    "event_id": "t1",
    "drug": "upadacitinib",
    "action": "start",
    "effective_on": "2024-01-01",
}
LAB = COMMON | {
    "event_type": "lab", "event_id": "l1", "collected_on": "2024-03-01", "analyte": "crp", "value": 12, "unit": "mg/L",
}  # fmt: skip
CORRECTED = LAB | {"version": 2, "value": 4, "recorded_at": "2024-06-02T09:00:00Z"}
WITHDRAWN = {
    name: START[name] for name in ("event_type", "site_id", "patient_id", "event_id")
} | {"version": 2, "retracted": True, "recorded_at": "2024-06-02T10:00:00Z"}  # fmt: skip
OTHER = LAB | {"site_id": "S02", "patient_id": "P2", "event_id": "l9"}
NOTHING = pa.Table.from_pylist([], pa.schema(SENT))

Log = list[dict[str, Any]]


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Both stores, which have read START, LAB, CORRECTED and WITHDRAWN, and in LABS up to offset 5."""
    folder = tmp_path_factory.mktemp("stores")
    paths = {}
    for definition in (OUTCOMES, SAFETY):
        paths[definition.name] = folder / f"{definition.name}.duckdb"
        store = open_store(definition, TODAY, paths[definition.name])
        load(store, [[START, LAB, CORRECTED, WITHDRAWN]])
        store.execute("INSERT OR REPLACE INTO store.offsets VALUES ($1, 0, 'id', 5)", [LABS])
        store.close()
    with open_stores(paths, "") as opened:
        yield opened


def log_of(*events: Row) -> Log:
    """Records of the log as ingest writes them, in order of offsets."""
    rows: Log = []
    for number, event in enumerate(events):
        ((record,),) = kafka_records([event]).values()
        headers = [("ce_time", event["recorded_at"].encode())]
        record = type("Record", (), {**vars(record), "headers": headers, "offset": number})()
        rows.append(_logged(record))
    return rows


def account(
    con: duckdb.DuckDBPyConnection, log: Log, dead: Sequence[Row] = (), sent: pa.Table = NOTHING
) -> dict[Any, Any]:
    """What is not 0, by centre and day."""
    accounts = reconcile(
        con,
        ("outcomes", "safety"),
        pa.Table.from_pylist(log, pa.schema(LOGGED)),
        pa.Table.from_pylist([*dead], pa.schema(DEAD)),
        sent,
    )
    for one in accounts:
        n = one.counts
        places = ("copies", "dead", "taken_back", "waiting", "missing", "applied")
        assert n["acknowledged"] == sum(n[place] for place in places)
        assert n["applied"] == n["current"] + n["superseded"] + n["retracted"]
    return {
        (a.site_id, a.day and a.day.day): {name: n for name, n in a.counts.items() if n} for a in accounts
    }


ALL = (START, LAB, CORRECTED, WITHDRAWN)


def test_versions_are_current_superseded_or_retracted(con: duckdb.DuckDBPyConnection) -> None:
    assert account(con, log_of(*ALL)) == {
        ("S01", 1): {"acknowledged": 2, "applied": 2, "superseded": 2},  # START was withdrawn, LAB corrected
        ("S01", 2): {"acknowledged": 2, "applied": 2, "current": 1, "retracted": 1},
    }


def test_a_copy_is_counted_as_one(con: duckdb.DuckDBPyConnection) -> None:
    found = account(con, log_of(*ALL, LAB, LAB))
    assert found["S01", 1] == {"acknowledged": 4, "copies": 2, "applied": 2, "superseded": 2}


def test_what_no_store_has_read_yet_waits_and_what_they_have_read_is_missing(
    con: duckdb.DuckDBPyConnection,
) -> None:
    (lost,), (late,) = log_of(OTHER), log_of(OTHER | {"event_id": "l10"})
    found = account(con, [*log_of(*ALL), lost | {"position": 4}, late | {"position": 5}])
    assert found["S02", 1] == {"acknowledged": 2, "missing": 1, "waiting": 1}


def test_dead_and_taken_back_records_have_their_places(con: duckdb.DuckDBPyConnection) -> None:
    (dead,), (gone,) = log_of(OTHER), log_of(OTHER | {"event_id": "l10"})
    log = [
        *log_of(*ALL),
        dead | {"position": 2},
        gone | {"position": 3},
        gone | {"position": 4, "taken_back": True},
    ]
    letters = [{"topic": LABS, "partition": 0, "position": 2}]
    assert account(con, log, letters)["S02", 1] == {"acknowledged": 2, "dead": 1, "taken_back": 1}


def test_what_kafka_does_not_hold_is_unexplained(con: duckdb.DuckDBPyConnection) -> None:
    found = account(con, log_of(START, LAB, WITHDRAWN))
    assert found["S01", None] == {"unexplained": 1}


def test_files_that_were_sent(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    bad = LAB | {"event_id": "l3", "unit": "furlong"}
    unsent = LAB | {"event_id": "l4"}
    file = tmp_path / "sent.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in (START, LAB, LAB, bad, unsent)))
    found = account(con, log_of(*ALL), sent=read_sent([str(file)]))["S01", 1]
    assert {name: found[name] for name in ("sent", "repeated", "refused", "unacknowledged")} == {
        "sent": 5, "repeated": 1, "refused": 1, "unacknowledged": 1,
    }  # fmt: skip


def test_a_record_without_a_key_is_known_by_what_it_says() -> None:
    ((record,),) = kafka_records([LAB]).values()
    nameless = type("Record", (), {**vars(record), "key": None, "headers": []})()
    (known,) = log_of(LAB)
    assert _logged(nameless)["record"] == known["record"]

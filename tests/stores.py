"""Stores in memory for tests: events in, rows out, by the same code that the services run."""

import atexit
import json
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from schemas import canonical_json, content_hash, parse_event, record_key
from schemas.protocol import Protocol, load_protocol
from schemas.topics import EVENT_TOPICS
from services.outcomes.definition import OUTCOMES
from services.runtime.erasure_key import ErasureKey
from services.safety.definition import SAFETY
from services.stream.decode import decode_records
from services.stream.definition import StoreDefinition
from services.stream.event_tables import EVENT_TABLES
from services.stream.store import EventStore

Row = dict[str, Any]
FU2025 = load_protocol("fu2025")
ALL = ("fu2025", "u_exceed", "stride2")
"""Shipped protocols that share a scheme, evaluated side by side."""
CONTRARY = str(Path(__file__).parent / "contrary.toml")
"""A protocol that decides otherwise whatever may be, and so has a scheme of its own."""


@dataclass(frozen=True)
class KafkaRecord:
    """What the decoder reads of a Kafka record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def kafka_records(events: Sequence[Row]) -> dict[tuple[str, int], list[KafkaRecord]]:
    """Events as one poll of Kafka would return them, in one partition a topic."""
    polled: dict[tuple[str, int], list[KafkaRecord]] = {}
    for event in events:
        parsed = parse_event(json.dumps(event))
        topic = EVENT_TOPICS[parsed.event_type]
        key = record_key(parsed, content_hash(parsed)).encode()
        records = polled.setdefault((topic, 0), [])
        records.append(
            KafkaRecord(topic, 0, len(records), 1_700_000_000_000, key, json.dumps(event).encode())
        )
    return polled


def temporary_path(name: str) -> Path:
    """A fresh place for a store; in memory where the system has one, as no test needs it to outlive a crash."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    return Path(tempfile.mkdtemp(prefix="week12-", dir=folder)) / f"{name}.duckdb"


def open_store(
    definition: StoreDefinition,
    today: date,
    path: Path | None = None,
    protocols: Sequence[Protocol] = (FU2025,),
    erasure_key: ErasureKey | None = None,
) -> EventStore:
    """A store of its own in a temporary folder.

    A new one is a copy of one that is made once: making all its tables and views takes a second.
    """
    place = path or temporary_path(definition.name)
    if definition in (OUTCOMES, SAFETY) and not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_new(definition, protocols), place)
        with duckdb.connect(str(place)) as con:
            con.execute("UPDATE clock SET today = ?", [today])
            con.execute("UPDATE store_info SET value = ? WHERE name = 'epoch'", [uuid.uuid4().hex])
    store = EventStore(place, definition, protocols, today=today, erasure_key=erasure_key)
    if path is None:  # with the store, for a run opens thousands, and memory is what they lie in
        weakref.finalize(store, shutil.rmtree, place.parent, ignore_errors=True)
    return store


_NEW: dict[str, Path] = {}


def _new(definition: StoreDefinition, protocols: Sequence[Protocol]) -> Path:
    """A new store by these definitions, at rest; the same one for all who ask."""
    key = definition.name + "".join(protocol.model_dump_json() for protocol in protocols)
    if key not in _NEW:
        _NEW[key] = temporary_path(definition.name)
        atexit.register(shutil.rmtree, _NEW[key].parent, ignore_errors=True)
        EventStore(_NEW[key], definition, protocols, today=date(2000, 1, 1)).close()
    return _NEW[key]


@cache
def _reusable(name: str, protocols: tuple[str, ...]) -> EventStore:
    definition = {"outcomes": OUTCOMES, "safety": SAFETY}[name]
    return open_store(definition, date(2000, 1, 1), protocols=[load_protocol(p) for p in protocols])


def emptied(definition: StoreDefinition, today: date, protocols: tuple[str, ...] = ("fu2025",)) -> EventStore:
    """An empty store, quickly: the same file again and again, for tests with many examples."""
    store = _reusable(definition.name, protocols)
    filled = [*(step.name for step in definition.stored), *EVENT_TABLES]
    tables = store.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'store' AND (table_name IN "
        "('offsets', 'outbox', 'dead_letters', 'alert_actions', 'alert_changes', 'erasures', 'tombstones') "
        f"OR table_name IN ({', '.join(map(repr, filled))}))"
    )
    for (table,) in tables:
        store.execute(f"DELETE FROM store.{table}")
    store.execute("UPDATE store.clock SET today = ?, batch = 0", [today])
    store._eraser.recall()
    return store


def rows(store: EventStore, sql: str) -> list[Row]:
    """The result of a query as dicts."""
    cursor = store.cursor()
    try:
        found = cursor.execute(sql)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    finally:
        cursor.close()


def contents(store: EventStore) -> dict[str, list[tuple[Any, ...]]]:
    """Every table that must not depend on arrival, in a comparable order."""
    return {
        name: sorted((tuple(row.values()) for row in rows(store, select(name, left_out))), key=repr)
        for name, left_out in store.definition.compared.items()
    }


def select(name: str, left_out: str) -> str:
    """All columns of a table but those that inform people only."""
    return f"SELECT * EXCLUDE ({left_out}) FROM {name}" if left_out else f"SELECT * FROM {name}"


def load(store: EventStore, batches: Sequence[Sequence[Row]]) -> EventStore:
    """Apply each batch in a transaction of its own, as the live path does."""
    for batch in batches:
        store.apply(decode_records(kafka_records(batch), store.definition.extract))
    return store


__all__ = [
    "ALL",
    "CONTRARY",
    "FU2025",
    "OUTCOMES",
    "SAFETY",
    "canonical_json",
    "contents",
    "emptied",
    "kafka_records",
    "load",
    "open_store",
    "rows",
]

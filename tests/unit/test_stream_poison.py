"""Whatever stands in an event topic is applied or becomes a dead letter; nothing stops a processor."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from stores import OUTCOMES, SAFETY, KafkaRecord, emptied, rows

from schemas import Event, EventType, content_hash, parse_event, record_key
from schemas.topics import EVENT_TOPICS
from services.stream.decode import decode_records
from services.stream.definition import Columns, StoreDefinition

TODAY = date(2025, 3, 1)
RECEIVED = 1_740_000_000_000
LAB = {
    "event_type": "lab",
    "site_id": "S01",
    "event_id": "S01:lab:1",
    "patient_id": "S01-0001",
    "recorded_at": "2025-02-02T09:30:00+01:00",
    "collected_on": "2025-02-01",
    "analyte": "lymphocytes",
    "value": 0.4,
    "unit": "10*9/L",
}
KEY = b"S01-0001|S01|S01:lab:1|1|"


def lab(**changes: Any) -> bytes:
    return json.dumps(LAB | changes).encode()


VALUES = {
    "nothing": b"",
    "no JSON": b'{"a":',
    "no UTF-8": b"\xff\xfe{}",
    "an array": b"[" + lab() + b"]",
    "null": b"null",
    "deep": b"[" * 200_000,
    "deep in a field": lab()[:-1] + b',"x":' + b'{"a":' * 50_000,
    "a field twice": lab()[:-1] + b',"value":3}',
    "NaN": lab(value=float("nan")),
    "endless": lab().replace(b"0.4", b"1e400"),
    "beyond DECIMAL": lab(value=1e30),
    "many digits": lab(value="<" + "9" * 400),
    "another type": lab(event_type="visit"),
    "a type unheard of": lab(event_type="x"),
    "half a character": lab(event_id="\ud800"),
    "a null character": lab(event_id="a\0b"),
    "a long id": lab(event_id="x" * 1_000_000),
    "version 0": lab(version=0),
    "version beyond int64": lab(version=2**63),
    "before our calendar": lab(recorded_at="0001-01-01T00:00:00+14:00", collected_on="0001-01-01"),
    "after our calendar": lab(recorded_at="9999-12-31T23:59:59-14:00", collected_on="9999-12-31"),
}
KEYS = {
    "no key": None,
    "no text": b"\xff" * 20,
    "a sign for a hash": KEY + b"-0000001",
    "no hash": KEY + b"zzzzzzzz",
    "a gap in the hash": KEY + b"0000_001",
}
TOMBSTONES = {
    "no key": None,
    "no text": b"\xff|b|c|1|00000000",
    "no version": b"a|b|c|x|00000000",
    "version beyond int64": b"a|b|c|9223372036854775808|00000000",
    "a sign for a hash": KEY + b"-0000001",
}
TIMES = [-1, -(2**62), 2**62, 253_402_300_800_000]
"""None, far back, far ahead, the year 10000."""


def record(key: bytes | None, value: bytes | None, received: int = RECEIVED, offset: int = 0) -> KafkaRecord:
    return KafkaRecord(EVENT_TOPICS["lab"], 0, offset, received, key, value)  # type: ignore[index]


def numbered(*records: KafkaRecord) -> list[KafkaRecord]:
    """A good neighbour and these records, in the order of a partition."""
    sent = [record(None, lab(event_id="S01:lab:2")), *records]
    return [replace(one, offset=offset) for offset, one in enumerate(sent)]


def applied(definition: StoreDefinition, *batches: Sequence[KafkaRecord]) -> tuple[int, int]:
    """Numbers of events and of dead letters after these batches."""
    store = emptied(definition, TODAY)
    letters = 0
    for records in batches:
        batch = decode_records({(records[0].topic, 0): records}, definition.extract)
        store.apply(batch)
        letters += len(batch.dead_letters)
    return len(rows(store, "FROM events")), letters


def applied_together(definition: StoreDefinition, *batches: Sequence[KafkaRecord]) -> tuple[int, int]:
    """The same where the batches share a transaction, as those of a backlog do."""
    store = emptied(definition, TODAY)
    letters = 0
    for records in batches:
        batch = decode_records({(records[0].topic, 0): records}, definition.extract)
        store.stage(batch)
        letters += len(batch.dead_letters)
    store.commit()
    return len(rows(store, "FROM events")), letters


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_bad_value_is_a_dead_letter_and_its_neighbour_an_event(value: bytes) -> None:
    batch = decode_records({(EVENT_TOPICS["lab"], 0): numbered(record(b"k", value))}, OUTCOMES.extract)  # type: ignore[index]
    assert [letter.value for letter in batch.dead_letters] == [value]
    assert sum(table.num_rows for table in batch.events.values()) == 1


@pytest.mark.parametrize("definition", [OUTCOMES, SAFETY], ids=lambda definition: definition.name)
def test_odd_keys_and_times_change_nothing(definition: StoreDefinition) -> None:
    odd = [record(key, lab(event_id=f"key {n}")) for n, key in enumerate(KEYS.values())]
    odd += [record(None, lab(event_id=f"time {received}"), received) for received in TIMES]
    again = [replace(one, key=None, timestamp=RECEIVED) for one in odd]
    assert applied(definition, numbered(*odd), numbered(*again)) == (1 + len(odd), 0)


@pytest.mark.parametrize("key", TOMBSTONES.values(), ids=TOMBSTONES.keys())
def test_a_null_record_under_an_odd_key_is_a_dead_letter(key: bytes | None) -> None:
    batch = decode_records({(EVENT_TOPICS["lab"], 0): numbered(record(key, None))}, OUTCOMES.extract)  # type: ignore[index]
    assert [letter.code for letter in batch.dead_letters] == ["key_malformed"]
    assert sum(table.num_rows for table in batch.events.values()) == 1


EVENT = parse_event(lab())
EVENT_KEY = record_key(EVENT, content_hash(EVENT)).encode()
GOOD, TOMBSTONE = record(EVENT_KEY, lab()), record(EVENT_KEY, None)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([GOOD, TOMBSTONE], (1, 0)),
        ([record(None, lab()), TOMBSTONE], (1, 0)),
        ([record(b"another", lab()), TOMBSTONE], (1, 0)),
        ([GOOD, TOMBSTONE, GOOD], (2, 0)),
        ([TOMBSTONE, GOOD], (2, 0)),
        ([record(EVENT_KEY, b"{"), GOOD, TOMBSTONE], (1, 1)),
        ([GOOD, record(None, None)], (2, 1)),
    ],
)
def test_a_tombstone_takes_back_what_came_before_it_whatever_the_batches(
    records: Sequence[KafkaRecord], expected: tuple[int, int]
) -> None:
    sent = numbered(*records)
    assert applied(OUTCOMES, sent) == expected
    assert applied(OUTCOMES, *([one] for one in sent)) == expected
    assert applied_together(OUTCOMES, *([one] for one in sent)) == expected


def test_what_nobody_foresaw_is_the_dead_letter_of_its_record_alone() -> None:
    def extract(events: Sequence[Event]) -> Columns:
        if any(event.event_id == "odd" for event in events):
            raise ZeroDivisionError
        return OUTCOMES.extract[EventType.LAB](events)

    odd = record(None, lab(event_id="odd"))
    sent = numbered(odd, GOOD, TOMBSTONE, record(None, lab(event_id="S01:lab:3")))
    batch = decode_records({(odd.topic, 0): sent}, {EventType.LAB: extract})
    assert [(letter.code, letter.value) for letter in batch.dead_letters] == [("unprocessable", odd.value)]
    assert batch.events[EventType.LAB]["event_id"].to_pylist() == ["S01:lab:2", "S01:lab:3"]
    assert (len(batch.tombstones), batch.records) == (1, 5)

"""Whoever asked to be erased leaves a store whole, in every order of arrival, and stays away."""

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from stores import (
    OUTCOMES,
    SAFETY,
    KafkaRecord,
    contents,
    kafka_records,
    load,
    open_store,
    rows,
)
from twin.builders import adverse_event, consent, enrolment, lab, on, retraction, start, visit

from schemas.topics import DEAD_LETTERS, ERASURES, EVENT_TOPICS, TOPICS
from services.outcomes.outbox import OutcomesOutbox
from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.stream.decode import decode_records
from services.stream.definition import StoreDefinition
from services.stream.erasure import announcement
from services.stream.erasure_outbox import ErasureOutbox
from services.stream.files import compute_stores
from services.stream.publisher import DeadLetters, Message
from services.stream.store import EventStore, StoreError

Row = dict[str, Any]
TODAY = on(200)
KEY = ErasureKey(b"a key of this test")
GONE, STAYS = "W12-GONE-77", "W12-STAYS-1"
BOTH = pytest.mark.parametrize("definition", [OUTCOMES, SAFETY], ids=["outcomes", "safety"])


def data_of(patient_id: str) -> list[Row]:
    """What a registry knows of a patient: every type of event, a correction included."""
    who = {"patient_id": patient_id, "site_id": f"site-of-{patient_id}"}
    return [
        enrolment(**who),
        start(**who),
        visit(0, cdai=300, **who),
        visit(84, cdai=100, **who),
        visit(84, version=2, cdai=90, **who),
        lab("crp", 0, 24.0, **who),
        adverse_event(10, grade=3, **who),
    ]


ERASE = consent("erase", 90, patient_id=GONE, site_id=f"site-of-{GONE}")
EVERYTHING = [*data_of(GONE), *data_of(STAYS)]


@pytest.fixture
def store(definition: StoreDefinition, tmp_path: Path) -> Iterator[EventStore]:
    opened = open_with_key(definition, tmp_path / f"{definition.name}.duckdb")
    yield opened
    opened.close()


def open_with_key(definition: StoreDefinition, path: Path, key: ErasureKey = KEY) -> EventStore:
    return open_store(definition, TODAY, path, erasure_key=key)


def announced(*patients: str, key: ErasureKey = KEY) -> dict[tuple[str, int], list[KafkaRecord]]:
    """The records of the topic of erasures."""
    return {
        (ERASURES, 3): [
            KafkaRecord(ERASURES, 3, i, 0, key.mark(patient).encode(), announcement(key))
            for i, patient in enumerate(patients)
        ]
    }


def take(store: EventStore, records: Any) -> None:
    store.apply(decode_records(records, store.definition.extract))


def everything_in(store: EventStore) -> str:
    """Every cell of every table and view."""
    names = store.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'store' "
        "UNION ALL SELECT view_name FROM duckdb_views() WHERE database_name = 'store' AND NOT internal"
    )
    return "\n".join(f"{name}: {rows(store, f'FROM {name}')}" for (name,) in names)


def told(store: EventStore) -> list[tuple[str, bytes, bytes | None]]:
    """What the outbox of erasures sends, in its order, all of it acknowledged."""
    outbox, sent = ErasureOutbox(), []
    while messages := outbox.pending(store):
        sent += [(message.topic, message.key, message.value) for message in messages]
        outbox.done(store, messages)
    return sent


# -- the store ---------------------------------------------------------------------------------------------

ARRIVALS = {
    "after": [[*EVERYTHING], [ERASE]],
    "before": [[ERASE], [*EVERYTHING]],
    "between": [EVERYTHING[:4], [ERASE], EVERYTHING[4:]],
    "within": [[*EVERYTHING[:5], ERASE, *EVERYTHING[5:]]],
    "twice": [[ERASE], [*EVERYTHING], [ERASE], [*EVERYTHING]],
    "withdrawn": [[*EVERYTHING], [ERASE], [retraction(ERASE, 2)]],
    "withdrawn first": [[retraction(ERASE, 2)], [*EVERYTHING], [ERASE]],
    "dated later": [[*EVERYTHING], [ERASE | {"effective_on": "2026-01-02"}]],
}


@BOTH
@pytest.mark.parametrize("name", ARRIVALS)
def test_in_every_order_only_the_others_remain(store: EventStore, name: str) -> None:
    load(store, ARRIVALS[name])
    told(store)
    if store.definition is OUTCOMES:
        publish_outcomes(store)
    left = everything_in(store)
    assert GONE not in left
    assert str(key_of(store, GONE)) not in left
    assert left.count(STAYS) > 10
    assert rows(store, "FROM erasures") == [{"mark": KEY.mark(GONE), "partition": 0, "announced": True}]


def publish_outcomes(store: EventStore) -> list[Message]:
    outbox, sent = OutcomesOutbox(), []
    while messages := outbox.pending(store):
        outbox.done(store, messages)
        sent += messages
    return sent


def key_of(store: EventStore, patient_id: str) -> int:
    return int(store.execute("SELECT md5_number_lower(?)", [patient_id])[0][0])  # type: ignore[call-overload]


@BOTH
def test_the_others_are_as_if_the_patient_had_never_been(store: EventStore, tmp_path: Path) -> None:
    load(store, [[*EVERYTHING], [ERASE]])
    never = open_with_key(store.definition, tmp_path / "never.duckdb")
    load(never, [data_of(STAYS)])
    assert contents(store) == contents(never)
    never.close()


@BOTH
@pytest.mark.parametrize("first", [True, False])
def test_an_announced_mark_does_the_same(store: EventStore, first: bool) -> None:
    if first:
        take(store, announced(GONE))
    load(store, [EVERYTHING])
    if not first:
        take(store, announced(GONE))
    assert {row["patient_id"] for row in rows(store, "FROM events")} == {STAYS}
    assert {row["patient_id"] for row in rows(store, "FROM patients")} == {STAYS}


@BOTH
def test_it_holds_after_opening_again(definition: StoreDefinition, tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = open_with_key(definition, path)
    load(store, [[ERASE]])
    store.close()
    store = open_with_key(definition, path)
    load(store, [EVERYTHING])
    assert {row["patient_id"] for row in rows(store, "FROM events")} == {STAYS}
    store.close()


@BOTH
def test_files_of_events_give_the_same(definition: StoreDefinition, tmp_path: Path) -> None:
    lines = tmp_path / "events.jsonl"
    found = []
    for number, arrivals in enumerate(ARRIVALS.values()):
        events = list(itertools.chain.from_iterable(arrivals))
        lines.write_text("".join(json.dumps(event) + "\n" for event in events))
        computed = open_store(definition, TODAY, tmp_path / f"{number}.duckdb")
        compute_stores([lines], [computed])
        assert GONE not in everything_in(computed)
        found.append(contents(computed))
        computed.close()
    assert all(one == found[0] for one in found)


# -- what is told ------------------------------------------------------------------------------------------


def keys_of(events: Sequence[Row]) -> set[tuple[str, bytes]]:
    return {
        (record.topic, record.key or b"") for records in kafka_records(events).values() for record in records
    }


@pytest.mark.parametrize("definition", [OUTCOMES])
@pytest.mark.parametrize("name", ["after", "before", "between", "within", "twice"])
def test_the_mark_goes_first_and_then_a_tombstone_for_every_key(store: EventStore, name: str) -> None:
    load(store, ARRIVALS[name])
    sent = told(store)
    assert sent[0] == (ERASURES, KEY.mark(GONE).encode(), announcement(KEY))
    assert {(topic, key) for topic, key, _ in sent[1:]} == keys_of([*data_of(GONE), ERASE])
    assert {value for _, _, value in sent[1:]} == {None}
    assert told(store) == []


@pytest.mark.parametrize("definition", [OUTCOMES])
def test_no_tombstone_before_the_mark_is_acknowledged(store: EventStore) -> None:
    load(store, [EVERYTHING, [ERASE]])
    outbox = ErasureOutbox()
    assert {message.topic for message in outbox.pending(store)} == {ERASURES}
    assert {message.topic for message in outbox.pending(store)} == {ERASURES}  # after a crash
    outbox.done(store, outbox.pending(store))
    assert ERASURES not in {message.topic for message in outbox.pending(store)}


@pytest.mark.parametrize("definition", [SAFETY])
def test_one_service_tells_for_all(store: EventStore) -> None:
    load(store, [EVERYTHING, [ERASE]])
    assert told(store) == []


@pytest.mark.parametrize("definition", [OUTCOMES])
def test_what_comes_later_is_buried_too(store: EventStore) -> None:
    load(store, [[ERASE]])
    told(store)
    late = lab("crp", 50, 3.0, patient_id=GONE)
    load(store, [[late]])
    assert {(topic, key) for topic, key, _ in told(store)} == keys_of([late])


@pytest.mark.parametrize("definition", [OUTCOMES])
def test_tombstones_that_come_back_change_nothing(store: EventStore) -> None:
    load(store, [EVERYTHING, [ERASE]])
    before = everything_in(store)
    back = [KafkaRecord(topic, 0, 99, 0, key, None) for topic, key, value in told(store) if value is None]
    take(store, {(topic, 0): [r for r in back if r.topic == topic] for topic in EVENT_TOPICS.values()})
    assert rows(store, "FROM tombstones") == []
    assert {row["patient_id"] for row in rows(store, "FROM events")} == {STAYS}
    assert before.count(STAYS) == everything_in(store).count(STAYS)


@pytest.mark.parametrize("definition", [OUTCOMES])
def test_once_a_day_every_partition_gets_a_record_so_that_kafka_cleans(store: EventStore) -> None:
    store.keep_topics_moving(1_000_000.0, 3)
    assert told(store) == [], "nobody has left"
    load(store, [[ERASE]])
    told(store)
    store.keep_topics_moving(1_000_000.0, 3)
    moved = [(row["topic"], row["partition"]) for row in rows(store, "FROM tombstones")]
    assert sorted(moved) == sorted(
        (topic, partition) for topic in TOPICS.keys() - {ERASURES} for partition in range(3)
    )
    assert {value for _, _, value in told(store)} == {None}
    store.keep_topics_moving(1_086_399.0, 3)
    assert told(store) == []
    store.keep_topics_moving(1_086_400.0, 3)
    assert len(told(store)) == len(moved)


# -- dead letters ------------------------------------------------------------------------------------------

LAB = EVENT_TOPICS["lab"]  # type: ignore[index]
UNREADABLE = [
    KafkaRecord(LAB, 0, 0, 0, f"{GONE}|S01|a|1|00000000".encode(), b"not JSON"),
    KafkaRecord(LAB, 0, 1, 0, b"odd", f'{{"patient_id": "{GONE}", "event_type": "lab"}}'.encode()),
    KafkaRecord(LAB, 0, 2, 0, None, f'{{"patient_id":"{GONE}"'.encode()),
    KafkaRecord(LAB, 0, 3, 0, f"{STAYS}|S01|a|1|00000000".encode(), b"not JSON either"),
]


@pytest.mark.parametrize("definition", [OUTCOMES])
@pytest.mark.parametrize("published", [True, False])
def test_dead_letters_go_with_the_records_they_are_about(store: EventStore, published: bool) -> None:
    take(store, {(LAB, 0): UNREADABLE})
    if published:
        DeadLetters().done(store, DeadLetters().pending(store))
    load(store, [[ERASE]])
    assert {(topic, key) for topic, key, value in told(store) if value is None} == {
        (DEAD_LETTERS, UNREADABLE[0].key),
        (DEAD_LETTERS, b"odd"),
        (DEAD_LETTERS, f"{LAB}:0:2".encode()),
        (LAB, UNREADABLE[0].key),
        (LAB, b"odd"),
        *keys_of([ERASE]),
    }
    assert [row["offset"] for row in rows(store, "FROM dead_letters")] == [3]


@pytest.mark.parametrize("definition", [OUTCOMES])
def test_unreadable_records_that_come_later_are_no_dead_letters(store: EventStore) -> None:
    load(store, [[ERASE]])
    told(store)
    take(store, {(LAB, 0): UNREADABLE})
    assert [row["offset"] for row in rows(store, "FROM dead_letters")] == [3]
    assert {(topic, key) for topic, key, _ in told(store)} == {(LAB, UNREADABLE[0].key), (LAB, b"odd")}


# -- files -------------------------------------------------------------------------------------------------


@BOTH
def test_no_byte_of_the_files_tells_of_the_patient(definition: StoreDefinition, tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    store = open_with_key(definition, path)
    load(store, [EVERYTHING])
    store.snapshot(tmp_path / "snapshots" / "copy.duckdb")
    load(store, [[ERASE]])
    assert not (tmp_path / "snapshots" / "copy.duckdb").exists()
    if definition is OUTCOMES:
        assert not store.scrub(nullcontext), "tombstones have yet to be sent"
        told(store)
        publish_outcomes(store)
    assert store.scrub(nullcontext)
    assert not store.scrub(nullcontext), "nothing is left to do"
    assert GONE.encode() not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    late = data_of("W12-LATER-5")
    load(store, [late])  # it goes on
    assert len(rows(store, "FROM patients")) == 2
    store.snapshot(tmp_path / "snapshots" / "copy.duckdb")
    store.close()
    raw = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert GONE.encode() not in raw
    assert STAYS.encode() in raw


@BOTH
def test_what_a_killed_run_spilled_goes_at_the_next_start(
    definition: StoreDefinition, tmp_path: Path
) -> None:
    left = tmp_path / "store.tmp" / "duckdb_temp_storage-0.tmp"
    left.parent.mkdir()
    left.write_text(GONE)
    open_with_key(definition, tmp_path / "store.duckdb").close()
    assert not left.exists()


# -- the key -----------------------------------------------------------------------------------------------


@BOTH
def test_another_key_is_refused(definition: StoreDefinition, tmp_path: Path) -> None:
    path, other = tmp_path / "store.duckdb", ErasureKey(b"another")
    store = open_with_key(definition, path)
    load(store, [[ERASE]])
    with pytest.raises(OperatorError, match=r"another erasure key: put its backup back"):
        take(store, announced(GONE, key=other))
    store.close()
    with pytest.raises(StoreError, match=r"another erasure key: put its backup back"):
        open_with_key(definition, path, other)


def test_a_mark_says_nothing_without_the_key() -> None:
    assert KEY.mark(GONE) == ErasureKey(b"a key of this test").mark(GONE)
    assert KEY.mark(GONE) != ErasureKey(b"another").mark(GONE)
    assert KEY.id != ErasureKey(b"another").id
    assert len(KEY.mark(GONE)) == 64


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    made = ErasureKey.read(tmp_path / "erasure.key")
    assert ErasureKey.read(tmp_path / "erasure.key").id == made.id
    assert (tmp_path / "erasure.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "erasure.key").write_text("")
    with pytest.raises(OperatorError, match="put back its backup"):
        ErasureKey.read(tmp_path / "erasure.key")

"""A full disk under a store: nothing committed is lost, nothing uncommitted shows, and it goes on with room."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import httpx
import orjson
import pytest
from plugins.disks import SmallDisk
from reading_helpers import Reading
from stores import OUTCOMES, KafkaRecord, contents, kafka_records, load, open_store

from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings
from services.simulation.registry import RegistryPlan, stream_registry
from services.stream.decode import decode_records
from services.stream.opening import open_service_store
from services.stream.store import EventStore

UNTIL = date(2025, 6, 30)
PLAN = RegistryPlan(patients=20, sites=3, events=700, seed=7, until=UNTIL, corrections=0.06, retractions=0.01)
EVENTS = [orjson.loads(line) for line in stream_registry(PLAN)]
PARTS = 6
MEBIBYTES = 24
Contents = dict[str, list[tuple[Any, ...]]]
Records = dict[tuple[str, int], list[KafkaRecord]]


@pytest.fixture(scope="module")
def expected() -> Contents:
    """What all events come to on a disk that is never full."""
    store = load(open_store(OUTCOMES, UNTIL), [EVENTS])
    found = contents(store)
    store.close()
    return found


@pytest.fixture
def disk(small_disk: Callable[..., SmallDisk]) -> SmallDisk:
    return small_disk(MEBIBYTES)


@pytest.fixture
def store(disk: SmallDisk) -> Iterator[EventStore]:
    opened = open_store(OUTCOMES, UNTIL, disk.path / "outcomes.duckdb")
    yield opened
    opened.close()


def parts() -> list[Records]:
    """All events as so many polls, with the offsets that Kafka would give them."""
    whole = kafka_records(EVENTS)
    polls: list[Records] = []
    for number in range(PARTS):
        sliced = {
            place: records[len(records) * number // PARTS : len(records) * (number + 1) // PARTS]
            for place, records in whole.items()
        }
        polls.append({place: records for place, records in sliced.items() if records})
    return polls


def take(store: EventStore, poll: Records) -> None:
    store.apply(decode_records(poll, OUTCOMES.extract))


def copied(store: EventStore, folder: Path) -> Contents:
    """What another process would find after a kill -9 now: the file and its write-ahead log as they are."""
    folder.mkdir()
    for path in store.path.parent.glob(f"{store.path.name}*"):
        (folder / path.name).write_bytes(path.read_bytes())
    opened = open_store(OUTCOMES, UNTIL, folder / store.path.name)
    found = contents(opened)
    opened.close()
    return found


def test_a_full_write_ahead_log_takes_nothing_back(
    store: EventStore, disk: SmallDisk, expected: Contents, tmp_path: Path
) -> None:
    first, second, *others = parts()
    take(store, first)
    before = contents(store)
    disk.fill()
    for _ in range(2):  # however often it is tried
        with pytest.raises(duckdb.Error, match="No space left on device"):
            take(store, second)
        store.discard()
        store.mend(nullcontext)
    assert contents(store) == before == copied(store, tmp_path / "killed")
    disk.make_room()
    for poll in (second, *others):
        take(store, poll)
    assert contents(store) == expected == copied(store, tmp_path / "killed later")


@pytest.mark.parametrize("staged", ["before", "after"])
def test_a_store_that_duckdb_gave_up_is_opened_anew(
    store: EventStore, disk: SmallDisk, expected: Contents, staged: str
) -> None:
    """A checkpoint on a full disk invalidates the database: only attaching it again helps."""
    first, second, *others = parts()
    take(store, first)
    before = contents(store)
    disk.fill()
    if staged == "before":
        store.stage(decode_records(second, OUTCOMES.extract))
    with pytest.raises(duckdb.IOException, match="No space left on device"):
        store.execute("CHECKPOINT store")
    with pytest.raises(duckdb.IOException, match="invalidated"):
        store.execute("SELECT count(*) FROM store.events")
    store.mend(nullcontext)
    assert contents(store) == before
    disk.make_room()
    if staged == "after":
        store.stage(decode_records(second, OUTCOMES.extract))
    store.commit()
    for poll in others:
        take(store, poll)
    assert contents(store) == expected


def test_small_batches_go_on_after_any_failure(
    store: EventStore, disk: SmallDisk, expected: Contents
) -> None:
    """The disk fills up again and again, with some room left or none, and the same is tried until it is taken."""
    store.execute("SET checkpoint_threshold = '200KB'")
    room = count()
    for poll in parts():
        disk.fill(leave=(next(room) % 4) * 150_000)
        try:
            take(store, poll)
        except duckdb.Error as error:
            durable = "COMMIT succeeded and is durable" in str(error)
            store.mend(nullcontext)
            store.discard()
            offsets = {place: offset for place, (_, offset) in store.offsets().items()}
            taken = {offsets.get(place, 0) > records[0].offset for place, records in poll.items()}
            # all of it where only the checkpoint behind the commit failed, else nothing
            assert taken == {durable}
            disk.make_room()
            take(store, poll)
        disk.make_room()
    assert contents(store) == expected


def test_a_snapshot_without_room_leaves_nothing_and_harms_nothing(store: EventStore, disk: SmallDisk) -> None:
    first, second, *_ = parts()
    take(store, first)
    path = disk.path / "snapshots" / "outcomes.duckdb"
    disk.fill(leave=100_000)
    for _ in range(2):
        with pytest.raises(duckdb.Error):
            store.snapshot(path)
        assert list(path.parent.iterdir()) == []
    disk.make_room()
    store.snapshot(path)
    take(store, second)
    with duckdb.connect(str(path), read_only=True) as copy:
        assert copy.execute("SELECT batch FROM clock").fetchall() == [(1,)]


def test_closing_without_room_keeps_the_write_ahead_log(disk: SmallDisk, expected: Contents) -> None:
    store = load(open_store(OUTCOMES, UNTIL, disk.path / "outcomes.duckdb"), [EVENTS])
    disk.fill()
    store.close()
    disk.make_room()
    again = open_store(OUTCOMES, UNTIL, store.path)
    assert contents(again) == expected
    again.close()


def test_starting_without_room_is_one_line_that_says_so(disk: SmallDisk) -> None:
    disk.fill()
    settings = load_settings(data_dir=disk.path)
    settings.erasure_key_path.unlink(missing_ok=True)
    with pytest.raises(OperatorError, match="room") as refused:
        open_service_store(settings, OUTCOMES)
    assert "\n" not in str(refused.value)
    disk.make_room()
    open_service_store(settings, OUTCOMES).close()


async def test_a_service_says_that_its_disk_is_full_and_mends_itself(disk: SmallDisk, tmp_path: Path) -> None:
    store = open_store(OUTCOMES, UNTIL, disk.path / "outcomes.duckdb")
    reading = Reading(store, tmp_path)
    node = reading.node
    node.parts["kafka"] = "ok"
    try:
        first, second, *_ = parts()
        await node.write(take, store, first)
        disk.fill()
        with pytest.raises(duckdb.Error):
            await node.write(store.execute, "CHECKPOINT store")
        assert node.ready() == (False, {"kafka": "ok", "store": "disk full"})
        rows = await asyncio.wait_for(node.read("SELECT count(*) AS n FROM events"), 5)
        assert rows[0]["n"] > 0  # reading goes on
        with pytest.raises(duckdb.Error):
            await node.prove_store()
        disk.make_room()
        await node.prove_store()
        assert node.ready()[0]
        await node.write(take, store, second)
    finally:
        reading.stop()
        store.close()


async def test_whoever_asks_a_store_that_is_not_open_is_told_to_come_again(tmp_path: Path) -> None:
    store = open_store(OUTCOMES, UNTIL, tmp_path / "outcomes.duckdb")
    reading = Reading(store, tmp_path)
    try:
        store.execute("SET schema = 'memory.main'")
        store.execute("DETACH store")
        answer: httpx.Response = await reading.get("/v1/outcomes", "lead")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_busy")
        store.mend(nullcontext)
        assert (await reading.get("/v1/outcomes", "lead")).status_code == 200
    finally:
        reading.stop()
        store.close()

"""The events that are measured: a synthetic registry as a file, as Kafka records, and as stores of any size.

20 events a patient on average, 4 % duplicates, 6 % corrections, 10 % late. Everything is made once in the
folder of the run, and found there by the next benchmark.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import NamedTuple

from schemas import content_hash, parse_event
from schemas.protocol import load_protocol
from services.ingest.records import Record, to_record
from services.outcomes.definition import OUTCOMES
from services.simulation.registry import RegistryPlan, stream_registry
from services.stream.batch import Batch
from services.stream.decode import decode_records
from services.stream.files import compute_stores
from services.stream.store import EventStore

TODAY = date(2026, 7, 1)
PARTITIONS = 12
EVENTS_PER_PATIENT = 20


@dataclass(slots=True)
class Arrived:
    """What a processor reads of a Kafka record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def plan(events: int) -> RegistryPlan:
    """The registry with so many events."""
    return RegistryPlan(
        patients=events // EVENTS_PER_PATIENT, sites=20, events=events, seed=12, until=date(2026, 6, 30),
        late=0.10, duplicates=0.04, corrections=0.06,
    )  # fmt: skip


def registry_file(folder: Path, events: int) -> Path:
    """The registry as JSON lines, in order of arrival."""
    path = folder / f"registry-{events}.jsonl"
    if not path.exists():
        with path.open("wb") as file:
            file.writelines(stream_registry(plan(events)))
    return path


def to_records(lines: Iterable[bytes]) -> Iterator[Record]:
    """Events as ingest would produce them: topic, partition, key and headers."""
    for line in lines:
        event = parse_event(line)
        yield to_record(event, content_hash(event), line.strip(), PARTITIONS)


def to_batch(lines: Iterable[bytes]) -> Batch:
    """Events as a processor hands them to its store."""
    polled: dict[tuple[str, int], list[Arrived]] = defaultdict(list)
    for record in to_records(lines):
        arrived = polled[record.topic, record.partition]
        arrived.append(Arrived(record.topic, record.partition, len(arrived), 0, record.key, record.value))
    return decode_records(polled, OUTCOMES.extract)


class Base(NamedTuple):
    """A store of so many events, and lines that are not in it, in random order."""

    path: Path
    held_back: list[bytes]


def base_store(folder: Path, events: int, held_back: int = 20_000) -> Base:
    """An outcomes store of `events`, from a registry that has `held_back` more: drawn at random and left out."""
    store = folder / f"outcomes-{events}-{held_back}.duckdb"
    rest = store.with_suffix(".held_back")
    if not rest.exists():
        # In a process of its own: what it needs must not count for the measured one.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(_build, folder, store, rest, events, held_back).result()
    return Base(store, rest.read_bytes().splitlines())


def open_store(path: Path, *, threads: int = 1) -> EventStore:
    """The store as the outcomes service opens it."""
    return EventStore(path, OUTCOMES, [load_protocol("fu2025")], today=TODAY, threads=threads)


def _build(folder: Path, store: Path, rest: Path, events: int, held_back: int) -> None:
    source, kept = registry_file(folder, events + held_back), store.with_suffix(".jsonl")
    apart = set(Random(12).sample(range(events + held_back), held_back))
    aside: list[bytes] = []
    with source.open("rb") as lines, kept.open("wb") as file:
        for number, line in enumerate(lines):
            if number in apart:
                aside.append(line)
            else:
                file.write(line)
    store.unlink(missing_ok=True)
    opened = EventStore(store, OUTCOMES, [load_protocol("fu2025")], today=TODAY, memory_limit="1GB")
    compute_stores([kept], [opened])
    opened.close()
    kept.unlink()
    Random(12).shuffle(aside)
    rest.write_bytes(b"".join(aside))


def portions(lines: Sequence[bytes], sizes: Iterable[int]) -> Iterator[list[bytes]]:
    """Consecutive parts of `lines`, of these sizes."""
    remaining = iter(lines)
    for size in sizes:
        part = list(islice(remaining, size))
        if len(part) < size:
            raise ValueError("more events are asked for than were held back")
        yield part

"""Stores computed from files of events: no Kafka, the same definitions, for audits, statisticians and tests."""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa

from schemas import Event, EventRefused, EventType, content_hash, parse_batch, parse_event
from services.stream.decode import event_table
from services.stream.settling import settle
from services.stream.store import Batch, EventStore

CHUNK_LINES = 20_000
NO_CONTENT = b"|00000000"
TYPE_IN_LINE = re.compile(rb'"event_type"\s*:\s*"([a-z_]+)"')


class Received(NamedTuple):
    """The source of an event that no Kafka carried."""

    partition: int
    timestamp: int
    key: bytes | None


@dataclass(frozen=True)
class Reject:
    """A line that was refused, by file and number, with path, code and reason; never its values."""

    file: str
    line: int
    path: str
    code: str
    message: str

    def json(self) -> str:
        """One line of `rejects.jsonl`."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass
class Loaded:
    """What became of the lines of some files."""

    lines: int = 0
    events: int = 0
    rejects: list[Reject] = field(default_factory=list)


def compute_stores(
    files: Sequence[Path], stores: Sequence[EventStore], progress: Callable[[int], None] = lambda _: None
) -> Loaded:
    """Load events from JSON lines (`.gz` too) into fresh stores and derive everything.

    Blank lines are skipped; a refused line is reported and the rest goes on. `progress` is called with the
    number of bytes read since the last call. Raises OSError where a file cannot be read.
    """
    loaded = Loaded()
    for path in files:
        with _lines(path) as lines:
            in_file = 0
            while chunk := list(islice(lines, CHUNK_LINES)):
                _load(str(path), in_file, chunk, stores, loaded)
                in_file += len(chunk)
                loaded.lines += len(chunk)
                progress(sum(map(len, chunk)))
    for store in stores:
        _tell_versions_apart(files, store)
        store.drop_copies()
        store.rebuild()
        settle(store)
    return loaded


def _load(
    file: str, in_file: int, chunk: Sequence[bytes], stores: Sequence[EventStore], loaded: Loaded
) -> None:
    """Validate one chunk and append it to every store; `batch` of an event is its line over all files."""
    by_type: dict[EventType, list[int]] = defaultdict(list)
    for i, line in enumerate(chunk):
        event_type = _event_type(line)
        if event_type:
            by_type[event_type].append(i)
        elif line.strip():
            loaded.rejects.append(_reject(file, in_file + i, _why_refused(line)))
    batches = [Batch() for _ in stores]
    for event_type, numbers in by_type.items():
        events: list[Event] = []
        accepted: list[int] = []
        for i, event in zip(numbers, parse_batch(event_type, [chunk[i] for i in numbers]), strict=True):
            if isinstance(event, EventRefused):
                loaded.rejects.append(_reject(file, in_file + i, _why_refused(chunk[i]) or event))
            else:
                events.append(event)
                accepted.append(loaded.lines + i)
        loaded.events += len(events)
        # contract: in a computed store an event is received when it was recorded
        sources = [Received(0, round(e.recorded_at.timestamp() * 1000), NO_CONTENT) for e in events]
        for store, batch in zip(stores, batches, strict=True):
            if events:
                table = event_table(event_type, events, sources, store.definition.extract[event_type])
                batch.events[event_type] = table.append_column("batch", pa.array(accepted, pa.int64()))
    for store, batch in zip(stores, batches, strict=True):
        store.append(batch)


def _tell_versions_apart(files: Sequence[Path], store: EventStore) -> None:
    """Give the content hash to versions that stand in more than one line.

    Only those need it, to tell a copy from a conflict, and hashing every line would double the work: so their
    lines are read a second time.
    """
    contested = store.execute(
        "SELECT batch FROM store.events SEMI JOIN (SELECT record_key, version FROM store.events "
        "GROUP BY ALL HAVING count(*) > 1) USING (record_key, version) ORDER BY batch"
    )
    wanted = iter([cast("int", row[0]) for row in contested])
    line_number = next(wanted, None)
    hashes: list[tuple[int, int]] = []
    start = 0
    for path in files:
        with _lines(path) as lines:
            last = start - 1
            for last, line in enumerate(lines, start):
                if last == line_number:
                    hashes.append((last, int(content_hash(parse_event(line))[:8], 16)))
                    line_number = next(wanted, None)
            start = last + 1
    store.set_contents(hashes)


def _event_type(line: bytes) -> EventType | None:
    found = TYPE_IN_LINE.search(line)
    name = found[1].decode() if found else ""
    return EventType(name) if name in EventType.__members__.values() else None


def _why_refused(line: bytes) -> EventRefused | None:
    try:
        parse_event(line)
    except EventRefused as refused:
        return refused
    return None


def _reject(file: str, number: int, refused: EventRefused | None) -> Reject:
    first = refused.errors[0] if refused else None
    if first is None:  # only where a nested field is named like the discriminator
        return Reject(file, number + 1, "event_type", "type", "the event type could not be read")
    return Reject(file, number + 1, first.path, first.code, first.message)


@contextmanager
def _lines(path: Path) -> Iterator[BinaryIO]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield cast("BinaryIO", file)

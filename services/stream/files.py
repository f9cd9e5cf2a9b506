"""Stores computed from files of events: no Kafka, the same definitions, for audits, statisticians and tests."""

import gc
import gzip
import json
import multiprocessing
import os
import re
import signal
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa

from schemas import Event, EventRefused, EventType, content_hash, parse_batch, parse_event
from services.runtime.errors import OperatorError
from services.stream.batch import Batch
from services.stream.decode import event_table
from services.stream.definition import Extract
from services.stream.settling import settle
from services.stream.store import EventStore

CHUNK_LINES = 10_000
LONG_BYTES = 8_000_000
"""Files of so many bytes together are worth the start of other processes."""
NO_CONTENT = b"|00000000"
TYPE_IN_LINE = re.compile(rb'"event_type"\s*:\s*"([a-z_]+)"')

Extracts = Mapping[EventType, Extract]


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
    files: Sequence[Path],
    stores: Sequence[EventStore],
    progress: Callable[[int], None] = lambda _: None,
    known_at: date | None = None,
) -> Loaded:
    """Load events from JSON lines (`.gz` too) into fresh stores and derive everything known at the end of a day.

    Blank lines are skipped; a refused line is reported and the rest goes on. `progress` is called with the
    number of bytes read since the last call. Long files are decoded by a process a core. Raises OSError where
    a file cannot be read, OperatorError where a decoding process was ended.
    """
    loaded = Loaded()
    extracts = [store.definition.extract for store in stores]
    decode = _in_processes if sum(path.stat().st_size for path in files) >= LONG_BYTES else _one_by_one
    with ThreadPoolExecutor(len(stores)) as threads:  # DuckDB works outside Python's lock: all stores at once
        for chunk, decoded in decode(_chunks(files), extracts):
            for _ in threads.map(EventStore.append, stores, decoded.batches):
                pass
            loaded.lines += len(chunk.lines)
            loaded.events += decoded.events
            loaded.rejects += decoded.rejects
            progress(sum(map(len, chunk.lines)))
        hashes = _tell_versions_apart(files, stores[0])
        for _ in threads.map(lambda store: _finish(store, hashes, known_at), stores):
            pass
    return loaded


def _finish(store: EventStore, hashes: Sequence[tuple[int, int]], known_at: date | None) -> None:
    store.set_contents(hashes)
    if known_at:
        store.keep_known(known_at)
    store.drop_copies()
    store.rebuild()
    settle(store)


@dataclass(frozen=True)
class _Chunk:
    """Lines of one file: the number of the first in it, and over all files."""

    file: str
    in_file: int
    over_all: int
    lines: list[bytes]


@dataclass
class _Decoded:
    """What a chunk's lines are: a batch for each store, and what was refused."""

    batches: list[Batch]
    events: int = 0
    rejects: list[Reject] = field(default_factory=list)


def _chunks(files: Sequence[Path]) -> Iterator[_Chunk]:
    over_all = 0
    for path in files:
        with _lines(path) as lines:
            in_file = 0
            while chunk := list(islice(lines, CHUNK_LINES)):
                yield _Chunk(str(path), in_file, over_all, chunk)
                in_file += len(chunk)
                over_all += len(chunk)


def _one_by_one(chunks: Iterable[_Chunk], extracts: Sequence[Extracts]) -> Iterator[tuple[_Chunk, _Decoded]]:
    for chunk in chunks:
        yield chunk, _decode(chunk, extracts)


def _in_processes(
    chunks: Iterable[_Chunk], extracts: Sequence[Extracts]
) -> Iterator[tuple[_Chunk, _Decoded]]:
    """Decoded by a process a core, in order, few ahead of who takes them."""
    workers = os.cpu_count() or 1
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *{module for e in extracts for module in _modules(e)}])
    with ProcessPoolExecutor(workers, context, initializer=_prepare_process) as pool:
        ahead: deque[tuple[_Chunk, Future[_Decoded]]] = deque()
        try:
            for chunk in chunks:
                ahead.append((chunk, pool.submit(_decode, chunk, extracts)))
                if len(ahead) > 2 * workers:
                    yield ahead[0][0], ahead.popleft()[1].result()
            while ahead:
                yield ahead[0][0], ahead.popleft()[1].result()
        except BrokenProcessPool:
            raise OperatorError(
                "a decoding process was ended from outside: is there memory enough?"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _modules(extracts: Extracts) -> set[str]:
    return {function.__module__ for function in extracts.values()}


def _prepare_process() -> None:
    """Leave Ctrl-C to the parent, do not outlive it, and collect no cycles: there are hardly any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _decode(chunk: _Chunk, extracts: Sequence[Extracts]) -> _Decoded:
    """Validate one chunk; `batch` of an event is its line over all files."""
    by_type: dict[EventType, list[int]] = defaultdict(list)
    decoded = _Decoded([Batch() for _ in extracts])
    for i, line in enumerate(chunk.lines):
        event_type = _event_type(line)
        if event_type:
            by_type[event_type].append(i)
        elif line.strip():
            decoded.rejects.append(_reject(chunk.file, chunk.in_file + i, _why_refused(line)))
    for event_type, numbers in by_type.items():
        events: list[Event] = []
        accepted: list[int] = []
        for i, event in zip(numbers, parse_batch(event_type, [chunk.lines[i] for i in numbers]), strict=True):
            if isinstance(event, EventRefused):
                reason = _why_refused(chunk.lines[i]) or event
                decoded.rejects.append(_reject(chunk.file, chunk.in_file + i, reason))
            else:
                events.append(event)
                accepted.append(chunk.over_all + i)
        decoded.events += len(events)
        # contract: in a computed store an event is received when it was recorded
        sources = [Received(0, round(e.recorded_at.timestamp() * 1000), NO_CONTENT) for e in events]
        for extract, batch in zip(extracts, decoded.batches, strict=True):
            if events:
                table = event_table(event_type, events, sources, extract[event_type])
                batch.events[event_type] = table.append_column("batch", pa.array(accepted, pa.int64()))
    return decoded


def _tell_versions_apart(files: Sequence[Path], store: EventStore) -> list[tuple[int, int]]:
    """(line over all files, content hash) of versions that stand in more than one line.

    Only those need it, to tell a copy from a conflict, and hashing every line would double the work: so their
    lines are read a second time.
    """
    contested = store.execute(
        "SELECT batch FROM store.events SEMI JOIN (SELECT record_key, version FROM store.events "
        "GROUP BY ALL HAVING count(*) > 1) USING (record_key, version) ORDER BY batch"
    )
    wanted = iter([cast("int", row[0]) for row in contested])
    line_number = next(wanted, None)
    again: dict[EventType, dict[int, bytes]] = defaultdict(dict)
    start = 0
    for path in files:
        with _lines(path) as lines:
            last = start - 1
            for last, line in enumerate(lines, start):
                if last == line_number:
                    again[cast("EventType", _event_type(line))][last] = line
                    line_number = next(wanted, None)
            start = last + 1
    return [
        (number, int(content_hash(cast("Event", event))[:8], 16))
        for event_type, found in again.items()
        for number, event in zip(found, parse_batch(event_type, list(found.values())), strict=True)
    ]


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

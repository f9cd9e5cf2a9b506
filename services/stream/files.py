"""Stores computed from files of events: no Kafka, the same definitions, for audits, statisticians and tests."""

import gc
import gzip
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast
from zlib import crc32

import pyarrow as pa

from schemas import Event, EventRefused, EventType, content_hash, parse_batch, parse_event
from services.runtime.errors import OperatorError
from services.runtime.interpreter import leave_out_pandas
from services.stream.batch import Batch
from services.stream.decode import stated_columns
from services.stream.definition import Columns, Extract, StoreDefinition
from services.stream.settling import settle
from services.stream.store import EventStore

CHUNK_LINES = 20_000
LONG_BYTES = 8_000_000
"""Files of so many bytes together are worth the start of other processes."""
TYPE_OF_NAME = {event_type.encode(): event_type for event_type in EventType}
TYPE_IN_LINE = re.compile(rb'"event_type"\s*:\s*"([a-z_]+)"')

_WORKERS = os.cpu_count() or 1

Extracts = Mapping[EventType, Extract]


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


DecodedFiles = Iterator[tuple[_Chunk, _Decoded]]


def compute_stores(
    files: Sequence[Path],
    stores: Sequence[EventStore],
    progress: Callable[[int], None] = lambda _: None,
    known_at: date | None = None,
) -> Loaded:
    """Load events from JSON lines (`.gz` too) into fresh stores and derive everything known at the end of a day.

    Blank lines are skipped; a refused line is reported and the rest goes on. `progress` is called with the
    number of bytes read since the last call. Raises as `decoding` does.
    """
    with decoding(files, [store.definition for store in stores]) as decoded:
        return derive(files, decoded, stores, progress, known_at)


@contextmanager
def decoding(files: Sequence[Path], definitions: Sequence[StoreDefinition]) -> Iterator[DecodedFiles]:
    """The lines of some files, decoded for stores of these definitions: long files by a process a core, begun at once.

    Raises OSError where a file cannot be read, OperatorError where a decoding process was ended.
    """
    chunks, extracts = _chunks(files), [definition.extract for definition in definitions]
    if sum(path.stat().st_size for path in files) >= LONG_BYTES:
        with _processes(extracts) as pool:
            yield _in_processes(chunks, extracts, pool)
    else:
        yield ((chunk, _decode(chunk, extracts)) for chunk in chunks)


def derive(
    files: Sequence[Path],
    decoded: DecodedFiles,
    stores: Sequence[EventStore],
    progress: Callable[[int], None],
    known_at: date | None,
) -> Loaded:
    """Fill fresh stores with what `decoding` made of `files`, and derive everything; see `compute_stores`."""
    loaded = Loaded()
    with ThreadPoolExecutor(len(stores)) as threads:  # DuckDB works outside Python's lock: all stores at once
        for chunk, its in decoded:
            for _ in threads.map(EventStore.append, stores, its.batches):
                pass
            loaded.lines += len(chunk.lines)
            loaded.events += its.events
            loaded.rejects += its.rejects
            progress(sum(map(len, chunk.lines)))
        for _ in threads.map(EventStore.drop_copies, stores):
            pass
        hashes = _tell_versions_apart(files, stores[0])
        for _ in threads.map(lambda store: _finish(store, hashes, known_at), stores):
            pass
    return loaded


def _finish(store: EventStore, hashes: Sequence[tuple[int, int]], known_at: date | None) -> None:
    if hashes:
        store.set_contents(hashes)
        store.drop_copies()
    if known_at:
        store.keep_known(known_at)
    store.rebuild()
    settle(store)
    store.checkpoint()


def _chunks(files: Sequence[Path]) -> Iterator[_Chunk]:
    over_all = 0
    for path in files:
        with _lines(path) as lines:
            in_file = 0
            while chunk := list(islice(lines, CHUNK_LINES)):
                yield _Chunk(str(path), in_file, over_all, chunk)
                in_file += len(chunk)
                over_all += len(chunk)


@contextmanager
def _processes(extracts: Sequence[Extracts]) -> Iterator[ProcessPoolExecutor]:
    alone = sys.platform == "linux" and threading.active_count() == 1  # else one that imports everything anew
    context = multiprocessing.get_context("fork" if alone else "forkserver")
    context.set_forkserver_preload([__name__, *{module for e in extracts for module in _modules(e)}])
    with ProcessPoolExecutor(_WORKERS, context, initializer=_prepare_process) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise OperatorError(
                "a decoding process was ended from outside: is there memory enough?"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_processes(
    chunks: Iterator[_Chunk], extracts: Sequence[Extracts], pool: ProcessPoolExecutor
) -> DecodedFiles:
    """In order, few ahead of who takes them; the first are begun here, before anybody does."""

    def begin(count: int) -> list[tuple[_Chunk, Future[_Decoded]]]:
        return [(chunk, pool.submit(_decode, chunk, extracts)) for chunk in islice(chunks, count)]

    ahead = deque(begin(2 * _WORKERS))

    def in_order() -> DecodedFiles:
        while ahead:
            chunk, future = ahead.popleft()
            yield chunk, future.result()
            ahead.extend(begin(1))

    return in_order()


def _modules(extracts: Extracts) -> set[str]:
    return {function.__module__ for function in extracts.values()}


def _prepare_process() -> None:
    """Leave Ctrl-C to the parent, do not outlive it, and collect no cycles: there are hardly any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    leave_out_pandas()
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _decode(chunk: _Chunk, extracts: Sequence[Extracts]) -> _Decoded:
    """Validate one chunk; `batch` of an event is its line over all files, and it was received when it was recorded."""
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
                accepted.append(i)
        decoded.events += len(events)
        if events:
            columns = {**stated_columns(event_type, events), **_source_columns(chunk, accepted)}
            columns["received_at"] = columns["recorded_at"].cast(pa.timestamp("ms"), safe=False)
            for extract, batch in zip(extracts, decoded.batches, strict=True):
                batch.events[event_type] = pa.table({**columns, **extract[event_type](events)})
    return decoded


def _source_columns(chunk: _Chunk, accepted: Sequence[int]) -> Columns:
    """Where these lines of the chunk come from; lines that are alike have the same `content`."""
    return {
        "partition": pa.repeat(pa.scalar(0, pa.int16()), len(accepted)),
        "content": pa.array([crc32(chunk.lines[i].strip()) for i in accepted], pa.uint32()),
        "batch": pa.array([chunk.over_all + i for i in accepted], pa.int64()),
    }


def _tell_versions_apart(files: Sequence[Path], store: EventStore) -> list[tuple[int, int]]:
    """(line over all files, content hash) of versions that stand in lines which are not alike.

    Only those need it, to tell a copy from a conflict, and it is dear: so their lines are read a second time.
    """
    contested = store.execute(
        "SELECT batch FROM store.events SEMI JOIN (SELECT record_key, version FROM store.events "
        "GROUP BY ALL HAVING count(*) > 1) USING (record_key, version) ORDER BY batch"
    )
    if not contested:
        return []
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
    return TYPE_OF_NAME.get(found[1]) if found else None


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

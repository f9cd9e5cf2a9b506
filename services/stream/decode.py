"""Kafka records into a `Batch`: validated events as Arrow columns, tombstones, and dead letters with a reason."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from typing import Protocol as Interface

import pyarrow as pa

from schemas import EVENT_MODELS, Event, EventRefused, EventType, content_hash, parse_batch, parse_record_key
from schemas.topics import ERASURES, EVENT_TOPICS
from services.stream.batch import Batch, DeadLetter, Tombstone
from services.stream.definition import Columns, Extract
from services.stream.erasure import read_announcement

log = logging.getLogger(__name__)

TYPE_OF_TOPIC = {topic: EventType(event_type) for event_type, topic in EVENT_TOPICS.items()}

DATE_FIELD = {
    EventType.ENROLMENT: "enrolled_on",
    EventType.TREATMENT: "effective_on",
    EventType.VISIT: "visited_on",
    EventType.LAB: "collected_on",
    EventType.ADVERSE_EVENT: "onset_on",
    EventType.CONSENT: "effective_on",
}
TIME_FIELD = {
    EventType.TREATMENT: "effective_at",
    EventType.VISIT: "visited_at",
    EventType.LAB: "collected_at",
}

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
RECEIVED_AT_MS = range(253_402_300_800_000)
"""1970 to 9999: what a time can be; a record stamped otherwise counts as received in 1970."""
MAX_VERSION = 2**63 - 1


class Record(Interface):
    """What is read of a Kafka record; aiokafka's ConsumerRecord is one."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Source(Interface):
    """Where an event came from: its partition, when ingest received it (ms since 1970), its record key."""

    @property
    def partition(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...


def decode_records(
    records: Mapping[tuple[str, int], Sequence[Record]], extract: Mapping[EventType, Extract]
) -> Batch:
    """Decode what one poll returned, by (topic, partition), in order of offsets."""
    batch = Batch()
    by_type: dict[EventType, list[Record]] = defaultdict(list)
    for (topic, partition), arrived in records.items():
        if arrived:
            if topic == ERASURES:
                _take_announcements(arrived, batch)
            else:
                by_type[TYPE_OF_TOPIC[topic]].extend(arrived)
            batch.offsets[topic, partition] = arrived[-1].offset + 1
            batch.records += len(arrived)
    for event_type, arrived in by_type.items():
        part = _decode_what_can_be(event_type, arrived, extract[event_type])
        batch.events |= part.events
        batch.tombstones += part.tombstones
        batch.dead_letters += part.dead_letters
    return batch


def _decode_what_can_be(event_type: EventType, records: Sequence[Record], extract: Extract) -> Batch:
    """All of one type together; where that raises what nobody foresaw, all but the records that do it alone.

    Else one record would stop its processor at the same batch for ever.
    """
    try:
        return _decode_type(event_type, records, extract)
    except Exception as error:
        culprits = {id(record) for record in records if not _can_be_decoded(event_type, record, extract)}
        if not culprits:
            raise
        log.error(
            "%d records of %s cannot be processed (%s)", len(culprits), event_type, type(error).__name__
        )
    batch = _decode_type(event_type, [record for record in records if id(record) not in culprits], extract)
    reason = "could not be processed: an error of week12, not of the record"
    batch.dead_letters += [_letter(r, "unprocessable", "", reason) for r in records if id(r) in culprits]
    return batch


def _can_be_decoded(event_type: EventType, record: Record, extract: Extract) -> bool:
    try:
        _decode_type(event_type, [record], extract)
    except Exception:
        return False
    return True


def _decode_type(event_type: EventType, records: Sequence[Record], extract: Extract) -> Batch:
    batch = Batch()
    valued = [record for record in records if record.value is not None]
    parsed = parse_batch(event_type, [record.value for record in valued])  # type: ignore[misc]
    if EventRefused in set(map(type, parsed)):
        pairs = list(zip(valued, parsed, strict=True))
        batch.dead_letters += [_dead_letter(r, e) for r, e in pairs if isinstance(e, EventRefused)]
        valued = [r for r, e in pairs if not isinstance(e, EventRefused)]
        parsed = [e for e in parsed if not isinstance(e, EventRefused)]
    events = cast("list[Event]", parsed)
    if len(valued) < len(records):
        buried = _take_tombstones(event_type, [record for record in records if record.value is None], batch)
        valued, events = _not_buried(event_type, valued, events, buried)
    if events:
        stated, source = stated_columns(event_type, events), _source_columns(events, valued)
        batch.events[event_type] = pa.table({**stated, **source, **extract(events)})
    return batch


def stated_columns(event_type: EventType, events: Sequence[Event]) -> Columns:
    """What every store keeps of events of one type, as they state it."""
    dates, times = DATE_FIELD[event_type], TIME_FIELD.get(event_type)
    columns: dict[str, pa.Array[Any]] = {
        "patient_id": pa.array([e.patient_id for e in events], pa.string()),
        "site_id": pa.array([e.site_id for e in events], pa.string()),
        "event_id": pa.array([e.event_id for e in events], pa.string()),
        "version": pa.array([e.version for e in events], pa.int64()),
        "retracted": pa.array([e.retracted for e in events], pa.bool_()),
        "recorded_at": pa.array([e.recorded_at for e in events], UTC_MICROSECONDS).cast(pa.timestamp("us")),
        "on_date": pa.array([getattr(e, dates) for e in events], pa.date32()),
    }
    if times:
        columns["at_time"] = pa.array([getattr(e, times) for e in events], pa.time64("us"))
    return columns


def _source_columns(events: Sequence[Event], sources: Sequence[Source]) -> Columns:
    received = [s.timestamp if s.timestamp in RECEIVED_AT_MS else 0 for s in sources]
    return {
        "partition": pa.array([s.partition for s in sources], pa.int16()),
        "received_at": pa.array(received, pa.timestamp("ms")),
        "content": pa.array(_contents(events, sources), pa.uint32()),
    }


def _contents(events: Sequence[Event], sources: Sequence[Source]) -> list[int]:
    """Content hashes from the records' keys, which ingest wrote; computed where a key has none."""
    keys = [source.key or b"" for source in sources]
    if all(key[-9:-8] == b"|" and key[-8:].isalnum() for key in keys):  # `int` alone would take a sign
        try:
            return [int(key[-8:], 16) for key in keys]
        except ValueError:
            pass
    return [_content(event, key) for event, key in zip(events, keys, strict=True)]


def _content(event: Event, key: bytes) -> int:
    if key[-9:-8] == b"|" and key[-8:].isalnum():
        try:
            return int(key[-8:], 16)
        except ValueError:
            pass
    return int(content_hash(event)[:8], 16)


def _take_announcements(records: Iterable[Record], batch: Batch) -> None:
    for record in records:
        try:
            batch.announced.append(read_announcement(record.key, record.value, record.partition))
        except ValueError:
            reason = "a record of the topic of erasures that announces none"
            batch.dead_letters.append(_letter(record, "key_malformed", "", reason))


def _take_tombstones(
    event_type: EventType, records: Iterable[Record], batch: Batch
) -> dict[tuple[int, Tombstone], int]:
    """Note the versions to forget. Returns the last offset of each in its partition."""
    last: dict[tuple[int, Tombstone], int] = {}
    for record in records:
        try:
            key = parse_record_key(record.key or b"")
            if key.version > MAX_VERSION:
                raise ValueError
        except ValueError:
            reason = "a null record whose key does not name a record version"
            batch.dead_letters.append(_letter(record, "key_malformed", "", reason))
            continue
        tombstone = Tombstone(
            event_type, key.patient_id, key.site_id, key.event_id, key.version, int(key.h, 16)
        )
        batch.tombstones.append(tombstone)
        last[record.partition, tombstone] = record.offset
    return last


def _not_buried(
    event_type: EventType,
    records: Sequence[Record],
    events: Sequence[Event],
    buried: Mapping[tuple[int, Tombstone], int],
) -> tuple[list[Record], list[Event]]:
    """Without the versions that a tombstone of the same poll takes back: those before it.

    They are told by what the store goes by, not by the record's key, so that it does not matter which poll
    a tombstone arrives in.
    """
    kept = [
        (record, event)
        for record, event in zip(records, events, strict=True)
        if record.offset > buried.get((record.partition, _tombstone_for(event_type, event, record)), -1)
    ]
    return [record for record, _ in kept], [event for _, event in kept]


def _tombstone_for(event_type: EventType, event: Event, record: Record) -> Tombstone:
    content = _content(event, record.key or b"")
    return Tombstone(event_type, event.patient_id, event.site_id, event.event_id, event.version, content)


def _dead_letter(record: Record, refused: EventRefused) -> DeadLetter:
    first = refused.errors[0]
    return _letter(record, first.code, first.path, first.message)


def _letter(record: Record, code: str, path: str, message: str) -> DeadLetter:
    return DeadLetter(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        code,
        path,
        message,
        record.timestamp,
    )


assert set(DATE_FIELD) == set(EVENT_MODELS), "every event type has a clinical date"

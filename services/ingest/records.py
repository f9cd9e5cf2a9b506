"""An accepted event as a Kafka record: CloudEvents 1.0 in binary mode (headers), the event as the value."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from kafka.partitioner.default import murmur2

from schemas import Event, EventType, record_key
from schemas.topics import EVENT_TOPICS

Headers = list[tuple[str, bytes]]


class Record(NamedTuple):
    """One record to produce."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers


def to_record(
    event: Event, content: str, value: bytes, partitions: int, more_headers: Sequence[tuple[str, bytes]] = ()
) -> Record:
    """The record of an event: its key names the version, its partition follows from the patient.

    `content` is the event's content hash, `value` its JSON as it travels, `partitions` the number every event
    topic has, `more_headers` what the request adds (`traceparent`).
    """
    patient = event.patient_id.encode()
    headers = [
        *_type_headers(event.event_type),
        ("ce_id", f"{event.event_id}:{event.version}".encode()),
        ("ce_source", _source(event.site_id)),
        ("ce_subject", patient),
        ("ce_partitionkey", patient),
        ("ce_time", event.recorded_at.isoformat().encode()),
        *more_headers,
    ]
    key = record_key(event, content).encode()
    return Record(EVENT_TOPICS[event.event_type], partition_of(patient, partitions), key, value, headers)


@lru_cache(maxsize=1 << 16)
def partition_of(patient: bytes, partitions: int) -> int:
    """Kafka's own choice for this key (Java's murmur2): every event of a patient, of any type, goes there."""
    return int(murmur2(patient) & 0x7FFFFFFF) % partitions


@lru_cache
def _type_headers(kind: EventType) -> Headers:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", f"org.week12.registry.{kind}.v1".encode()),
        ("ce_dataschema", f"urn:week12:schema:{kind}:1".encode()),
        ("content-type", b"application/json"),
    ]


@lru_cache(maxsize=4096)
def _source(site_id: str) -> bytes:
    return f"/sites/{quote(site_id, safe='')}".encode()

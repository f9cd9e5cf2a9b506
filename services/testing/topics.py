"""The registry's topics on a broker: made, written to past ingest, and read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from schemas import content_hash, parse_event
from schemas.topics import EVENT_TOPICS
from services.broker import Broker
from services.broker.clients import connect
from services.broker.topics import end_offsets, ensure_topics
from services.ingest.records import Record, to_record
from services.testing.cohort import Event

_ACKNOWLEDGED_WITHIN_S = 30


class TopicRecord(NamedTuple):
    """A record as a consumer sees it."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]
    timestamp: int


class RegistryTopics:
    """The topics of the contract on a running broker, each with `partitions` partitions."""

    def __init__(self, broker: Broker, partitions: int = 12) -> None:
        self.client = broker.client
        self.partitions = partitions

    def make(self) -> "RegistryTopics":
        """Make those that are missing. Raises services.broker.TopicProblem where one has other settings."""
        ensure_topics(self.client, partitions=self.partitions)
        return self

    def publish(self, events: Iterable[Event]) -> None:
        """Write events as ingest would, each acknowledged. Raises EventRefused before anything is written."""
        records = [self._record(event) for event in events]
        producer = connect(
            KafkaProducer, {**self.client, "acks": "all", "enable_idempotence": False, "linger_ms": 5}
        )
        try:
            sent = [
                producer.send(r.topic, r.value, r.key, partition=r.partition, headers=r.headers)
                for r in records
            ]
            producer.flush(timeout=_ACKNOWLEDGED_WITHIN_S)
            for future in sent:
                future.get(timeout=_ACKNOWLEDGED_WITHIN_S)
        finally:
            producer.close(timeout=5)

    def ends(self, *topics: str) -> dict[tuple[str, int], int]:
        """The offset of the next record, by (topic, partition); without names, of the event topics."""
        return end_offsets(self.client, topics or list(EVENT_TOPICS.values()))

    def records(self, *topics: str) -> list[TopicRecord]:
        """Everything in these topics (without names: the event topics), by topic, partition and offset."""
        return read_topics(self.client, {}, topics or EVENT_TOPICS.values())

    def newest(self, topic: str) -> dict[str, Any]:
        """What a compacted topic says in the end: key -> JSON; removed keys left out."""
        values = {record.key.decode(): record.value for record in self.records(topic)}
        return {key: orjson.loads(value) for key, value in values.items() if value is not None}

    def _record(self, event: Event) -> Record:
        parsed = parse_event(event)
        return to_record(parsed, content_hash(parsed), orjson.dumps(event), self.partitions)


def read_topics(
    client: Mapping[str, Any], start: Mapping[tuple[str, int], int], topics: Iterable[str]
) -> list[TopicRecord]:
    """All records from the offsets of `start` (else from 0) to the end, by topic, partition and offset."""
    ends = end_offsets(client, list(topics))
    consumer = connect(
        KafkaConsumer, {**client, "group_id": None, "enable_auto_commit": False, "fetch_max_wait_ms": 20}
    )
    seen: list[TopicRecord] = []
    try:
        for (topic, partition), end in sorted(ends.items()):
            seen += _read(consumer, TopicPartition(topic, partition), start.get((topic, partition), 0), end)
    finally:
        consumer.close()
    return seen


def _read(consumer: KafkaConsumer, place: TopicPartition, start: int, end: int) -> Sequence[TopicRecord]:
    consumer.assign([place])
    consumer.seek(place, start)
    seen: list[TopicRecord] = []
    while consumer.position(place) < end:
        seen += [
            TopicRecord(place.topic, place.partition, r.key, r.value, dict(r.headers), r.timestamp)
            for r in consumer.poll(timeout_ms=100).get(place, [])
        ]
    return seen

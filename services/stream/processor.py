"""Pulls the six event topics in batches and applies each in one store transaction.

A Faust service, not agents: an agent acknowledges records whose handling failed and caps far below what a
registry needs. Positions are the store's own, written in the same transaction as the state; Kafka's are
never asked.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from mode import Service

from schemas.topics import EVENT_TOPICS
from services.broker import BrokerProblem
from services.broker.topics import topic_ids
from services.runtime.errors import OperatorError
from services.stream.decode import decode_records
from services.stream.measures import Arrival, measure_batch, note_arrivals
from services.stream.node import Node
from services.stream.store import Batch

log = logging.getLogger(__name__)

Polled = dict[tuple[str, int], Sequence[ConsumerRecord]]

IDLE_SECONDS = 0.5
RETRY_SECONDS = 1.0
BACKLOG_RECORDS = 1_000
"""So many left in the log after a poll are a backlog: publication and gauges wait for its end."""
BACKLOG_TRANSACTION_RECORDS = 60_000
BACKLOG_TRANSACTION_SECONDS = 2.0
"""A backlog's polls share a transaction up to so many records or so long: deriving costs by patients touched."""
FETCH_BYTES = 512 * 1024
"""Per partition; bounds what waits in memory during a backlog."""


@dataclass
class _Transaction:
    """What was taken into the next commit, and since when."""

    started: float = 0.0
    arrivals: list[Arrival] = field(default_factory=list)

    def add(self, arrivals: Sequence[Arrival], started: float) -> None:
        self.started = self.started if self.arrivals else started
        self.arrivals += arrivals

    def is_old(self) -> bool:
        return time.perf_counter() - self.started > BACKLOG_TRANSACTION_SECONDS

    def clear(self) -> None:
        self.arrivals = []


class Processor(Service):  # type: ignore[misc]
    """Reads, applies, and says how far it is; recovers by itself from a broker or disk that went away."""

    def __init__(self, node: Node, **options: Any) -> None:
        super().__init__(**options)
        self.node = node
        self._lag: dict[tuple[str, int], int] = {}

    @Service.task  # type: ignore[untyped-decorator]
    async def _pull(self) -> None:
        while not self.should_stop:
            try:
                await self._pull_until_broken()
            except (KafkaError, BrokerProblem, OSError) as error:
                self.node.parts["kafka"] = "away"
                log.warning("Kafka is away (%s): trying again", type(error).__name__)
                await self.sleep(RETRY_SECONDS)
            except duckdb.Error as error:
                self.node.parts["store"] = "cannot commit"
                log.error("the store cannot commit (%s): reading the same again", type(error).__name__)
                await self.sleep(RETRY_SECONDS)

    async def _pull_until_broken(self) -> None:
        node = self.node
        consumer = AIOKafkaConsumer(
            **node.settings.aiokafka_options(),
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=node.settings.fetch_max_wait_ms,
            metadata_max_age_ms=30_000,
        )
        await consumer.start()
        try:
            ids = await node.in_reader(
                topic_ids, node.settings.kafka_python_options(), list(EVENT_TOPICS.values())
            )
            await self._take_up(consumer, ids)
            node.parts["kafka"] = "ok"
            await self._work(consumer, ids)
        except OffsetOutOfRangeError:
            raise OperatorError(
                f"the {node.name} store has read further than Kafka's log reaches: this is another or an "
                "emptied Kafka. Point KAFKA_BOOTSTRAP_SERVERS at the right one, or start with an empty WEEK12_DATA_DIR"
            ) from None
        finally:
            await consumer.stop()

    async def _work(self, consumer: AIOKafkaConsumer, ids: dict[str, str]) -> None:
        """Poll, decode, stage and commit; the next poll is decoded while DuckDB, outside Python's lock, works."""
        under_way = _Transaction()
        storing: asyncio.Task[None] | None = None
        try:
            while not self.should_stop:
                polled = await self._poll(consumer)
                if not polled:
                    if storing:
                        await storing
                    await self._commit(under_way)
                    continue
                started = time.perf_counter()
                arrivals = note_arrivals(polled)
                batch = await self.node.in_decoder(decode_records, polled, self.node.store.definition.extract)
                del polled  # half of a backlog's memory
                if storing:
                    await storing
                if batch.tombstones:  # counted apart from what was staged before them
                    await self._commit(under_way)
                under_way.add(arrivals, started)
                storing = asyncio.create_task(self._store(under_way, batch, ids))
                del batch
        finally:
            if storing:
                await storing

    async def _store(self, under_way: "_Transaction", batch: Batch, ids: dict[str, str]) -> None:
        node = self.node
        staged = await node.write(node.store.stage, batch, ids)
        if not node.behind or staged >= BACKLOG_TRANSACTION_RECORDS or under_way.is_old():
            await self._commit(under_way)

    async def _commit(self, under_way: "_Transaction") -> None:
        node = self.node
        if not under_way.arrivals:
            return
        applied = await node.write(node.store.commit)
        node.parts["store"] = "ok"
        node.last = applied
        node.committed.beat()
        seconds = time.perf_counter() - under_way.started
        measure_batch(node.metrics, node.name, under_way.arrivals, applied, seconds)
        under_way.clear()

    async def _take_up(self, consumer: AIOKafkaConsumer, ids: dict[str, str]) -> None:
        """Assign every partition of the event topics and go to where the store stands."""
        missing = sorted(set(EVENT_TOPICS.values()) - ids.keys())
        if missing:
            raise BrokerProblem(f"topics are missing: {', '.join(missing)}")
        await self.node.write(self.node.store.discard)
        stored = await self.node.write(self.node.store.offsets)
        partitions = [
            TopicPartition(topic, number)
            for topic in EVENT_TOPICS.values()
            for number in range(self.node.settings.partitions)  # checked against the broker at start
        ]
        consumer.assign(partitions)
        for partition in partitions:
            topic_id, offset = stored.get((partition.topic, partition.partition), ("", 0))
            if offset and topic_id != ids[partition.topic]:
                log.warning("%s was made anew: reading it from its start", partition.topic)
                offset = 0
            consumer.seek(partition, offset)

    async def _poll(self, consumer: AIOKafkaConsumer) -> Polled:
        """What has arrived; a short wait after the first record lets more share its transaction."""
        most = self.node.settings.batch_max_records
        polled: Polled = _by_topic(
            await consumer.getmany(timeout_ms=int(IDLE_SECONDS * 1000), max_records=most)
        )
        count = sum(map(len, polled.values()))
        if polled and count < most and self.node.linger_seconds:
            await self.sleep(self.node.linger_seconds)
            more = _by_topic(await consumer.getmany(timeout_ms=0, max_records=most - count))
            for partition, records in more.items():
                polled[partition] = [*polled.get(partition, ()), *records]
        self._note_lag(consumer, polled)
        return polled

    def _note_lag(self, consumer: AIOKafkaConsumer, polled: Polled) -> None:
        gauge = self.node.metrics.consumer_lag_records
        for (topic, number), records in polled.items():
            end = consumer.highwater(TopicPartition(topic, number))
            lag = max(0, (end or 0) - records[-1].offset - 1)
            if self._lag.get((topic, number)) != lag:
                self._lag[topic, number] = lag
                gauge.labels(self.node.name, topic, str(number)).set(lag)
        self.node.behind = sum(self._lag.values()) >= BACKLOG_RECORDS


def _by_topic(polled: dict[TopicPartition, list[ConsumerRecord]]) -> Polled:
    return {(tp.topic, tp.partition): records for tp, records in polled.items() if records}

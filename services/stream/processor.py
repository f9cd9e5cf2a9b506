"""Pulls the six event topics in batches and applies each in one store transaction.

A Faust service, not agents: an agent acknowledges records whose handling failed and caps far below what a
registry needs. Positions are the store's own, written in the same transaction as the state; Kafka's are
never asked.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
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
"""A poll that finds so many is working off a backlog: publication and gauges wait for its end."""
FETCH_BYTES = 512 * 1024
"""Per partition; bounds what waits in memory during a backlog."""


class _Uncommitted(Exception):
    """A batch was given up at a stop: no later one may be committed, for its offsets would hide the loss."""


class Processor(Service):  # type: ignore[misc]
    """Reads, applies, and says how far it is; recovers by itself from a broker or disk that went away."""

    def __init__(self, node: Node, **options: Any) -> None:
        super().__init__(**options)
        self.node = node

    @Service.task  # type: ignore[untyped-decorator]
    async def _pull(self) -> None:
        while not self.should_stop:
            try:
                await self._pull_until_broken()
            except _Uncommitted:
                return
            except (KafkaError, BrokerProblem, OSError) as error:
                self.node.parts["kafka"] = "away"
                log.warning("Kafka is away (%s): trying again", type(error).__name__)
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
        """Poll, decode and commit; the next batch is decoded while DuckDB, outside Python's lock, commits."""
        committing: asyncio.Task[None] | None = None
        try:
            while not self.should_stop:
                polled = await self._poll(consumer)
                if not polled:
                    continue
                started = time.perf_counter()
                arrivals = note_arrivals(polled)
                self._note_lag(consumer, polled)
                batch = await self.node.in_decoder(decode_records, polled, self.node.store.definition.extract)
                del polled  # half of a backlog's memory
                if committing:
                    await committing
                committing = asyncio.create_task(self._commit(arrivals, batch, ids, started))
                del batch
        finally:
            if committing:
                await committing

    async def _take_up(self, consumer: AIOKafkaConsumer, ids: dict[str, str]) -> None:
        """Assign every partition of the event topics and go to where the store stands."""
        missing = sorted(set(EVENT_TOPICS.values()) - ids.keys())
        if missing:
            raise BrokerProblem(f"topics are missing: {', '.join(missing)}")
        stored = self.node.store.offsets()
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
        self.node.behind = count >= BACKLOG_RECORDS
        if polled and count < most and self.node.linger_seconds:
            await self.sleep(self.node.linger_seconds)
            more = _by_topic(await consumer.getmany(timeout_ms=0, max_records=most - count))
            for partition, records in more.items():
                polled[partition] = [*polled.get(partition, ()), *records]
        return polled

    async def _commit(
        self, arrivals: Sequence[Arrival], batch: Batch, ids: dict[str, str], started: float
    ) -> None:
        """Commit; a store that cannot is asked again with the same batch until it can."""
        node = self.node
        while True:
            try:
                applied = await node.write(node.store.apply, batch, ids)
                break
            except duckdb.Error as error:
                node.parts["store"] = "cannot commit"
                log.error("the store cannot commit (%s): trying the same batch again", type(error).__name__)
                await self.sleep(RETRY_SECONDS)
                if self.should_stop:
                    raise _Uncommitted from None
        node.parts["store"] = "ok"
        node.last = applied
        node.committed.beat()
        measure_batch(node.metrics, node.name, arrivals, batch, applied, time.perf_counter() - started)

    def _note_lag(self, consumer: AIOKafkaConsumer, polled: Polled) -> None:
        lag = self.node.metrics.consumer_lag_records
        for topic, number in polled:
            partition = TopicPartition(topic, number)
            end = consumer.highwater(partition)
            if end is not None:
                lag.labels(self.node.name, topic, str(number)).set(
                    max(0, end - polled[topic, number][-1].offset - 1)
                )


def _by_topic(polled: dict[TopicPartition, list[ConsumerRecord]]) -> Polled:
    return {(tp.topic, tp.partition): records for tp, records in polled.items() if records}

"""Pulls the six event topics in batches and applies each in one store transaction.

A Faust service, not agents: an agent acknowledges records whose handling failed and caps far below what a
registry needs. Positions are the store's own, written in the same transaction as the state; Kafka's are
never asked.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import duckdb
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from mode import Service

from schemas.topics import ERASURES, INPUT_TOPICS
from services.broker import BrokerProblem
from services.broker.topics import end_offsets, topic_ids
from services.runtime.errors import OperatorError
from services.stream.batch import Applied, Batch
from services.stream.decode import decode_records
from services.stream.measures import Arrival, measure_batch, note_arrivals
from services.stream.node import Node
from services.stream.store import EventStore, why_not
from services.stream.traces import commit_facts

log = logging.getLogger(__name__)

Polled = dict[tuple[str, int], Sequence[ConsumerRecord]]

IDLE_SECONDS = 0.5
RETRY_SECONDS = 1.0
SILENCE_SECONDS = 10.0
BACKLOG_RECORDS = 1_000
"""So many left in the log after a poll are a backlog: publication and gauges wait for its end."""
BACKLOG_TRANSACTION_RECORDS = 100_000
BACKLOG_TRANSACTION_SECONDS = 5.0
"""A backlog's polls share a transaction up to so many records or so long: deriving costs by patients touched. Half as
many each time that DuckDB has not the memory for them."""
REST = 1 / 4
LONGEST_REST_SECONDS = 0.1
"""After a transaction, this part of what it took: somewhat fewer and larger ones leave readers room."""
GLANCE_SECONDS = 0.02
"""How often what has arrived is taken while records wait: until then the consumer asks Kafka for no more."""
LAG_SECONDS = 5.0
DECODED_AHEAD_RECORDS = 20_000
"""Decoded records of a backlog that may wait for the writing thread: more take some 45 MiB and make nothing faster."""
FETCH_BYTES = 256 * 1024
"""Per partition; bounds what waits in memory during a backlog."""


@dataclass(frozen=True)
class _Committed:
    """A transaction that was committed, and what it took in."""

    applied: Applied
    arrivals: Sequence[Arrival]
    seconds: float


class _Transaction:
    """What was staged for the next commit, and since when. Used in the writing thread only.

    `most`: how many records a backlog's polls may share it.
    """

    def __init__(self, store: EventStore, topic_ids: Mapping[str, str], most: int) -> None:
        self.arrivals: list[Arrival] = []
        self._most = most
        self._store = store
        self._topic_ids = topic_ids
        self._since = 0.0
        self._given_up = False

    def take(self, batch: Batch, arrivals: Sequence[Arrival], *, more: bool) -> _Committed | None:
        """Stage a batch, and commit unless `more` of a backlog may share the transaction.

        After a failure nothing more is taken: all of it will be read again.
        """
        if self._given_up:
            return None
        if not self.arrivals:
            self._since = time.perf_counter()
        staged = self._store.stage(batch, self._topic_ids)
        self.arrivals += arrivals
        is_old = time.perf_counter() - self._since > BACKLOG_TRANSACTION_SECONDS
        if not self.arrivals or (more and not is_old and staged < self._most):
            return None
        self._given_up = True
        applied = self._store.commit()
        self._given_up = False
        taken, self.arrivals = self.arrivals, []
        return _Committed(applied, taken, time.perf_counter() - self._since)


class Processor(Service):  # type: ignore[misc]
    """Reads, applies, and says how far it is; recovers by itself from a broker or disk that went away."""

    def __init__(self, node: Node, **options: Any) -> None:
        super().__init__(**options)
        self.node = node
        self._left: dict[tuple[str, int], int] = {}  # records still in the log after the last poll
        self._most = BACKLOG_TRANSACTION_RECORDS
        self._rested = 0.0  # when it may work again
        self._consumer: AIOKafkaConsumer | None = None
        self._busy = False

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
                if isinstance(error, duckdb.OutOfMemoryException):
                    self._most = max(self.node.settings.batch_max_records, self._most // 2)
                log.error(
                    "the store cannot commit (%s): trying again, %d records at a time",
                    why_not(error), self._most,
                )  # fmt: skip
                await self.sleep(RETRY_SECONDS)

    @Service.task  # type: ignore[untyped-decorator]
    async def _measure_lag(self) -> None:
        """What is in the log and not in the store, at leisure: it says nothing that a commit waits for."""
        while not self.should_stop:
            await self.sleep(LAG_SECONDS)
            if self._consumer is not None:
                with suppress(KafkaError, duckdb.Error):  # whoever reads and commits tells of that
                    await self._note_lag(self._consumer)

    async def _note_lag(self, consumer: AIOKafkaConsumer) -> None:
        node, gauge = self.node, self.node.metrics.consumer_lag_records
        rows = await node.read("SELECT topic, partition, next_offset FROM offsets")
        stored = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            if end is None:
                continue
            lag = max(0, end - stored.get((partition.topic, partition.partition), 0))
            if lag and not self._busy and await consumer.position(partition) >= end:
                lag = 0  # compaction took the last records: there is nothing left to read
            gauge.labels(node.name, partition.topic, str(partition.partition)).set(lag)

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
            ids = await node.in_reader(topic_ids, node.settings.kafka_python_options(), list(INPUT_TOPICS))
            await self._take_up(consumer, ids)
            await self._learn_who_left(consumer, ids)
            node.parts["kafka"] = "ok"
            self._consumer = consumer
            await self._work(consumer, ids)
        except OffsetOutOfRangeError:
            raise OperatorError(
                f"the {node.name} store has read further than Kafka's log reaches: this is another or an "
                "emptied Kafka. Point KAFKA_BOOTSTRAP_SERVERS at the right one, or start with an empty WEEK12_DATA_DIR"
            ) from None
        finally:
            self._consumer = None
            await consumer.stop()

    async def _work(self, consumer: AIOKafkaConsumer, ids: dict[str, str]) -> None:
        """Poll and decode; stage and commit in the writing thread, while the next records arrive.

        Those of a backlog are decoded meanwhile.
        """
        under_way = _Transaction(self.node.store, ids, self._most)
        storing: deque[tuple[asyncio.Task[None], int]] = deque()  # and how many records each stores
        try:
            while not self.should_stop:
                polled = await self._poll(consumer, storing)
                batch, arrivals = Batch(), note_arrivals(polled)
                if polled:
                    self._busy = True
                    batch = await self.node.in_decoder(
                        decode_records, polled, self.node.store.definition.extract
                    )
                elif not under_way.arrivals:
                    self._busy = False
                    await self.node.prove_store()
                    await self.node.write(self.node.store.make_ready)
                    continue
                del polled  # half of a backlog's memory
                ahead = DECODED_AHEAD_RECORDS if self.node.behind else 0
                while storing and sum(records for _, records in storing) + batch.records > ahead:
                    await storing.popleft()[0]
                storing.append((asyncio.create_task(self._store(under_way, batch, arrivals)), batch.records))
                del batch
        finally:
            await asyncio.gather(*(task for task, _ in storing), return_exceptions=True)

    async def _store(self, under_way: "_Transaction", batch: Batch, arrivals: Sequence[Arrival]) -> None:
        node = self.node
        done = await node.write(under_way.take, batch, arrivals, more=node.behind and bool(arrivals))
        if done is None:
            return
        node.parts["store"] = "ok"
        letters = done.applied.dead_letters
        node.traces.note(((a.topic, a.partition, a.traced) for a in done.arrivals), letters)
        node.note(done.applied)
        self._rested = time.perf_counter() + min(done.seconds * REST, LONGEST_REST_SECONDS)
        measure_batch(node.metrics, node.name, done.arrivals, done.applied, done.seconds)
        _log_commit(done)

    async def _take_up(self, consumer: AIOKafkaConsumer, ids: dict[str, str]) -> None:
        """Assign every partition of the topics and go to where the store stands."""
        missing = sorted(set(INPUT_TOPICS) - ids.keys())
        if missing:
            raise BrokerProblem(f"topics are missing: {', '.join(missing)}")
        await self.node.write(self.node.store.discard)
        stored = await self.node.write(self.node.store.offsets)
        partitions = [
            TopicPartition(topic, number)
            for topic in INPUT_TOPICS
            for number in range(self.node.settings.partitions)  # checked against the broker at start
        ]
        consumer.assign(partitions)
        for partition in partitions:
            topic_id, offset = stored.get((partition.topic, partition.partition), ("", 0))
            if offset and topic_id != ids[partition.topic]:
                log.warning("%s was made anew: reading it from its start", partition.topic)
                offset = 0
            consumer.seek(partition, offset)

    async def _learn_who_left(self, consumer: AIOKafkaConsumer, ids: dict[str, str]) -> None:
        """Read the erasures to their end before any event: a store filled anew must not show who has left.

        What compaction took from the end of a partition is not waited for longer than some seconds.
        """
        node = self.node
        ends = await node.in_reader(end_offsets, node.settings.kafka_python_options(), [ERASURES])
        events = [partition for partition in consumer.assignment() if partition.topic != ERASURES]
        consumer.pause(*events)
        heard = time.monotonic()
        while not self.should_stop and time.monotonic() - heard < SILENCE_SECONDS:
            at = {place: await consumer.position(TopicPartition(*place)) for place in ends}
            if all(at[place] >= end for place, end in ends.items()):
                break
            polled = _by_topic(await consumer.getmany(timeout_ms=int(IDLE_SECONDS * 1000)))
            if polled:
                heard = time.monotonic()
                batch = await node.in_decoder(decode_records, polled, node.store.definition.extract)
                await node.write(node.store.apply, batch, ids)
                node.committed.beat()
        consumer.resume(*events)

    async def _poll(
        self, consumer: AIOKafkaConsumer, storing: Iterable[tuple[asyncio.Task[None], int]]
    ) -> Polled:
        """What has arrived; a short wait after the first record lets more share its transaction.

        Few records wait for the transaction before them, and rest a part of what it took: under load somewhat larger
        transactions leave more of the machine to everybody, and each record is seen sooner.
        """
        node, most = self.node, self.node.settings.batch_max_records
        polled: Polled = _by_topic(
            await consumer.getmany(timeout_ms=int(IDLE_SECONDS * 1000), max_records=most)
        )
        came, count = time.perf_counter(), sum(map(len, polled.values()))
        while polled and count < min(BACKLOG_RECORDS, most) and not self.should_stop:
            patience = node.patience.of(topic for topic, _ in polled)
            ready = max(self._rested, came + patience * node.settings.linger_ms / 1000)
            wait = ready - time.perf_counter()
            if wait <= 0 and all(task.done() for task, _ in storing):
                break
            await self.sleep(wait if 0 < wait < GLANCE_SECONDS else GLANCE_SECONDS)
            more = _by_topic(await consumer.getmany(timeout_ms=0, max_records=most - count))
            for partition, records in more.items():
                polled[partition] = [*polled.get(partition, ()), *records]
                count += len(records)
        self._note_backlog(consumer, polled)
        return polled

    def _note_backlog(self, consumer: AIOKafkaConsumer, polled: Polled) -> None:
        for (topic, number), records in polled.items():
            end = consumer.highwater(TopicPartition(topic, number))
            self._left[topic, number] = max(0, (end or 0) - records[-1].offset - 1)
        self.node.behind = sum(self._left.values()) >= BACKLOG_RECORDS


def _log_commit(done: _Committed) -> None:
    """Where each record of it stands in Kafka, and its trace: by them an event is followed, not by its id."""
    applied = done.applied
    facts = commit_facts(
        ((a.topic, a.partition, a.first, a.last) for a in done.arrivals),
        chain.from_iterable(a.traces for a in done.arrivals),
    )
    counts = {"batch": applied.batch, "records": applied.records, "new": applied.applied}
    counts["dead_letters"] = len(applied.dead_letters)
    log.info("committed", extra={**counts, "seconds": round(done.seconds, 4), **facts})


def _by_topic(polled: dict[TopicPartition, list[ConsumerRecord]]) -> Polled:
    return {(tp.topic, tp.partition): records for tp, records in polled.items() if records}

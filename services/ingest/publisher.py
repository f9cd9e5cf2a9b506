"""Records into Kafka, acknowledged by all replicas, through kafka-python.

The producer is rebuilt whenever the broker goes away: while there is none, callers are told at once. Its
settings are chosen against known weaknesses of kafka-python 3.0: idempotence off (an idempotent producer can
stay stuck for good after a broker's pause; the record key makes duplicates harmless), one request in flight
(keeps order), no automatic topics, short waits. Memory is bounded outside, by the window.
"""

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.topics import EVENT_TOPICS
from services.broker import BrokerProblem, TopicProblem
from services.broker.clients import connect
from services.ingest.records import Record
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings

log = logging.getLogger(__name__)

LINGER_MS = 5
BATCH_BYTES = 256 << 10
REQUEST_BYTES = 2 << 20
BOOTSTRAP_MS = 2_000
RETRY_SECONDS = 1.0
PROBE_SECONDS = 2.0
FEW = 20
"""Records handed over at once: waking a thread up for them would take longer."""
CLOSE_SECONDS = 1.0
"""How long a stop waits for each client to close."""
GRACE_SECONDS = 5.0
"""Beyond the delivery timeout, after which kafka-python itself has failed every record."""


class RecordMetadata(Protocol):
    """Where Kafka has put a record."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


class BrokerUnavailable(Exception):
    """Kafka has not acknowledged: the records may or may not be in the log."""


class RecordTooLarge(Exception):
    """Kafka takes no record of this size."""


class Publisher(Protocol):
    """What the HTTP side needs of Kafka; the tests have one without a broker."""

    @property
    def ready(self) -> bool:
        """Whether a broker is there, as far as is known."""
        ...

    async def publish(self, records: Sequence[Record], timestamp_ms: int) -> dict[str, str]:
        """Return once every record is acknowledged: where they stand, `topic/partition` -> first and last offset.

        Raises BrokerUnavailable or RecordTooLarge.
        """
        ...


class Delivery:
    """Counts the acknowledgements of some records of one topic, on whatever thread they come."""

    def __init__(self, topic: str, expected: int, loop: asyncio.AbstractEventLoop, metrics: Metrics) -> None:
        self.topic = topic
        self.done: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._metrics = metrics
        self._started = time.perf_counter()
        self._lock = threading.Lock()
        self._left = expected
        self._failed: list[BaseException] = []
        self._spans: dict[int, tuple[int, int]] = {}

    @property
    def places(self) -> dict[str, str]:
        """Where the records stand: `topic/partition` -> first and last offset."""
        return {f"{self.topic}/{number}": f"{a}-{b}" for number, (a, b) in self._spans.items()}

    def acknowledged(self, where: RecordMetadata | None) -> None:
        """One record is safe."""
        with self._lock:
            if where is not None:
                first, last = self._spans.get(where.partition, (where.offset, where.offset))
                self._spans[where.partition] = min(first, where.offset), max(last, where.offset)
            self._left -= 1
            last = not self._left
        if last:
            self._finish()

    def failed(self, error: BaseException) -> None:
        """One record is not, as far as is known."""
        self._failed.append(error)
        self.acknowledged(None)

    def _finish(self) -> None:
        took = time.perf_counter() - self._started
        self._metrics.kafka_produce_duration_seconds.labels(self.topic).observe(took)
        if self._failed:
            self._metrics.kafka_produce_errors_total.labels(self.topic).inc(len(self._failed))
        with suppress(RuntimeError):  # the loop is gone: the program is stopping
            self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if self.done.done():
            return
        if not self._failed:
            self.done.set_result(None)
        elif all(isinstance(error, MessageSizeTooLargeError) for error in self._failed):
            self.done.set_exception(RecordTooLarge())
        else:
            names = ", ".join(sorted({type(error).__name__ for error in self._failed}))
            self.done.set_exception(BrokerUnavailable(names))


class KafkaPublisher:
    """The Publisher of production. `run` keeps a producer for as long as it is not cancelled."""

    def __init__(self, settings: Settings, metrics: Metrics, prepare: Callable[[], None]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._prepare = prepare
        self._producer: KafkaProducer | None = None
        self._lost = asyncio.Event()
        self._closing: list[threading.Thread] = []
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="kafka-calls")

    @property
    def ready(self) -> bool:
        return self._producer is not None

    async def run(self) -> None:
        """Connect, watch, and connect again, until cancelled.

        `prepare`, which makes the topics, runs before each connection: a broker may come back empty. Raises
        TopicProblem where they exist with other settings.
        """
        try:
            while True:
                admin, self._producer = await self._connect()
                log.info("connected to Kafka")
                self._lost.clear()
                try:
                    await self._watch(admin)
                finally:
                    producer, self._producer = self._producer, None
                    self._close(admin, producer)
                log.warning("Kafka is away: events get 503 until it is back")
        finally:
            self._threads.shutdown(wait=False)
            for thread in self._closing:
                await asyncio.to_thread(thread.join, CLOSE_SECONDS)

    async def publish(self, records: Sequence[Record], timestamp_ms: int) -> dict[str, str]:
        producer = self._producer
        if producer is None:
            raise BrokerUnavailable("not connected")
        deliveries = self._deliveries(records)
        if len(records) <= FEW:
            _send(producer, records, timestamp_ms, deliveries)
        else:
            await self._call(_send, producer, records, timestamp_ms, deliveries)
        try:
            async with asyncio.timeout(self._settings.ingest_ack_seconds + GRACE_SECONDS):
                outcomes = await asyncio.gather(
                    *(delivery.done for delivery in deliveries.values()), return_exceptions=True
                )
        except TimeoutError:
            outcomes = [BrokerUnavailable("no answer")]
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if not errors:
            return {
                place: span for delivery in deliveries.values() for place, span in delivery.places.items()
            }
        if producer is self._producer and any(isinstance(error, BrokerUnavailable) for error in errors):
            self._lose(errors[0])
        raise errors[0]

    def _lose(self, error: BaseException) -> None:
        """Have the producer replaced."""
        if not self._lost.is_set():
            log.warning("Kafka did not acknowledge: %s", error)
            self._lost.set()

    def _deliveries(self, records: Iterable[Record]) -> dict[str, Delivery]:
        counts: dict[str, int] = {}
        for record in records:
            counts[record.topic] = counts.get(record.topic, 0) + 1
        loop = asyncio.get_running_loop()
        return {topic: Delivery(topic, count, loop, self._metrics) for topic, count in counts.items()}

    async def _connect(self) -> tuple[KafkaAdminClient, KafkaProducer]:
        told = ""
        while True:
            try:
                admin, producer = await self._call(self._build)
                return admin, producer
            except TopicProblem:
                raise
            except (KafkaError, BrokerProblem) as error:
                reason = str(error) if isinstance(error, BrokerProblem) else type(error).__name__
            if reason != told:
                log.warning("waiting for Kafka at %s: %s", self._settings.kafka_bootstrap_servers, reason)
                told = reason
            gc.collect()  # kafka-python leaves the sockets of a failed attempt in cycles
            await asyncio.sleep(RETRY_SECONDS)

    def _build(self) -> tuple[KafkaAdminClient, KafkaProducer]:
        admin = connect(KafkaAdminClient, self._client_options())
        try:
            self._prepare()
            producer = connect(KafkaProducer, self.producer_options())
            for topic in EVENT_TOPICS.values():
                producer.partitions_for(topic)
        except BaseException:
            admin.close()
            raise
        return admin, producer

    def _client_options(self) -> dict[str, Any]:
        return {
            **self._settings.kafka_python_options(),
            "client_id": "week12-ingest",
            "bootstrap_timeout_ms": BOOTSTRAP_MS,
            "request_timeout_ms": self._request_timeout_ms,
            "reconnect_backoff_max_ms": 1_000,
        }

    @property
    def _request_timeout_ms(self) -> int:
        # Half, so that a request which got no answer is tried once more before the record is given up.
        return int(self._settings.ingest_ack_seconds * 1000 - LINGER_MS) // 2

    def producer_options(self) -> dict[str, Any]:
        """Everything the producer is told; the benchmark's raw floor uses the same."""
        return {
            **self._client_options(),
            "acks": "all",
            "enable_idempotence": False,
            "max_in_flight_requests_per_connection": 1,
            "delivery_timeout_ms": int(self._settings.ingest_ack_seconds * 1000),
            "linger_ms": LINGER_MS,
            "batch_size": BATCH_BYTES,
            "max_request_size": REQUEST_BYTES,
            "max_block_ms": 2_000,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }

    async def _watch(self, admin: KafkaAdminClient) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._lost.wait()
                    return
            try:
                await self._call(admin.describe_cluster)
            except KafkaError:
                return

    def _close(self, admin: KafkaAdminClient, producer: KafkaProducer) -> None:
        # Closing waits for what is still in flight, which may take the delivery timeout; explicit, since a
        # producer left to the garbage collector silences kafka-python's log for the whole process.
        patience = self._settings.ingest_ack_seconds + GRACE_SECONDS
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        for close in (admin.close, lambda: producer.close(timeout=patience)):
            self._closing.append(threading.Thread(target=_quietly, args=(close,), daemon=True))
            self._closing[-1].start()

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _send(
    producer: KafkaProducer, records: Iterable[Record], timestamp_ms: int, deliveries: dict[str, Delivery]
) -> None:
    """Hand records over; a record that kafka-python does not even take counts as failed."""
    for topic, partition, key, value, headers in records:
        delivery = deliveries[topic]
        try:
            future = producer.send(topic, value, key, headers, partition, timestamp_ms)
        except (KafkaError, ValueError) as error:
            delivery.failed(error)
        else:
            future.add_callback(delivery.acknowledged)
            future.add_errback(delivery.failed)


def _quietly(close: Callable[[], None]) -> None:
    with suppress(Exception):
        close()

"""A scratch Apache Kafka filled in bulk, the floor of reading it, and the outcomes service with a clock in it."""

import asyncio
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka import KafkaProducer

from benchmarks.inputs import PARTITIONS, TODAY
from schemas.topics import EVENT_TOPICS
from services.broker import open_broker
from services.broker.process import free_port
from services.broker.topics import ensure_topics
from services.ingest.publisher import KafkaPublisher
from services.ingest.records import Record
from services.runtime.memory import allocator_variables
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings, load_settings
from services.stream.processor import FETCH_BYTES

PATIENCE_SECONDS = 300
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
"""Without its second compiler, which keeps a fifth of a processor busy in the first minutes of a JVM's life: a broker
in use is long past that."""


@contextmanager
def scratch_kafka(folder: Path, protocols: Sequence[str] = ("fu2025",)) -> Iterator[Settings]:
    """Apache Kafka with the registry's topics, empty; settings of services on free ports. All gone at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=folder) as scratch,
        open_broker("local", Path(scratch) / "kafka") as broker,
    ):
        settings = load_settings(
            kafka_bootstrap_servers=broker.bootstrap_servers,
            data_dir=Path(scratch) / "data",
            today=TODAY,
            ingest_port=free_port(),
            outcomes_port=free_port(),
            safety_port=free_port(),
            partitions=PARTITIONS,
            protocols=protocols,
        )
        ensure_topics(settings.kafka_python_options(), partitions=PARTITIONS)
        yield settings


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a service process reads them."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "WEEK12_DATA_DIR": str(settings.data_dir),
        "WEEK12_TODAY": str(settings.today),
        "WEEK12_INGEST_PORT": str(settings.ingest_port),
        "WEEK12_OUTCOMES_PORT": str(settings.outcomes_port),
        "WEEK12_SAFETY_PORT": str(settings.safety_port),
        "WEEK12_PARTITIONS": str(PARTITIONS),
        "WEEK12_PROTOCOLS": ",".join(settings.protocols),
        "WEEK12_LOG_LEVEL": "WARNING",
        "WEEK12_INGEST_RATE": "1000000/minute",
        **allocator_variables(),  # as `week12 up` starts them
    }


def load_records(settings: Settings, records: Sequence[Record]) -> float:
    """Write records as ingest writes them, in bulk; records a second."""
    producer = KafkaProducer(**KafkaPublisher(settings, Metrics("loader"), lambda: None).producer_options())
    started = time.perf_counter()
    try:
        futures = [producer.send(r.topic, r.value, r.key, r.headers, r.partition) for r in records]
        for future in futures:
            future.get(60)
    finally:
        producer.close()
    return len(records) / (time.perf_counter() - started)


def read_and_throw_away(settings: Settings, total: int) -> float:
    """Records a second through aiokafka's getmany, with the processor's settings: the raw floor."""
    return uvloop.run(_read_and_throw_away(settings, total))


async def _read_and_throw_away(settings: Settings, total: int) -> float:
    consumer = AIOKafkaConsumer(
        **settings.aiokafka_options(),
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(t, p) for t in EVENT_TOPICS.values() for p in range(PARTITIONS)])
        await consumer.seek_to_beginning()
        seen, started = 0, time.perf_counter()
        while seen < total:
            polled = await asyncio.wait_for(
                consumer.getmany(timeout_ms=500, max_records=settings.batch_max_records), PATIENCE_SECONDS
            )
            seen += sum(map(len, polled.values()))
        return seen / (time.perf_counter() - started)
    finally:
        await consumer.stop()


@dataclass(frozen=True)
class Reached:
    """What the outcomes process said of the records it was to read."""

    seconds: float  # from asking for the first record to the last committed row
    batches: int
    cpu_seconds: float


class Worker:
    """The whole `week12 outcomes` in a process of its own (`benchmarks.worker`)."""

    def __init__(self, settings: Settings, total: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", str(total)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**without_settings(), **environment(settings)},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def reached(self) -> Reached:
        """Wait until it has committed the last of the records."""
        assert self._process.stdout
        while select.select([self._process.stdout], [], [], PATIENCE_SECONDS)[0]:
            line = self._process.stdout.readline()
            if line.startswith(b'{"seconds"'):
                return Reached(**json.loads(line))
            if not line:
                sys.exit("the outcomes process ended before it had read everything")
        sys.exit(f"the outcomes process had not read everything after {PATIENCE_SECONDS} s")

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        """Closing its input is the signal to stop."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def without_settings() -> dict[str, str]:
    """The environment without any setting of week12 or Kafka of the caller's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("WEEK12_", "KAFKA_"))}

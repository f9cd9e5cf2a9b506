"""A transaction that DuckDB has not the memory for goes in smaller ones, with a real broker and a real store."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from kafka import KafkaProducer
from reading_helpers import CUT, cohort_events
from stores import FU2025, OUTCOMES, kafka_records

from services.broker import Broker, BrokerKind
from services.broker.topics import ensure_topics
from services.runtime.metrics import Metrics
from services.runtime.settings import load_settings
from services.stream import processor
from services.stream.batch import Applied
from services.stream.node import Node
from services.stream.processor import Processor
from services.stream.store import EventStore

FIT, POLL, AT_MOST, PARTITIONS = 600, 100, 2_000, 1


class Narrow(EventStore):
    """A store with memory for so many records at a time."""

    def commit(self) -> Applied:
        if self._staged.records > FIT:
            raise duckdb.OutOfMemoryException("failed to allocate data")
        return super().commit()


async def test_what_takes_too_much_memory_at_once_is_taken_in_parts(
    make_broker: Callable[[BrokerKind], Broker],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = make_broker("embedded")
    settings = load_settings(
        kafka_bootstrap_servers=broker.bootstrap_servers,
        data_dir=tmp_path,
        partitions=PARTITIONS,
        batch_max_records=POLL,
    )
    ensure_topics(settings.kafka_python_options(), partitions=PARTITIONS)
    events = cohort_events()
    producer = KafkaProducer(**settings.kafka_python_options(), acks="all", enable_idempotence=False)
    for (topic, _), records in kafka_records(events).items():
        for record in records:
            producer.send(topic, record.value, record.key)
    producer.close()
    monkeypatch.setattr(processor, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(processor, "BACKLOG_TRANSACTION_RECORDS", AT_MOST)
    node = Node(
        settings, Narrow(tmp_path / "outcomes.duckdb", OUTCOMES, [FU2025], today=CUT), Metrics("outcomes")
    )
    pulling = Processor(node)
    with caplog.at_level(logging.ERROR):
        await pulling.start()
        async with asyncio.timeout(60):
            while (await node.read("SELECT count(*) AS n FROM events"))[0]["n"] < len(events):
                await node.committed.wait(node.committed.count, 1)
        await pulling.stop()
    node.close()
    said = [record.getMessage() for record in caplog.records if record.name == processor.__name__]
    expected = [
        f"the store cannot commit (OutOfMemoryException): trying again, {most} records at a time"
        for most in (1_000, 500)
    ]
    assert said == expected[: len(said)]
    assert said, "nothing was ever too much"

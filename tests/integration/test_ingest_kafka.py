"""Ingest on a fake, the embedded broker and Apache Kafka: one behaviour; then what only brokers show."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from ingest_helpers import FakePublisher, Ingest, lab, lines
from plugins.brokers import EMBEDDED_AND_KAFKA, shared_broker

from schemas import content_hash, parse_event, parse_record_key
from schemas.topics import EVENT_TOPICS
from services.broker import Broker, TopicProblem
from services.broker.clients import connect
from services.broker.topics import end_offsets, ensure_topics
from services.ingest.publisher import KafkaPublisher
from services.ingest.records import partition_of
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings, load_settings
from services.testing.topics import TopicRecord, read_topics

LABS = EVENT_TOPICS["lab"]


def make_topics(settings: Settings) -> None:
    ensure_topics({**settings.kafka_python_options(), "bootstrap_timeout_ms": 2_000})


def settings_for(broker: Broker, folder: Path, **more: Any) -> Settings:
    return load_settings(kafka_bootstrap_servers=broker.bootstrap_servers, data_dir=folder, **more)


@asynccontextmanager
async def connected(
    broker: Broker, folder: Path, **more: Any
) -> AsyncIterator[tuple[Ingest, KafkaPublisher]]:
    """Ingest on this broker, connected."""
    settings = settings_for(broker, folder, **more)
    publisher = KafkaPublisher(settings, Metrics("publisher"), partial(make_topics, settings))
    ingest = Ingest(folder, publisher, kafka_bootstrap_servers=broker.bootstrap_servers, **more)
    running = asyncio.create_task(publisher.run())
    try:
        await until(lambda: publisher.ready, running)
        yield ingest, publisher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(
    condition: Callable[[], bool], running: "asyncio.Task[None] | None" = None, seconds: float = 30
) -> None:
    """Wait for a condition; a task that ends meanwhile shows its error."""
    async with asyncio.timeout(seconds):
        while not condition():
            if running and running.done():
                running.result()
            await asyncio.sleep(0.02)


Sees = Callable[[], Awaitable[list[TopicRecord]]]


@pytest.fixture(params=["fake", *EMBEDDED_AND_KAFKA])
async def door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Ingest, Sees]]:
    """Ingest on each kind of publisher, and how to see what this test has published."""
    if request.param == "fake":
        fake = FakePublisher()

        async def kept() -> list[TopicRecord]:
            pairs = zip(fake.records, fake.timestamps, strict=True)
            return [TopicRecord(r.topic, r.partition, r.key, r.value, dict(r.headers), at) for r, at in pairs]

        yield Ingest(tmp_path, fake), kept
        return
    broker = shared_broker(request, request.param)
    async with connected(broker, tmp_path) as (ingest, _):
        client, topics = {"bootstrap_servers": broker.bootstrap_servers}, list(EVENT_TOPICS.values())
        start = await asyncio.to_thread(end_offsets, client, topics)

        async def in_kafka() -> list[TopicRecord]:
            return await asyncio.to_thread(read_topics, client, start, topics)

        yield ingest, in_kafka


class TestBehaviour:
    """The same on every publisher."""

    async def test_a_202_means_that_every_accepted_event_is_there(self, door: tuple[Ingest, Sees]) -> None:
        ingest, sees = door
        events = [lab(n) for n in range(1, 301)]
        answer = await ingest.post(lines(*events))
        assert answer.status_code == 202
        assert {receipt["status"] for receipt in answer.json()["receipts"]} == {"accepted"}
        found = await sees()
        assert sorted(record.value for record in found) == sorted(orjson.dumps(event) for event in events)

    async def test_a_record_is_what_processors_expect(self, door: tuple[Ingest, Sees]) -> None:
        ingest, sees = door
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await ingest.post(lab(7, version=2), traceparent=trace)
        (record,) = await sees()
        event = parse_event(record.value)
        assert parse_record_key(record.key) == (
            "S01-0007", "S01", "S01:lab:7", 2, content_hash(event)[:8],
        )  # fmt: skip
        assert (record.topic, record.partition) == (LABS, partition_of(b"S01-0007", 12))
        assert record.headers["ce_id"] == b"S01:lab:7:2"
        assert record.headers["ce_partitionkey"] == b"S01-0007"
        assert record.headers["traceparent"].split(b"-")[1] == trace.split("-")[1].encode()
        assert record.timestamp > 1_700_000_000_000

    async def test_only_what_was_accepted_is_there(self, door: tuple[Ingest, Sees]) -> None:
        ingest, sees = door
        answer = await ingest.post(
            [lab(1), lab(1), lab(2, unit="kg"), lab(3, site_id="S02"), lab(4), lab(4, value=1)]
        )
        assert answer.status_code == 207
        assert [parse_record_key(record.key).event_id for record in await sees()] == ["S01:lab:1"]

    async def test_sending_again_gives_the_same_key(self, door: tuple[Ingest, Sees]) -> None:
        ingest, sees = door
        await ingest.post(lab(value=10))
        await ingest.post(lab(value=10.0, recorded_at="2025-03-02T10:00:00Z"))
        found = await sees()
        assert len(found) == 2
        assert len({record.key for record in found}) == 1

    async def test_types_go_to_their_topics_and_a_patient_to_one_partition(
        self, door: tuple[Ingest, Sees]
    ) -> None:
        ingest, sees = door
        common = {"site_id": "S01", "patient_id": "S01-0042", "recorded_at": "2025-03-02T09:30:00Z"}
        events = [
            {**common, "event_type": kind, "event_id": f"S01:{kind}", "retracted": True}
            for kind in EVENT_TOPICS
        ]
        assert (await ingest.post(events)).status_code == 202
        found = await sees()
        assert {record.topic for record in found} == set(EVENT_TOPICS.values())
        assert len({record.partition for record in found}) == 1


@pytest.fixture(params=EMBEDDED_AND_KAFKA)
def shared(request: pytest.FixtureRequest) -> Broker:
    return shared_broker(request, request.param)


async def test_the_metrics_of_producing(shared: Broker, tmp_path: Path) -> None:
    async with connected(shared, tmp_path) as (ingest, publisher):
        await ingest.post([lab(1), lab(2)])
        registry = publisher._metrics.registry
        counted = registry.get_sample_value("week12_kafka_produce_duration_seconds_count", {"topic": LABS})
    assert counted == 1


async def test_a_broker_that_comes_later_is_waited_for(
    make_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    broker = make_broker("embedded")
    broker.stop()
    settings = settings_for(broker, tmp_path)
    publisher = KafkaPublisher(settings, Metrics("publisher"), partial(make_topics, settings))
    ingest = Ingest(tmp_path, publisher, kafka_bootstrap_servers=broker.bootstrap_servers)
    running = asyncio.create_task(publisher.run())
    try:
        answer = await ingest.post(lab())
        assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
        broker.start()
        await until(lambda: publisher.ready, running)
        assert (await ingest.post(lab())).status_code == 202
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_waiting_for_a_broker_uses_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "kafka")  # as in production; captured records would hold the sockets
    monkeypatch.setattr("services.ingest.publisher.BOOTSTRAP_MS", 100)
    monkeypatch.setattr("services.ingest.publisher.RETRY_SECONDS", 0.01)
    attempts: list[int] = []
    monkeypatch.setattr(
        "services.ingest.publisher.connect",
        lambda kind, options: (attempts.append(1), connect(kind, options))[1],
    )
    settings = load_settings(kafka_bootstrap_servers="127.0.0.1:9", data_dir=tmp_path)
    running = asyncio.create_task(KafkaPublisher(settings, Metrics("publisher"), lambda: None).run())
    try:
        await until(lambda: len(attempts) == 1, running)
        files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        await until(lambda: len(attempts) == 8, running)
        assert len(os.listdir("/proc/self/fd")) <= files + 20  # a leak of one attempt is four or more
        assert threading.active_count() <= threads + 5
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_topics_with_other_settings_end_it(
    make_broker: Callable[[str], Broker], tmp_path: Path
) -> None:
    broker = make_broker("embedded")
    ensure_topics({"bootstrap_servers": broker.bootstrap_servers}, partitions=3)
    settings = settings_for(broker, tmp_path)
    publisher = KafkaPublisher(settings, Metrics("publisher"), partial(make_topics, settings))
    with pytest.raises(TopicProblem, match="partitions is 3, must be 12"):
        await asyncio.wait_for(publisher.run(), 30)


@pytest.mark.real_kafka
@pytest.mark.crash
async def test_a_killed_broker_means_503_and_ingest_recovers_with_nothing_lost(
    own_kafka: Broker, tmp_path: Path
) -> None:
    broker = own_kafka
    async with connected(broker, tmp_path, ingest_ack_seconds=2) as (ingest, publisher):
        acknowledged = await post_all(ingest, range(1, 101))
        assert len(acknowledged) == 100
        broker.kill()
        refused = await ingest.post(lab(101))
        assert (refused.status_code, refused.json()["code"]) == (503, "broker_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        await until(lambda: not publisher.ready)
        async with ingest.client() as client:
            assert (await client.get("/health/ready")).status_code == 503
            assert (await client.get("/health/live")).status_code == 200
        broker.start()
        await until(lambda: publisher.ready)
        acknowledged |= await post_all(ingest, range(90, 151))
        client = {"bootstrap_servers": broker.bootstrap_servers}
        found = await asyncio.to_thread(read_topics, client, {}, [LABS])
    events = {parse_record_key(record.key).event_id for record in found}
    assert acknowledged == {f"S01:lab:{n}" for n in range(1, 151)}
    assert acknowledged <= events


@pytest.mark.real_kafka
async def test_a_frozen_broker_is_noticed_and_the_producer_is_not_stuck_afterwards(
    own_local_kafka: Broker, tmp_path: Path
) -> None:
    broker = own_local_kafka
    async with connected(broker, tmp_path, ingest_ack_seconds=2) as (ingest, publisher):
        assert await post_all(ingest, range(1, 11))
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            answers = await asyncio.gather(*(ingest.post(lab(n)) for n in range(11, 15)))
            assert {answer.status_code for answer in answers} == {503}
            await until(lambda: not publisher.ready)
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await until(lambda: publisher.ready)
        assert await post_all(ingest, range(11, 31)) == {f"S01:lab:{n}" for n in range(11, 31)}


async def post_all(ingest: Ingest, numbers: Iterable[int]) -> set[str]:
    """Send labs in several requests, and give the event_ids of the acknowledged ones."""
    events = [lab(number) for number in numbers]
    bodies = [lines(*events[start : start + 25]) for start in range(0, len(events), 25)]
    answers: list[httpx.Response] = await asyncio.gather(*(ingest.post(body) for body in bodies))
    return {
        receipt["event_id"]
        for answer in answers
        if answer.status_code == 202
        for receipt in answer.json()["receipts"]
    }

"""What every broker promises, on each kind; the embedded one's known gaps are strict expected failures."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from plugins.brokers import KINDS, shared_broker

from schemas.topics import ALERT_ACTIONS, DEAD_LETTERS, EVENT_TOPICS, TOPICS
from services.broker import Broker, TopicDifference, TopicProblem
from services.broker.topics import end_offsets, ensure_topics, topic_ids

DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture(params=KINDS, scope="module")
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each kind of broker in turn, shared by the whole run."""
    return shared_broker(request, request.param)


def client(broker: Broker) -> dict[str, Any]:
    return broker.client


def expect_gap(request: pytest.FixtureRequest, broker: Broker, reason: str) -> None:
    if broker.name == "embedded":
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def make_topic(broker: Broker, name: str, partitions: int = 1, **configs: str) -> None:
    spec = {"num_partitions": partitions, "replication_factor": 1, "configs": dotted(configs)}
    admin = KafkaAdminClient(**client(broker))
    admin.create_topics({name: spec}, wait_for_metadata=True)
    admin.close()


def dotted(configs: dict[str, str]) -> dict[str, str]:
    return {key.replace("_", "."): value for key, value in configs.items()}


@contextmanager
def producing(broker: Broker) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(
        **client(broker), acks="all", enable_idempotence=False, max_in_flight_requests_per_connection=1
    )
    try:
        yield producer
    finally:
        producer.close(timeout=5)


def produce(
    broker: Broker, topic: str, values: list[bytes], *, key: bytes = b"k", partition: int = 0
) -> None:
    """Every value acknowledged, in one batch where they are few."""
    with producing(broker) as producer:
        sent = [producer.send(topic, value, key=key, partition=partition) for value in values]
        producer.flush(timeout=30)
        for future in sent:
            future.get(timeout=30)


def fetch(broker: Broker, topic: str, partition: int = 0) -> list[Any]:
    """Every record of the partition up to its end."""
    part = TopicPartition(topic, partition)
    end = end_offsets(client(broker), [topic])[topic, partition]
    consumer = KafkaConsumer(**client(broker), group_id=None, enable_auto_commit=False)
    consumer.assign([part])
    consumer.seek(part, 0)
    records: list[Any] = []
    deadline = time.monotonic() + 30
    while consumer.position(part) < end and time.monotonic() < deadline:
        records += consumer.poll(timeout_ms=200).get(part, [])
    consumer.close()
    return records


def eventually(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# Records


def test_a_record_comes_back_as_it_was_sent(broker: Broker, fresh_topic: str) -> None:
    make_topic(broker, fresh_topic, partitions=3)
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"visit-1:2"), ("ce_subject", "Pâtient".encode())]
    with producing(broker) as producer:
        sent = producer.send(
            fresh_topic,
            b'{"cdai": 149}',
            key=b"P1|S1|visit-1|2|0a1b2c3d",
            headers=headers,
            partition=2,
            timestamp_ms=1_700_000_000_123,
        )
        receipt = sent.get(timeout=30)
    assert (receipt.partition, receipt.offset) == (2, 0)
    (record,) = fetch(broker, fresh_topic, partition=2)
    assert record.value == b'{"cdai": 149}'
    assert record.key == b"P1|S1|visit-1|2|0a1b2c3d"
    assert list(record.headers) == headers
    assert record.timestamp == 1_700_000_000_123


def test_a_tombstone_comes_back_without_a_value(broker: Broker, fresh_topic: str) -> None:
    make_topic(broker, fresh_topic, cleanup_policy="compact")
    with producing(broker) as producer:
        producer.send(fresh_topic, None, key=b"k", partition=0).get(timeout=30)
    (record,) = fetch(broker, fresh_topic)
    assert (record.key, record.value) == (b"k", None)


def test_records_of_a_partition_keep_their_order(broker: Broker, fresh_topic: str) -> None:
    make_topic(broker, fresh_topic)
    values = [f"{number}".encode() for number in range(2_000)]
    produce(broker, fresh_topic, values)
    records = fetch(broker, fresh_topic)
    assert [record.value for record in records] == values
    assert [record.offset for record in records] == list(range(2_000))


# Topics


@pytest.fixture
def clean_broker(broker: Broker) -> Iterator[Broker]:
    """A broker without any topic, and none is left to those who use it next."""
    forget_topics(broker)
    yield broker
    forget_topics(broker)


def forget_topics(broker: Broker) -> None:
    admin = KafkaAdminClient(**client(broker))
    admin.delete_topics(admin.list_topics())
    assert eventually(lambda: admin.list_topics() == [], within_s=10)
    admin.close()


def test_topics_are_made_once_as_the_contract_says(clean_broker: Broker) -> None:
    assert set(ensure_topics(client(clean_broker))) == set(TOPICS)
    ids = topic_ids(client(clean_broker))
    assert ensure_topics(client(clean_broker)) == ()
    assert topic_ids(client(clean_broker)) == ids
    assert set(ids) == set(TOPICS)
    assert len(set(ids.values())) == len(TOPICS)
    ends = end_offsets(client(clean_broker), list(TOPICS))
    assert ends == {(topic, partition): 0 for topic in TOPICS for partition in range(12)}


def test_topics_take_records_as_soon_as_they_are_made(clean_broker: Broker) -> None:
    ensure_topics(client(clean_broker))
    producer = KafkaProducer(**client(clean_broker), acks="all", enable_idempotence=False, retries=0)
    sent = [
        producer.send(topic, b"v", key=b"k", partition=part)
        for topic in EVENT_TOPICS.values()
        for part in range(12)
    ]
    assert [future.get(timeout=30).offset for future in sent] == [0] * 72
    producer.close(timeout=5)


def test_topics_with_other_settings_are_named_and_left_alone(clean_broker: Broker) -> None:
    labs = "registry.labs.v1"
    ensure_topics(client(clean_broker), partitions=2, dead_letter_days=30)
    with pytest.raises(TopicProblem) as problem:
        ensure_topics(client(clean_broker), partitions=3)
    differences = set(problem.value.differences)
    assert TopicDifference(labs, "partitions", wanted="3", found="2") in differences
    letters = TopicDifference(DEAD_LETTERS, "retention.ms", wanted=str(90 * DAY_MS), found=str(30 * DAY_MS))
    assert letters in differences
    assert len(differences) == len(TOPICS) + 1
    assert f"{labs}: partitions is 2, must be 3" in str(problem.value)
    assert "\n" not in str(problem.value)
    assert ensure_topics(client(clean_broker), partitions=2, dead_letter_days=30) == ()


def test_a_topic_that_somebody_made_without_its_settings_is_named(clean_broker: Broker) -> None:
    make_topic(clean_broker, ALERT_ACTIONS, partitions=12, cleanup_policy="delete")
    with pytest.raises(TopicProblem) as problem:
        ensure_topics(client(clean_broker))
    found = {(d.topic, d.setting, d.wanted) for d in problem.value.differences}
    assert (ALERT_ACTIONS, "cleanup.policy", "compact") in found
    assert (ALERT_ACTIONS, "delete.retention.ms", str(30 * DAY_MS)) in found
    assert {topic for topic, _, _ in found} == {ALERT_ACTIONS}


def test_fewer_copies_in_sync_than_asked_for_are_named(clean_broker: Broker) -> None:
    ensure_topics(client(clean_broker), partitions=1)
    with pytest.raises(TopicProblem) as problem:
        ensure_topics(client(clean_broker), partitions=1, min_insync=2)
    assert {(d.topic, d.setting, d.wanted) for d in problem.value.differences} == {
        (topic, "min.insync.replicas", "2 at least") for topic in TOPICS
    }
    assert ensure_topics(client(clean_broker), partitions=1, min_insync=1) == ()


def test_the_id_of_a_topic_that_does_not_exist_is_left_out(broker: Broker, fresh_topic: str) -> None:
    make_topic(broker, fresh_topic)
    assert set(topic_ids(client(broker), [fresh_topic, f"{fresh_topic}.other"])) == {fresh_topic}


def test_event_topics_are_co_partitioned_with_the_number_asked_for(clean_broker: Broker) -> None:
    ensure_topics(client(clean_broker), partitions=5)
    parts = end_offsets(client(clean_broker), list(EVENT_TOPICS.values()))
    assert {topic: sum(t == topic for t, _ in parts) for topic in EVENT_TOPICS.values()} == dict.fromkeys(
        EVENT_TOPICS.values(), 5
    )


# End offsets


def test_end_offsets_count_every_record_however_it_was_batched(broker: Broker, fresh_topic: str) -> None:
    make_topic(broker, fresh_topic, partitions=3)
    for size in (1, 5, 12):
        produce(broker, fresh_topic, [b"v"] * size, partition=0)
    produce(broker, fresh_topic, [b"v"] * 700, partition=1)
    assert end_offsets(client(broker), [fresh_topic]) == {
        (fresh_topic, 0): 18,
        (fresh_topic, 1): 700,
        (fresh_topic, 2): 0,
    }


def test_list_offsets_tells_the_end(request: pytest.FixtureRequest, broker: Broker, fresh_topic: str) -> None:
    expect_gap(request, broker, "ListOffsets answers the first offset of the last batch plus one")
    make_topic(broker, fresh_topic)
    produce(broker, fresh_topic, [b"v"] * 18)
    consumer = KafkaConsumer(**client(broker), group_id=None)
    part = TopicPartition(fresh_topic, 0)
    ends = consumer.end_offsets([part])
    consumer.close()
    assert ends == {part: 18}


# Clean-up


def test_compaction_keeps_the_newest_record_of_a_key(
    request: pytest.FixtureRequest, broker: Broker, fresh_topic: str
) -> None:
    expect_gap(request, broker, "nothing is ever compacted")
    make_topic(
        broker, fresh_topic, cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01"
    )

    def compacted() -> bool:
        produce(broker, fresh_topic, [b"rolls the segment"], key=b"other")  # the active one is never cleaned
        return [r.value for r in fetch(broker, fresh_topic) if r.key == b"k"] == [b"newest"]

    produce(broker, fresh_topic, [b"old", b"older", b"newest"])
    assert eventually(compacted, within_s=1 if broker.name == "embedded" else 40)


def test_a_compacted_topic_refuses_a_record_without_key(
    request: pytest.FixtureRequest, broker: Broker, fresh_topic: str
) -> None:
    expect_gap(request, broker, "a record without key is accepted")
    make_topic(broker, fresh_topic, cleanup_policy="compact")
    with producing(broker) as producer, pytest.raises(Exception, match="key"):
        producer.send(fresh_topic, b"v", partition=0).get(timeout=30)


# Life and death


def test_only_the_broker_that_keeps_data_says_so(broker: Broker) -> None:
    assert broker.keeps_data == (broker.name != "embedded")
    assert broker.environment == {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}
    assert broker.bootstrap_servers.startswith("127.0.0.1:")


def test_what_was_acknowledged_survives_a_kill_where_data_is_kept(broker: Broker, fresh_topic: str) -> None:
    make_topic(broker, fresh_topic)
    values = [f"{number}".encode() for number in range(500)]
    produce(broker, fresh_topic, values)
    ids, address = topic_ids(client(broker), [fresh_topic]), broker.bootstrap_servers

    broker.kill()
    assert broker.pid is None
    broker.start()

    assert broker.bootstrap_servers == address
    if broker.keeps_data:
        assert topic_ids(client(broker), [fresh_topic]) == ids
        assert [record.value for record in fetch(broker, fresh_topic)] == values
    else:
        assert topic_ids(client(broker), [fresh_topic]) == {}
        make_topic(broker, fresh_topic)
        assert topic_ids(client(broker), [fresh_topic]) != ids
        assert fetch(broker, fresh_topic) == []


def test_a_polite_stop_keeps_data_and_leaves_no_process(broker: Broker, fresh_topic: str) -> None:
    make_topic(broker, fresh_topic)
    produce(broker, fresh_topic, [b"v"])
    first = broker.pid
    assert first is not None
    began = time.monotonic()
    broker.stop()
    broker.stop()
    assert time.monotonic() - began < 12
    assert broker.pid is None
    assert not exists(first)

    broker.start()
    second = broker.pid
    broker.start()  # runs already
    assert broker.pid == second
    assert bool(topic_ids(client(broker), [fresh_topic])) == broker.keeps_data


def test_topics_are_never_made_by_asking_for_them(
    request: pytest.FixtureRequest, broker: Broker, fresh_topic: str
) -> None:
    expect_gap(request, broker, "a client's question makes the topic where the client allows it")
    consumer = KafkaConsumer(fresh_topic, **client(broker), group_id=None)
    consumer.poll(timeout_ms=1_000)
    consumer.close()
    assert topic_ids(client(broker), [fresh_topic]) == {}

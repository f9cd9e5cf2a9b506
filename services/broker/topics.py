"""Makes the topics of the contract, checks those that exist, and reads ids and end offsets from any broker.

Every function takes ``client``: the keyword arguments of kafka-python's clients (``bootstrap_servers``, TLS,
SASL), for example ``settings.kafka_python_options()``. All of them block; each raises BrokerProblem where the
broker does not answer or refuses.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from schemas.topics import DEAD_LETTERS, TOPICS
from services.broker.clients import connect
from services.broker.problems import BrokerProblem, TopicDifference, TopicProblem
from services.broker.readiness import all_led

Client = Mapping[str, Any]
MIN_INSYNC = "min.insync.replicas"

_DAY_MS = 86_400_000
_END_OFFSETS_WITHIN_S = 15
_LED_WITHIN_S = 30
_POLL_S = 0.05
_PATIENT = {"bootstrap_timeout_ms": 10_000}
"""How long somebody who waits for an answer is left without one where no broker is."""


def ensure_topics(
    client: Client,
    *,
    partitions: int | None = None,
    replication: int = -1,
    min_insync: int | None = None,
    dead_letter_days: int = 90,
) -> tuple[str, ...]:
    """Make the missing topics, check all against the contract, return those made once all take records.

    ``partitions`` replaces the number of ``topics.toml`` for every topic; ``replication`` -1 leaves the
    number of copies to the broker; ``min_insync`` is how many must have a record before it is acknowledged
    (None: 2 where a new topic gets three copies, else what the broker does). Idempotent, and safe when several
    services do it at once. Nothing is changed on a topic that exists: where its partitions or clean-up
    settings differ, or its copies or those in sync are fewer than asked for, TopicProblem names topic,
    setting, wanted and found value.
    """
    wanted = {
        name: {
            "num_partitions": partitions or topic.partitions,
            "replication_factor": replication,
            "configs": _configs(name, topic.configs, dead_letter_days),
        }
        for name, topic in TOPICS.items()
    }
    with _admin(client) as admin:
        missing = wanted.keys() - _described(admin, wanted).keys()
        made = _create(
            admin, {name: _durable(spec, min_insync) for name, spec in wanted.items() if name in missing}
        )
        _wait_until_led(admin, wanted)
        differences = tuple(_differences(admin, wanted, min_insync))
    if differences:
        raise TopicProblem(differences)
    return made


def topic_ids(client: Client, topics: Collection[str] = TOPICS.keys()) -> dict[str, str]:
    """The id that the broker gave to each topic; a topic that does not exist is left out.

    A topic made anew has another id: this is how one notices that a broker has forgotten.
    """
    with _admin(client) as admin:
        return {name: str(topic["topic_id"]) for name, topic in _described(admin, topics).items()}


def end_offsets(client: Client, topics: Collection[str]) -> dict[tuple[str, int], int]:
    """The offset that the next record of each partition will get, by (topic, partition).

    It is the high watermark of a fetch at the end, which is right on every broker. The embedded one answers
    ListOffsets with the first offset of the last batch plus one: that is only where to look.
    """
    options = {
        **_PATIENT,
        **client,
        "group_id": None,
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "fetch_min_bytes": 0,  # answer at once, also where there is nothing to read
        "max_partition_fetch_bytes": 1,  # at most one batch: only the watermark counts
    }
    with _telling(client):
        consumer = connect(KafkaConsumer, options)
        try:
            parts = [TopicPartition(topic, part) for topic in topics for part in _partitions(consumer, topic)]
            return _high_watermarks(consumer, parts)
        finally:
            consumer.close()


def _high_watermarks(consumer: KafkaConsumer, parts: list[TopicPartition]) -> dict[tuple[str, int], int]:
    consumer.assign(parts)
    for part, offset in consumer.end_offsets(parts).items():
        consumer.seek(part, offset)
    found: dict[tuple[str, int], int] = {}
    deadline = time.monotonic() + _END_OFFSETS_WITHIN_S
    while len(found) < len(parts):
        if time.monotonic() > deadline:
            topic, partition = next(part for part in parts if part not in found)
            raise BrokerProblem(
                f"no end offset of {topic} partition {partition} within {_END_OFFSETS_WITHIN_S} s: "
                "check that the brokers are up"
            )
        consumer.poll(timeout_ms=100)
        marks = {(part.topic, part.partition): consumer.highwater(part) for part in parts}
        found = {part: mark for part, mark in marks.items() if mark is not None}
    return found


def _partitions(consumer: KafkaConsumer, topic: str) -> list[int]:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        raise BrokerProblem(f"the topic {topic} does not exist: make the topics first")
    return sorted(partitions)


def _configs(name: str, configs: Mapping[str, str], dead_letter_days: int) -> dict[str, str]:
    if name == DEAD_LETTERS:
        return {**configs, "retention.ms": str(dead_letter_days * _DAY_MS)}
    return dict(configs)


def _durable(spec: dict[str, Any], min_insync: int | None) -> dict[str, Any]:
    """With three replicas acks=all must mean two: else one lost disk may take what was acknowledged."""
    if min_insync is None:
        if spec["replication_factor"] < 3:
            return spec
        min_insync = 2
    return {**spec, "configs": {**spec["configs"], MIN_INSYNC: str(min_insync)}}


def _create(admin: KafkaAdminClient, specs: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    if not specs:
        return ()
    answer = admin.create_topics(specs, raise_errors=False)
    errors = {topic["name"]: for_code(topic["error_code"]) for topic in answer["topics"]}
    for topic in answer["topics"]:
        error = errors[topic["name"]]
        if topic["error_code"] and error is not TopicAlreadyExistsError:  # another service may be faster
            reason = topic["error_message"] or error.__name__
            raise BrokerProblem(f"the topic {topic['name']} could not be made: {reason}")
    return tuple(sorted(name for name, error in errors.items() if error is not TopicAlreadyExistsError))


def _wait_until_led(admin: KafkaAdminClient, topics: Collection[str]) -> None:
    deadline = time.monotonic() + _LED_WITHIN_S
    while not all_led(admin, topics):
        if time.monotonic() > deadline:
            raise BrokerProblem(
                f"partitions have no leader after {_LED_WITHIN_S} s: check that all brokers are up"
            )
        time.sleep(_POLL_S)


def _described(admin: KafkaAdminClient, topics: Collection[str]) -> dict[str, dict[str, Any]]:
    described = {topic["name"]: topic for topic in admin.describe_topics(list(topics))}
    for name, topic in described.items():
        error = for_code(topic["error_code"])
        if topic["error_code"] and error is not UnknownTopicOrPartitionError:
            raise BrokerProblem(f"the topic {name} cannot be described: {error.__name__}")
    return {name: topic for name, topic in described.items() if not topic["error_code"]}


def _differences(
    admin: KafkaAdminClient, wanted: dict[str, dict[str, Any]], min_insync: int | None
) -> Iterator[TopicDifference]:
    described = _described(admin, wanted)
    # All settings, unfiltered: the embedded broker marks none as changed and hangs up on a list of names.
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
    configs = admin.describe_configs(resources, config_filter="all").get("topic", {})
    for name, spec in wanted.items():
        partitions = described[name]["partitions"]
        if len(partitions) != spec["num_partitions"]:
            yield TopicDifference(name, "partitions", str(spec["num_partitions"]), str(len(partitions)))
        replicas = min(len(partition["replica_nodes"]) for partition in partitions)
        if replicas < spec["replication_factor"]:
            yield TopicDifference(
                name, "replication", f"{spec['replication_factor']} at least", str(replicas)
            )
        found = {setting: config.get("value") for setting, config in configs.get(name, {}).items()}
        for setting, value in spec["configs"].items():
            if found.get(setting) != value:
                yield TopicDifference(name, setting, value, found.get(setting))
        if min_insync is not None and int(found.get(MIN_INSYNC) or 1) < min_insync:
            yield TopicDifference(name, MIN_INSYNC, f"{min_insync} at least", found.get(MIN_INSYNC))


@contextmanager
def _admin(client: Client) -> Iterator[KafkaAdminClient]:
    with _telling(client):
        admin = connect(KafkaAdminClient, {**_PATIENT, **client})
        try:
            yield admin
        finally:
            admin.close()


@contextmanager
def _telling(client: Client) -> Iterator[None]:
    """Turns the client library's errors into one line that says where and what to do."""
    try:
        yield
    except KafkaError as error:
        servers = client["bootstrap_servers"]
        where = servers if isinstance(servers, str) else ",".join(servers)
        raise BrokerProblem(
            f"Kafka at {where} does not do what is asked ({type(error).__name__}): "
            "check KAFKA_BOOTSTRAP_SERVERS, the security settings and that the brokers are up"
        ) from error

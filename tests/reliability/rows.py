"""The rows of docs/reliability.md: what is disturbed, on what, and how often."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ingest_helpers import NDJSON, lab, lines
from kafka import KafkaProducer
from plugins.disks import SmallDisk
from reliability.benches import (
    ComposedRegistry,
    Registry,
    WiredKafka,
    composed,
    on_a_full_brokers_disk,
    on_a_full_stores_disk,
    on_a_wire,
    on_one_node,
    on_three_nodes,
)
from reliability.driver import A_PORTION, WITHIN, Row, Trial, nothing

from deploy.containers import SERVICES
from schemas.topics import EVENT_TOPICS
from services.testing.cluster import KafkaCluster
from services.testing.running import PROCESSORS

CUT_SECONDS = 6.0
POISON = A_PORTION // 100
"""One record in a hundred of a portion."""
_BAD = (
    b'{"value": ',
    b"\xff\xfe",
    b"[]",
    b"",
    b'{"event_type": "lab", "unit": "furlong"}',
    b'{"event_type": "x"}',
)


@contextmanager
def a_node_lost(trial: Trial, number: int) -> Iterator[None]:
    """Each node in turn."""
    cluster = _cluster(trial)
    node = cluster.nodes[number % len(cluster.nodes)]
    node.kill()
    yield
    node.start()
    cluster.wait_until_in_step()


@contextmanager
def two_nodes_lost(trial: Trial, number: int) -> Iterator[None]:
    """With one node lost all goes on; with two nothing may be acknowledged, and ingest says when to come again.

    What it has not acknowledged may stand in the log of the node that is left: it is sent again, as by any client.
    """
    cluster = _cluster(trial)
    cluster.nodes[0].kill()
    trial.seconds_until_counted(time.monotonic())
    cluster.nodes[1].kill()
    event = lab(number + 1, version=1)
    with trial.bench.client("ingest", trial.bench.secret) as client:
        answer = client.post("/v1/events", content=lines(event), headers={"Content-Type": NDJSON})
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        yield
        cluster.start()
        trial.bench.until(lambda: trial.load.post(client, [event]), "it is taken", WITHIN)


@contextmanager
def a_container_killed(trial: Trial, number: int) -> Iterator[None]:
    """Each container of the composition in turn."""
    registry = trial.bench
    assert isinstance(registry, ComposedRegistry)
    service = SERVICES[number % len(SERVICES)]
    registry.kill(service)
    yield
    registry.start(service)


def _cluster(trial: Trial) -> KafkaCluster:
    broker = registry(trial).broker
    assert isinstance(broker, KafkaCluster)
    return broker


def registry(trial: Trial) -> Registry:
    """The services as processes, whose parts can be reached one by one."""
    assert isinstance(trial.bench, Registry)
    return trial.bench


@contextmanager
def the_broker_killed(trial: Trial, number: int) -> Iterator[None]:
    registry(trial).broker.kill()
    yield
    registry(trial).broker.start()


@contextmanager
def a_service_killed(trial: Trial, number: int) -> Iterator[None]:
    """ingest, outcomes and safety in turn."""
    name = ("ingest", *PROCESSORS)[number % 3]
    registry(trial).kill(name)
    yield
    registry(trial).start(name)


@contextmanager
def the_wire_cut(trial: Trial, number: int) -> Iterator[None]:
    """Both processors hear nothing for seconds, while ingest goes on."""
    broker, services = registry(trial).broker, registry(trial)
    assert isinstance(broker, WiredKafka)
    broker.wire.cut()
    over = time.monotonic() + CUT_SECONDS
    before = sum(services.topics.ends().values())
    trial.load.send_until(trial.load.allowed + A_PORTION)
    trial.load.wait_for(trial.load.allowed)
    services.until(lambda: time.monotonic() > over, "the cut is over", 2 * CUT_SECONDS)
    assert sum(services.topics.ends().values()) > before
    assert all(services.records_read(name) <= before for name in PROCESSORS), "the wire was not cut"
    yield
    broker.wire.mend()


@contextmanager
def the_stores_disk_full(trial: Trial, number: int) -> Iterator[None]:
    """The processors' disk has no room: they say so, and ingest goes on."""
    services = registry(trial)
    disk = SmallDisk(services.folder)
    disk.fill()
    trial.load.send_until(trial.load.allowed + A_PORTION)
    trial.load.wait_for(trial.load.allowed)
    for name in PROCESSORS:
        services.until(lambda name=name: _store(services, name) == "disk full", f"{name} says it")  # type: ignore[misc]
    yield
    disk.make_room()


@contextmanager
def the_brokers_disk_full(trial: Trial, number: int) -> Iterator[None]:
    """Apache Kafka gives up a disk that it cannot write to; it is started again once there is room."""
    services = registry(trial)
    disk = SmallDisk(services.broker.log.parent)
    disk.fill()
    services.until(lambda: services.broker.pid is None, "Apache Kafka gives up its disk", 120)
    yield
    disk.make_room()
    services.broker.start()


def _store(services: Registry, name: str) -> str:
    """What the service's health says of its store."""
    parts: dict[str, str] = services.reader(name).get("/health/ready").json()["parts"]
    return parts["store"]


@contextmanager
def poisoned(trial: Trial, number: int) -> Iterator[None]:
    """One record in a hundred cannot be read, written past ingest among the good ones."""
    producer = KafkaProducer(**registry(trial).topics.client, acks="all", enable_idempotence=False)
    for count in range(POISON):
        topic = sorted(EVENT_TOPICS.values())[count % len(EVENT_TOPICS)]
        producer.send(topic, _BAD[count % len(_BAD)], f"bad {number} {count}".encode()).get(30)
        trial.load.wait_for(min(trial.load.allowed, trial.load.taken + A_PORTION // POISON))
    producer.close()
    trial.dead_letters += POISON
    yield


ROWS = (
    Row(
        name="node-lost",
        said="broker node lost: one of three killed",
        bench=on_three_nodes,
        disturb=a_node_lost,
        times=6,
        works_meanwhile=True,
    ),
    Row(
        name="two-nodes-lost",
        said="two of three broker nodes killed, started again",
        bench=on_three_nodes,
        disturb=two_nodes_lost,
        times=3,
        in_ci=1,
    ),
    Row(
        name="broker-restart",
        said="the only broker killed, started again",
        bench=on_one_node,
        disturb=the_broker_killed,
        times=5,
    ),
    Row(
        name="service-killed",
        said="ingest, outcomes, safety killed in turn, started again",
        bench=on_one_node,
        disturb=a_service_killed,
        times=9,
    ),
    Row(
        name="network-cut",
        said="network cut between both processors and the broker, 6 s",
        bench=on_a_wire,
        disturb=the_wire_cut,
        times=5,
        in_ci=1,
    ),
    Row(
        name="stores-disk-full",
        said="disk of the stores full, then room again",
        bench=on_a_full_stores_disk,
        disturb=the_stores_disk_full,
        times=3,
    ),
    Row(
        name="brokers-disk-full",
        said="disk of the only broker full, then room again",
        bench=on_a_full_brokers_disk,
        disturb=the_brokers_disk_full,
        times=3,
    ),
    Row(
        name="container-killed",
        said="each container of the composition killed in turn, started again",
        bench=composed,
        disturb=a_container_killed,
        times=4 * len(SERVICES),
    ),
    Row(name="poison", said="poison messages, 1 % of all", bench=on_one_node, disturb=poisoned, times=10),
    Row(
        name="duplicates",
        said="duplicate delivery, 20 % of all",
        bench=on_one_node,
        disturb=nothing,
        times=5,
        duplicates=0.2,
    ),
)
"""CI kills containers by `make containers`, services and the only broker in
tests/integration/test_crashes.py, and has poison and copies in
test_dead_letters.py and test_end_to_end.py there."""

"""The rows of docs/reliability.md: what is disturbed, on what, and how often."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest_helpers import NDJSON, lab, lines
from kafka import KafkaProducer
from plugins.services import RunningServices
from reliability.driver import A_PORTION, UNTIL, Row, Trial, nothing
from reliability.wire import Wire

from schemas.topics import EVENT_TOPICS
from services.broker import Broker
from services.broker.local import LocalKafka
from services.broker.process import HOST, free_port
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


# Benches: a broker and the services on it


@contextmanager
def running(broker: Broker, folder: Path) -> Iterator[RunningServices]:
    """The services on this broker, ready."""
    services = RunningServices(
        broker, folder / "data", WEEK12_TODAY=str(UNTIL), WEEK12_INGEST_ACK_SECONDS="3"
    )
    try:
        services.start()
        services.wait_until_ready()
        yield services
    finally:
        services.end()


@contextmanager
def on_one_node(folder: Path) -> Iterator[RunningServices]:
    with LocalKafka(folder / "kafka") as broker, running(broker, folder) as services:
        yield services


@contextmanager
def on_three_nodes(folder: Path) -> Iterator[RunningServices]:
    with KafkaCluster(folder / "kafka") as cluster, running(cluster, folder) as services:
        cluster.wait_until_in_step()
        yield services


class WiredKafka(LocalKafka):
    """One node that processors reach by a wire, and all others directly."""

    def __init__(self, folder: Path) -> None:
        far, near, controller, port = (free_port() for _ in range(4))
        super().__init__(
            folder,
            port,
            properties={
                "listeners": f"PLAINTEXT://{HOST}:{port},WIRED://{HOST}:{far},CONTROLLER://{HOST}:{controller}",
                "advertised.listeners": f"PLAINTEXT://{HOST}:{port},WIRED://{HOST}:{near}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,WIRED:PLAINTEXT,CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                "controller.quorum.voters": f"1@{HOST}:{controller}",
            },
        )
        self.wire = Wire(near, far)
        self.wired = f"{HOST}:{near}"


@contextmanager
def on_a_wire(folder: Path) -> Iterator[RunningServices]:
    with WiredKafka(folder / "kafka") as broker, broker.wire.connected():
        services = RunningServices(broker, folder / "data", WEEK12_TODAY=str(UNTIL))
        for name in PROCESSORS:
            services.configure(name, KAFKA_BOOTSTRAP_SERVERS=broker.wired)
        try:
            services.start()
            services.wait_until_ready()
            yield services
        finally:
            broker.wire.mend()
            services.end()


# Disturbances


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
    """With one node lost all goes on; with two nothing may be acknowledged, and ingest says when to come again."""
    cluster = _cluster(trial)
    cluster.nodes[0].kill()
    trial.seconds_until_counted(time.monotonic())
    cluster.nodes[1].kill()
    with trial.services.client("ingest", trial.services.secret) as client:
        answer = client.post("/v1/events", content=lines(lab()), headers={"Content-Type": NDJSON})
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    yield
    cluster.start()


def _cluster(trial: Trial) -> KafkaCluster:
    assert isinstance(trial.services.broker, KafkaCluster)
    return trial.services.broker


@contextmanager
def the_broker_killed(trial: Trial, number: int) -> Iterator[None]:
    trial.services.broker.kill()
    yield
    trial.services.broker.start()


@contextmanager
def a_service_killed(trial: Trial, number: int) -> Iterator[None]:
    """ingest, outcomes and safety in turn."""
    name = ("ingest", *PROCESSORS)[number % 3]
    trial.services.kill(name)
    yield
    trial.services.start(name)


@contextmanager
def the_wire_cut(trial: Trial, number: int) -> Iterator[None]:
    """Both processors hear nothing for seconds, while ingest goes on."""
    broker = trial.services.broker
    assert isinstance(broker, WiredKafka)
    broker.wire.cut()
    before = {name: trial.services.records_read(name) for name in PROCESSORS}
    until = time.monotonic() + CUT_SECONDS
    trial.load.wait_for(trial.load.allowed)
    trial.services.until(lambda: time.monotonic() > until, "the cut is over", 2 * CUT_SECONDS)
    assert sum(trial.services.topics.ends().values()) > max(
        trial.services.records_read(name) for name in before
    ), "the wire was not cut"
    yield
    broker.wire.mend()


@contextmanager
def poisoned(trial: Trial, number: int) -> Iterator[None]:
    """One record in a hundred cannot be read, written past ingest among the good ones."""
    producer = KafkaProducer(**trial.services.topics.client, acks="all", enable_idempotence=False)
    for count in range(POISON):
        topic = sorted(EVENT_TOPICS.values())[count % len(EVENT_TOPICS)]
        producer.send(topic, _BAD[count % len(_BAD)], f"bad {number} {count}".encode()).get(30)
        trial.load.wait_for(trial.load.taken + A_PORTION // POISON)
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
"""CI kills services and the only broker in tests/integration/test_crashes.py, and has poison and copies in
test_dead_letters.py and test_end_to_end.py there."""

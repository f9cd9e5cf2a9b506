"""Fixtures that give a broker: one of each kind for the whole run, and own ones for tests that kill it.

`kafka` is Apache Kafka in a container where Docker has the image, else on this machine's Java, and the run says
which. Where this machine lacks what a kind needs, its tests are skipped by name with the command that gets it; they
fail instead with WEEK12_REQUIRE_KAFKA=1 and WEEK12_REQUIRE_DOCKER=1. A broker that is there and does not start
always fails.
"""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from services.broker import Broker, BrokerKind, open_broker
from services.broker.container import ContainerKafka
from services.broker.local import LocalKafka
from services.testing.plugin import start_or_skip

KINDS = [
    "embedded",
    pytest.param("local", marks=pytest.mark.real_kafka),
    pytest.param("container", marks=pytest.mark.real_kafka),
]
"""For what every broker promises."""
EMBEDDED_AND_KAFKA = ["embedded", pytest.param("kafka", marks=pytest.mark.real_kafka)]
"""For what the services do on any broker."""
# Compaction within a test's patience; nothing else differs from the server that users get.
EAGER_CLEANER = {"log.cleaner.backoff.ms": "200"}

# Half the work of a start goes into compiling what runs for seconds only; nothing else differs either.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

MakeBroker = Callable[[BrokerKind], Broker]


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker in memory, shared by the whole run: use topic and group names of your own."""
    with open_broker("embedded", tmp_path_factory.mktemp("embedded")) as broker:
        yield broker


@pytest.fixture(scope="session")
def local_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka on this machine's Java, shared by the whole run: use topic and group names of your own."""
    broker = LocalKafka(tmp_path_factory.mktemp("kafka"), properties=EAGER_CLEANER)
    start_or_skip(broker)
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def container_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka in a container, shared by the whole run: use topic and group names of your own."""
    broker = ContainerKafka(tmp_path_factory.mktemp("container"), properties=EAGER_CLEANER)
    start_or_skip(broker)
    yield broker
    broker.discard()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, week12_kafka_kind: BrokerKind) -> Broker:
    """Apache Kafka, in a container where that is possible, shared by the whole run."""
    return shared_broker(request, week12_kafka_kind)


def shared_broker(request: pytest.FixtureRequest, kind: str) -> Broker:
    """The run's one broker of a kind; `kafka` means Apache Kafka wherever it can run."""
    names = {"embedded": "embedded_broker", "local": "local_kafka", "container": "container_kafka"}
    broker: Broker = request.getfixturevalue(names.get(kind, "kafka"))
    return broker


@pytest.fixture(params=EMBEDDED_AND_KAFKA)
def own_broker(request: pytest.FixtureRequest, make_broker: MakeBroker) -> Broker:
    """The embedded broker and Apache Kafka in turn, started for this test alone, to be killed and restarted."""
    kind = request.getfixturevalue("week12_kafka_kind") if request.param == "kafka" else request.param
    return make_broker(kind)


@pytest.fixture
def own_kafka(week12_kafka_kind: BrokerKind, make_broker: MakeBroker) -> Broker:
    """Apache Kafka started for this test alone, to be killed and restarted at will."""
    return make_broker(week12_kafka_kind)


@pytest.fixture
def own_local_kafka(make_broker: MakeBroker) -> Broker:
    """Apache Kafka on this machine's Java, started for this test alone: its process and its files are ours."""
    return make_broker("local")


@pytest.fixture
def make_broker(week12_make_broker: Callable[..., Broker]) -> MakeBroker:
    """Starts brokers with a folder of their own and stops them after the test."""
    return week12_make_broker


@pytest.fixture
def fresh_topic() -> str:
    """A topic name that no other test uses."""
    return f"test.{uuid.uuid4().hex[:12]}.v1"

"""Fixtures that give a broker: one of each kind for the whole run, and own ones for tests that kill it.

Without Java 17, or where Apache Kafka cannot be fetched, tests on the local broker are skipped by name with
the command that gets what is missing; with WEEK12_REQUIRE_KAFKA=1 they fail instead. A broker that is there
and does not start always fails.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.broker import Broker, BrokerKind, BrokerUnavailable, open_broker
from services.broker.local import LocalKafka

KINDS = ["embedded", pytest.param("local", marks=pytest.mark.real_kafka)]
# Compaction within a test's patience; nothing else differs from the server that users get.
EAGER_CLEANER = {"log.cleaner.backoff.ms": "200"}


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker in memory, shared by the whole run: use topic and group names of your own."""
    with open_broker("embedded", tmp_path_factory.mktemp("embedded")) as broker:
        yield broker


@pytest.fixture(scope="session")
def local_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka, shared by the whole run: use topic and group names of your own."""
    broker = LocalKafka(tmp_path_factory.mktemp("kafka"), properties=EAGER_CLEANER)
    start_or_skip(broker)
    yield broker
    broker.stop()


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each kind of broker in turn, shared by the whole run."""
    shared: Broker = request.getfixturevalue("local_kafka" if request.param == "local" else "embedded_broker")
    return shared


@pytest.fixture(params=KINDS)
def own_broker(request: pytest.FixtureRequest, make_broker: Callable[[BrokerKind], Broker]) -> Broker:
    """Each kind of broker in turn, started for this test alone, to be killed and restarted at will."""
    return make_broker(request.param)


@pytest.fixture
def own_local_kafka(make_broker: Callable[[BrokerKind], Broker]) -> Broker:
    """Apache Kafka started for this test alone, to be killed and restarted at will."""
    return make_broker("local")


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[[BrokerKind], Broker]]:
    """Starts brokers with a folder of their own and stops them after the test."""
    made: list[Broker] = []

    def make(kind: BrokerKind) -> Broker:
        broker = open_broker(kind, tmp_path / f"{kind}-{len(made)}")
        made.append(broker)
        start_or_skip(broker)
        return broker

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def fresh_topic() -> str:
    """A topic name that no other test uses."""
    return f"test.{uuid.uuid4().hex[:12]}.v1"


def start_or_skip(broker: Broker) -> None:
    """Start it; where this machine lacks what it needs, skip by name, or fail where Kafka is required."""
    try:
        broker.start()
    except BrokerUnavailable as missing:
        if os.environ.get("WEEK12_REQUIRE_KAFKA") == "1":
            pytest.fail(f"WEEK12_REQUIRE_KAFKA=1, and there is no Kafka: {missing}", pytrace=False)
        pytest.skip(str(missing))

"""Fixtures for pytest, found by itself where week12 is installed (`docs/testing.md`).

pytest loads this module in every run of the environment, so nothing else is imported before a fixture is used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from services.broker import Broker, BrokerKind
    from services.testing.cohort import Cohort
    from services.testing.running import RunningServices
    from services.testing.topics import RegistryTopics

    MakeBroker = Callable[..., Broker]
    RunServices = Callable[..., RunningServices]

KINDS = ("embedded", "local", "container", "kafka")
_REQUIRED = {"local": "WEEK12_REQUIRE_KAFKA", "container": "WEEK12_REQUIRE_DOCKER"}
_KAFKA_CHOICE = pytest.StashKey["tuple[BrokerKind, str]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option and the ini setting that choose the broker of the fixtures."""
    explained = (
        "embedded (in memory, needs nothing: the default), local (Apache Kafka on this machine's Java), container "
        "(Apache Kafka in Docker), or kafka: container where Docker has the image, else local"
    )
    group = parser.getgroup("week12", "services of week12 under test")
    group.addoption("--week12-broker", choices=KINDS, help=f"broker of the week12 fixtures: {explained}")
    parser.addini("week12_broker", f"broker of the week12 fixtures: {explained}", default="embedded")


def pytest_configure(config: pytest.Config) -> None:
    """Spare those who turn warnings into errors what the Kafka client's own files cause."""
    config.addinivalue_line("filterwarnings", "ignore:(read_text|open_text) is deprecated:DeprecationWarning")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say on which Kafka the tests ran, where that was for us to choose."""
    if choice := config.stash.get(_KAFKA_CHOICE, None):
        terminalreporter.write_line(f"week12: Apache Kafka ran {choice[1]}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where tests are shared out among processes (pytest-xdist): tell the one that writes the summary."""
    told: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if told is not None and (choice := session.config.stash.get(_KAFKA_CHOICE, None)):
        told["week12_kafka"] = list(choice)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear what another process has told."""
    if choice := getattr(node, "workeroutput", {}).get("week12_kafka"):
        node.config.stash[_KAFKA_CHOICE] = tuple(choice)


@pytest.fixture(scope="session")
def week12_kafka_kind(pytestconfig: pytest.Config) -> BrokerKind:
    """`container` where Docker has, or can pull, the image; else `local`. The end of the run says which and why."""
    from services.broker.container import default_image
    from services.broker.docker import image_problem

    if _KAFKA_CHOICE not in pytestconfig.stash:
        image = default_image()
        problem = image_problem(image)
        if problem and _is_required("container"):
            pytest.fail(_missing("container", problem), pytrace=False)
        pytestconfig.stash[_KAFKA_CHOICE] = (
            ("local", f"on this machine's Java: {problem}")
            if problem
            else ("container", f"in containers of {image}")
        )
    return pytestconfig.stash[_KAFKA_CHOICE][0]


@pytest.fixture(scope="session")
def week12_broker_kind(request: pytest.FixtureRequest) -> BrokerKind:
    """The kind of broker that the option or the ini setting asks for."""
    asked = request.config.getoption("--week12-broker") or request.config.getini("week12_broker")
    if asked not in KINDS:
        pytest.fail(f"week12_broker is {asked}: write one of {', '.join(KINDS)}", pytrace=False)
    kind: BrokerKind = request.getfixturevalue("week12_kafka_kind") if asked == "kafka" else asked
    return kind


@pytest.fixture(scope="session")
def week12_broker(
    week12_broker_kind: BrokerKind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """A running broker for the whole run: use topics and groups of your own, or `week12_topics`."""
    yield from _brokers_life(week12_broker_kind, tmp_path_factory.mktemp("broker"))


@pytest.fixture(scope="session")
def week12_topics(week12_broker: Broker) -> RegistryTopics:
    """The registry's topics on `week12_broker`: to write records past ingest, and to read them."""
    from services.testing.topics import RegistryTopics

    return RegistryTopics(week12_broker).make()


@pytest.fixture(scope="module")
def week12_environment() -> Mapping[str, str]:
    """Variables of the services, such as `WEEK12_TODAY`: define a fixture of this name to set them."""
    return {}


@pytest.fixture(scope="module")
def week12_services(
    week12_broker_kind: BrokerKind,
    week12_environment: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServices]:
    """ingest, outcomes and safety, running and ready, on a broker of their own; one set for each module."""
    from services.testing.running import RunningServices

    folder = tmp_path_factory.mktemp("registry")
    for broker in _brokers_life(week12_broker_kind, folder / "broker"):
        services = RunningServices(broker, folder / "data", **week12_environment)
        try:
            services.start()
            services.wait_until_ready()
            yield services
        finally:
            services.end()


@pytest.fixture
def week12_make_broker(week12_broker_kind: BrokerKind, tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Starts brokers of the test's own (`make()`, `make("local")`), to be killed at will; stopped after the test."""
    made: list[Broker] = []

    def make(kind: BrokerKind | None = None) -> Broker:
        from services.broker import open_broker

        wanted = kind or week12_broker_kind
        broker = open_broker(wanted, tmp_path / f"{wanted}-{len(made)}")
        made.append(broker)
        start_or_skip(broker)
        return broker

    yield make
    for broker in made:
        broker.discard()


@pytest.fixture
def week12_run_services(
    week12_make_broker: Callable[..., Broker], tmp_path: Path
) -> Iterator[Callable[..., RunningServices]]:
    """Starts services of the test's own and waits until they are ready; ended after the test.

    `run(broker=None, *names, **environment)`: without a broker on one of their own, without names all three.
    """
    made: list[RunningServices] = []

    def run(broker: Broker | None = None, *names: str, **environment: str) -> RunningServices:
        from services.testing.running import RunningServices

        folder = tmp_path / f"data-{len(made)}"
        services = RunningServices(broker or week12_make_broker(), folder, **environment)
        made.append(services)
        services.start(*names)
        services.wait_until_ready()
        return services

    yield run
    for services in made:
        services.end()


@pytest.fixture
def week12_cohort(request: pytest.FixtureRequest) -> Cohort:
    """A builder of patients whose ids no other test has, and which are the same in every run."""
    from services.testing.cohort import Cohort

    return Cohort(prefix="T" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8])


def start_or_skip(broker: Broker) -> None:
    """Start it; see `or_skip`. A broker that is there and does not start always fails."""
    with or_skip(broker.name):
        broker.start()


@contextmanager
def or_skip(kind: str) -> Iterator[None]:
    """Where this machine lacks what this kind of broker needs, skip by name, or fail where that is required.

    Required are Apache Kafka by `WEEK12_REQUIRE_KAFKA=1` and Docker by `WEEK12_REQUIRE_DOCKER=1`.
    """
    from services.broker import BrokerUnavailable

    try:
        yield
    except BrokerUnavailable as missing:
        if _is_required(kind):
            pytest.fail(_missing(kind, str(missing)), pytrace=False)
        pytest.skip(str(missing))


def _brokers_life(kind: BrokerKind, folder: Path) -> Iterator[Broker]:
    from services.broker import open_broker

    broker = open_broker(kind, folder)
    start_or_skip(broker)
    try:
        yield broker
    finally:
        broker.discard()


def _is_required(kind: str) -> bool:
    return os.environ.get(_REQUIRED.get(kind, "")) == "1"


def _missing(kind: str, problem: str) -> str:
    return f"{_REQUIRED[kind]}=1, and {problem}"

"""Brokers and the services on them: one node, three nodes, one node at the end of a wire, the composition."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from comparison import rows_of
from plugins.disks import mounted
from plugins.load import Version
from reliability.driver import UNTIL, stored_versions
from reliability.wire import HOST, Wire

from deploy.containers import Composition, docker_running, prepare
from deploy.steps import run
from schemas.topics import DEAD_LETTERS
from services.broker import Broker
from services.broker.local import LocalKafka
from services.broker.process import free_port
from services.testing.cluster import KafkaCluster
from services.testing.running import PROCESSORS, RunningServices

STORES_MIB, LOG_MIB = 60, 80
"""Sizes of disks that can be filled; enough for what a row sends."""


class Registry(RunningServices):
    """The services as processes of this machine."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        super().__init__(broker, folder / "data", WEEK12_TODAY=str(UNTIL), WEEK12_INGEST_ACK_SECONDS="3")

    @contextmanager
    def running(self) -> Iterator["Registry"]:
        """Start them, ready; leave nothing running."""
        try:
            self.start()
            self.wait_until_ready()
            yield self
        finally:
            self.end()

    def wait_until_counted(self, patient_id: str, seconds: float) -> None:
        """Wait until both stores have counted, and published, all that was acknowledged."""
        self.wait_until_settled(seconds)

    def differences(self) -> int:
        """None, or the test fails with what `week12 verify` says."""
        self.wait_until_ready()
        self.wait_until_settled()
        verified = self.week12("verify", "--published")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        return 0

    def dead_letters(self) -> int:
        """Records that could not be read."""
        return len(self.topics.records(DEAD_LETTERS))

    def versions(self) -> "list[Counter[Version]]":
        """Stop; how often each version of each record stands in each store."""
        self.stop()
        return [stored_versions(self.store_path(name)) for name in PROCESSORS]


@contextmanager
def on_one_node(folder: Path) -> Iterator[Registry]:
    """One Apache Kafka."""
    with LocalKafka(folder / "kafka") as broker, Registry(broker, folder).running() as registry:
        yield registry


@contextmanager
def on_three_nodes(folder: Path) -> Iterator[Registry]:
    """A cluster with TLS and SASL/SCRAM, every copy in step."""
    with KafkaCluster(folder / "kafka") as cluster, Registry(cluster, folder).running() as registry:
        cluster.wait_until_in_step()
        yield registry


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
def on_a_wire(folder: Path) -> Iterator[Registry]:
    """One Apache Kafka, and a wire between it and the processors."""
    with WiredKafka(folder / "kafka") as broker, broker.wire.connected():
        registry = Registry(broker, folder)
        for name in PROCESSORS:
            registry.configure(name, KAFKA_BOOTSTRAP_SERVERS=broker.wired)
        try:
            with registry.running():
                yield registry
        finally:
            broker.wire.mend()


@contextmanager
def on_a_full_stores_disk(folder: Path) -> Iterator[Registry]:
    """One Apache Kafka, and the services' data on a disk that can be filled."""
    with mounted(folder / "data", STORES_MIB), on_one_node(folder) as registry:
        yield registry


@contextmanager
def on_a_full_brokers_disk(folder: Path) -> Iterator[Registry]:
    """One Apache Kafka with its log on a disk that can be filled."""
    with mounted(folder / "kafka", LOG_MIB), on_one_node(folder) as registry:
        yield registry


class ComposedRegistry(Composition):
    """docker-compose.yml as it stands, in containers; slower to ask, since nothing but HTTP leads into it."""

    secret = ""

    def client(self, service: str, secret: str | None = None) -> httpx.Client:
        """An HTTP client of a service; to be closed."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return httpx.Client(base_url=self._url(service), headers=headers, timeout=30, trust_env=False)

    def tail(self, name: str) -> str:
        """The end of a container's log."""
        return self.compose("logs", "--tail=20", "--no-color", name)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            time.sleep(0.05)

    def wait_until_counted(self, patient_id: str, seconds: float) -> None:
        """Wait until the patient is known to both."""
        for service, path in (("outcomes", "/v1/patients/{}"), ("safety", "/v1/patients/{}/timeline")):
            with self.client(service, self._lead) as client:
                self.until(
                    lambda client=client, path=path: _found(client, path.format(patient_id)),  # type: ignore[misc]
                    f"{service} knows a patient",
                    seconds,
                )

    def differences(self) -> int:
        """None, or `week12 verify` fails and with it the test."""
        self.tool("wait")
        self.tool("verify", "--published")
        return 0

    def versions(self) -> "list[Counter[Version]]":
        """Stop the services; how often each version of each record stands in each store."""
        self.compose("stop", "ingest", *PROCESSORS)
        return [stored_versions(self._copy(name)) for name in PROCESSORS]

    def dead_letters(self) -> int:
        """Records that could not be read, by the store of outcomes."""
        (row,) = rows_of(self._copy("outcomes"), "SELECT count(*) AS letters FROM dead_letters")
        return int(row["letters"])

    def kill(self, service: str) -> None:
        """End a container as a crash would."""
        run("docker", "kill", self._container(service))

    def start(self, service: str) -> None:
        """Start it again."""
        run("docker", "start", self._container(service))

    def _copy(self, name: str) -> Path:
        path = self._folder / f"{name}.duckdb"
        run("docker", "cp", f"{self._container(name)}:/var/lib/week12/{name}.duckdb", str(path))
        return path


@contextmanager
def composed(folder: Path) -> Iterator[ComposedRegistry]:
    """The composition, built where it is not yet, healthy, with a token that sends."""
    with docker_running():
        prepare()
        with ComposedRegistry() as registry:
            registry.up()
            registry.make_tokens()
            registry.secret = registry.tool(
                "token", "add", "load", "--role", "submitter", "--all-sites"
            ).strip()
            yield registry


def _found(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False

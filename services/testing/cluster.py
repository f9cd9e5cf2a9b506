"""Apache Kafka as a registry runs it: three nodes, replication 3, two copies before an answer, TLS and SCRAM.

The nodes are processes of this machine, each broker and controller. Clients speak `SASL_SSL` with
`SCRAM-SHA-512`, and so do brokers among themselves; controllers know each other by their certificates.
"""

import secrets
import time
from pathlib import Path
from typing import Any, ClassVar

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from services.broker.clients import connect
from services.broker.local import LocalKafka, new_cluster_id
from services.broker.managed import HOST, Managed
from services.broker.one_node import ONE_NODE
from services.broker.process import free_port, listens
from services.testing.authority import Authority

NODES = 3
MECHANISM = "SCRAM-SHA-512"
_POLL_S = 0.3  # each look is a TLS and SCRAM handshake or two
_JAAS = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="{}" password="{}";'


class _Shared:
    """What every node of a cluster knows: its members, its certificates and its two users."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder / "tls")
        self.authority = authority.certificate
        self.identity = authority.issue("node")
        self.cluster_id = new_cluster_id()
        self.brokers = {number: free_port() for number in range(1, NODES + 1)}
        self.controllers = {number: free_port() for number in range(1, NODES + 1)}
        self.passwords = {user: secrets.token_urlsafe(18) for user in ("broker", "week12")}

    def client(self, bootstrap_servers: str) -> dict[str, Any]:
        return {
            "bootstrap_servers": bootstrap_servers.split(","),
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(self.authority),
            "sasl_mechanism": MECHANISM,
            "sasl_plain_username": "week12",
            "sasl_plain_password": self.passwords["week12"],
        }


class ClusterNode(LocalKafka):
    """One node; start it by `KafkaCluster`, for alone it is no cluster."""

    heap_mib: ClassVar[int] = 256
    stop_within_s: ClassVar[float] = 3  # the last of three waits for the others before it ends

    def __init__(self, data_dir: Path, number: int, shared: _Shared) -> None:
        super().__init__(data_dir, shared.brokers[number])
        self.number = number
        self._shared = shared

    @property
    def client(self) -> dict[str, Any]:
        """How kafka-python's clients connect by this node."""
        return self._shared.client(self.bootstrap_servers)

    def _server_properties(self) -> dict[str, str]:
        shared, controller = self._shared, f"{HOST}:{self._shared.controllers[self.number]}"
        voters = (f"{number}@{HOST}:{port}" for number, port in shared.controllers.items())
        return {
            **ONE_NODE,
            **_SECURITY,
            **_REPLICATION,
            "node.id": str(self.number),
            "listeners": f"SASL_SSL://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"SASL_SSL://{self.bootstrap_servers}",
            "controller.quorum.voters": ",".join(voters),
            "log.dirs": str(self._logs),
            "ssl.keystore.location": str(shared.identity),
            "ssl.truststore.location": str(shared.authority),
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": _JAAS.format(
                "broker", shared.passwords["broker"]
            ),
        }

    def _format_options(self) -> list[str]:
        users = self._shared.passwords.items()
        added = [f"{MECHANISM}=[name={user},password={password}]" for user, password in users]
        return [
            "--cluster-id",
            self._shared.cluster_id,
            *(part for one in added for part in ("--add-scram", one)),
        ]

    def _answers(self) -> bool:
        return listens(self.bootstrap_servers) and self.number in _at_work(self.client)


class KafkaCluster(Managed):
    """A broker of three nodes, all or some of which may be killed; otherwise as `services.broker.Broker`.

    Topics want `environment`'s `WEEK12_REPLICATION_FACTOR`: three copies, two of which must have a record before it
    is acknowledged.
    """

    name: ClassVar[str] = "cluster"
    keeps_data: ClassVar[bool] = True

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self._shared = _Shared(self.data_dir)
        self.nodes = [
            ClusterNode(self.data_dir / f"node-{number}", number, self._shared)
            for number in self._shared.brokers
        ]

    @property
    def bootstrap_servers(self) -> str:
        """Every node, as ``host:port,host:port``."""
        return ",".join(node.bootstrap_servers for node in self.nodes)

    @property
    def client(self) -> dict[str, Any]:
        """How kafka-python's clients connect: their keyword arguments."""
        return self._shared.client(self.bootstrap_servers)

    @property
    def environment(self) -> dict[str, str]:
        """How the services connect, and what they ask of the topics they make."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_SASL_USERNAME": "week12",
            "KAFKA_SASL_PASSWORD": self._shared.passwords["week12"],
            "KAFKA_SSL_CAFILE": str(self._shared.authority),
            "WEEK12_REPLICATION_FACTOR": str(NODES),
            "WEEK12_MIN_INSYNC_REPLICAS": str(NODES - 1),
        }

    @property
    def pid(self) -> int | None:
        """The process id of one node that runs, None where none does."""
        return next((node.pid for node in self.nodes if node.pid is not None), None)

    @property
    def log(self) -> Path:
        """The log of the first node; each has its own."""
        return self.nodes[0].log

    def start(self) -> None:
        """Start the nodes that do not run and return when all copies are in step. Raises BrokerProblem."""
        starting = [node for node in self.nodes if node.pid is None]
        for node in starting:
            node.launch()
        for node in starting:
            node.wait_until_it_answers()
        self.wait_until_in_step()

    def stop(self) -> None:
        """Stop every node, and leave no process."""
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        """End every node at once."""
        for node in self.nodes:
            node.kill()

    def discard(self) -> None:
        """Stop it and delete all it kept."""
        for node in self.nodes:
            node.discard()

    def wait_until_in_step(self, seconds: float = 90) -> None:
        """Wait until every copy of every partition is in sync with its leader; raises AssertionError."""
        deadline = time.monotonic() + seconds
        while behind := _behind(self.client):
            assert time.monotonic() < deadline, f"copies out of step after {seconds:g} s: {behind}"
            time.sleep(_POLL_S)


_SECURITY = {
    "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:SSL",
    "inter.broker.listener.name": "SASL_SSL",
    "sasl.enabled.mechanisms": MECHANISM,
    "sasl.mechanism.inter.broker.protocol": MECHANISM,
    "listener.name.controller.ssl.client.auth": "required",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
}
_REPLICATION = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


def _at_work(client: dict[str, Any]) -> set[int]:
    """The numbers of the brokers that the cluster counts on; empty where nobody answers."""
    try:
        admin = connect(KafkaAdminClient, {**client, "bootstrap_timeout_ms": 2_000})
    except KafkaError:
        return set()
    try:
        brokers = admin.describe_cluster()["brokers"]
        return {broker["broker_id"] for broker in brokers if not broker.get("is_fenced", False)}
    except KafkaError:
        return set()
    finally:
        admin.close()


def _behind(client: dict[str, Any]) -> str:
    """What keeps the cluster from being whole, in a few words; empty where nothing does."""
    if len(_at_work(client)) < NODES:
        return "not every node is at work"
    try:
        admin = connect(KafkaAdminClient, {**client, "bootstrap_timeout_ms": 2_000})
    except KafkaError:
        return "nobody answers"
    try:
        short = [
            topic["name"]
            for topic in admin.describe_topics()
            if any(set(part["isr_nodes"]) != set(part["replica_nodes"]) for part in topic["partitions"])
        ]
    except KafkaError as error:
        return type(error).__name__
    finally:
        admin.close()
    return ", ".join(short)

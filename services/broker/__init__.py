"""Three ways to have a broker without a cluster, behind one interface.

``local`` is Apache Kafka on this machine's Java, ``container`` the same in Docker: both keep their data.
``embedded`` is a small broker in memory that keeps nothing.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, get_args

from services.broker.problems import BrokerProblem, BrokerUnavailable, TopicDifference, TopicProblem

__all__ = [
    "KINDS",
    "Broker",
    "BrokerKind",
    "BrokerProblem",
    "BrokerUnavailable",
    "TopicDifference",
    "TopicProblem",
    "open_broker",
]

BrokerKind = Literal["local", "container", "embedded"]
KINDS: tuple[BrokerKind, ...] = get_args(BrokerKind)


class Broker(Protocol):
    """A broker on this machine: a context manager that starts on entering and stops on leaving."""

    @property
    def name(self) -> str:
        """Its kind."""

    @property
    def keeps_data(self) -> bool:
        """Whether what it acknowledged is still there after a stop and a start."""

    @property
    def bootstrap_servers(self) -> str:
        """Where clients find it, as ``host:port``; the same over restarts."""

    @property
    def client(self) -> dict[str, Any]:
        """How kafka-python's clients connect: their keyword arguments."""

    @property
    def environment(self) -> dict[str, str]:
        """How the services connect: the ``KAFKA_*`` variables."""

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""

    @property
    def log(self) -> Path:
        """The file with what it has to say."""

    def start(self) -> None:
        """Start it, wait until it answers a client; nothing where it runs. Raises BrokerProblem."""

    def stop(self) -> None:
        """Stop it within seconds and leave no process; nothing where it does not run."""

    def kill(self) -> None:
        """End it at once, as a crash would, and return when it is gone; nothing where it does not run."""

    def discard(self) -> None:
        """Stop it and delete all it kept, its log too."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_broker(kind: BrokerKind, data_dir: Path, port: int | None = None) -> Broker:
    """A broker of this kind, not started yet, on the loopback address; where no port is given, on a free one.

    ``data_dir`` is made where missing, and holds the log and, of a ``local`` broker, the data; a ``container``
    keeps them in a Docker volume that belongs to this folder.
    """
    if kind == "local":
        from services.broker.local import LocalKafka

        return LocalKafka(data_dir, port)
    if kind == "container":
        from services.broker.container import ContainerKafka

        return ContainerKafka(data_dir, port)
    from services.broker.embedded import EmbeddedBroker

    return EmbeddedBroker(data_dir, port)

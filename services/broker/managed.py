"""What every broker that we start has in common, however it runs."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"


class Managed(ABC):
    """Something that starts on entering and stops on leaving."""

    @abstractmethod
    def start(self) -> None:
        """Start it, and return once it answers a client."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it, and leave no process."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class OnLoopback(Managed):
    """One broker, without encryption, at a port of the loopback address that stays the same over restarts."""

    port: int

    @property
    def bootstrap_servers(self) -> str:
        """Where clients find it, as ``host:port``."""
        return f"{HOST}:{self.port}"

    @property
    def client(self) -> dict[str, Any]:
        """How kafka-python's clients connect: their keyword arguments."""
        return {"bootstrap_servers": self.bootstrap_servers}

    @property
    def environment(self) -> dict[str, str]:
        """How the services connect: the ``KAFKA_*`` variables."""
        return {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers}

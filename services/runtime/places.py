"""Where the services are: on this machine, or where the settings say."""

from dataclasses import dataclass

from services.runtime.settings import Settings

BRINGING_UP = "being brought up to this version"
"""What `/health/ready` of a service says of its store while that is so; it may take long."""


@dataclass(frozen=True)
class Place:
    """Where a service listens, and by which address it is reached."""

    service: str
    host: str
    port: int
    address: str | None = None

    @property
    def url(self) -> str:
        """Its address: what was given, else its port, for whoever is on this machine."""
        if self.address:
            return self.address.rstrip("/")
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{reachable}:{self.port}"


def places(settings: Settings) -> tuple[Place, Place, Place]:
    """Where ingest, outcomes and safety are."""
    return (
        Place("ingest", settings.host, settings.ingest_port, settings.ingest_url),
        Place("outcomes", settings.host, settings.outcomes_port, settings.outcomes_url),
        Place("safety", settings.host, settings.safety_port, settings.safety_url),
    )

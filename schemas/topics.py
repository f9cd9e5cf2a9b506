"""The Kafka topics of the registry, read from ``topics.toml``: names, keys, clean-up, writers, readers."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from schemas.event import EventType

DEAD_LETTERS: Final = "registry.dead-letters.v1"
OUTCOMES: Final = "registry.outcomes.v1"
ALERTS: Final = "registry.alerts.v1"
ALERT_ACTIONS: Final = "registry.alert-actions.v1"
ERASURES: Final = "registry.erasures.v1"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: what its records mean, how they are keyed and kept, who writes and who reads them.

    ``configs`` are Kafka's topic settings as the broker spells them. ``event_type`` is None for a topic that
    does not carry events of sites.
    """

    name: str
    meaning: str
    key: str
    partitions: int
    configs: Mapping[str, str]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    event_type: EventType | None = None


def _read(path: Path) -> dict[str, Topic]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _topic(name, entry, document) for name, entry in document["topics"].items()}


def _topic(name: str, entry: Mapping[str, Any], document: Mapping[str, Any]) -> Topic:
    event_type = entry.get("event_type")
    return Topic(
        name=name,
        meaning=entry["meaning"],
        key=entry["key"],
        partitions=document["partitions"],
        configs=MappingProxyType(document["retention"][entry["retention"]]),
        producers=tuple(entry["producers"]),
        consumers=tuple(entry["consumers"]),
        event_type=EventType(event_type) if event_type else None,
    )


TOPICS: Final[dict[str, Topic]] = _read(Path(__file__).with_name("topics.toml"))
EVENT_TOPICS: Final[dict[EventType, str]] = {t.event_type: t.name for t in TOPICS.values() if t.event_type}
INPUT_TOPICS: Final = (ERASURES, *EVENT_TOPICS.values())
"""What the stores are a function of."""

"""What a processor hands to its store, and what the store says it did with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas import EventType
from services.stream.erasure import Announced, Leaving, named_patients


@dataclass(frozen=True)
class Tombstone:
    """A null record: this version of this record is to be forgotten."""

    event_type: EventType
    patient_id: str
    site_id: str
    event_id: str
    version: int
    content: int


@dataclass(frozen=True)
class DeadLetter:
    """A record that could not be used, as received, and why."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    code: str
    path: str
    message: str
    received_at_ms: int

    @property
    def patients(self) -> list[str]:
        """Pseudonyms that the record names."""
        return named_patients(self.key, self.value)


@dataclass
class Batch:
    """Decoded records of one transaction. `offsets` are the next to read, by (topic, partition)."""

    events: dict[EventType, pa.Table] = field(default_factory=dict)
    tombstones: list[Tombstone] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    records: int = 0
    announced: list[Announced] = field(default_factory=list)
    leaving: Leaving = field(default_factory=Leaving)

    def add(self, later: "Batch") -> None:
        """Count a later batch to this one; events are left to whoever holds them."""
        self.tombstones += later.tombstones
        self.dead_letters += later.dead_letters
        self.offsets |= later.offsets
        self.records += later.records


@dataclass(frozen=True)
class Applied:
    """What a transaction did. `applied` counts events that were new; the rest were copies."""

    batch: int
    records: int = 0
    applied: int = 0
    patients: int = 0
    commit_seconds: float = 0.0
    dead_letters: Sequence[DeadLetter] = ()
    news: Sequence[tuple[Any, ...]] = ()  # rows of the definition's `news`

    def __add__(self, later: "Applied") -> "Applied":
        return Applied(
            later.batch,
            self.records + later.records,
            self.applied + later.applied,
            self.patients + later.patients,
            self.commit_seconds + later.commit_seconds,
            (*self.dead_letters, *later.dead_letters),
            (*self.news, *later.news),
        )

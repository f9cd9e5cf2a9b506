"""Writing events: the fields that every record has, for one patient after the other."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from random import Random
from typing import Any, Final

RawEvent = dict[str, Any]
"""One event as it travels (a JSON object), not yet validated."""

LOCAL_TIME: Final = timezone(timedelta(hours=8))
_SECONDS_OF_A_WORKING_DAY: Final = 9 * 3600
_CORRECTED_ONCE: Final = 0.06
_REINSTATED: Final = 0.006


@dataclass
class Scribe:
    """Writes one patient's records in their final version.

    A version above 1 says that the record was corrected before (2), or withdrawn and entered again (3);
    a centre with `epoch_versions` numbers its versions in milliseconds since 1970. Nothing is recorded
    after `cut`, so that the whole cohort is known on that day.
    """

    patient_id: str
    site_id: str
    rng: Random
    cut: date
    epoch_versions: bool = False
    events: list[RawEvent] = field(default_factory=list)
    _numbers: Counter[str] = field(default_factory=Counter)

    def write(
        self, event_type: str, on: date, fields: RawEvent, *, known_from: date | None = None
    ) -> RawEvent:
        """Add a record of the clinical date `on`; `known_from`: the last date that its content names."""
        corrections = 1 if known_from and known_from > on else self._corrections()
        recorded_at = self._recorded_at(max(on, known_from or on), corrections)
        self._numbers[event_type] += 1
        event: RawEvent = {
            "event_type": event_type,
            "site_id": self.site_id,
            "event_id": f"{self.patient_id}-{event_type}-{self._numbers[event_type]:02d}",
            "version": round(recorded_at.timestamp() * 1000) if self.epoch_versions else corrections + 1,
            "patient_id": self.patient_id,
            "recorded_at": recorded_at.isoformat(),
            **{name: value for name, value in fields.items() if value is not None},
        }
        self.events.append(event)
        return event

    def _corrections(self) -> int:
        drawn = self.rng.random()
        return 2 if drawn < _REINSTATED else 1 if drawn < _CORRECTED_ONCE + _REINSTATED else 0

    def _recorded_at(self, on: date, corrections: int) -> datetime:
        lag = self.rng.randint(8, 40) if corrections else self.rng.choice((0, 0, 0, 1, 1, 2, 3, 6))
        day = min(on + timedelta(days=lag), self.cut)
        second = self.rng.randrange(_SECONDS_OF_A_WORKING_DAY)
        return datetime.combine(day, time(8), LOCAL_TIME) + timedelta(seconds=second)

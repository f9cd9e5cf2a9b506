"""A synthetic registry of any size, streamed in order of arrival with bounded memory.

Patients are drawn by order of first dose. Nothing of a patient is dated before `ASSESSMENTS_FROM`, so what
arrives earlier than the next patient's first possible record can leave: memory holds the events of the
patients under way, not of all.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from random import Random
from typing import Final

import orjson

from services.simulation.chance import seeded
from services.simulation.disorder import duplicate, earlier_version, mistaken, recorded_at
from services.simulation.laboratory import ASSAYS
from services.simulation.patient import ASSESSMENTS_FROM, MINUTES_A_DAY, Patient, minute_of
from services.simulation.records import RawEvent

_RECRUITMENT_DAYS: Final = 3 * 365
_FIRST_ARRIVAL: Final = ASSESSMENTS_FROM - 45
"""Offset before which nothing arrives: a wrong version may be dated and recorded 40 days too early."""
_OVERTAKEN: Final = 0.25
"""How many of what is corrected or withdrawn arrive days later, often after their correction."""
_OTHER_DRUGS: Final = ("risankizumab", "vedolizumab", "ustekinumab")
_LEAST_BATCH: Final = 20_000
_UNEVEN: Final = (7, 13, 10, 8, 12)
"""Records per patient vary around their mean in this ratio."""
_CUMULATED: Final = (0, *accumulate(_UNEVEN))
_LEAST_RECORDS: Final = 2


@dataclass(frozen=True)
class RegistryPlan:
    """What to draw. Shares are of all events; `late` of those that arrive days after they were recorded."""

    patients: int
    sites: int
    events: int
    seed: int
    until: date
    late: float = 0.0
    duplicates: float = 0.0
    corrections: float = 0.0
    retractions: float = 0.0
    other_drugs: float = 0.2

    def __post_init__(self) -> None:
        if self.records < _LEAST_RECORDS * self.patients:
            raise ValueError(f"{self.events} events leave fewer than two records for each patient")

    @property
    def added(self) -> tuple[int, int, int]:
        """Numbers of duplicates, corrected records and records entered by mistake."""
        return (
            round(self.events * self.duplicates),
            round(self.events * self.corrections),
            round(self.events * self.retractions),
        )

    @property
    def records(self) -> int:
        """Records that stand in the end: a mistake takes two events, the others one more each."""
        duplicates, corrections, mistakes = self.added
        return self.events - duplicates - corrections - 2 * mistakes


def stream_registry(plan: RegistryPlan) -> Iterator[bytes]:
    """Exactly `plan.events` JSON lines in order of arrival; the same plan gives the same stream."""
    waiting: list[tuple[int, int, bytes]] = []
    limit = _LEAST_BATCH
    serial = 0
    for first_possible, events in _patients(plan):
        if len(waiting) > limit:
            waiting.sort()
            leaving = bisect_left(waiting, first_possible, key=lambda arrival: arrival[0])
            yield from (line for _, _, line in waiting[:leaving])
            del waiting[:leaving]
            limit = max(_LEAST_BATCH, len(waiting) * 4 // 3)
        for arrives, event in events:
            serial += 1
            # The sum is a copy of the right size; orjson's own buffers would take a kilobyte each.
            waiting.append((arrives, serial, orjson.dumps(event) + b"\n"))
    waiting.sort()
    yield from (line for _, _, line in waiting)


def _patients(plan: RegistryPlan) -> Iterator[tuple[int, list[tuple[int, RawEvent]]]]:
    """For each patient: the first minute at which anything can arrive, and the events with their arrivals."""
    rng = seeded("registry", plan.seed, plan.patients, plan.sites)
    first = plan.until.toordinal() - _RECRUITMENT_DAYS
    totals = (plan.records, *plan.added)
    for number in range(plan.patients):
        start = first + int((number + rng.random()) * _RECRUITMENT_DAYS / plan.patients)
        records, *added = (_part(total, number, plan.patients) for total in totals)
        events = _draw_patient(rng, plan, number, start).records(records)
        yield (start + _FIRST_ARRIVAL) * MINUTES_A_DAY, _with_arrivals(rng, plan, events, added)


def _draw_patient(rng: Random, plan: RegistryPlan, number: int, start: int) -> Patient:
    site = int(plan.sites * rng.random() ** 1.5)
    other = rng.random() < plan.other_drugs
    return Patient(
        rng=rng,
        patient_id=f"R{plan.seed % 100_000:05d}-{number + 1:06d}",
        site_id=f"S{site + 1:02d}",
        habit=site % len(ASSAYS),
        drug=_OTHER_DRUGS[int(rng.random() * 3)] if other else "upadacitinib",
        start=start,
        until=plan.until.toordinal() - start,
    )


def _part(total: int, number: int, patients: int) -> int:
    """The patient's share of `total`: uneven, and together exactly `total`."""
    whole = _weight_before(patients)
    return _weight_before(number + 1) * total // whole - _weight_before(number) * total // whole


def _weight_before(number: int) -> int:
    rounds, rest = divmod(number, len(_UNEVEN))
    return rounds * _CUMULATED[-1] + _CUMULATED[rest]


def _with_arrivals(
    rng: Random, plan: RegistryPlan, records: list[RawEvent], added: list[int]
) -> list[tuple[int, RawEvent]]:
    """The records with their disorder, each with the minute of its arrival."""
    duplicates, corrections, mistakes = added
    latest = datetime.combine(plan.until, time(23, 59), UTC)
    superseded = [wrong for _ in range(corrections) for wrong in [_correct(rng, records, latest)]]
    sent = list(records)
    for number in range(mistakes):
        entered, withdrawn = mistaken(rng, rng.choice(records), latest, f"-x{number}")
        superseded.append(entered)
        sent.append(withdrawn)
    sent += [duplicate(rng, rng.choice(records)) for _ in range(duplicates)]
    return [
        *((_arrival(rng, event, plan.late), event) for event in sent),
        *((_arrival(rng, event, plan.late + _OVERTAKEN), event) for event in superseded),
    ]


def _correct(rng: Random, records: list[RawEvent], latest: datetime) -> RawEvent:
    """Make one of `records` a correction, and return the wrong version before it."""
    event = rng.choice(records)
    corrected = min(recorded_at(event) + timedelta(minutes=rng.randint(600, 40_000)), latest)
    event["recorded_at"] = corrected.isoformat()
    event["version"] += 1
    return earlier_version(rng, event, event["version"] - 1)


def _arrival(rng: Random, event: RawEvent, late: float) -> int:
    arrives = minute_of(event["recorded_at"]) + int(rng.random() * 300)
    return arrives + int((2 + 58 * rng.random()) * MINUTES_A_DAY) if rng.random() < late else arrives

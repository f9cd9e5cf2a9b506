"""Which measurement speaks for a patient at baseline and at a timepoint (R4.1, R4.2, R4.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

from twin.biomarkers import is_normal, result, upper_limit
from twin.numbers import stored
from twin.records import Event, History, clinical_date, clock_time, record_id, time_order
from twin.scores import Endoscopy, cdai, endoscopy

VISIT_KINDS = ("unscheduled", "retest", "scheduled")  # the later wins
BIOMARKERS = ("crp", "esr", "fcal")

Window = tuple[int, int]


@dataclass(frozen=True)
class Measurement:
    """One value of one parameter, from one record."""

    value: Decimal
    event: Event
    normal: bool | None = None
    """Biomarkers: whether the value is normal, None where that cannot be known."""
    endoscopy: Endoscopy | None = None

    @property
    def on(self) -> date:
        return clinical_date(self.event)


def measurements(history: History, patient: dict[str, Any], height_cm: Any) -> dict[str, list[Measurement]]:
    """Every known value of each parameter, in the order they come."""
    found: dict[str, list[Measurement]] = {name: [] for name in ("cdai", "ses_cd", *BIOMARKERS)}
    sex, birth_year = patient["reference_sex"], patient["birth_year"]
    for visit in history.of_type("visit"):
        activity = cdai(visit, sex, height_cm)
        if activity is not None:
            found["cdai"].append(Measurement(activity, visit))
        scope = endoscopy(visit)
        if scope is not None:
            found["ses_cd"].append(Measurement(stored(scope.total), visit, endoscopy=scope))
    for lab in history.of_type("lab"):
        measured = result(lab)
        if measured.analyte in BIOMARKERS:
            limit: Fraction | None = upper_limit(lab, measured, sex, birth_year)
            normal = is_normal(measured.value, measured.comparator, limit, strict=measured.analyte == "fcal")
            found[measured.analyte].append(Measurement(measured.value, lab, normal))
    return found


def _tie_order(event: Event) -> tuple[Any, ...]:
    """R4.2 among equally near: later date, kind of visit, later clock time, greatest record id."""
    kind = VISIT_KINDS.index(event.get("visit_kind") or "scheduled")
    return (clinical_date(event), kind, time_order(clock_time(event)), record_id(event))


def _offset(candidate: Measurement, first_dose_on: date) -> int:
    return (candidate.on - first_dose_on).days


def select(
    candidates: Sequence[Measurement], first_dose_on: date, target: int, window: Window
) -> Measurement | None:
    """The candidate nearest to the target inside the window (R4.2)."""
    inside = [c for c in candidates if window[0] <= _offset(c, first_dose_on) <= window[1]]
    nearest = min((abs(_offset(c, first_dose_on) - target) for c in inside), default=None)
    tied = [c for c in inside if abs(_offset(c, first_dose_on) - target) == nearest]
    return max(tied, key=lambda c: _tie_order(c.event), default=None)


def select_baseline(
    candidates: Sequence[Measurement], first_dose_on: date, first_dose_at: time | None, window: Window
) -> Measurement | None:
    """The last value before treatment (R4.5)."""
    inside = [
        c
        for c in candidates
        if window[0] <= _offset(c, first_dose_on) <= window[1]
        and not _after_first_dose(c, first_dose_on, first_dose_at)
    ]
    return max(inside, key=lambda c: _tie_order(c.event), default=None)


def _after_first_dose(candidate: Measurement, first_dose_on: date, first_dose_at: time | None) -> bool:
    """Later on the very day of the first dose; an unknown time of either is not later."""
    taken_at = clock_time(candidate.event)
    return (
        candidate.on == first_dose_on
        and taken_at is not None
        and first_dose_at is not None
        and taken_at > first_dose_at
    )

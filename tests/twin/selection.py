"""Which measurement speaks for a patient at baseline and at a timepoint (R4.1, R4.2, R4.5, R4.7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

from twin import carried
from twin.biomarkers import is_normal, result, upper_limit
from twin.numbers import exact, stored
from twin.protocols import FU2025, Rules, Window
from twin.records import Event, History, clinical_date, clock_time
from twin.scores import Body, Endoscopy, cdai, complaints, endoscopy, hbi
from twin.selection_order import tie_order

SCORES = ("cdai", "hbi", "stool_frequency", "abdominal_pain", "pro2", "ses_cd")
BIOMARKERS = ("crp", "esr", "fcal")


@dataclass(frozen=True)
class Measurement:
    """One value of one parameter, from one record."""

    number: Fraction
    event: Event
    normal: bool | None = None
    """Biomarkers: whether the value is normal, None where that cannot be known."""
    endoscopy: Endoscopy | None = None
    on_steroid: bool | None = None
    """CDAI: whether a corticosteroid was taken on its day (R2.5)."""

    @property
    def on(self) -> date:
        return clinical_date(self.event)

    @property
    def value(self) -> Decimal:
        """As the tables show it."""
        return stored(self.number)


Found = dict[str, list[Measurement]]


def measurements(history: History, patient: dict[str, Any], height_cm: Any, rules: Rules = FU2025) -> Found:
    """Every known value of each parameter."""
    found: Found = {name: [] for name in (*SCORES, *BIOMARKERS)}
    sex, birth_year = patient["reference_sex"], patient["birth_year"]
    for visit in history.of_type("visit"):
        haematocrit, weight = (
            carried.haematocrit(history, visit, rules),
            carried.weight(history, visit, rules),
        )
        body = Body(sex, height_cm, haematocrit[0], weight[0])
        stools, pain = complaints(visit)
        weighted = None if stools is None or pain is None else 2 * stools + 5 * pain  # R2.1c
        numbers = {
            "cdai": cdai(visit, body, rules),
            "hbi": hbi(visit),
            "stool_frequency": stools,
            "abdominal_pain": pain,
            "pro2": weighted,
        }
        for parameter, number in numbers.items():
            if number is not None:
                found[parameter].append(Measurement(number, visit, on_steroid=_on_steroid(history, visit)))
        scope = endoscopy(visit)
        if scope is not None:
            found["ses_cd"].append(Measurement(scope.total, visit, endoscopy=scope))
    for lab in history.of_type("lab"):
        measured = result(lab)
        if measured.analyte in BIOMARKERS:
            limit = upper_limit(lab, measured, sex, birth_year, rules)
            strict = measured.analyte == "fcal" and not rules.fcal_inclusive
            normal = is_normal(measured.value, measured.comparator, limit, strict=strict)
            found[measured.analyte].append(Measurement(exact(measured.value), lab, normal))
    return found


def _on_steroid(history: History, visit: Event) -> bool | None:
    free = carried.steroid_free(history, clinical_date(visit), 0)
    return None if free is None else not free


def _offset(candidate: Measurement, first_dose_on: date) -> int:
    return (candidate.on - first_dose_on).days


def select(
    candidates: Sequence[Measurement], first_dose_on: date, target: int, window: Window
) -> Measurement | None:
    """The candidate nearest to the target inside the window (R4.2)."""
    inside = [c for c in candidates if window[0] <= _offset(c, first_dose_on) <= window[1]]
    nearest = min((abs(_offset(c, first_dose_on) - target) for c in inside), default=None)
    tied = [c for c in inside if abs(_offset(c, first_dose_on) - target) == nearest]
    return max(tied, key=lambda c: tie_order(c.event), default=None)


def select_carried(
    candidates: Sequence[Measurement],
    first_dose_on: date,
    target: int,
    window: Window,
    intercurrent_on: date | None,
) -> Measurement | None:
    """LOCF (R4.7): of the values before the first intercurrent event that of the window, else the last before it."""
    unspoilt = [c for c in candidates if intercurrent_on is None or c.on < intercurrent_on]
    inside = select(unspoilt, first_dose_on, target, window)
    if inside is not None:
        return inside
    earlier = [c for c in unspoilt if 1 <= _offset(c, first_dose_on) < window[0]]
    return max(earlier, key=lambda c: tie_order(c.event), default=None)


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
    return max(inside, key=lambda c: tie_order(c.event), default=None)


def _after_first_dose(candidate: Measurement, first_dose_on: date, first_dose_at: time | None) -> bool:
    """Later on the very day of the first dose; an unknown time of either is not later."""
    taken_at = clock_time(candidate.event)
    return (
        candidate.on == first_dose_on
        and taken_at is not None
        and first_dose_at is not None
        and taken_at > first_dose_at
    )

"""A patient of the study cohort: what is drawn once, and the pen that writes the records."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from services.simulation.chance import bell, seeded
from services.simulation.fu2025.complaints import Complaint
from services.simulation.fu2025.plan import CUT, Absence, Decoy, Later, PatientPlan
from services.simulation.laboratory import ASSAYS
from services.simulation.records import Scribe
from services.simulation.scores import draw_body

STOP_REASONS: Final = {
    Absence.STOPPED_ADVERSE_EVENT: "adverse_event",
    Absence.STOPPED_NO_EFFECT: "lack_of_efficacy",
    Absence.STOPPED_OWN_CHOICE: "patient_choice",
    Absence.LOST: "lost_to_follow_up",
}
_WITHOUT_BINARY_SEX: Final = 57
_SCHEDULE: Final = ((2, 3, 0.7), (4, 4, 0.85), (8, 6, 0.85), (12, 9, 1.0), (16, 8, 0.6), (24, 14, 0.5))
"""Week, days early or late at most, share of patients who come."""
_WEEK_12_DAY: Final = {
    Decoy.TIE_LATER_COUNTS: 88,
    Decoy.TIE_AT_THE_EDGES: 98,
    Decoy.NEAREST_COUNTS: 83,
    Decoy.EMPTY_ON_TARGET: 95,
}
_BASELINE_DAY: Final = {Decoy.LAST_BASELINE: -2, Decoy.AFTER_FIRST_DOSE: 0}


@dataclass(frozen=True)
class Visit:
    """A planned contact: `week` of the schedule (0: baseline) and its offset in days."""

    week: int
    day: int


class Person:
    """One patient; days are offsets from the first dose (R0.4)."""

    def __init__(self, plan: PatientPlan, complaints: Sequence[Complaint], seed: int) -> None:
        self.plan = plan
        self.rng = seeded("course", seed, plan.number)
        self.scribe = Scribe(plan.patient_id, plan.site_id, self.rng, CUT, plan.site_id == "S04")
        self.other_sex = plan.number == _WITHOUT_BINARY_SEX
        self.reference_sex = "female" if self.other_sex or self.rng.random() < 0.34 else "male"
        self.age = round(bell(self.rng, 33, 11, 18, 64))
        self.body = draw_body(self.rng, self.reference_sex)
        self.stop_day = self._draw_stop_day()
        self.steroid_days = self._draw_steroid_days()
        self.visits = self._draw_visits()
        self.complaints = [(complaint, self._draw_onset(complaint)) for complaint in complaints]

    def on(self, day: int) -> date:
        """The date of an offset from the first dose."""
        return self.plan.first_dose_on + timedelta(days=day)

    def record_visit(self, day: int, fields: dict[str, object]) -> None:
        """Write a visit on `day`."""
        on = self.on(day)
        self.scribe.write("visit", on, {"visited_on": on.isoformat(), **fields})

    def record_lab(self, analyte: str, day: int, value: float, **fields: object) -> None:
        """Write a laboratory result, `value` in canonical units, as the centre reports it."""
        on = self.on(day)
        report = ASSAYS[self.plan.site_id][analyte].report(value, self.reference_sex)
        self.scribe.write("lab", on, {"collected_on": on.isoformat(), **report, **fields})

    def steroid_spans(self) -> list[tuple[int, int]]:
        """First and last days of systemic corticosteroids: tapered from before, and given as rescue."""
        rescue = {Later.STEROID_RESCUE_EARLY: (40, 68), Later.STEROID_RESCUE_LATE: (118, 146)}
        spans = [self.steroid_days, rescue.get(self.plan.later) if self.plan.later else None]
        return [span for span in spans if span]

    def _draw_stop_day(self) -> int | None:
        if self.plan.absence in STOP_REASONS:
            return self.rng.randint(36, 62)
        if self.plan.later in (Later.STOPS, Later.SWITCHES):
            return self.rng.randint(101, 125)
        return None

    def _draw_steroid_days(self) -> tuple[int, int] | None:
        if self.plan.later is not Later.STEROID_RESCUE_EARLY and self.rng.random() < 0.34:
            return -self.rng.randint(8, 40), self.rng.randint(28, 66)
        return None

    def _draw_visits(self) -> list[Visit]:
        before = -self.rng.choice((0, 0, 1, 2, 3, 5, 7, 10, 14))
        baseline = Visit(0, _BASELINE_DAY.get(self.plan.decoy, before) if self.plan.decoy else before)
        last = min((CUT - self.plan.first_dose_on).days - 10, self._last_day())
        drawn = (
            Visit(week, self._visit_day(week, spread))
            for week, spread, share in _SCHEDULE
            if self._attends(week, share)
        )
        return [baseline, *(visit for visit in drawn if visit.day <= last)]

    def _last_day(self) -> int:
        if self.plan.later is Later.WITHDRAWS_CONSENT:
            return 134
        if self.plan.absence in STOP_REASONS and self.stop_day is not None:
            return self.stop_day
        return 10_000

    def _attends(self, week: int, share: float) -> bool:
        if self.plan.absence is Absence.SKIPPED and week in (8, 12, 16):
            return week != 12
        return self.rng.random() < share

    def _visit_day(self, week: int, spread: int) -> int:
        if week == 12 and self.plan.absence in (Absence.TOO_EARLY, Absence.TOO_LATE):
            return 69 if self.plan.absence is Absence.TOO_EARLY else 99
        if week == 12 and self.plan.decoy in _WEEK_12_DAY:
            return _WEEK_12_DAY[self.plan.decoy]
        return 7 * week + self.rng.randint(-spread, spread)

    def _draw_onset(self, complaint: Complaint) -> int:
        if complaint.month_only:
            return 1 - self.plan.first_dose_on.day
        if complaint.day is not None:
            return complaint.day
        if self.stop_day is not None and complaint.after_stop is not None:
            return self.stop_day + complaint.after_stop
        if self.stop_day is not None and complaint.action == "withdrawn":
            return self.stop_day
        return self.rng.randint(12, 60 if complaint.pauses else 88)

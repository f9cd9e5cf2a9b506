"""The study cohort's plan: what each of the 94 patients is to show. Only this module knows the counts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from random import Random
from typing import Final, TypeVar

from services.simulation.chance import bell, seeded

T = TypeVar("T")


class Clinical(StrEnum):
    """What the CDAI of the week-12 window says against baseline (R2.4)."""

    BOTH = "remission and response"
    REMISSION_ONLY = "remission, fall below 100"
    RESPONSE_ONLY = "response, 150 or more"
    NEITHER = "neither"
    ABSENT = "no CDAI in the window"


class Absence(StrEnum):
    """Why a patient has no CDAI in the week-12 window."""

    STOPPED_ADVERSE_EVENT = "stopped for an adverse event"
    STOPPED_NO_EFFECT = "stopped for lack of efficacy"
    STOPPED_OWN_CHOICE = "stopped by own choice"
    LOST = "lost to follow-up"
    SKIPPED = "came at weeks 8 and 16 only"
    NOT_SCORED = "came, without a CDAI"
    TOO_EARLY = "came on day 69"
    TOO_LATE = "came on day 99"


class Endoscopic(StrEnum):
    """SES-CD at follow-up against baseline (R2.7)."""

    HEALED = "SES-CD 0"
    BOTH = "remission and response"
    REMISSION_ONLY = "remission, 6 to 3"
    RESPONSE_ONLY = "response, not remission"
    NEITHER = "neither"
    BASELINE_ONLY = "baseline only"
    FOLLOW_UP_TOO_EARLY = "follow-up on day 55"
    FOLLOW_UP_TOO_LATE = "follow-up on day 130"
    BASELINE_INACTIVE = "baseline SES-CD 2"
    BASELINE_TOO_OLD = "baseline 110 days before"
    NONE = "none"


class Marker(StrEnum):
    """A biomarker at baseline and in the week-12 window (R3.2)."""

    NORMALISED = "raised, then normal"
    RAISED = "raised, then raised"
    RAISED_THEN_MISSING = "raised, then missing"
    NORMAL = "normal at baseline"
    NO_BASELINE = "no baseline"
    NOT_MEASURED = "not measured"


class Decoy(StrEnum):
    """A second CDAI that the rules must pass over: it says the opposite (R4.2, R4.5)."""

    TIE_LATER_COUNTS = "days 80 and 88: 88 counts"
    TIE_AT_THE_EDGES = "days 70 and 98: 98 counts"
    NEAREST_COUNTS = "days 83 and 86: 83 counts"
    EMPTY_ON_TARGET = "day 84 without a CDAI, day 95 with one"
    SCHEDULED_FIRST = "same day, scheduled before unscheduled"
    RETEST_FIRST = "same day, retest before unscheduled"
    LATER_CLOCK = "same day, later clock time"
    LAST_BASELINE = "baseline: days -21 and -2, the later counts"
    AFTER_FIRST_DOSE = "baseline: day 0, 09:00 counts, 15:00 is after the first dose"


class Later(StrEnum):
    """What else happens on the way."""

    STEROID_RESCUE_EARLY = "corticosteroid rescue on day 40"
    STEROID_RESCUE_LATE = "corticosteroid rescue on day 118"
    STOPS = "stops for lack of efficacy after week 12"
    SWITCHES = "stops after week 12 and goes on to risankizumab"
    WITHDRAWS_CONSENT = "withdraws consent on day 135"


SITES: Final = {"S01": 36, "S02": 24, "S03": 20, "S04": 14}
CLINICAL: Final = {
    Clinical.BOTH: 31,
    Clinical.REMISSION_ONLY: 2,
    Clinical.RESPONSE_ONLY: 10,
    Clinical.NEITHER: 34,
    Clinical.ABSENT: 17,
}
ABSENCES: Final = {
    Absence.STOPPED_ADVERSE_EVENT: 3,
    Absence.STOPPED_NO_EFFECT: 3,
    Absence.STOPPED_OWN_CHOICE: 1,
    Absence.LOST: 3,
    Absence.SKIPPED: 3,
    Absence.NOT_SCORED: 2,
    Absence.TOO_EARLY: 1,
    Absence.TOO_LATE: 1,
}
ENDOSCOPIC: Final = {
    Endoscopic.HEALED: 5,
    Endoscopic.BOTH: 1,
    Endoscopic.REMISSION_ONLY: 1,
    Endoscopic.RESPONSE_ONLY: 3,
    Endoscopic.NEITHER: 8,
    Endoscopic.FOLLOW_UP_TOO_EARLY: 1,
    Endoscopic.FOLLOW_UP_TOO_LATE: 1,
    Endoscopic.BASELINE_INACTIVE: 1,
    Endoscopic.BASELINE_TOO_OLD: 1,
    Endoscopic.BASELINE_ONLY: 50,
    Endoscopic.NONE: 22,
}
MARKERS: Final = {
    "crp": {Marker.NORMALISED: 37, Marker.RAISED: 22, Marker.RAISED_THEN_MISSING: 3, Marker.NO_BASELINE: 3},
    "esr": {Marker.NORMALISED: 39, Marker.RAISED: 16, Marker.RAISED_THEN_MISSING: 4, Marker.NO_BASELINE: 4},
    "fcal": {
        Marker.NORMALISED: 8,
        Marker.RAISED: 19,
        Marker.RAISED_THEN_MISSING: 9,
        Marker.NO_BASELINE: 5,
        Marker.NOT_MEASURED: 32,
    },
}
"""Of those who came at week 12; the rest of them were normal at baseline."""

FIRST_START: Final = date(2023, 6, 5)
LAST_START: Final = date(2024, 10, 18)
CUT: Final = date(2025, 2, 28)
"""Nothing is recorded later, and every week-12 window (endoscopy: day 126) has closed."""

_NOTABLE_CDAI: Final[tuple[tuple[Clinical, float, float], ...]] = (
    (Clinical.BOTH, 268, 149.9),
    (Clinical.BOTH, 300.2, 100.2),
    (Clinical.RESPONSE_ONLY, 250, 150),
    (Clinical.RESPONSE_ONLY, 300.2, 200.2),
    (Clinical.NEITHER, 280, 180.1),
)
"""Values at and beside the limits; 300.2 - 200.2 falls short of 100 in binary floating point."""

_LATER: Final = (
    (Clinical.NEITHER, Later.STEROID_RESCUE_EARLY),
    (Clinical.NEITHER, Later.SWITCHES),
    (Clinical.NEITHER, Later.STOPS),
    (Clinical.NEITHER, Later.STOPS),
    (Clinical.NEITHER, Later.STOPS),
    (Clinical.RESPONSE_ONLY, Later.STEROID_RESCUE_LATE),
    (Clinical.BOTH, Later.WITHDRAWS_CONSENT),
)
_MARKERS_AT_LIMIT: Final = (
    ("crp", Marker.NORMALISED, ("S01", "S03")),
    ("esr", Marker.NORMALISED, ("S01", "S03")),
    ("fcal", Marker.RAISED, tuple(SITES)),
)
"""A week-12 value exactly at the limit: normal for CRP and ESR (<=), not for calprotectin (<)."""

_ABSENT_AT_WEEK_12: Final = frozenset(Absence) - {Absence.NOT_SCORED}


@dataclass
class PatientPlan:
    """One patient's part. `cdai`: baseline and week 12 (where none was taken: what it would have been)."""

    number: int
    site_id: str
    first_dose_on: date
    clinical: Clinical
    cdai: tuple[float, float] = (0, 0)
    notable: bool = False
    misreported: bool = False
    absence: Absence | None = None
    endoscopic: Endoscopic = Endoscopic.NONE
    crp: Marker = Marker.NOT_MEASURED
    esr: Marker = Marker.NOT_MEASURED
    fcal: Marker = Marker.NOT_MEASURED
    at_limit: str | None = None
    decoy: Decoy | None = None
    later: Later | None = None

    @property
    def patient_id(self) -> str:
        """The pseudonym."""
        return f"CD-{self.number:04d}"

    @property
    def came_at_week_12(self) -> bool:
        """Whether any visit falls into the week-12 window."""
        return self.absence not in _ABSENT_AT_WEEK_12

    @property
    def remission(self) -> bool:
        """Whether the plan is clinical remission at week 12."""
        return self.clinical in (Clinical.BOTH, Clinical.REMISSION_ONLY)


def draw_plan(seed: int) -> list[PatientPlan]:
    """The whole cohort's plan, by order of first dose."""
    rng = seeded("plan", seed)
    patients = _enrol(rng)
    _set_absences(rng, patients)
    _set_cdai(rng, patients)
    _set_endoscopy(rng, patients)
    for marker in MARKERS:
        _set_marker(rng, patients, marker)
    _set_notable(patients)
    return patients


def _enrol(rng: Random) -> list[PatientPlan]:
    days = [FIRST_START + timedelta(days=n) for n in range((LAST_START - FIRST_START).days + 1)]
    starts = sorted(rng.sample([day for day in days if day.weekday() < 5], sum(SITES.values())))
    sites = _shuffled(rng, SITES.items())
    classes = _shuffled(rng, CLINICAL.items())
    rows = zip(sites, starts, classes, strict=True)
    return [PatientPlan(number, *row) for number, row in enumerate(rows, start=1)]


def _shuffled(rng: Random, counts: Iterable[tuple[T, int]]) -> list[T]:
    values = [value for value, count in counts for _ in range(count)]
    rng.shuffle(values)
    return values


def _set_absences(rng: Random, patients: Sequence[PatientPlan]) -> None:
    absent = [patient for patient in patients if patient.clinical is Clinical.ABSENT]
    for patient, absence in zip(absent, _shuffled(rng, ABSENCES.items()), strict=True):
        patient.absence = absence


def _set_cdai(rng: Random, patients: Sequence[PatientPlan]) -> None:
    for patient in patients:
        patient.cdai = _draw_cdai(rng, patient.clinical)


def _set_notable(patients: Sequence[PatientPlan]) -> None:
    """Hand each special case to the first patient whom it fits, one case a patient."""
    for clinical, baseline, week_12 in _NOTABLE_CDAI:
        patient = _first_plain(patients, _is(clinical, "S01", "S02", "S04"))
        patient.cdai, patient.notable = (baseline, week_12), True
    # The reported total would miss remission; the components say 138 and win (R1.9).
    patient = _first_plain(patients, _is(Clinical.BOTH, "S03"))
    patient.cdai, patient.misreported, patient.notable = (275, 138), True, True
    for number, decoy in enumerate(Decoy):
        wanted = (Clinical.BOTH, Clinical.NEITHER)[number % 2]
        patient = _first_plain(patients, _is(wanted, "S01", "S02", "S04"))
        patient.decoy, patient.notable = decoy, True
    for clinical, later in _LATER:
        patient = _first_plain(patients, _is(clinical, *SITES))
        patient.later, patient.notable = later, True
    for marker, value, sites in _MARKERS_AT_LIMIT:
        patient = next(p for p in patients if getattr(p, marker) is value and p.site_id in sites)
        patient.at_limit = marker


def _is(clinical: Clinical, *sites: str) -> Callable[[PatientPlan], bool]:
    return lambda patient: patient.clinical is clinical and patient.site_id in sites


def _first_plain(patients: Sequence[PatientPlan], fits: Callable[[PatientPlan], bool]) -> PatientPlan:
    return next(patient for patient in patients if not patient.notable and fits(patient))


def _draw_cdai(rng: Random, clinical: Clinical) -> tuple[float, float]:
    """Baseline and week 12, at least 8 points from every limit; remitters start lower."""
    match clinical:
        case Clinical.BOTH:
            baseline = bell(rng, 274, 36, 222, 380)
            week_12 = bell(rng, 98, 26, 30, min(140, baseline - 110))
        case Clinical.REMISSION_ONLY:
            baseline, week_12 = 230, 140
        case Clinical.RESPONSE_ONLY:
            baseline = bell(rng, 335, 36, 288, 430)
            week_12 = bell(rng, 190, 20, 160, baseline - 110)
        case _:
            baseline = bell(rng, 326, 46, 224, 446)
            week_12 = bell(rng, baseline - 35, 32, max(160, baseline - 88), baseline + 40)
    return round(baseline), round(week_12)


def _set_endoscopy(rng: Random, patients: Sequence[PatientPlan]) -> None:
    free = list(patients)
    rng.shuffle(free)
    # Healing goes with remission; items are needed to show it, and S02 sends totals only.
    remitters = {Endoscopic.HEALED, Endoscopic.BOTH, Endoscopic.REMISSION_ONLY, Endoscopic.BASELINE_INACTIVE}
    for endoscopic, count in ENDOSCOPIC.items():
        for _ in range(count):
            patient = next(p for p in free if _may_have(p, endoscopic, endoscopic in remitters))
            patient.endoscopic = endoscopic
            free.remove(patient)


def _may_have(patient: PatientPlan, endoscopic: Endoscopic, remitter: bool) -> bool:
    if endoscopic in (Endoscopic.BASELINE_ONLY, Endoscopic.NONE):
        return True
    if patient.absence is not None:
        return False
    if remitter:
        return patient.remission and patient.site_id != "S02"
    if endoscopic is Endoscopic.NEITHER:
        return patient.clinical is Clinical.NEITHER
    return patient.clinical in (Clinical.BOTH, Clinical.RESPONSE_ONLY, Clinical.NEITHER)


def _set_marker(rng: Random, patients: Sequence[PatientPlan], marker: str) -> None:
    """Normalisation goes mostly, not only, to those who responded."""
    came = [patient for patient in patients if patient.came_at_week_12]
    rng.shuffle(came)
    counts = MARKERS[marker]
    measured = counts[Marker.NORMALISED] + counts[Marker.RAISED]
    pairs = sorted(came[:measured], key=lambda p: (p.clinical is Clinical.NEITHER) + 1.6 * rng.random())
    classes = [value for value, count in counts.items() for _ in range(count)]
    classes += [Marker.NORMAL] * (len(came) - len(classes))
    for patient, value in zip(pairs + came[measured:], classes, strict=True):
        setattr(patient, marker, value)
    for patient in patients:
        if not patient.came_at_week_12:
            setattr(patient, marker, rng.choice(_WITHOUT_FOLLOW_UP[marker == "fcal"]))


_WITHOUT_FOLLOW_UP: Final = (
    (Marker.RAISED_THEN_MISSING, Marker.RAISED_THEN_MISSING, Marker.NORMAL),
    (Marker.RAISED_THEN_MISSING, Marker.NOT_MEASURED, Marker.NOT_MEASURED),
)

"""Adverse events on treatment, person-time and rates (R6.6, R6.7; contract, section 7)."""

from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from scipy.stats import chi2

from twin.patients import Exposure, died_on, exposures, site_of
from twin.records import Event, History, clinical_date, day

RISK = timedelta(days=30)  # after the last dose, its last day included
YEAR = Fraction("365.25")

Span = tuple[date, date]


def onset_span(event: Event) -> Span:
    """First and last day on which the event may have begun."""
    onset = clinical_date(event)
    match event.get("onset_precision", "day"):
        case "day":
            return onset, onset
        case "month":
            return onset.replace(day=1), onset.replace(day=monthrange(onset.year, onset.month)[1])
        case "year":
            return onset.replace(month=1, day=1), onset.replace(month=12, day=31)
    raise ValueError("no such precision")


def _possible(event: Event, first: date, last: date) -> bool:
    """Whether the onset may lie between two days, both included."""
    begin, end = onset_span(event)
    return begin <= last and end >= first


def on_drug(event: Event, exposure: Exposure) -> bool:
    """Whether the event may have begun while the drug was taken."""
    return _possible(event, exposure.first_dose_on, exposure.last_dose_on or date.max)


def emergent_on(event: Event, exposure: Exposure) -> bool:
    """Whether the event may have begun from the first dose to 30 days after the last (R6.6)."""
    last = exposure.last_dose_on
    return _possible(event, exposure.first_dose_on, date.max if last is None else last + RISK)


def drug_of(event: Event, taken: Sequence[Exposure]) -> str | None:
    """The drug an event belongs to: as reported, else the latest started of those taken at onset, else
    the last one taken in the 30 days before."""
    if event.get("drug") is not None:
        drug: str = event["drug"]
        return drug
    current = [e for e in taken if on_drug(event, e)]
    if current:
        return max(current, key=lambda e: (e.first_dose_on, e.drug)).drug
    recent = [e for e in taken if emergent_on(event, e)]
    last = max(recent, key=lambda e: (e.last_dose_on, e.first_dose_on, e.drug), default=None)
    return None if last is None else last.drug


def adverse_event_rows(history: History) -> list[dict[str, Any]]:
    """One row per current adverse event; `site_id` and `event_id` are the record's."""
    taken = exposures(history)
    first_dose = {exposure.drug: exposure.first_dose_on for exposure in taken}
    rows = []
    for event in history.of_type("adverse_event"):
        drug = drug_of(event, taken)
        started = first_dose.get(drug) if drug else None
        rows.append(
            {
                "patient_id": history.patient_id,
                "site_id": event["site_id"],
                "event_id": event["event_id"],
                "version": event.get("version", 1),
                "term": event["term"],
                "onset_on": clinical_date(event),
                "onset_precision": event.get("onset_precision", "day"),
                "resolved_on": day(event, "resolved_on"),
                "grade": event["grade"],
                "serious": event["serious"],
                "drug": drug,
                "treatment_emergent": any(emergent_on(event, exposure) for exposure in taken),
                "study_offset": None if started is None else (clinical_date(event) - started).days,
            }
        )
    return rows


@dataclass(frozen=True)
class Course:
    """A patient on a drug: the days counted, and the events that belong to it."""

    site_id: str
    first: date
    last: date
    """Last day counted as person-time."""
    events: list[Event]

    @property
    def days(self) -> int:
        return max(0, (self.last - self.first).days + 1)

    def days_to_first(self, events: Sequence[Event]) -> int:
        """Days up to the first of these events, its day included."""
        begun = [max(self.first, clinical_date(event)) for event in events]
        return max(0, (min([self.last, *begun]) - self.first).days + 1)


def person_time_ends(history: History, exposure: Exposure, today: date) -> date:
    """The last day counted: 30 days after the last dose, today, death or withdrawal of consent (R6.6)."""
    last_dose_on = exposure.last_dose_on
    limits = [today, died_on(history), history.withdrawn_on, last_dose_on and last_dose_on + RISK]
    return min(limit for limit in limits if limit is not None)


def _courses(people: Sequence[History], today: date) -> dict[str, list[Course]]:
    courses: dict[str, list[Course]] = {}
    for history in people:
        taken = exposures(history)
        for exposure in taken:
            events = [
                event
                for event in history.of_type("adverse_event")
                if drug_of(event, taken) == exposure.drug and emergent_on(event, exposure)
            ]
            end = person_time_ends(history, exposure, today)
            course = Course(site_of(history), exposure.first_dose_on, end, events)
            courses.setdefault(exposure.drug, []).append(course)
    return courses


FIXED_GROUPS: dict[str, Callable[[Event], bool]] = {
    "any": lambda event: True,
    "serious": lambda event: bool(event["serious"]),
    "grade_3_plus": lambda event: event["grade"] >= 3,
}


def incidence_rows(people: Sequence[History], today: date) -> list[dict[str, Any]]:
    """One row per drug taken, site (None: all) and group of events."""
    return [
        {"drug": drug, "site_id": site_id, "event_group": group, **_incidence(chosen, belongs)}
        for drug, courses in _courses(people, today).items()
        for site_id in [None, *sorted({course.site_id for course in courses})]
        for chosen in [[c for c in courses if site_id in (None, c.site_id)]]
        for group, belongs in (FIXED_GROUPS | _terms(chosen)).items()
    ]


def _has_term(term: str) -> Callable[[Event], bool]:
    return lambda event: event["term"].lower() == term


def _terms(courses: Sequence[Course]) -> dict[str, Callable[[Event], bool]]:
    terms = sorted({event["term"].lower() for course in courses for event in course.events})
    return {term: _has_term(term) for term in terms}


def _incidence(courses: Sequence[Course], belongs: Callable[[Event], bool]) -> dict[str, Any]:
    groups = [(course, [event for event in course.events if belongs(event)]) for course in courses]
    events = sum(len(group) for _, group in groups)
    affected = sum(bool(group) for _, group in groups)
    years = sum(course.days for course in courses) / YEAR
    years_to_first = sum(course.days_to_first(group) for course, group in groups) / YEAR
    ci_low, ci_high = garwood(events, years) if years else (None, None)
    return {
        "patients": len(courses),
        "patients_with_event": affected,
        "events": events,
        "person_years": float(years),
        "incidence_pct": 100 * affected / len(courses),
        "events_per_100py": float(100 * events / years) if years else None,
        "first_events_per_100py": float(100 * affected / years_to_first) if years_to_first else None,
        "ci_low": ci_low,
        "ci_high": ci_high,
    }


def garwood(events: int, years: Fraction) -> tuple[float, float]:
    """Exact 95 % Poisson limits of a rate per 100 person-years (R6.7)."""
    low = chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    high = chi2.ppf(0.975, 2 * events + 2) / 2
    return float(100 * low / float(years)), float(100 * high / float(years))

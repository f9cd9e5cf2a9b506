"""Something untoward that happened to a patient, whether or not the drug is suspected."""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.event import Event, EventType
from schemas.fields import Day, GenericName, Text64, Text128, Text512, Whole
from schemas.refusals import Problem, Refusal

Seriousness = Literal[
    "death",
    "life_threatening",
    "hospitalisation",
    "disability",
    "congenital_anomaly",
    "medically_important",
]


class AdverseEvent(Event):
    """One adverse event. What is not known is `unknown`; an unknown relation counts as suspected."""

    required = ("term", "onset_on", "grade", "serious")
    dates = ("onset_on", "resolved_on", "aware_on")

    event_type: Literal[EventType.ADVERSE_EVENT]
    """Always `adverse_event`."""
    term: Text512 | None = None
    """As reported."""
    meddra_pt: Text128 | None = None
    """MedDRA preferred term, where the site codes; the dictionary is licensed and never part of this."""
    meddra_code: Text64 | None = None
    """MedDRA code, where the site codes."""
    onset_on: Day | None = None
    """First day; with a coarser precision the first day of the month or year."""
    onset_precision: Literal["day", "month", "year"] = "day"
    """How exactly the onset is known."""
    resolved_on: Day | None = None
    """Last day; for a fatal event the day of death."""
    aware_on: Day | None = None
    """When the site learnt of it: starts the reporting clocks."""
    grade: Annotated[int, Whole(1, 5)] | None = None
    """CTCAE grade, 1 mild to 5 death."""
    grade_source: Literal["ctcae", "severity"] = "ctcae"
    """Whether the grade was given, or derived from a severity."""
    serious: bool | None = None
    """Whether it meets a seriousness criterion."""
    seriousness: Annotated[tuple[Seriousness, ...], Field(max_length=6)] = ()
    """The criteria met; not empty exactly when serious."""
    related: Literal["related", "possible", "unlikely", "unrelated", "unknown"] = "unknown"
    """The reporter's causality; suspected is all but unlikely and unrelated."""
    expected: bool | None = None
    """Whether the reference safety information lists it."""
    action_taken: Literal[
        "none", "dose_reduced", "dose_increased", "interrupted", "withdrawn", "not_applicable", "unknown"
    ] = "unknown"
    """What was done with the drug."""
    outcome: Literal["recovered", "recovering", "not_recovered", "sequelae", "fatal", "unknown"] = "unknown"
    """How it ended, as known now."""
    drug: GenericName | None = None
    """The suspected drug; by default what the patient was on at onset."""

    def _problems(self) -> Iterable[Problem]:
        if self.serious and not self.seriousness:
            yield ("seriousness",), "missing", "needs at least one criterion when serious"
        if self.seriousness and self.serious is False:
            yield ("seriousness",), "inconsistent", "must be empty when not serious"
        if self.onset_on is None:
            return
        if self.onset_precision != "day" and self.onset_on != _first_of(self.onset_on, self.onset_precision):
            yield ("onset_on",), "inconsistent", f"must be the first day of the {self.onset_precision}"
        for name, day in (("resolved_on", self.resolved_on), ("aware_on", self.aware_on)):
            if day is not None and day < self.onset_on:
                yield (name,), "inconsistent", "is before onset_on"

    def warnings(self) -> tuple[Refusal, ...]:
        found = []
        if (self.grade == 5 or self.outcome == "fatal") and "death" not in self.seriousness:
            reason = "lacks death, which grade or outcome states"
            found.append(Refusal("seriousness", "death_not_serious", reason))
        if self.onset_precision != "day":
            reason = "is known to the month or the year only; it counts from its first day"
            found.append(Refusal("onset_on", "onset_partial", reason))
        return tuple(found)

    @classmethod
    def schema_rules(cls) -> list[dict[str, Any]]:
        is_serious = {"properties": {"serious": {"const": True}}, "required": ["serious"]}
        criteria = {"properties": {"seriousness": {"minItems": 1}}, "required": ["seriousness"]}
        no_criteria = {"properties": {"seriousness": {"maxItems": 0}}}
        return [*super().schema_rules(), {"if": is_serious, "then": criteria, "else": no_criteria}]


def _first_of(day: date, precision: Literal["month", "year"]) -> date:
    return day.replace(day=1) if precision == "month" else day.replace(month=1, day=1)

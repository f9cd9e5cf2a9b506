"""Patients in a few words: a fluent builder whose every step is a valid event, dated from the first dose.

    cohort = Cohort()
    cohort.patient().treated().cdai(280, week=0).cdai(120, week=12).crp(4.1, week=12)
    services.send(cohort.events())

Each step states one record and is checked against the contract at once: `schemas.EventRefused` names path, code
and reason. Ids and times follow from the steps alone, so that the same test gives the same events.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self, TypeAlias

from schemas import parse_event
from schemas.analytes import ANALYTES

Event: TypeAlias = dict[str, Any]

FIRST_DOSE_ON = date(2024, 1, 8)
DAYS_OF_A_WEEK = 7
_COMMON = ("event_type", "site_id", "event_id", "patient_id")
_NOON = time(12, tzinfo=UTC)


class Patient:
    """One patient; every method states one record and returns the patient.

    When it happened is told by one of `week` or `day` (from the first dose, which is day 0: week 12 is day 84)
    or `on` (a date). `recorded_at` is noon (UTC) of that day. All other keywords are fields of the event as the
    contract names them, and win over what the method would state.
    """

    def __init__(self, patient_id: str, site_id: str, first_dose_on: date = FIRST_DOSE_ON) -> None:
        self.patient_id = patient_id
        self.site_id = site_id
        self.first_dose_on = first_dose_on
        self.events: list[Event] = []

    def enrolled(
        self, *, week: float | None = None, day: int | None = None, on: date | None = None, **fields: Any
    ) -> Self:
        """An enrolment, by default two weeks before the first dose."""
        when = self._date(week, -14 if week is None and day is None and on is None else day, on)
        person: Event = {"diagnosis": "CD", "sex": "female", "birth_year": 1990, "height_cm": 165}
        return self._state("enrolment", "enrolled_on", when, person | fields)

    def treated(
        self,
        drug: str = "upadacitinib",
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **fields: Any,
    ) -> Self:
        """The start of a drug, by default on day 0."""
        return self._treatment("start", self._date(week, day, on, 0), drug, fields)

    def stopped(
        self,
        reason: str = "other",
        drug: str = "upadacitinib",
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **fields: Any,
    ) -> Self:
        """The last day on which a drug was taken."""
        return self._treatment("stop", self._date(week, day, on), drug, {"reason": reason} | fields)

    def rescued(
        self,
        kind: str = "corticosteroid",
        drug: str = "prednisolone",
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **fields: Any,
    ) -> Self:
        """A rescue treatment."""
        return self._treatment("rescue", self._date(week, day, on), drug, {"rescue_kind": kind} | fields)

    def visit(
        self, *, week: float | None = None, day: int | None = None, on: date | None = None, **fields: Any
    ) -> Self:
        """A visit with whatever fields are given."""
        return self._state("visit", "visited_on", self._date(week, day, on), fields)

    def cdai(
        self,
        total: float | None = None,
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **components: Any,
    ) -> Self:
        """A visit with a CDAI: its total, its components by name, or both."""
        stated: Event = {} if total is None else {"cdai": total}
        if components:
            stated["cdai_components"] = components
        return self.visit(week=week, day=day, on=on, **stated)

    def ses_cd(
        self,
        total: int | None = None,
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **segments: Any,
    ) -> Self:
        """A visit with an endoscopy: the SES-CD's total, its segments by name, or both."""
        stated: Event = {} if total is None else {"ses_cd": total}
        if segments:
            stated["ses_cd_segments"] = segments
        return self.visit(week=week, day=day, on=on, **stated)

    def lab(
        self,
        analyte: str,
        value: float | str,
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **fields: Any,
    ) -> Self:
        """A laboratory result, in the analyte's canonical unit unless another is given."""
        unit = {"unit": ANALYTES[analyte].unit} if analyte in ANALYTES else {}
        result: Event = {"analyte": analyte, "value": value} | unit
        return self._state("lab", "collected_on", self._date(week, day, on), result | fields)

    def crp(
        self,
        value: float | str,
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **fields: Any,
    ) -> Self:
        """C-reactive protein in mg/L."""
        return self.lab("crp", value, week=week, day=day, on=on, **fields)

    def adverse_event(
        self,
        term: str = "Headache",
        grade: int = 1,
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **fields: Any,
    ) -> Self:
        """An adverse event by the day of its onset; serious where `seriousness` says why."""
        report: Event = {
            "term": term,
            "grade": grade,
            "serious": bool(fields.get("seriousness")),
            "related": "possible",
            "action_taken": "none",
            "outcome": "recovered",
        }
        return self._state("adverse_event", "onset_on", self._date(week, day, on), report | fields)

    def consent(
        self,
        status: str,
        *,
        week: float | None = None,
        day: int | None = None,
        on: date | None = None,
        **fields: Any,
    ) -> Self:
        """Consent `given` or `withdrawn`, or `erase`."""
        return self._state("consent", "effective_on", self._date(week, day, on), {"status": status} | fields)

    def corrected(self, **changes: Any) -> Self:
        """The next version of the record stated last, one day later."""
        return self._add(self._last() | self._next_version() | changes)

    def retracted(self) -> Self:
        """The version that withdraws the record stated last, one day later."""
        last = self._last()
        common = {name: last[name] for name in _COMMON}
        return self._add(common | self._next_version() | {"retracted": True})

    def _treatment(self, action: str, when: date, drug: str, fields: Event) -> Self:
        return self._state("treatment", "effective_on", when, {"drug": drug, "action": action} | fields)

    def _state(self, event_type: str, date_name: str, when: date, fields: Event) -> Self:
        number = 1 + sum(event["version"] == 1 for event in self.events)
        stated = {
            "event_type": event_type,
            "site_id": self.site_id,
            "event_id": f"{self.patient_id}:{event_type}:{number}",
            "version": 1,
            "patient_id": self.patient_id,
            "recorded_at": datetime.combine(when, _NOON).isoformat(),
            date_name: when.isoformat(),
        }
        return self._add(stated | fields)

    def _add(self, event: Event) -> Self:
        parse_event(event)
        self.events.append(event)
        return self

    def _last(self) -> Event:
        if not self.events:
            raise ValueError("no record has been stated yet: state one, then correct or retract it")
        return self.events[-1]

    def _next_version(self) -> Event:
        last = self._last()
        recorded_at = datetime.fromisoformat(last["recorded_at"]) + timedelta(days=1)
        return {"version": last["version"] + 1, "recorded_at": recorded_at.isoformat()}

    def _date(self, week: float | None, day: int | None, on: date | None, default: int | None = None) -> date:
        if sum(given is not None for given in (week, day, on)) > 1:
            raise ValueError("week, day and on exclude each other: give one of them")
        if on is not None:
            return on
        if week is not None:
            day = round(week * DAYS_OF_A_WEEK)
        if day is None:
            day = default
        if day is None:
            raise ValueError("when did it happen? Give week, day or on")
        return self.first_dose_on + timedelta(days=day)


class Cohort:
    """Patients of one or several centres, with ids that begin with `prefix` and count from 1."""

    def __init__(self, prefix: str = "P", site_id: str = "S01") -> None:
        self.prefix = prefix
        self.site_id = site_id
        self.patients: list[Patient] = []

    def patient(
        self, *, site_id: str | None = None, first_dose_on: date = FIRST_DOSE_ON, **enrolment: Any
    ) -> Patient:
        """A new patient, enrolled two weeks before the first dose; keywords are fields of the enrolment."""
        number = len(self.patients) + 1
        patient = Patient(f"{self.prefix}-{number:04}", site_id or self.site_id, first_dose_on)
        self.patients.append(patient)
        return patient.enrolled(**enrolment)

    def events(self) -> list[Event]:
        """Every event of every patient, in the order in which they were recorded."""
        events = [event for patient in self.patients for event in patient.events]
        return sorted(events, key=lambda event: datetime.fromisoformat(event["recorded_at"]))

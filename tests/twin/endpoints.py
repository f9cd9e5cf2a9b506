"""One row per patient, timepoint and endpoint: `patient_outcomes` (contract, sections 4 and 7)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from twin.carried import steroid_free
from twin.criteria import ACTIVE, Assessment, Chosen, Endpoint, endpoints_of
from twin.patients import counting_enrolment
from twin.protocols import BASELINE, CLINICAL, FU2025, Rules, Timepoint
from twin.records import History, record_name
from twin.selection import (
    BIOMARKERS,
    SCORES,
    Found,
    Measurement,
    measurements,
    select,
    select_baseline,
    select_carried,
)

DELAYED, DELAYED_AT, DELAYED_AFTER = "delayed_response", "week_24", "week_12"
DELAYED_ENDPOINT = Endpoint(
    ("stool_frequency", "abdominal_pain", "cdai"), CLINICAL, lambda a: None, ACTIVE, needs_baseline=True
)
UNTREATED: dict[str, Any] = {
    "status": "not_applicable",
    "observed": None,
    "nri": None,
    "locf": None,
    "baseline_value": None,
    "baseline_on": None,
    "value": None,
    "value_on": None,
    "study_offset": None,
    "window_start": None,
    "window_end": None,
    "reason": "no_treatment",
    "population": False,
    "event_ids": [],
}


@dataclass(frozen=True)
class Person:
    """A treated patient with everything that was measured, under one protocol."""

    history: History
    rules: Rules
    found: Found
    first_dose_on: date
    first_dose_at: Any
    intercurrent_on: date | None
    today: date

    def window(self, timepoint: Timepoint, kind: str) -> tuple[date, date]:
        """First and last day."""
        first, last = timepoint.windows[kind]
        return self.first_dose_on + timedelta(days=first), self.first_dose_on + timedelta(days=last)

    def before(self, endpoint: Endpoint) -> Chosen:
        """The baseline of each of the endpoint's and its population's parameters."""
        wanted = dict.fromkeys((*endpoint.parameters, *endpoint.population.parameters))
        chosen = {name: self.baseline(name) for name in wanted}
        return {name: m for name, m in chosen.items() if m is not None}

    def baseline(self, parameter: str) -> Measurement | None:
        """The last value of a parameter before treatment."""
        window = BASELINE.windows["endoscopy" if parameter == "ses_cd" else "clinical"]
        return select_baseline(self.found[parameter], self.first_dose_on, self.first_dose_at, window)

    def now(self, endpoint: Endpoint, timepoint: Timepoint, *, carried: bool = False) -> Chosen:
        """The value of each of the endpoint's parameters at a timepoint; `carried`: those of LOCF."""
        chosen = {name: self._at(name, endpoint, timepoint, carried) for name in endpoint.parameters}
        return {name: m for name, m in chosen.items() if m is not None}

    def _at(
        self, parameter: str, endpoint: Endpoint, timepoint: Timepoint, carried: bool
    ) -> Measurement | None:
        if timepoint == BASELINE:
            return self._unspoilt(self.baseline(parameter)) if carried else self.baseline(parameter)
        window, candidates = timepoint.windows[endpoint.window], self.found[parameter]
        if carried:
            return select_carried(
                candidates, self.first_dose_on, timepoint.target, window, self.intercurrent_on
            )
        return select(candidates, self.first_dose_on, timepoint.target, window)

    def _unspoilt(self, measurement: Measurement | None) -> Measurement | None:
        spoilt = measurement and self.intercurrent_on and measurement.on >= self.intercurrent_on
        return None if spoilt else measurement

    def assess(self, endpoint: Endpoint, timepoint: Timepoint, *, carried: bool = False) -> Assessment:
        """What the endpoint is judged by."""

        def free(measurement: Measurement, days: int, budesonide: bool) -> bool | None:
            return steroid_free(self.history, measurement.on, days, budesonide=budesonide)

        now = self.now(endpoint, timepoint, carried=carried)
        return Assessment(self.before(endpoint), now, self.rules, free)


def outcome_rows(
    history: History, patient: dict[str, Any], today: date, rules: Rules = FU2025
) -> list[dict[str, Any]]:
    """The patient's rows of `patient_outcomes` under one protocol."""
    common = {"patient_id": patient["patient_id"], "site_id": patient["site_id"], "drug": patient["drug"]}
    person = _person(history, patient, today, rules)
    return [
        {
            **common,
            "protocol": rules.name,
            "timepoint": timepoint.name,
            "endpoint": name,
            **(UNTREATED if person is None else _outcome(person, name, endpoint, timepoint)),
        }
        for timepoint, name, endpoint in _schedule(rules)
    ]


def known_at_baseline(history: History, patient: dict[str, Any], today: date, rules: Rules) -> set[str]:
    """The parameters that a patient has a baseline of."""
    person = _person(history, patient, today, rules)
    return set() if person is None else {name for name in person.found if person.baseline(name)}


def _person(history: History, patient: dict[str, Any], today: date, rules: Rules) -> Person | None:
    if patient["first_dose_on"] is None:
        return None
    enrolment = counting_enrolment(history)
    return Person(
        history,
        rules,
        measurements(history, patient, enrolment and enrolment.get("height_cm"), rules),
        patient["first_dose_on"],
        patient["first_dose_at"],
        patient["intercurrent_on"],
        today,
    )


def _schedule(rules: Rules) -> Iterable[tuple[Timepoint, str, Endpoint]]:
    for name, endpoint in endpoints_of(rules).items():
        if endpoint.alone:
            yield BASELINE, name, endpoint
        for timepoint in rules.timepoints:
            if endpoint.window in timepoint.windows:
                yield timepoint, name, endpoint
    yield _timepoint(rules, DELAYED_AT), DELAYED, DELAYED_ENDPOINT


def _timepoint(rules: Rules, name: str) -> Timepoint:
    return next(t for t in rules.timepoints if t.name == name)


def _first_response(person: Person, timepoint: Timepoint, *, carried: bool = False) -> bool | None:
    """R4.9: by stools and pain, by the CDAI where they cannot tell."""
    for name in ("sfap_response", "cr100"):
        endpoint = endpoints_of(person.rules)[name]
        answer = endpoint.met(person.assess(endpoint, timepoint, carried=carried))
        if answer is not None:
            return answer
    return None


def _outcome(person: Person, name: str, endpoint: Endpoint, timepoint: Timepoint) -> dict[str, Any]:
    window_start, window_end = person.window(timepoint, endpoint.window)
    now, before = person.now(endpoint, timepoint), person.before(endpoint)
    own_baselines = [before[p] for p in endpoint.parameters if p in before]

    not_applicable = None
    withdrawn_on = person.history.withdrawn_on
    if withdrawn_on is not None and withdrawn_on < window_start:
        not_applicable = "consent_withdrawn"
    elif not own_baselines and endpoint.needs_baseline:
        not_applicable = "no_baseline"
    status = (
        "not_applicable" if not_applicable else _status(bool(now), window_start, window_end, person.today)
    )
    excluded = not_applicable or ("no_baseline" if not own_baselines else _excluded(endpoint, before))

    met = endpoint.met(person.assess(endpoint, timepoint))
    carried = endpoint.met(person.assess(endpoint, timepoint, carried=True))
    if name == DELAYED:
        met = _first_response(person, timepoint)
        carried = _first_response(person, timepoint, carried=True)
        at_week_12 = _first_response(person, _timepoint(person.rules, DELAYED_AFTER))
        if at_week_12 is not False:
            met = carried = None
            excluded = excluded or ("unknown" if at_week_12 is None else "week_12_responder")
    observed = met if status in ("provisional", "final") else None
    due = excluded is None and status in ("final", "missed")
    value_on = max((m.on for m in now.values()), default=None)
    lead = endpoint.parameters[0]
    return {
        "status": status,
        "observed": observed,
        "nri": _nri(value_on, observed, person.intercurrent_on) if due else None,
        "locf": carried if due else None,
        "baseline_value": before[lead].value if lead in before else None,
        "baseline_on": before[lead].on if lead in before else None,
        "value": now[lead].value if lead in now else None,
        "value_on": value_on,
        "study_offset": value_on and (value_on - person.first_dose_on).days,
        "window_start": window_start,
        "window_end": window_end,
        "reason": excluded or _open_question(name, status, observed),
        "population": excluded is None,
        "event_ids": _records(endpoint, before, now),
    }


def _excluded(endpoint: Endpoint, before: Chosen) -> str | None:
    """Why a patient with a baseline is in no denominator."""
    population = endpoint.population
    qualifies = population.qualifies(before)
    if qualifies is None:
        return "no_baseline" if set(population.parameters) - before.keys() else "baseline_unknown"
    return None if qualifies else population.reason


def _records(endpoint: Endpoint, before: Chosen, now: Chosen) -> list[str]:
    """The records used, those of baseline first, each once."""
    ordered = sorted(endpoint.parameters, key=(*SCORES, *BIOMARKERS).index)
    used = [chosen[p] for chosen in (before, now) for p in ordered if p in chosen]
    return list(dict.fromkeys(record_name(m.event) for m in used))


def _status(has_value: bool, window_start: date, window_end: date, today: date) -> str:
    """R4.6; the window's last day counts as closed (due)."""
    if today < window_start:
        return "not_due"
    if today < window_end:
        return "provisional" if has_value else "open"
    return "final" if has_value else "missed"


def _nri(value_on: date | None, observed: bool | None, intercurrent_on: date | None) -> bool | None:
    """R4.7: missing is failure, and so is any value on or after an intercurrent event."""
    if value_on is None or (intercurrent_on is not None and intercurrent_on <= value_on):
        return False
    return observed


def _open_question(name: str, status: str, observed: bool | None) -> str | None:
    """Why someone in the denominator's population has no answer."""
    if status == "missed":
        return "missed"
    if status not in ("provisional", "final") or observed is not None:
        return None
    return "unknown" if name == DELAYED else "value_unknown"

"""What is known about a patient as a whole: site, drugs taken, first and last dose, intercurrent events."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from twin.records import Event, History, clinical_date, clock_time, day, record_id, time_order

INDEX_DRUGS = frozenset({"upadacitinib"})
ADVANCED_THERAPIES = frozenset(
    {
        "adalimumab",
        "certolizumab pegol",
        "filgotinib",
        "golimumab",
        "guselkumab",
        "infliximab",
        "mirikizumab",
        "natalizumab",
        "ozanimod",
        "risankizumab",
        "tofacitinib",
        "upadacitinib",
        "ustekinumab",
        "vedolizumab",
    }
)
CORTICOSTEROIDS = frozenset(
    {
        "beclometasone",
        "betamethasone",
        "budesonide",
        "cortisone",
        "deflazacort",
        "dexamethasone",
        "hydrocortisone",
        "methylprednisolone",
        "prednisolone",
        "prednisone",
        "triamcinolone",
    }
)
FAILURES = frozenset({"adverse_event", "lack_of_efficacy", "death"})
"""Reasons of a stop of the index drug that make it an intercurrent event (contract, section 7)."""


@dataclass(frozen=True)
class Exposure:
    """One drug a patient took; `last_dose_on` is None while it is taken."""

    drug: str
    first_dose_on: date
    last_dose_on: date | None


def start_order(event: Event) -> tuple[Any, ...]:
    """Which start came first: date, time (missing first), record id."""
    return (clinical_date(event), time_order(clock_time(event)), record_id(event))


def actions(history: History, *wanted: str) -> list[Event]:
    """The treatments with one of these actions."""
    return [event for event in history.of_type("treatment") if event["action"] in wanted]


def index_start(history: History) -> Event | None:
    """The first start of an index drug: offset 0."""
    starts = [event for event in actions(history, "start") if event["drug"] in INDEX_DRUGS]
    return min(starts, key=start_order, default=None)


def last_dose_on(history: History, drug: str) -> date | None:
    """The day of the latest stop, unless the drug was started or resumed on that day or later."""
    stops = [clinical_date(e) for e in actions(history, "stop") if e["drug"] == drug]
    intakes = [clinical_date(e) for e in actions(history, "start", "resume") if e["drug"] == drug]
    if not stops or max(intakes) >= max(stops):
        return None
    return max(stops)


def exposures(history: History) -> list[Exposure]:
    """Every drug the patient started, corticosteroids apart."""
    started = {e["drug"] for e in actions(history, "start")} - CORTICOSTEROIDS
    return [
        Exposure(
            drug,
            min(clinical_date(e) for e in actions(history, "start") if e["drug"] == drug),
            last_dose_on(history, drug),
        )
        for drug in sorted(started)
    ]


def counting_enrolment(history: History) -> Event | None:
    """Of two enrolments the earlier, then the smaller record id."""
    return min(
        history.of_type("enrolment"), key=lambda event: (clinical_date(event), record_id(event)), default=None
    )


def reference_sex(enrolment: Event | None) -> str | None:
    """Sex for CDAI and ESR: as given, else `sex` where it is female or male (R0.6)."""
    if enrolment is None:
        return None
    given: str | None = enrolment.get("reference_sex")
    sex: str = enrolment["sex"]
    return given or (sex if sex in ("female", "male") else None)


def site_of(history: History) -> str:
    """The enrolment's site, else the index start's, else that of the earliest event."""
    source = (
        counting_enrolment(history)
        or index_start(history)
        or min(history.records, key=lambda event: (clinical_date(event), record_id(event)))
    )
    site: str = source["site_id"]
    return site


def _fatal_days(history: History) -> list[date]:
    """Deaths told by adverse events: the end of a fatal one, else its onset."""
    days = [
        day(event, "resolved_on") or clinical_date(event)
        for event in history.of_type("adverse_event")
        if event.get("outcome") == "fatal" or event.get("grade") == 5  # CTCAE: grade 5 is death
    ]
    return [died for died in days if died <= history.last_day]


def died_on(history: History) -> date | None:
    """Death, from a stop with that reason or a fatal adverse event."""
    stops = [clinical_date(e) for e in actions(history, "stop") if e.get("reason") == "death"]
    return min(stops + _fatal_days(history), default=None)


def intercurrent_on(history: History, drug: str, first_dose_on: date) -> date | None:
    """The earliest intercurrent event on or after the first dose (R4.7; contract, section 7)."""
    rescues = actions(history, "rescue")
    failures = [e for e in actions(history, "stop") if e["drug"] == drug and e.get("reason") in FAILURES]
    switches = [e for e in actions(history, "start") if e["drug"] in ADVANCED_THERAPIES and e["drug"] != drug]
    dates = [clinical_date(event) for event in rescues + failures + switches] + _fatal_days(history)
    return min((on for on in dates if on >= first_dose_on), default=None)


def patient_row(history: History) -> dict[str, Any]:
    """The patient's row of `patients`."""
    enrolment = counting_enrolment(history)
    start = index_start(history)
    row = {
        "patient_id": history.patient_id,
        "site_id": site_of(history),
        "drug": None,
        "first_dose_on": None,
        "first_dose_at": None,
        "last_dose_on": None,
        "sex": enrolment and enrolment["sex"],
        "reference_sex": reference_sex(enrolment),
        "birth_year": enrolment and enrolment["birth_year"],
        "intercurrent_on": None,
    }
    if start is not None:
        first_dose_on = clinical_date(start)
        row |= {
            "drug": start["drug"],
            "first_dose_on": first_dose_on,
            "first_dose_at": clock_time(start),
            "last_dose_on": last_dose_on(history, start["drug"]),
            "intercurrent_on": intercurrent_on(history, start["drug"], first_dose_on),
        }
    return row

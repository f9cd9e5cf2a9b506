"""Events in one line each, dated by their offset from the first dose of the usual patient (day 0)."""

from datetime import date, timedelta
from typing import Any

from twin.records import CLINICAL_DATE, CLOCK_TIME, Event

FIRST_DOSE_ON = date(2024, 1, 1)
RECORDED_AT = "2026-01-01T12:00:00+00:00"
PATIENT, SITE = "W12-0001", "site-a"


def on(offset: int) -> date:
    """The date `offset` days after the first dose."""
    return FIRST_DOSE_ON + timedelta(days=offset)


def event(
    event_type: str,
    offset: int,
    event_id: str,
    *,
    patient_id: str = PATIENT,
    site_id: str = SITE,
    version: int = 1,
    recorded_at: str = RECORDED_AT,
    at: str | None = None,
    **fields: Any,
) -> Event:
    """An event of any type; `at` is its time of day."""
    clock = {} if at is None else {CLOCK_TIME[event_type]: at}
    return {
        "event_type": event_type,
        "site_id": site_id,
        "event_id": event_id,
        "version": version,
        "patient_id": patient_id,
        "recorded_at": recorded_at,
        CLINICAL_DATE[event_type]: on(offset).isoformat(),
        **clock,
        **fields,
    }


def retraction(of: Event, version: int) -> Event:
    """The version that withdraws a record."""
    common = ("event_type", "site_id", "event_id", "patient_id", "recorded_at")
    return {name: of[name] for name in common} | {"version": version, "retracted": True}


def enrolment(offset: int = -14, event_id: str = "enrolment", **fields: Any) -> Event:
    person: dict[str, Any] = {"diagnosis": "CD", "sex": "female", "birth_year": 1990, "height_cm": 165}
    return event("enrolment", offset, event_id, **person | fields)


def treatment(action: str, offset: int, event_id: str | None = None, **fields: Any) -> Event:
    drug: dict[str, Any] = {"drug": "upadacitinib"} | fields
    return event("treatment", offset, event_id or f"{drug['drug']}-{action}-{offset}", action=action, **drug)


def start(offset: int = 0, **fields: Any) -> Event:
    return treatment("start", offset, **fields)


def stop(offset: int, reason: str = "other", **fields: Any) -> Event:
    return treatment("stop", offset, reason=reason, **fields)


def rescue(offset: int, kind: str = "corticosteroid", **fields: Any) -> Event:
    drug: dict[str, Any] = {"drug": "prednisolone"} | fields
    return treatment("rescue", offset, rescue_kind=kind, **drug)


def visit(offset: int, event_id: str | None = None, **fields: Any) -> Event:
    return event("visit", offset, event_id or f"visit-{offset}", **fields)


def lab(analyte: str, offset: int, value: float | str, event_id: str | None = None, **fields: Any) -> Event:
    units = {"crp": "mg/L", "1988-5": "mg/L", "esr": "mm/h", "fcal": "ug/g", "lymphocytes": "10*9/L"}
    result: dict[str, Any] = {"analyte": analyte, "value": value, "unit": units.get(analyte)} | fields
    return event("lab", offset, event_id or f"{analyte}-{offset}", **result)


def adverse_event(offset: int, event_id: str | None = None, **fields: Any) -> Event:
    report: dict[str, Any] = {
        "term": "Headache",
        "grade": 1,
        "serious": False,
        "related": "possible",
        "action_taken": "none",
        "outcome": "recovered",
    }
    if fields.get("serious"):
        report["seriousness"] = ["hospitalisation"]
    return event("adverse_event", offset, event_id or f"ae-{offset}", **report | fields)


def consent(status: str, offset: int, event_id: str | None = None, **fields: Any) -> Event:
    return event("consent", offset, event_id or f"consent-{status}-{offset}", status=status, **fields)


def segment(ulcer_size: int, ulcerated: int, affected: int, narrowing: int) -> dict[str, int]:
    """The four items of a SES-CD segment, in the order of R2.6."""
    return {
        "ulcer_size": ulcer_size,
        "ulcerated_surface": ulcerated,
        "affected_surface": affected,
        "narrowing": narrowing,
    }

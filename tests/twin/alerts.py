"""Which records raise an alert, and whether they still do."""

from collections.abc import Callable
from typing import Any

from twin.biomarkers import result
from twin.ctcae import lymphopenia_grade
from twin.records import Event, History, record_id


def _serious(event: Event) -> bool:
    return event["event_type"] == "adverse_event" and bool(event["serious"])


def _grade_3_plus(event: Event) -> bool:
    return event["event_type"] == "adverse_event" and int(event["grade"]) >= 3


def _lab_toxicity(event: Event) -> bool:
    if event["event_type"] != "lab":
        return False
    measured = result(event)
    if measured.analyte != "lymphocytes":
        return False
    grade = lymphopenia_grade(measured.value, measured.comparator, measured.ref_low)
    return grade is not None and grade >= 2


RULES: dict[str, Callable[[Event], bool]] = {
    "serious_event": _serious,
    "grade_3_plus": _grade_3_plus,
    "lab_toxicity": _lab_toxicity,
}


def alert_rows(history: History) -> list[dict[str, Any]]:
    """One row per record and rule that any of its versions met; `withdrawn` once the current one does not.

    `site_id` and `event_id` are the record's.
    """
    current = {(event["event_type"], record_id(event)): event for event in history.records}
    raised = {
        (rule, event["event_type"], event["site_id"], event["event_id"])
        for event in history.versions
        for rule, met in RULES.items()
        if met(event)
    }
    rows = []
    for rule, event_type, site_id, event_id in sorted(raised):
        now = current.get((event_type, (site_id.encode(), event_id.encode())))
        rows.append(
            {
                "rule": rule,
                "patient_id": history.patient_id,
                "site_id": site_id,
                "event_id": event_id,
                "state": "open" if now is not None and RULES[rule](now) else "withdrawn",
            }
        )
    return rows

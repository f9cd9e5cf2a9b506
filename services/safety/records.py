"""What the safety store keeps of each event: a few typed columns, most of them null for most events."""

from collections.abc import Sequence
from typing import cast

import pyarrow as pa

from schemas import AdverseEvent, Consent, Event, EventType, Lab, Treatment, canonical_result
from services.safety.ctcae import grade_lab
from services.stream.definition import Columns
from services.stream.event_tables import DECIMAL

COLUMNS = {
    # treatment; of an adverse event: the drug its report names
    "drug": "VARCHAR",
    "action": "VARCHAR",
    "reason": "VARCHAR",
    # adverse event
    "term": "VARCHAR",
    "meddra_pt": "VARCHAR",
    "meddra_code": "VARCHAR",
    "onset_precision": "VARCHAR",
    "resolved_on": "DATE",
    "aware_on": "DATE",
    "grade": "TINYINT",
    "grade_source": "VARCHAR",
    "serious": "BOOLEAN",
    "seriousness": "VARCHAR[]",
    "related": "VARCHAR",
    "expected": "BOOLEAN",
    "action_taken": "VARCHAR",
    "outcome": "VARCHAR",
    "fatal": "BOOLEAN",
    # lab, in the analyte's canonical unit
    "analyte": "VARCHAR",
    "value": DECIMAL,
    "comparator": "VARCHAR",
    "unit": "VARCHAR",
    "lab_grade": "TINYINT",
    # consent
    "consent_status": "VARCHAR",
}


def no_columns(events: Sequence[Event]) -> Columns:
    """Of enrolments and visits safety needs who, where and when only."""
    return {}


def treatment_columns(events: Sequence[Event]) -> Columns:
    """Drug, action and reason."""
    rows = cast("Sequence[Treatment]", events)
    return {
        name: pa.array([getattr(e, name) for e in rows], pa.string()) for name in ("drug", "action", "reason")
    }


TEXTS = (
    "drug", "term", "meddra_pt", "meddra_code", "onset_precision", "grade_source", "related", "action_taken", "outcome",
)  # fmt: skip


def adverse_event_columns(events: Sequence[Event]) -> Columns:
    """The report as it stands."""
    rows = cast("Sequence[AdverseEvent]", events)
    return {
        **{name: pa.array([getattr(e, name) for e in rows], pa.string()) for name in TEXTS},
        "resolved_on": pa.array([e.resolved_on for e in rows], pa.date32()),
        "aware_on": pa.array([e.aware_on for e in rows], pa.date32()),
        "grade": pa.array([e.grade for e in rows], pa.int8()),
        "serious": pa.array([e.serious for e in rows], pa.bool_()),
        "seriousness": pa.array([e.seriousness for e in rows], pa.list_(pa.string())),
        "expected": pa.array([e.expected for e in rows], pa.bool_()),
        "fatal": pa.array([e.outcome == "fatal" or e.grade == 5 for e in rows], pa.bool_()),
    }


def lab_columns(events: Sequence[Event]) -> Columns:
    """The result in its canonical unit (R3.5) and its CTCAE grade (R5.1)."""
    rows = cast("Sequence[Lab]", events)
    results = [None if e.retracted else canonical_result(e) for e in rows]
    return {
        "analyte": pa.array([r and r.analyte for r in results], pa.string()),
        "value": pa.array([None if r is None else r.value for r in results], pa.float64()),
        "comparator": pa.array([r and r.comparator for r in results], pa.string()),
        "unit": pa.array([r and r.unit for r in results], pa.string()),
        "lab_grade": pa.array([r and grade_lab(r) for r in results], pa.int8()),
    }


def consent_columns(events: Sequence[Event]) -> Columns:
    """given, withdrawn or erase."""
    rows = cast("Sequence[Consent]", events)
    return {"consent_status": pa.array([e.status for e in rows], pa.string())}


EXTRACT = {
    EventType.ENROLMENT: no_columns,
    EventType.TREATMENT: treatment_columns,
    EventType.VISIT: no_columns,
    EventType.LAB: lab_columns,
    EventType.ADVERSE_EVENT: adverse_event_columns,
    EventType.CONSENT: consent_columns,
}

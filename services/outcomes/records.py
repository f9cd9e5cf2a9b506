"""What the outcomes store keeps of each event: a few typed columns, most of them null for most events."""

from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa

from schemas import (
    AdverseEvent,
    Consent,
    Enrolment,
    Event,
    EventType,
    Lab,
    Treatment,
    Visit,
    canonical_result,
)
from services.outcomes.cdai import compute_cdai_points
from services.outcomes.complaints import compute_complaints
from services.outcomes.ses_cd import compute_ses_cd
from services.stream.definition import Columns
from services.stream.event_tables import DECIMAL

COLUMNS = {
    # enrolment
    "sex": "VARCHAR",
    "reference_sex": "VARCHAR",
    "birth_year": "SMALLINT",
    "height_cm": DECIMAL,
    "disease_location": "VARCHAR",
    "disease_behaviour": "VARCHAR",
    "perianal": "BOOLEAN",
    "disease_duration_years": DECIMAL,
    "prior_biologics": "VARCHAR[]",
    # treatment
    "drug": "VARCHAR",
    "action": "VARCHAR",
    "reason": "VARCHAR",
    "dose_mg": DECIMAL,
    # lab and adverse event: what ingest warned of, for those who sent past it (schemas.refusals.WARNING_CODES)
    "warnings": "VARCHAR[]",
    # visit and lab: scheduled 0, retest 1, unscheduled 2 (R4.2)
    "visit_rank": "TINYINT",
    # visit
    "cdai_reported": DECIMAL,
    "cdai_points": DECIMAL,
    "haematocrit_pct": DECIMAL,
    "weight_kg": DECIMAL,
    "standard_weight_kg": DECIMAL,
    "ses_cd_reported": DECIMAL,
    "ses_cd": DECIMAL,
    "ses_segments": "TINYINT[]",  # ileum, right, transverse, left colon, rectum; null = not explored
    "ses_highest_item": "TINYINT",
    "ses_ulceration": "TINYINT",
    "ses_ulcerated_surface": "TINYINT",
    "ses_narrowing": "TINYINT",
    "hbi_reported": DECIMAL,
    "hbi": DECIMAL,
    "stool_frequency": DECIMAL,  # daily means (R2.1)
    "abdominal_pain": DECIMAL,
    "pro2": DECIMAL,
    "corticosteroid": "BOOLEAN",
    # lab, in the analyte's canonical unit
    "analyte": "VARCHAR",
    "value": DECIMAL,
    "comparator": "VARCHAR",
    "unit": "VARCHAR",
    "ref_low": DECIMAL,
    "ref_high": DECIMAL,
    # adverse event
    "fatal": "BOOLEAN",
    "resolved_on": "DATE",
    # consent
    "consent_status": "VARCHAR",
}

VISIT_RANKS = {"scheduled": 0, "retest": 1, "unscheduled": 2}


def enrolment_columns(events: Sequence[Event]) -> Columns:
    """Sex, age, height and the disease at enrolment."""
    rows = cast("Sequence[Enrolment]", events)
    return {
        "sex": pa.array([e.sex for e in rows], pa.string()),
        "reference_sex": pa.array([_reference_sex(e) for e in rows], pa.string()),
        "birth_year": pa.array([e.birth_year for e in rows], pa.int16()),
        "height_cm": pa.array([e.height_cm for e in rows], pa.float64()),
        "weight_kg": pa.array([e.weight_kg for e in rows], pa.float64()),
        "disease_location": pa.array([e.disease_location for e in rows], pa.string()),
        "disease_behaviour": pa.array([e.disease_behaviour for e in rows], pa.string()),
        "perianal": pa.array([e.perianal for e in rows], pa.bool_()),
        "disease_duration_years": pa.array([e.disease_duration_years for e in rows], pa.float64()),
        "prior_biologics": pa.array([e.prior_biologics for e in rows], pa.list_(pa.string())),
    }


def treatment_columns(events: Sequence[Event]) -> Columns:
    """Drug, action, reason and dose."""
    rows = cast("Sequence[Treatment]", events)
    return {
        "drug": pa.array([e.drug for e in rows], pa.string()),
        "action": pa.array([e.action for e in rows], pa.string()),
        "reason": pa.array([e.reason for e in rows], pa.string()),
        "dose_mg": pa.array([e.dose_mg for e in rows], pa.float64()),
    }


def visit_columns(events: Sequence[Event]) -> Columns:
    """Scores of one visit, computed where their components are there."""
    rows = cast("Sequence[Visit]", events)
    endoscopies = [compute_ses_cd(e) for e in rows]
    components = [e.cdai_components for e in rows]
    complaints = [compute_complaints(e) for e in rows]
    return {
        "visit_rank": pa.array([VISIT_RANKS[e.visit_kind] for e in rows], pa.int8()),
        "cdai_reported": pa.array([e.cdai for e in rows], pa.float64()),
        "cdai_points": pa.array([compute_cdai_points(e) for e in rows], pa.float64()),
        "haematocrit_pct": pa.array([c and c.haematocrit_pct for c in components], pa.float64()),
        "weight_kg": pa.array(
            [
                e.weight_kg if c is None or c.weight_kg is None else c.weight_kg
                for e, c in zip(rows, components, strict=True)
            ],
            pa.float64(),
        ),
        "standard_weight_kg": pa.array([c and c.standard_weight_kg for c in components], pa.float64()),
        "ses_cd_reported": pa.array([e.ses_cd for e in rows], pa.float64()),
        "ses_cd": pa.array([score.total for score in endoscopies], pa.float64()),
        "ses_segments": pa.array([score.segments for score in endoscopies], pa.list_(pa.int8())),
        "ses_highest_item": pa.array([score.highest_item for score in endoscopies], pa.int8()),
        "ses_ulceration": pa.array([score.ulceration for score in endoscopies], pa.int8()),
        "ses_ulcerated_surface": pa.array([score.ulcerated_surface for score in endoscopies], pa.int8()),
        "ses_narrowing": pa.array([score.narrowing for score in endoscopies], pa.int8()),
        "hbi_reported": pa.array([e.hbi for e in rows], pa.float64()),
        "hbi": pa.array([_hbi(e) for e in rows], pa.float64()),
        "stool_frequency": pa.array([c.stool_frequency for c in complaints], pa.float64()),
        "abdominal_pain": pa.array([c.abdominal_pain for c in complaints], pa.float64()),
        "pro2": pa.array([c.pro2 for c in complaints], pa.float64()),
        "corticosteroid": pa.array([e.corticosteroid for e in rows], pa.bool_()),
    }


def lab_columns(events: Sequence[Event]) -> Columns:
    """The result in its canonical unit (R3.5), with its limits."""
    rows = cast("Sequence[Lab]", events)
    results = [None if e.retracted else canonical_result(e) for e in rows]
    return {
        "warnings": _warnings(rows),
        "visit_rank": pa.array([VISIT_RANKS[e.visit_kind] for e in rows], pa.int8()),
        "analyte": pa.array([r and r.analyte for r in results], pa.string()),
        "value": pa.array([None if r is None else r.value for r in results], pa.float64()),
        "comparator": pa.array([r and r.comparator for r in results], pa.string()),
        "unit": pa.array([r and r.unit for r in results], pa.string()),
        "ref_low": pa.array([None if r is None else r.ref_low for r in results], pa.float64()),
        "ref_high": pa.array([None if r is None else r.ref_high for r in results], pa.float64()),
    }


def adverse_event_columns(events: Sequence[Event]) -> Columns:
    """Deaths only: an intercurrent event (R4.7)."""
    rows = cast("Sequence[AdverseEvent]", events)
    return {
        "warnings": _warnings(rows),
        "fatal": pa.array([e.outcome == "fatal" or e.grade == 5 for e in rows], pa.bool_()),
        "resolved_on": pa.array([e.resolved_on for e in rows], pa.date32()),
    }


def consent_columns(events: Sequence[Event]) -> Columns:
    """given, withdrawn or erase."""
    rows = cast("Sequence[Consent]", events)
    return {"consent_status": pa.array([e.status for e in rows], pa.string())}


EXTRACT = {
    EventType.ENROLMENT: enrolment_columns,
    EventType.TREATMENT: treatment_columns,
    EventType.VISIT: visit_columns,
    EventType.LAB: lab_columns,
    EventType.ADVERSE_EVENT: adverse_event_columns,
    EventType.CONSENT: consent_columns,
}


def _warnings(events: Sequence[Event]) -> "pa.Array[Any]":
    """What is accepted but flagged; null for most."""
    codes = ([warning.code for warning in event.warnings()] for event in events)
    return pa.array([found or None for found in codes], pa.list_(pa.string()))


def _hbi(visit: Visit) -> int | None:
    """R2.3, and as R1.9 has it: complete components replace the total."""
    total = visit.hbi_components.total if visit.hbi_components else None
    return visit.hbi if total is None else total


def _reference_sex(enrolment: Enrolment) -> str | None:
    """R0.6: the reference sex stated, else the sex where it is one of the two; never guessed."""
    if enrolment.reference_sex is not None:
        return enrolment.reference_sex
    return enrolment.sex if enrolment.sex in ("female", "male") else None

"""The relations of an explanation, over those that the tables themselves are derived by."""

from dataclasses import replace
from pathlib import Path

from services.outcomes.definition import OUTCOMES
from services.stream.definition import Relation
from services.stream.patient import patient_sql

SQL = Path(__file__).parent / "sql"


def _of_uncounted() -> Relation:
    """The values of record versions that do not count, by the SQL that gives those of the others."""
    counted = next(step for step in OUTCOMES.steps if step.name == "measurements")
    return Relation("uncounted_measurements", counted.sql.replace("current_records", "uncounted_records"))


NAMES = ("values_weighed", "intercurrent_events", "steroid_records", "criteria_met", "explanation")

EXPLAINED = replace(
    OUTCOMES,
    views=[
        *OUTCOMES.views,
        Relation.load(SQL, "uncounted_records"),
        _of_uncounted(),
        *(Relation.load(SQL, name) for name in NAMES),
    ],
)

EXPLANATION = patient_sql(EXPLAINED, "explanation")
"""One row about the patient `$patient` as of `$as_of`, known at `$known_at` (null: all): see sql/explanation.sql."""

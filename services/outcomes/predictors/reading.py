"""The patients behind the models, read from the store in one state of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.outcomes.predictors.models import COLUMNS, UNITS, Cases, Predictor, analyse, as_row
from services.stream.definition import Cursor, Settled

# An outcome counts as in cohort_rates: R4.8.
CASES = """
CREATE OR REPLACE TEMP TABLE cases AS
SELECT o.protocol, o.timepoint, o.endpoint, o.observed::DOUBLE AS outcome, {known}
FROM {outcomes} AS o
JOIN protocol_regressions USING (protocol, timepoint, endpoint)
JOIN protocol_endpoints AS e USING (protocol, endpoint)
JOIN {characteristics} AS c USING (protocol, patient_id)
WHERE o.population AND (o.status IN ('final', 'missed') OR (NOT e.observed_when_due AND o.observed IS NOT NULL))
  AND {of_site}
"""
ANALYSES = "FROM protocol_regressions ORDER BY protocol, timepoint, ordinal"
OF_ANALYSIS = "SELECT outcome, {known} FROM cases WHERE protocol = ? AND timepoint = ? AND endpoint = ?"
PREDICTORS = "SELECT predictor, multivariable FROM protocol_predictors WHERE protocol = ? ORDER BY ordinal"


@dataclass(frozen=True)
class Analysis:
    """One endpoint at one timepoint: its patients, and the predictors that the protocol names."""

    cases: Cases
    univariable: Sequence[str]
    multivariable: Sequence[str]


def read_analyses(cursor: Cursor, day: date | None = None, site_id: str | None = None) -> list[Analysis]:
    """Every analysis of the protocols, of all patients or one centre's; `day` None: as of today."""
    known = ", ".join(UNITS)
    suffix = f"_at(DATE '{day}')" if day else ""
    cursor.execute(
        CASES.format(
            known=known,
            outcomes=f"patient_outcomes{suffix}",
            characteristics=f"baseline_characteristics{suffix}",
            of_site="o.site_id = $site_id" if site_id else "true",
        ),
        {"site_id": site_id} if site_id else None,
    )
    found = []
    for protocol, timepoint, endpoint, _ in cursor.execute(ANALYSES).fetchall():
        named = cursor.execute(PREDICTORS, [protocol]).fetchall()
        columns = cursor.execute(
            OF_ANALYSIS.format(known=known), [protocol, timepoint, endpoint]
        ).fetchnumpy()
        arrays = {name: np.ma.filled(column.astype(np.float64), np.nan) for name, column in columns.items()}
        cases = Cases(protocol, timepoint, endpoint, arrays.pop("outcome"), arrays)
        found.append(
            Analysis(cases, [name for name, _ in named], [name for name, together in named if together])
        )
    cursor.execute("DROP TABLE temp.cases")
    return found


def analyse_all(analyses: Iterable[Analysis]) -> list[Mapping[str, object]]:
    """The rows of `predictors`."""
    rows: list[Predictor] = []
    for analysis in analyses:
        rows += analyse(analysis.cases, analysis.univariable, analysis.multivariable)
    return [as_row(row) for row in rows]


PREDICTORS_TABLE = Settled("predictors", COLUMNS, read_analyses, analyse_all)

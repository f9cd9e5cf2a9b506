"""The patients behind the models, read from the store in one state of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from services.outcomes.predictors.models import COLUMNS, UNITS, Cases, Predictor, analyse, as_row
from services.runtime.cut import Cut, source_at
from services.stream.definition import Cursor, Settled

# Two narrow tables instead of one wide one, and as of today an endpoint at a time: a store has little memory. As of
# another day everything is derived from the events, so that once is better than for each. An outcome counts as in
# cohort_rates (R4.8).
CASES = "CREATE OR REPLACE TEMP TABLE cases (analysis BIGINT, patient UBIGINT, outcome DOUBLE)"
ADD_CASES = """
INSERT INTO cases
SELECT r.rowid, md5_number_lower(o.patient_id), o.observed::DOUBLE
FROM {states} AS o JOIN protocol_regressions AS r USING (protocol, timepoint, endpoint)
WHERE o.population AND (o.due OR (NOT o.observed_when_due AND o.observed IS NOT NULL)) AND {of_site} AND {of_analysis}
"""
ONE = "o.protocol = $protocol AND o.timepoint = $timepoint AND o.endpoint = $endpoint"
KNOWN = """
CREATE OR REPLACE TEMP TABLE known AS
SELECT protocol, md5_number_lower(patient_id) AS patient, {known} FROM {characteristics}
SEMI JOIN protocol_regressions USING (protocol) WHERE {of_site}
"""
ANALYSES = "SELECT rowid, protocol, timepoint, endpoint FROM protocol_regressions ORDER BY rowid"
OF_ANALYSIS = """
SELECT outcome, {known} FROM cases JOIN known USING (patient) WHERE analysis = ? AND protocol = ?
"""
PREDICTORS = "SELECT predictor, multivariable FROM protocol_predictors WHERE protocol = ? ORDER BY ordinal"


@dataclass(frozen=True)
class Analysis:
    """One endpoint at one timepoint: its patients, and the predictors that the protocol names."""

    cases: Cases
    univariable: Sequence[str]
    multivariable: Sequence[str]


def read_analyses(cursor: Cursor, cut: Cut | None = None, site_id: str | None = None) -> list[Analysis]:
    """Every analysis of the protocols, of all patients or one centre's; at `cut`, None: today's."""
    known = ", ".join(UNITS)
    of_site = "site_id = $site_id" if site_id else "true"
    site = {"site_id": site_id} if site_id else {}
    analyses = cursor.execute(ANALYSES).fetchall()
    cursor.execute(CASES)
    adding = partial(ADD_CASES.format, states=source_at("endpoint_states", cut), of_site=of_site)
    if cut:
        cursor.execute(adding(of_analysis="true"), site)
    else:
        for _, protocol, timepoint, endpoint in analyses:
            one = {"protocol": protocol, "timepoint": timepoint, "endpoint": endpoint}
            cursor.execute(adding(of_analysis=ONE), site | one)
    characteristics = source_at("baseline_characteristics", cut)
    cursor.execute(KNOWN.format(known=known, characteristics=characteristics, of_site=of_site), site)
    found = []
    for number, protocol, timepoint, endpoint in analyses:
        named = cursor.execute(PREDICTORS, [protocol]).fetchall()
        columns = cursor.execute(OF_ANALYSIS.format(known=known), [number, protocol]).fetchnumpy()
        arrays = {name: np.ma.filled(column.astype(np.float64), np.nan) for name, column in columns.items()}
        cases = Cases(protocol, timepoint, endpoint, arrays.pop("outcome"), arrays)
        univariable, together = [name for name, _ in named], [name for name, both in named if both]
        found.append(Analysis(cases, univariable, together))
    cursor.execute("DROP TABLE temp.cases; DROP TABLE temp.known")
    return found


def analyse_all(analyses: Iterable[Analysis]) -> list[Mapping[str, object]]:
    """The rows of `predictors`."""
    rows: list[Predictor] = []
    for analysis in analyses:
        rows += analyse(analysis.cases, analysis.univariable, analysis.multivariable)
    return [as_row(row) for row in rows]


PREDICTORS_TABLE = Settled("predictors", COLUMNS, read_analyses, analyse_all)

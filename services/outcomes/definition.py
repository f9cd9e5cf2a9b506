"""The outcomes store: its columns, relations and public names in one place."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb

from schemas.protocol import Protocol, Regression
from services.outcomes import findings
from services.outcomes.classes import (
    CLASS_CHANGES,
    FORGET_CLASS_CHANGES,
    remember_classes,
    take_over_classes,
    tell_class_changes,
)
from services.outcomes.compiled import composite_macros
from services.outcomes.layouts import LAYOUTS
from services.outcomes.outbox import TABLES
from services.outcomes.plan import Scheme, limit_of, make_plan
from services.outcomes.predictors.reading import PREDICTORS_TABLE
from services.outcomes.records import COLUMNS, EXTRACT
from services.stream import settling
from services.stream.definition import RECORDS, History, Redefinition, Relation, StoreDefinition

SQL = Path(__file__).parent / "sql"

PROTOCOL_TABLES = """
CREATE OR REPLACE TABLE protocols (protocol VARCHAR, evaluated INTEGER, protocol_version VARCHAR, scheme TINYINT);
CREATE OR REPLACE TABLE protocol_estimands (protocol VARCHAR, estimand VARCHAR);
CREATE OR REPLACE TABLE protocol_limits (
    protocol VARCHAR, parameter VARCHAR, laboratory BOOLEAN, fixed DECIMAL(18, 9), miller BOOLEAN, inclusive BOOLEAN);
CREATE OR REPLACE TABLE protocol_windows (
    protocol VARCHAR, timepoint VARCHAR, parameter VARCHAR, target INTEGER, opens INTEGER, closes INTEGER);
CREATE OR REPLACE TABLE protocol_endpoints (
    protocol VARCHAR, endpoint VARCHAR, ordinal INTEGER, rule VARCHAR, parameter VARCHAR, observed_when_due BOOLEAN);
CREATE OR REPLACE TABLE protocol_inductions (
    protocol VARCHAR, dose_mg DECIMAL(18, 9), days INTEGER, grace_days INTEGER);
CREATE OR REPLACE TABLE reference_rates (
    protocol VARCHAR, timepoint VARCHAR, endpoint VARCHAR, event_group VARCHAR,
    n INTEGER, denominator INTEGER, per_cent DECIMAL(5, 2));
CREATE OR REPLACE TABLE parameters (parameter TINYINT, name VARCHAR);
CREATE OR REPLACE TABLE schemes (
    scheme TINYINT, any_drug BOOLEAN, hct_signed BOOLEAN, component_rounding BOOLEAN, nearest_days INTEGER,
    carried_days INTEGER);
CREATE OR REPLACE TABLE scheme_drugs (scheme TINYINT, drug VARCHAR);
CREATE OR REPLACE TABLE scheme_therapies (scheme TINYINT, drug VARCHAR);
CREATE OR REPLACE TABLE scheme_corticosteroids (scheme TINYINT, drug VARCHAR, apart BOOLEAN);
CREATE OR REPLACE TABLE scheme_times (scheme TINYINT, time TINYINT, timepoint VARCHAR);
CREATE OR REPLACE TABLE scheme_windows (
    scheme TINYINT, time TINYINT, parameter TINYINT, target SMALLINT, opens SMALLINT, closes SMALLINT,
    timepoint VARCHAR, name VARCHAR);
CREATE OR REPLACE TABLE scheme_atoms (
    scheme TINYINT, bit BIGINT, parameter TINYINT, kind VARCHAR, measure VARCHAR, operator VARCHAR,
    limit_value DECIMAL(18, 9), baseline4_fall DECIMAL(18, 9), baseline4_rule VARCHAR, baseline_zero_fails BOOLEAN,
    days INTEGER, laboratory BOOLEAN, fixed DECIMAL(18, 9), miller BOOLEAN, inclusive BOOLEAN);
CREATE OR REPLACE TABLE scheme_clauses (scheme TINYINT, bit BIGINT, response TINYINT, clause BIGINT);
CREATE OR REPLACE TABLE schedule (
    protocol VARCHAR, scheme TINYINT, time TINYINT, timepoint VARCHAR, endpoint VARCHAR, answer BIGINT,
    ordinal INTEGER, rule VARCHAR, lead TINYINT, parameters BIGINT, opens INTEGER, closes INTEGER,
    needs_baseline BOOLEAN, after TINYINT, qualifies BIGINT, population_parameters BIGINT, baseline_reason VARCHAR,
    observed_when_due BOOLEAN, headline_parameters BIGINT);
"""
"""What the SQL reads of the protocols, as `services.outcomes.plan` compiles them."""

REGRESSION_TABLES = f"""
CREATE OR REPLACE TABLE protocol_regressions (
    protocol VARCHAR, timepoint VARCHAR, endpoint VARCHAR, ordinal INTEGER);
CREATE OR REPLACE TABLE protocol_predictors (
    protocol VARCHAR, predictor VARCHAR, ordinal INTEGER, multivariable BOOLEAN);
{PREDICTORS_TABLE.creation};
{settling.CREATION};
"""

REASONS = {
    "no_treatment": "never started an index drug",
    "consent_withdrawn": "consent was withdrawn before the window opened",
    "no_baseline": "no value in the baseline window",
    "baseline_unknown": "the baseline value cannot be judged: censored, its limit or the use of steroids unknown",
    "baseline_inactive": "baseline CDAI below 150",
    "baseline_no_steroid": "no corticosteroid on the day of the baseline CDAI, or baseline CDAI below 150",
    "baseline_below_3": "baseline SES-CD below 3",
    "baseline_not_ulcerated": "no ulcerated surface at baseline, or a baseline SES-CD below 3",
    "baseline_not_trial_like": "baseline outside the trial's criteria of entry",
    "baseline_normal": "normal at baseline, so it cannot normalise",
    "missed": "the window closed without a value",
    "value_unknown": "a value is there but cannot decide: censored, limit or part of it unknown, segment not seen",
    "week_12_responder": "responded at week 12 already, so the response is not a delayed one",
    "unknown": "whether the response is a delayed one cannot be said",
}
"""Every `reason` of `patient_outcomes`, in words."""


def fill_protocol_tables(con: duckdb.DuckDBPyConnection, protocols: Sequence[Protocol]) -> None:
    """Write the protocols, in order of evaluation, into the tables that the SQL reads."""
    con.execute(PROTOCOL_TABLES + REGRESSION_TABLES + findings.TABLE)
    _insert(con, "findings", findings.FINDINGS.items())
    plan = make_plan(protocols)
    _insert(con, "parameters", [(number, name) for name, number in plan.parameters.items()])
    for number, protocol in enumerate(plan.protocols, start=1):
        _insert_protocol(con, number, protocol, plan.scheme_of[protocol.name].number)
    for scheme in plan.schemes:
        _insert_scheme(con, scheme, plan.parameters)
    _insert(con, "schedule", plan.steps)
    con.execute(composite_macros(plan))


def _insert_protocol(con: duckdb.DuckDBPyConnection, number: int, protocol: Protocol, scheme: int) -> None:
    name = protocol.name
    _insert(con, "protocols", [(name, number, protocol.version, scheme)])
    _insert(con, "protocol_estimands", [(name, estimand) for estimand in protocol.settings.missing])
    _insert(
        con,
        "protocol_limits",
        [
            (name, parameter, *limit_of(rules))
            for parameter, rules in protocol.parameter.items()
            if rules.upper_limit is not None
        ],
    )
    _insert(
        con,
        "protocol_windows",
        [
            (name, timepoint, parameter, visit.target, *bounds)
            for timepoint, visit in protocol.timepoint.items()
            for parameter, rules in protocol.parameter.items()
            if (bounds := getattr(visit, rules.window)) is not None
        ],
    )
    _insert(
        con,
        "protocol_endpoints",
        [
            (
                name, e.name, ordinal, e.rule, protocol.parameters(e.name)[0],
                protocol.population[e.population].observed_when_due,
            )
            for ordinal, e in enumerate(protocol.endpoints)
        ],
    )  # fmt: skip
    if protocol.induction:
        _insert(con, "protocol_inductions", [(name, *protocol.induction.model_dump().values())])
    if protocol.regression:
        _insert_regression(con, name, protocol.regression)
    _insert(
        con,
        "reference_rates",
        [
            (name, r.timepoint, r.endpoint, r.event_group, r.n, r.denominator, r.per_cent)
            for r in protocol.reference
        ],
    )


def _insert_scheme(con: duckdb.DuckDBPyConnection, scheme: Scheme, parameters: Mapping[str, int]) -> None:
    number, first = scheme.number, scheme.first
    conventions = first.settings
    _insert(
        con,
        "schemes",
        [
            (
                number, first.drugs == "any", conventions.hct_mode == "signed", conventions.component_rounding,
                conventions.nearest_days, conventions.carried_days,
            )
        ],
    )  # fmt: skip
    _insert(con, "scheme_drugs", [] if first.drugs == "any" else [(number, drug) for drug in first.drugs])
    _insert(con, "scheme_therapies", [(number, drug) for drug in first.advanced_therapies])
    _insert(
        con,
        "scheme_corticosteroids",
        [(number, drug, drug in first.corticosteroids_apart) for drug in first.corticosteroids],
    )
    _insert(con, "scheme_times", [(number, time, name) for name, time in scheme.times.items()])
    _insert(con, "scheme_windows", [(number, *window) for window in scheme.windows(parameters)])
    _insert(
        con,
        "scheme_atoms",
        [(number, 1 << bit, parameters[atom.parameter], *atom[1:]) for atom, bit in scheme.atoms.items()],
    )

    _insert(
        con,
        "scheme_clauses",
        [
            (number, 1 << bit, response, scheme.mask(clause))
            for composite, bit in scheme.composites.items()
            for response, clauses in enumerate(composite, start=1)
            for clause in clauses
        ],
    )


def _insert_regression(con: duckdb.DuckDBPyConnection, protocol: str, regression: Regression) -> None:
    _insert(
        con,
        "protocol_regressions",
        [
            (protocol, timepoint, endpoint, ordinal)
            for timepoint in regression.timepoints
            for ordinal, endpoint in enumerate(regression.endpoints)
        ],
    )
    names = dict.fromkeys((*regression.univariable, *regression.multivariable))
    _insert(
        con,
        "protocol_predictors",
        [(protocol, name, ordinal, name in regression.multivariable) for ordinal, name in enumerate(names)],
    )


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Sequence[object]]) -> None:
    values = list(rows)
    if values:  # in one statement: each costs DuckDB a millisecond
        places = ", ".join(f"({', '.join('?' * len(row))})" for row in values)
        con.execute(f"INSERT INTO {table} VALUES {places}", [value for row in values for value in row])


WAITING = Relation(
    "waiting",
    "SELECT dirty.patient_key, dirty.patient_id, since "
    "FROM dirty SEMI JOIN changed USING (patient_key) LEFT JOIN store.outbox USING (patient_key)",
)
OUTBOX = (
    "DELETE FROM store.outbox WHERE patient_key IN (SELECT patient_key FROM waiting)",
    "INSERT INTO store.outbox SELECT patient_key, patient_id, coalesce(since, clock.batch), clock.batch "
    "FROM waiting CROSS JOIN store.clock",
)
"""Patients touched wait for publication; `since` is the first batch not yet published."""

REPLAYED = (
    "INSERT INTO store.published SELECT patient_key, 'unknown' FROM old.published",
    "INSERT INTO store.outbox SELECT patient_key, patient_id, clock.batch, clock.batch "
    "FROM old.published JOIN old.patients USING (patient_key) CROSS JOIN store.clock "
    "WHERE patient_key NOT IN (SELECT patient_key FROM store.outbox)",
    "INSERT INTO store.class_changes BY NAME FROM old.class_changes",
)
"""A replayed store has everybody in its outbox; who is not in it any more must leave the topic too."""

WINDOW_CROSSED = (
    "INSERT INTO store.outbox SELECT DISTINCT patient_key, patient_id, $batch, $batch "
    "FROM store.treated JOIN store.scheme_windows USING (scheme) JOIN store.patients USING (patient_key) "
    "WHERE (treated.first_dose_on + opens BETWEEN least($before, $today) + 1 AND greatest($before, $today) "
    "    OR treated.first_dose_on + closes BETWEEN least($before, $today) + 1 AND greatest($before, $today)) "
    "AND patient_key NOT IN (SELECT patient_key FROM store.outbox)",
)
"""States that the calendar alone changed are published too."""

OUTCOMES = StoreDefinition(
    name="outcomes",
    layouts=LAYOUTS,
    columns=COLUMNS,
    extract=EXTRACT,
    macros="".join((SQL / f"{name}.sql").read_text(encoding="utf-8") for name in ("macros", "limits")),
    parameters=fill_protocol_tables,
    steps=[
        *RECORDS,
        Relation.load(SQL, "treated", stored=True),
        Relation.load(SQL, "patients", stored=True),
        Relation.load(SQL, "measurements", of=("treated",)),
        Relation.load(SQL, "chosen", of=("measurements",)),
        Relation.load(SQL, "judged", of=("measurements",)),
        Relation.load(SQL, "selected", stored=True, of=("chosen",)),
        Relation.load(SQL, "results", stored=True, of=("treated",)),
    ],
    views=[
        Relation.load(SQL, name)
        for name in (
            *("endpoint_states", "patient_outcomes", "cohort_counts", "cohort_rates"),
            *("cohort_changes", "cohort_funnel", "biomarkers", "baseline_characteristics"),
            *("worklist", "data_quality"),
            "extended_inductions",
        )
    ],
    dated=(
        *("patients", "treated", "endpoint_states", "patient_outcomes", "biomarkers", "worklist"),
        *("cohort_counts", "cohort_rates", "cohort_changes", "cohort_funnel"),
        *("baseline_characteristics", "data_quality", "extended_inductions"),
    ),
    histories=(History("patient_outcomes", Relation.load(SQL, "outcome_history")),),
    tables=(*TABLES, CLASS_CHANGES),
    on_replay=REPLAYED,
    on_redefinition=Redefinition(remember_classes, take_over_classes, tell_class_changes),
    on_erasure=(FORGET_CLASS_CHANGES,),
    keeps_dead_letters=True,
    settled=(PREDICTORS_TABLE,),
    tells_of_erasures=True,
    on_change=(WAITING,),
    on_refresh=OUTBOX,
    on_calendar=WINDOW_CROSSED,
    compared={
        "patients": "patient_key, partition",
        "patient_outcomes": "",
        "cohort_rates": "",
        "cohort_changes": "",
        "cohort_funnel": "",
        "biomarkers": "",
        "baseline_characteristics": "",
        "worklist": "",
        "data_quality": "",
        "extended_inductions": "",
    },
)

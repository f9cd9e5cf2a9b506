"""The outcomes store: its columns, relations and public names in one place."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import duckdb

from schemas.protocol import Parameter, Protocol, Regression
from services.outcomes.outbox import TABLES
from services.outcomes.predictors.reading import PREDICTORS_TABLE
from services.outcomes.records import COLUMNS, EXTRACT
from services.stream import settling
from services.stream.definition import RECORDS, Relation, StoreDefinition

SQL = Path(__file__).parent / "sql"

PROTOCOL_TABLES = """
CREATE OR REPLACE TABLE protocols (protocol VARCHAR, evaluated INTEGER, protocol_version VARCHAR, any_drug BOOLEAN);
CREATE OR REPLACE TABLE protocol_drugs (protocol VARCHAR, drug VARCHAR);
CREATE OR REPLACE TABLE protocol_therapies (protocol VARCHAR, drug VARCHAR);
CREATE OR REPLACE TABLE protocol_corticosteroids (protocol VARCHAR, drug VARCHAR);
CREATE OR REPLACE TABLE protocol_baselines (protocol VARCHAR, parameter VARCHAR, opens INTEGER, closes INTEGER);
CREATE OR REPLACE TABLE protocol_windows (
    protocol VARCHAR, timepoint VARCHAR, parameter VARCHAR, target INTEGER, opens INTEGER, closes INTEGER);
CREATE OR REPLACE TABLE protocol_limits (
    protocol VARCHAR, parameter VARCHAR, laboratory BOOLEAN, fixed DECIMAL(18, 9), miller BOOLEAN, inclusive BOOLEAN);
CREATE OR REPLACE TABLE protocol_endpoints (
    protocol VARCHAR, endpoint VARCHAR, ordinal INTEGER, rule VARCHAR, parameter VARCHAR, kind VARCHAR,
    limit_value DECIMAL(18, 9), baseline4_fall DECIMAL(18, 9), minimum_fall DECIMAL(18, 9), maximum_item INTEGER,
    needs_baseline BOOLEAN, baseline_at_least DECIMAL(18, 9), baseline_raised BOOLEAN, baseline_reason VARCHAR,
    observed_when_due BOOLEAN);
CREATE OR REPLACE TABLE reference_rates (
    protocol VARCHAR, timepoint VARCHAR, endpoint VARCHAR, event_group VARCHAR,
    n INTEGER, denominator INTEGER, per_cent DECIMAL(5, 2));
"""

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
    "baseline_unknown": "the baseline value cannot be judged: censored, or its limit is unknown",
    "baseline_inactive": "baseline CDAI below 150",
    "baseline_below_3": "baseline SES-CD below 3",
    "baseline_normal": "normal at baseline, so it cannot normalise",
    "missed": "the window closed without a value",
    "value_unknown": "a value is there but cannot decide: censored, limit unknown, or a segment was not seen again",
}
"""Every `reason` of `patient_outcomes`, in words."""


def fill_protocol_tables(con: duckdb.DuckDBPyConnection, protocols: Sequence[Protocol]) -> None:
    """Write the protocols, in order of evaluation, into the tables that the SQL reads."""
    con.execute(PROTOCOL_TABLES + REGRESSION_TABLES)
    for number, protocol in enumerate(protocols, start=1):
        name = protocol.name
        _insert(con, "protocols", [(name, number, protocol.version, protocol.drugs == "any")])
        if protocol.drugs != "any":
            _insert(con, "protocol_drugs", [(name, drug) for drug in protocol.drugs])
        _insert(con, "protocol_therapies", [(name, drug) for drug in protocol.advanced_therapies])
        _insert(con, "protocol_corticosteroids", [(name, drug) for drug in protocol.corticosteroids])
        for parameter, rules in protocol.parameter.items():
            _insert_parameter(con, protocol, parameter, rules)
        for ordinal, e in enumerate(protocol.endpoint):
            population = protocol.population[e.population]
            _insert(
                con,
                "protocol_endpoints",
                [
                    (
                        name, e.name, ordinal, e.rule, e.parameter, e.kind, e.limit, e.baseline4_fall, e.minimum_fall,
                        e.maximum_item, e.needs_baseline, population.baseline_at_least, population.baseline_raised,
                        population.reason, population.observed_when_due,
                    )
                ],
            )  # fmt: skip
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


def _insert_parameter(
    con: duckdb.DuckDBPyConnection, protocol: Protocol, name: str, rules: Parameter
) -> None:
    bounds = getattr(protocol.baseline, rules.window)
    if bounds:
        _insert(con, "protocol_baselines", [(protocol.name, name, *bounds)])
    for timepoint in protocol.timepoint:
        bounds = getattr(timepoint, rules.window)
        if bounds:
            _insert(
                con, "protocol_windows", [(protocol.name, timepoint.name, name, timepoint.target, *bounds)]
            )
    if rules.upper_limit is not None:
        laboratory = rules.upper_limit == "laboratory"
        fixed = rules.fallback if laboratory else rules.upper_limit
        _insert(
            con,
            "protocol_limits",
            [
                (
                    protocol.name,
                    name,
                    laboratory,
                    fixed if isinstance(fixed, Decimal) else None,
                    fixed == "miller",
                    rules.inclusive,
                )
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


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[object]]) -> None:
    for row in rows:
        con.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


WAITING = Relation(
    "waiting",
    "SELECT dirty.patient_key, dirty.patient_id, since "
    "FROM dirty SEMI JOIN (FROM changed_selected UNION FROM changed_treated UNION FROM changed_patients) "
    "USING (patient_key) LEFT JOIN store.outbox USING (patient_key)",
)
OUTBOX = (
    "DELETE FROM store.outbox WHERE patient_key IN (SELECT patient_key FROM waiting)",
    "INSERT INTO store.outbox SELECT patient_key, patient_id, coalesce(since, clock.batch), clock.batch "
    "FROM waiting CROSS JOIN store.clock",
)
"""Patients touched wait for publication; `since` is the first batch not yet published."""

WINDOW_CROSSED = (
    "INSERT INTO store.outbox SELECT DISTINCT patient_key, patient_id, $batch, $batch "
    "FROM store.selected JOIN store.patients USING (patient_key) "
    "WHERE ((window_start > least($before, $today) AND window_start <= greatest($before, $today)) "
    "    OR (window_end > least($before, $today) AND window_end <= greatest($before, $today))) "
    "AND patient_key NOT IN (SELECT patient_key FROM store.outbox)",
)
"""States that the calendar alone changed are published too."""

OUTCOMES = StoreDefinition(
    name="outcomes",
    columns=COLUMNS,
    extract=EXTRACT,
    macros="".join((SQL / f"{name}.sql").read_text(encoding="utf-8") for name in ("macros", "limits")),
    parameters=fill_protocol_tables,
    steps=[
        *RECORDS,
        Relation.load(SQL, "treated", stored=True),
        Relation.load(SQL, "patients", stored=True),
        Relation.load(SQL, "measurements"),
        Relation.load(SQL, "selected", stored=True),
    ],
    views=[
        Relation.load(SQL, name)
        for name in (
            *("endpoint_states", "patient_outcomes", "cohort_rates", "cohort_changes", "cohort_funnel"),
            *("biomarkers", "baseline_characteristics", "worklist", "data_quality"),
        )
    ],
    dated=(
        *("patients", "treated", "endpoint_states", "patient_outcomes", "biomarkers", "worklist"),
        *("cohort_rates", "cohort_changes", "cohort_funnel", "baseline_characteristics"),
    ),
    tables=TABLES,
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
    },
)

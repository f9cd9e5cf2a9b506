"""The safety store: its columns, relations and public names in one place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from scipy.special import gammaincinv

from schemas.protocol import Protocol
from schemas.topics import ALERT_ACTIONS
from services.safety.ctcae import TERMS
from services.safety.layouts import LAYOUTS
from services.safety.records import COLUMNS, EXTRACT
from services.stream.definition import RECORDS, Relation, StoreDefinition

SQL = Path(__file__).parent / "sql"
TABULATED_EVENTS = 10_000


def fill_parameter_tables(con: duckdb.DuckDBPyConnection, protocols: Sequence[Protocol]) -> None:
    """Write the drug lists, the wording of laboratory findings and the exact Poisson limits."""
    first = protocols[0]
    steroids = sorted({drug for protocol in protocols for drug in protocol.corticosteroids})
    _replace(con, "corticosteroids", {"drug": pa.array(steroids, pa.string())})
    index = [] if first.drugs == "any" else list(first.drugs)
    _replace(con, "index_drugs", {"drug": pa.array(index, pa.string())})
    pairs = [(analyte, term) for analyte, terms in TERMS.items() for term in terms]
    _replace(
        con,
        "lab_terms",
        {"analyte": pa.array([p[0] for p in pairs]), "term": pa.array([p[1] for p in pairs])},
    )
    _replace(con, "poisson_limits", _poisson_limits())


def _poisson_limits() -> "dict[str, pa.Array[Any]]":
    """Garwood's 95 % limits of a Poisson count (R6.7)."""
    counts = np.arange(TABULATED_EVENTS + 1)
    # The chi-squared quantiles of 2k and 2k + 2 degrees of freedom, halved.
    low = np.append(0.0, gammaincinv(counts[1:], 0.025))
    high = gammaincinv(counts + 1, 0.975)
    return {"events": pa.array(counts, pa.int64()), "low": pa.array(low), "high": pa.array(high)}


def _replace(con: duckdb.DuckDBPyConnection, table: str, columns: "dict[str, pa.Array[Any]]") -> None:
    con.register("arrived", pa.table(columns))
    con.execute(f"CREATE OR REPLACE TABLE store.{table} AS FROM arrived")
    con.unregister("arrived")


TABLES = (
    "CREATE TABLE alert_actions (action_id VARCHAR PRIMARY KEY, alert_id VARCHAR, action VARCHAR, actor VARCHAR, "
    "note VARCHAR, acted_at TIMESTAMP)",
    "CREATE TABLE alert_changes (seq BIGINT, alert_id VARCHAR, published BOOLEAN)",
)

CHANGED_ALERTS = Relation(
    "changed_alerts",
    "SELECT coalesce(n.alert_id, o.alert_id) AS alert_id, n.event_recorded_at, n.rule, n.severity, n.raised_at, "
    "NOT n.withdrawn AND coalesce(o.withdrawn, true) AS raised, n.withdrawn AND NOT o.withdrawn AS withdrawn "
    "FROM temp.alerts_raised AS n "
    "FULL JOIN (SELECT * FROM store.alerts_raised SEMI JOIN dirty USING (patient_key)) AS o USING (alert_id) "
    "WHERE row(n.severity, n.title, n.evidence, n.drug, n.withdrawn, n.event_recorded_at) "
    "IS DISTINCT FROM row(o.severity, o.title, o.evidence, o.drug, o.withdrawn, o.event_recorded_at)",
)
NUMBERED_ALERTS = Relation(
    "numbered_alerts",
    "SELECT (SELECT coalesce(max(seq), 0) FROM store.alert_changes) "
    "+ row_number() OVER (ORDER BY event_recorded_at, alert_id) AS seq, alert_id FROM changed_alerts",
)
NOTED_ALERTS = (
    "DELETE FROM store.alert_changes WHERE alert_id IN (SELECT alert_id FROM numbered_alerts)",
    "INSERT INTO store.alert_changes SELECT seq, alert_id, false FROM numbered_alerts",
)
"""New, changed and withdrawn alerts get the next numbers: event streams resume by them, publication follows them."""

ALERT_NEWS = "SELECT raised, rule, severity, raised_at FROM temp.changed_alerts WHERE raised OR withdrawn"
"""Alerts that now stand and did not before (`raised` true), or the other way round."""

ERASED_ACTIONS = (
    "CREATE OR REPLACE TEMP TABLE left_actions AS SELECT alert_id, action_id FROM store.alert_actions SEMI JOIN "
    "(SELECT alert_id FROM store.alerts_raised SEMI JOIN (FROM forgotten WHERE record_key IS NULL) USING (patient_id)) "
    "USING (alert_id)",
    f"INSERT INTO store.tombstones SELECT '{ALERT_ACTIONS}', NULL, encode(concat(alert_id, '|', action_id)) "
    "FROM left_actions",
    "DELETE FROM store.alert_actions WHERE action_id IN (SELECT action_id FROM left_actions)",
)
"""What people wrote about the alerts of an erased patient goes with them, from the store and from its topic."""

REPLAYED = (
    "INSERT INTO store.alert_changes SELECT (SELECT coalesce(max(seq), 0) FROM store.alert_changes) "
    "+ row_number() OVER (ORDER BY alert_id), alert_id, false "
    "FROM old.alerts_raised ANTI JOIN store.alerts_raised USING (alert_id)",
)
"""A replayed store tells of all its alerts; those it has no more must leave the topic too."""

SAFETY = StoreDefinition(
    name="safety",
    layouts=LAYOUTS,
    columns=COLUMNS,
    extract=EXTRACT,
    macros=(SQL / "macros.sql").read_text(encoding="utf-8"),
    parameters=fill_parameter_tables,
    tables=TABLES,
    steps=[
        *RECORDS,
        Relation.load(SQL, "patients", stored=True),
        Relation.load(SQL, "exposures", stored=True),
        Relation.load(SQL, "adverse_events", stored=True),
        Relation.load(SQL, "lab_toxicities", stored=True),
        Relation.load(SQL, "alerts_raised", stored=True),
    ],
    views=[Relation.load(SQL, name) for name in ("alerts", "incidence", "timeline")],
    dated=("adverse_events", "lab_toxicities", "incidence"),
    on_change=(CHANGED_ALERTS, NUMBERED_ALERTS),
    on_refresh=NOTED_ALERTS,
    news=ALERT_NEWS,
    on_erasure=ERASED_ACTIONS,
    on_replay=REPLAYED,
    compared={
        "adverse_events": "patient_key", "lab_toxicities": "patient_key",
        "alerts": "raised_at, acknowledged_by, acknowledged_at, note", "incidence": "",
    },
)  # fmt: skip

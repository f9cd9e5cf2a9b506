"""What outcomes and safety publish, for `verify` to hold against their tables."""

import json
from typing import Any

from schemas.topics import ALERTS, OUTCOMES
from services.outcomes.definition import OUTCOMES as STORE
from services.outcomes.outbox import rows_sql
from services.stream.verify import DerivedTopic, Run

_LAST_BATCH = "9223372036854775807::BIGINT"
AT_ONCE = 250
"""Patients whose rows are held in memory together."""


def _outcomes(run: Run) -> dict[str, Any]:
    """patient_id -> the rows that the outbox would publish, were every patient waiting in it."""
    expected: dict[str, Any] = {}
    query = rows_sql(STORE, AT_ONCE)
    # as if nobody's rows had ever been published
    run("CREATE OR REPLACE TEMP TABLE published (patient_key UBIGINT, digest VARCHAR)")
    patients = run("SELECT count(*) FROM patients")[0][0]
    for first in range(0, patients, AT_ONCE):
        run(
            f"CREATE OR REPLACE TEMP TABLE outbox AS SELECT patient_key, patient_id, {_LAST_BATCH} AS since, "
            f"{_LAST_BATCH} AS batch FROM patients ORDER BY patient_key LIMIT {AT_ONCE} OFFSET {first}"
        )
        expected |= {patient: json.loads(rows) for _, _, patient, _, rows, *_ in run(query) if rows}
    return expected


def _alerts(run: Run) -> dict[str, Any]:
    rows = run("SELECT alert_id, to_json(a)::VARCHAR FROM alerts AS a")
    return {alert_id: json.loads(alert) for alert_id, alert in rows}


DERIVED = {
    "outcomes": DerivedTopic(
        OUTCOMES, "patient_id", "SELECT count(*) FROM outbox", _outcomes, lambda value: value["outcomes"]
    ),
    "safety": DerivedTopic(
        ALERTS,
        "alert_id",
        "SELECT count(*) FROM alert_changes WHERE NOT published",
        _alerts,
        lambda value: value,
    ),
}

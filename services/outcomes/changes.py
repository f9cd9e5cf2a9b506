"""How outcomes changed, and why, counted for Prometheus: of week 12, and from the events that came since the last look.

The state before is derived from the events there were then, as everything is: nothing has to be kept for it.
"""

from services.outcomes.definition import OUTCOMES
from services.stream.node import Node

MOST_PATIENTS = 2_000
"""More patients than these at once are a registry being loaded: what its outcomes changed from says nothing."""

WANTED = """
WITH changed_patients AS MATERIALIZED (
    SELECT DISTINCT patient_key FROM events WHERE batch > $after AND batch <= $newest
    UNION
    SELECT DISTINCT patient_key FROM endpoint_states
    WHERE $before < $today AND timepoint = 'week_12'
        AND (window_start BETWEEN $before + 1 AND $today OR window_end BETWEEN $before + 1 AND $today)
)
"""
STATES = """
SELECT patient_key, protocol, endpoint, status, CASE
    WHEN observed THEN 'achieved' WHEN NOT observed THEN 'not_achieved' ELSE status END AS state
FROM ({rows}) WHERE timepoint = 'week_12'
"""
CHANGES = """,
was AS ({was}),
became AS ({became}),
fresh AS (
    SELECT patient_key, record_key, bool_or(retracted) AS retracted
    FROM events WHERE batch > $after AND batch <= $newest GROUP BY ALL
),
known AS (SELECT DISTINCT record_key FROM events SEMI JOIN fresh USING (record_key) WHERE batch <= $after),
causes AS (
    SELECT patient_key, bool_or(retracted) AS retracted, bool_or(known.record_key IS NOT NULL) AS corrected
    FROM fresh LEFT JOIN known USING (record_key) GROUP BY patient_key
)
SELECT endpoint, coalesce(w.state, 'none') AS before, b.state AS after, CASE
        WHEN c.patient_key IS NULL THEN 'calendar'
        WHEN c.retracted THEN 'retracted'
        WHEN c.corrected THEN 'corrected'
        WHEN w.status IN ('final', 'missed') THEN 'late'
        ELSE 'new' END AS cause, count(*) AS outcomes
FROM became AS b LEFT JOIN was AS w USING (patient_key, protocol, endpoint) LEFT JOIN causes AS c USING (patient_key)
WHERE w.state IS DISTINCT FROM b.state GROUP BY ALL
"""


class OutcomeChanges:
    """Counts what changed between two looks at the store."""

    def __init__(self, node: Node, batch: int) -> None:
        """`batch`: the last one that is not to be counted."""
        self._node = node
        self._counted = batch
        self._today = node.store.today

    async def count(self, newest: int) -> None:
        """Count what the batches up to `newest`, and the calendar, changed."""
        node = self._node
        today = (await node.read("SELECT today FROM clock"))[0]["today"]
        given = {"after": self._counted, "newest": newest, "before": self._today, "today": today}
        if newest > self._counted or today > self._today:
            found = await node.in_background(
                node.query, f"{WANTED} SELECT count(*) AS patients FROM changed_patients", given
            )
            if 0 < found[0]["patients"] <= MOST_PATIENTS:
                await self._count(given)
        self._counted, self._today = newest, today

    async def _count(self, given: dict[str, object]) -> None:
        counter = self._node.metrics.outcome_changes_total
        for row in await self._node.in_background(self._node.query, WANTED + CHANGES.format(**_SIDES), given):
            labels = (row["endpoint"], row["before"], row["after"], row["cause"])
            counter.labels(*labels).inc(row["outcomes"])


def _states(batch: str, today: str) -> str:
    events = f"SELECT * FROM events SEMI JOIN changed_patients USING (patient_key) WHERE batch <= {batch}"
    rows = OUTCOMES.derived_sql("endpoint_states", events, f"SELECT {today}::DATE AS today")
    return STATES.format(rows=rows)


_SIDES = {"was": _states("$after", "$before"), "became": _states("$newest", "$today")}

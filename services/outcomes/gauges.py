"""What Prometheus shows of the outcomes store: counts only, and of outcomes those at week 12."""

from collections import Counter

from services.outcomes.changes import OutcomeChanges
from services.runtime.metrics import SiteLabels
from services.stream.node import Node

PATIENTS = """
SELECT site_id, count(*) AS patients,
    CASE WHEN drug IS NULL THEN 'enrolled' WHEN last_dose_on IS NULL THEN 'on_drug' ELSE 'stopped' END AS status
FROM patients GROUP BY ALL
UNION ALL SELECT '', count(*), 'erased' FROM erasures HAVING count(*) > 0  -- of them nothing else is known
"""
RATES = """
SELECT protocol, timepoint, endpoint, estimand, rate FROM cohort_counts
WHERE timepoint = 'week_12' AND site_id IS NULL AND rate IS NOT NULL
"""
STATES = """
SELECT protocol, timepoint, endpoint, status, coalesce(observed::VARCHAR, 'unknown') AS achieved, count(*) AS rows
FROM endpoint_states WHERE timepoint = 'week_12' GROUP BY ALL
"""


NEWEST = "SELECT coalesce(max(batch), -1) AS batch FROM events"
LAST_RECEIVED = """
SELECT site_id, epoch(max(received_at)) AS received FROM events WHERE batch > $after GROUP BY site_id
"""
VERSIONS = """
WITH fresh AS (
    SELECT record_key, event_type, count(*) AS versions, count(*) FILTER (retracted) AS retractions
    FROM events WHERE batch > $after AND batch <= $newest GROUP BY ALL
),
known AS (
    SELECT record_key, count(*) AS versions, count(*) FILTER (retracted) AS retractions
    FROM events SEMI JOIN fresh USING (record_key) WHERE batch <= $after GROUP BY record_key
)
SELECT event_type, sum(f.retractions)::BIGINT AS retractions, sum(
    greatest(0, f.versions + coalesce(k.versions, 0) - f.retractions - coalesce(k.retractions, 0) - 1)
    - greatest(0, coalesce(k.versions, 0) - coalesce(k.retractions, 0) - 1))::BIGINT AS corrections
FROM fresh AS f LEFT JOIN known AS k USING (record_key) GROUP BY event_type
"""
"""What came since. Corrections are a record's versions beyond the first that retract nothing: counted so, it does
not matter in which order, or how many at once, the versions came."""


class OutcomesGauges:
    """The gauges of patients, outcome states and rates, and the counters of versions."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._sites = SiteLabels()
        self._last_received: dict[str, float] = {}
        self._dated = -1  # the batch up to which centres' last events are known
        self._counted = int(node.store.execute(NEWEST)[0][0])  # type: ignore[call-overload]
        self._changes = OutcomeChanges(node, self._counted)

    async def refresh(self) -> None:
        """Set them from the tables."""
        await self._refresh_patients()
        await self._refresh_rates()
        await self._refresh_events()

    async def _refresh_patients(self) -> None:
        gauge, counts = self._node.metrics.patients, Counter[tuple[str, str]]()
        for row in await self._node.read(PATIENTS):
            counts[self._sites.label(row["site_id"]), row["status"]] += row["patients"]
        gauge.clear()
        for labels, count in counts.items():
            gauge.labels(*labels).set(count)

    async def _refresh_rates(self) -> None:
        metrics = self._node.metrics
        rates, states = await self._node.read(RATES), await self._node.read(STATES)
        for gauge in (metrics.outcome_rate_ratio, metrics.outcomes):
            gauge.clear()
        for row in rates:
            labels = (row["protocol"], row["timepoint"], row["endpoint"], row["estimand"])
            metrics.outcome_rate_ratio.labels(*labels).set(row["rate"])
        for row in states:
            state = (row["protocol"], row["timepoint"], row["endpoint"], row["status"], row["achieved"])
            metrics.outcomes.labels(*state).set(row["rows"])

    async def _refresh_events(self) -> None:
        """What came since the last time alone: to read all events each time would cost more with each."""
        node, metrics = self._node, self._node.metrics
        newest = (await node.read(NEWEST))[0]["batch"]
        for row in await node.read(LAST_RECEIVED, {"after": self._dated}):
            site = self._sites.label(row["site_id"])
            self._last_received[site] = max(row["received"], self._last_received.get(site, 0.0))
            metrics.site_last_received_timestamp_seconds.labels(site).set(self._last_received[site])
        for row in await node.read(VERSIONS, {"after": self._counted, "newest": newest}):
            metrics.corrections_total.labels(row["event_type"]).inc(row["corrections"])
            metrics.retractions_total.labels(row["event_type"]).inc(row["retractions"])
        self._dated = self._counted = newest
        await self._changes.count(newest)

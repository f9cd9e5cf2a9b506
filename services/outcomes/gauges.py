"""What Prometheus shows of the outcomes store: counts only, and of outcomes those at week 12."""

from services.stream.node import Node

PATIENTS = """
SELECT site_id, count(*) AS patients,
    CASE WHEN drug IS NULL THEN 'enrolled' WHEN last_dose_on IS NULL THEN 'on_drug' ELSE 'stopped' END AS status
FROM patients GROUP BY ALL
UNION ALL SELECT '', count(*), 'erased' FROM erasures HAVING count(*) > 0  -- of them nothing else is known
"""
RATES = """
SELECT protocol, timepoint, endpoint, estimand, rate FROM cohort_rates
WHERE timepoint = 'week_12' AND site_id IS NULL AND rate IS NOT NULL
"""
STATES = """
SELECT protocol, timepoint, endpoint, status, coalesce(observed::VARCHAR, 'unknown') AS achieved, count(*) AS rows
FROM endpoint_states WHERE timepoint = 'week_12' GROUP BY ALL
"""


async def refresh_gauges(node: Node) -> None:
    """Set the gauges of patients, outcome states and rates from the tables."""
    metrics = node.metrics
    patients, rates, states = await node.read(PATIENTS), await node.read(RATES), await node.read(STATES)
    for gauge in (metrics.patients, metrics.outcome_rate_ratio, metrics.outcomes):
        gauge.clear()
    for row in patients:
        metrics.patients.labels(row["site_id"], row["status"]).set(row["patients"])
    for row in rates:
        labels = (row["protocol"], row["timepoint"], row["endpoint"], row["estimand"])
        metrics.outcome_rate_ratio.labels(*labels).set(row["rate"])
    for row in states:
        state = (row["protocol"], row["timepoint"], row["endpoint"], row["status"], row["achieved"])
        metrics.outcomes.labels(*state).set(row["rows"])

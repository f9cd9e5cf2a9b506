"""What Prometheus shows of the alerts; counts and times only."""

from datetime import UTC

from services.stream.node import Node

SEVERITIES = ("critical", "high", "medium", "low")
OPEN = """
SELECT severity, count(*) AS alerts, min(raised_at) AS oldest FROM alerts WHERE state = 'open' GROUP BY severity
"""


async def refresh_gauges(node: Node) -> None:
    """Set the gauges of open alerts from the table."""
    rows = await node.read(OPEN)
    counts = {row["severity"]: row["alerts"] for row in rows}
    for severity in SEVERITIES:
        node.metrics.alerts_open.labels(severity).set(counts.get(severity, 0))
    node.metrics.alert_oldest_open_timestamp_seconds.clear()
    for row in rows:
        oldest = row["oldest"].replace(tzinfo=UTC).timestamp()
        node.metrics.alert_oldest_open_timestamp_seconds.labels(row["severity"]).set(oldest)

"""What Prometheus shows of the alerts; counts and times only."""

import time
from datetime import UTC

from services.runtime.metrics import Metrics
from services.stream.batch import Applied
from services.stream.node import Node

SEVERITIES = ("critical", "high", "medium", "low")
OPEN = """
SELECT severity, count(*) AS alerts, min(raised_at) AS oldest FROM alerts WHERE state = 'open' GROUP BY severity
"""


class SafetyGauges:
    """The gauges of open alerts."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def refresh(self) -> None:
        """Set them from the table."""
        node = self._node
        rows = await node.read(OPEN)
        counts = {row["severity"]: row["alerts"] for row in rows}
        for severity in SEVERITIES:
            node.metrics.alerts_open.labels(severity).set(counts.get(severity, 0))
        node.metrics.alert_oldest_open_timestamp_seconds.clear()
        for row in rows:
            oldest = row["oldest"].replace(tzinfo=UTC).timestamp()
            node.metrics.alert_oldest_open_timestamp_seconds.labels(row["severity"]).set(oldest)


def count_alerts(metrics: Metrics, applied: Applied) -> None:
    """Count what a commit raised and withdrew; how long it took only where records of that commit raised it."""
    now = time.time()
    for raised, rule, severity, raised_at in applied.news:
        if not raised:
            metrics.alerts_withdrawn_total.labels(rule, severity).inc()
            continue
        metrics.alerts_raised_total.labels(rule, severity).inc()
        if applied.records:  # else the calendar raised it: an event dated in the future
            age = now - raised_at.replace(tzinfo=UTC).timestamp()
            metrics.alert_latency_seconds.labels(severity).observe(max(0.0, age))

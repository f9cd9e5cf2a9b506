"""Prometheus itself reads what the services write: the rules and every query of every dashboard give an answer."""

import json
import math
import re
from pathlib import Path

import pytest
from plugins.prometheus import DEPLOY, panel_queries
from plugins.whole_run import WholeRun

from services.runtime.metrics import Metrics

DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_returns_data(whole_run: WholeRun, path: Path) -> None:
    queries = panel_queries(json.loads(path.read_text(encoding="utf-8")))
    assert len(queries) > 15
    empty = [
        f"{panel}: {query}"
        for panel, query in queries
        if all(math.isnan(value) for _, value in whole_run.watcher.query(query, whole_run.settled_at))
    ]
    assert empty == []


def test_every_metric_that_is_written_reached_prometheus(whole_run: WholeRun) -> None:
    names = set(whole_run.watcher.get("/label/__name__/values"))
    operations = (DEPLOY.parent / "docs/operations.md").read_text(encoding="utf-8")
    for metric in Metrics("test").definitions:
        row = re.search(rf"^\| `{metric.name}` \|.*$", operations, re.MULTILINE)
        assert row, metric.name
        if "| later |" not in row[0] and metric.name not in UNSEEN:
            shown = f"{metric.name}_bucket" if metric.kind == "histogram" else metric.name
            assert shown in names, metric.name


UNSEEN = {"week12_alert_acknowledge_seconds"}
"""Of things that do not happen in this run."""


def test_the_rules_are_evaluated_and_only_those_fire_that_should(whole_run: WholeRun) -> None:
    groups = whole_run.watcher.get("/rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == (DEPLOY / "alert-rules.yml").read_text(encoding="utf-8").count("- alert: ")
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    firing = {alert["labels"]["alertname"] for alert in whole_run.alerts if alert["state"] == "firing"}
    assert "Week12DeadLetters" in firing
    assert firing <= {"Week12DeadLetters", "Week12AuthFailures", "Week12DiskFull"}


def test_what_is_shown_is_what_happened(whole_run: WholeRun) -> None:
    def value(query: str) -> float:
        [(_, found)] = whole_run.watcher.query(query, whole_run.settled_at)
        return found

    assert value("sum(up)") == 3
    assert value('sum(week12_patients{status!="erased"})') == 95  # the cohort's 94 and the one of this run
    assert value('sum(week12_patients{status="erased"})') == 1
    assert value("sum(week12_verify_differences)") == 0
    assert value("count(week12_verify_last_success_timestamp_seconds)") == 2
    assert value('week12_part_up{service="outcomes", part="store"}') == 1
    assert value('sum(week12_dead_letters_total{service="outcomes"})') == 12
    assert value('sum(week12_alerts_withdrawn_total{rule="serious_event", severity="critical"})') >= 1

"""What a whole run of the services shows to people and to Prometheus, and what it must not show: nothing of a patient.

Every query of every dashboard is answered by Prometheus itself, one id follows an event through the logs of all
services, and no log, metric or error says anything about a patient, after good and bad input on every door.

One file, since all its tests look at one run (`tests/plugins/whole_run.py`).
"""

import json
import math
import re
from pathlib import Path

import pytest
from plugins.prometheus import DEPLOY, panel_queries
from plugins.services import NAMES
from plugins.whole_run import GONE, NAME, PSEUDONYM, RECORD, TRACE_ID, TRACEPARENT, VALUE, WORD, WholeRun

from schemas.topics import ALERTS, DEAD_LETTERS, EVENT_TOPICS, OUTCOMES
from services.runtime.metrics import Metrics

# -- nothing of a patient ------------------------------------------------------------------------------------

MEASURED = re.compile(r"\d{3,}\.\d+")
"""How values of the cohort look that no duration or version looks like."""


def test_nothing_of_a_patient_stands_in_logs_metrics_or_errors(whole_run: WholeRun) -> None:
    events = whole_run.events
    secrets = {NAME, PSEUDONYM, GONE, RECORD, VALUE, WORD}
    secrets |= {event[name] for event in events for name in ("patient_id", "event_id")}
    secrets |= {event["term"] for event in events if "term" in event and " " in event["term"]}
    said = {**{f"log of {name}": text for name, text in whole_run.logs.items()}}
    said |= {"metrics": "\n".join(whole_run.metrics), "errors": "\n".join(whole_run.errors)}
    assert "week12_stream_records_total" in said["metrics"]
    assert "kafka is away" in said["log of ingest"].lower()
    for where, text in said.items():
        lowered = text.lower()
        assert sorted(secret for secret in secrets if secret.lower() in lowered) == [], where
    assert all(whole_run.logs[name] for name in NAMES)


def test_no_value_of_the_cohort_stands_as_such_in_logs_or_errors(whole_run: WholeRun) -> None:
    """Fields of logs and errors that are text hold no measured value; numbers of their own are counts and times."""
    values = {
        str(event["value"]) for event in whole_run.events if MEASURED.fullmatch(str(event.get("value", "")))
    }
    assert len(values) > 30
    words = [
        str(value)
        for name in NAMES
        for line in whole_run.log_lines(name)
        for field, value in line.items()
        if isinstance(value, str) and field != "at"
    ]
    said = "\n".join([*words, *whole_run.errors])
    assert sorted(set(MEASURED.findall(said)) & values) == []


# -- one id for an event -------------------------------------------------------------------------------------

FORM = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def test_an_event_is_followed_from_the_post_to_the_commit_of_both_stores(whole_run: WholeRun) -> None:
    assert whole_run.answered_trace == TRACE_ID
    [answered] = [
        line for line in whole_run.log_lines("ingest") if line.get("trace_id") == TRACE_ID and "route" in line
    ]
    assert (answered["route"], answered["status"], answered["accepted"]) == ("/v1/events", 202, 2)
    assert len(answered["places"]) == 2
    for service in ("outcomes", "safety"):
        commits = [line for line in whole_run.log_lines(service) if TRACE_ID in line.get("trace_ids", ())]
        assert commits, service
        assert {line["message"] for line in commits} == {"committed"}
        # by the place of its record in Kafka, too
        places = {place: span for line in commits for place, span in line["places"].items()}
        for place, span in answered["places"].items():
            first, last = map(int, places[place].split("-"))
            assert first <= int(span.split("-")[0]) <= last


def test_records_carry_the_trace_of_their_request(whole_run: WholeRun) -> None:
    events = [
        record for record in whole_run.records if record.topic in EVENT_TOPICS.values() and record.headers
    ]
    assert all(FORM.fullmatch(record.headers["traceparent"].decode()) for record in events)
    followed = [record for record in events if TRACE_ID.encode() in record.headers["traceparent"]]
    assert [record.headers["ce_subject"].decode() for record in followed] == [PSEUDONYM] * 2
    assert TRACEPARENT.encode() not in {
        record.headers["traceparent"] for record in followed
    }  # a span of its own
    assert len({record.headers["traceparent"] for record in events}) > 5


def test_what_is_derived_goes_on_with_the_trace(whole_run: WholeRun) -> None:
    for topic in (OUTCOMES, ALERTS):
        traces = {
            FORM.fullmatch(record.headers["traceparent"].decode())[1]  # type: ignore[index]
            for record in whole_run.records
            if record.topic == topic and "traceparent" in record.headers
        }
        assert TRACE_ID in traces, topic


def test_dead_letters_of_records_without_a_trace_have_none(whole_run: WholeRun) -> None:
    letters = [record for record in whole_run.records if record.topic == DEAD_LETTERS and record.headers]
    assert len(letters) == 12
    assert all("traceparent" not in record.headers for record in letters)


def test_every_answer_to_a_change_has_one_line_with_its_trace(whole_run: WholeRun) -> None:
    lines = [line for line in whole_run.log_lines("ingest") if line["message"] == "answered"]
    posted = [line for line in lines if line["method"] == "POST"]
    assert len(posted) > 20
    assert all(re.fullmatch("[0-9a-f]{32}", line["trace_id"]) for line in posted)
    assert len({line["trace_id"] for line in posted}) == len(posted)
    assert {line["level"] for line in posted} == {"INFO"}


# -- what Prometheus knows -----------------------------------------------------------------------------------

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

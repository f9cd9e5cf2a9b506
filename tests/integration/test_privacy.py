"""After good and bad input on every door, no log, metric or error says anything about a patient."""

import re

from plugins.services import NAMES
from plugins.whole_run import GONE, NAME, PSEUDONYM, RECORD, VALUE, WORD, WholeRun

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

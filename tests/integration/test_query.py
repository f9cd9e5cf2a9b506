"""`week12 query`, `POST /v1/query` and `week12 export` beside running services, and after they stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from plugins.services import RunningServices

from services.broker import Broker, BrokerKind
from services.simulation.fu2025 import generate

RATE = (
    "SELECT n, denominator, (SELECT count(*) FROM adverse_events) AS adverse_events FROM cohort_rates "
    "WHERE timepoint = 'week_12' AND endpoint = 'clinical_remission' AND estimand = 'observed' "
    "AND site_id IS NULL AND drug = 'upadacitinib'"
)


def rows(services: RunningServices, sql: str) -> list[dict[str, Any]]:
    done = services.week12("query", sql, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = orjson.loads(done.stdout)
    return found


def export(services: RunningServices, folder: Path) -> dict[str, bytes]:
    """The files of an export by name."""
    done = services.week12("export", str(folder), "--format", "csv")
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_both_stores_answer_while_the_services_run_and_after(
    make_broker: Callable[[BrokerKind], Broker], run_services: Callable[..., RunningServices], tmp_path: Path
) -> None:
    services = run_services(make_broker("embedded"))
    events = generate()
    services.send(events)
    services.wait_until_settled()
    reported = sum(event["event_type"] == "adverse_event" for event in events)
    expected = [{"n": 33, "denominator": 77, "adverse_events": reported}]  # as published
    services.until(lambda: rows(services, RATE) == expected, "a snapshot of all events", 10)

    over_http = services.reader("outcomes").post("/v1/query", json={"sql": RATE})
    assert over_http.status_code == 200, over_http.text
    assert over_http.json()["rows"] == [[33, 77, reported]]
    assert over_http.json()["stores"].keys() == {"outcomes", "safety"}

    live = export(services, tmp_path / "live")
    assert len(live["adae.csv"].splitlines()) == 1 + reported

    services.stop()
    assert rows(services, RATE) == expected
    assert export(services, tmp_path / "rest") == live

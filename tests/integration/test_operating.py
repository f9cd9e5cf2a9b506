"""What operators do to services on Apache Kafka: restart one after the other, back up, restore.

One registry goes through all of it, for each start of a service takes seconds.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from click.testing import CliRunner, Result
from comparison import STORES, Contents, assert_topics_show_the_tables, computed, rows_of
from ingest_helpers import NDJSON, lines
from plugins.services import RunningServices

from schemas.topics import ALERTS, OUTCOMES
from services.broker import Broker
from services.cli import main
from services.simulation.registry import RegistryPlan, stream_registry

pytestmark = pytest.mark.real_kafka

UNTIL = date(2025, 6, 30)
PLAN = RegistryPlan(
    patients=12, sites=3, events=480, seed=13, until=UNTIL, corrections=0.05, retractions=0.01
)
FIRST, SECOND, THIRD = slice(0, 160), slice(160, 320), slice(320, None)
A_REQUEST = 8

Event = dict[str, Any]


def test_restarts_a_backup_and_kafka_alone_give_the_same(
    own_local_kafka: Broker, run_services: Callable[..., RunningServices], tmp_path: Path
) -> None:
    services = run_services(own_local_kafka, WEEK12_TODAY=str(UNTIL))
    events = [orjson.loads(line) for line in stream_registry(PLAN)]
    services.send(events[FIRST])
    restart_each_in_turn(services, events[SECOND])
    services.wait_until_settled()
    rows = services.get("safety", "/v1/alerts", limit="1000")["rows"]
    assert {row["alert_id"] for row in rows} == services.topics.newest(ALERTS).keys()
    assert len({row["alert_id"] for row in rows}) == len(rows) > 0  # none is doubled

    backup = tmp_path / "backup"
    succeeds(services, "backup", str(backup))
    in_use = week12(services, "restore", str(backup))
    assert (in_use.exit_code, "in use" in in_use.stderr) == (1, True), in_use.stderr

    alarming = {row["patient_id"] for row in rows}
    leaving = next(event for event in events[FIRST] if event["patient_id"] not in alarming)
    erased = leaving["patient_id"]
    alert_id = acknowledge_one(services)
    services.send([*events[THIRD], erasure_of(leaving)])
    services.wait_until_settled()
    services.stop()
    succeeds(services, "restore", str(backup))
    for name in STORES:
        (found,) = rows_of(
            services.store_path(name),
            f"SELECT count(*) > 0 AS restored, count(*) FILTER (patient_id = '{erased}') AS told FROM events",
        )
        assert found == {"restored": True, "told": 0}
    services.store_path("outcomes").unlink()  # of it, nothing but Kafka
    left = [event for event in events if event["patient_id"] != erased]
    expect(services, computed(tmp_path / "wanted", map(orjson.dumps, left), UNTIL), alert_id)
    succeeds(services, "reconcile", "--by", "site,day", "--format", "csv")


def restart_each_in_turn(services: RunningServices, events: Sequence[Event]) -> None:
    """SIGTERM to one after the other, while a client sends until everything is acknowledged."""
    failures: list[BaseException] = []

    def send() -> None:
        try:
            with services.client("ingest", services.secret) as client:
                for start in range(0, len(events), A_REQUEST):
                    while not is_taken(client, events[start : start + A_REQUEST]):
                        pass
        except BaseException as error:
            failures.append(error)

    sending = threading.Thread(target=send)
    sending.start()
    for name in ("outcomes", "ingest", "safety"):
        services.stop(name)
        services.start(name)
        services.wait_until_ready(name)
    sending.join(30)
    assert not sending.is_alive()
    assert failures == []


def is_taken(client: httpx.Client, events: Sequence[Event]) -> bool:
    try:
        answer = client.post("/v1/events", content=lines(*events), headers={"Content-Type": NDJSON})
    except httpx.TransportError:
        return False
    assert answer.status_code in (202, 503), answer.text[:500]
    return answer.status_code == 202


def acknowledge_one(services: RunningServices) -> str:
    """What somebody does after the backup must be there after the restore; returns which alert it was."""
    alert_id: str = services.get("safety", "/v1/alerts", state="open")["rows"][0]["alert_id"]
    with services.client("safety", services.token("officer", "safety_officer")) as client:
        answer = client.post(f"/v1/alerts/{alert_id}/acknowledge", json={"note": "seen"})
    assert answer.status_code == 200, answer.text
    return alert_id


def erasure_of(event: Event) -> Event:
    common = {name: event[name] for name in ("site_id", "patient_id")}
    return {
        **common,
        "event_type": "consent",
        "event_id": "erase",
        "recorded_at": "2025-06-29T12:00:00Z",
        "status": "erase",
        "effective_on": "2025-06-29",
    }


def expect(services: RunningServices, wanted: dict[str, Contents], alert_id: str) -> None:
    """Start, catch up, and be what a computation of the events gives, in tables and topics; then stop."""
    services.start("outcomes", "safety")
    services.wait_until_ready("outcomes", "safety")
    services.wait_until_settled()
    succeeds(services, "verify", "--published")
    outcomes, alerts = services.topics.newest(OUTCOMES), services.topics.newest(ALERTS)
    services.stop()
    acted = rows_of(services.store_path("safety"), "FROM alert_actions")
    assert [row["alert_id"] for row in acted] == [alert_id]
    for name in STORES:
        contents = services.contents(name)
        for table, rows in wanted[name].items():
            if table != "alerts":  # one of them is acknowledged; its topic is compared below
                assert contents[table] == rows, table
    assert_topics_show_the_tables(services.folder, outcomes, alerts)


def succeeds(services: RunningServices, *command: str) -> None:
    done = week12(services, *command)
    assert done.exit_code == 0, done.stdout + done.stderr


def week12(services: RunningServices, *command: str) -> Result:
    """A command in this process, which has imported everything already."""
    return CliRunner().invoke(main, command, env={**services._environment, "WEEK12_TOKEN": services._lead})

"""Ten times kill -9 in the middle of a stream, of every service and of Apache Kafka, and nothing is lost."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
import pytest
from comparison import STORES, assert_topics_show_the_tables, computed, rows_of
from ingest_helpers import NDJSON, lines
from plugins.services import RunningServices

from schemas.topics import ALERTS, DEAD_LETTERS, EVENT_TOPICS, OUTCOMES
from services.broker import Broker
from services.simulation.registry import RegistryPlan, stream_registry

UNTIL = date(2025, 6, 30)
PLAN = RegistryPlan(
    patients=150, sites=4, events=5_500, seed=7, until=UNTIL, late=0.1, corrections=0.06, retractions=0.01
)
VICTIMS = Random(3).sample(["outcomes", "safety", "ingest", "broker"], 10, counts=[3, 2, 3, 2])
SENDERS = 3
A_REQUEST = 25
"""Events a request: few, so that each kill meets some requests under way."""
A_PORTION = PLAN.events // (len(VICTIMS) + 1)

Event = dict[str, Any]
Version = tuple[str, str, int]


@pytest.mark.crash
@pytest.mark.real_kafka
def test_what_was_acknowledged_survives_ten_kills(
    own_kafka: Broker, run_services: Callable[..., RunningServices], tmp_path: Path
) -> None:
    services = run_services(own_kafka, WEEK12_TODAY=str(UNTIL))
    events = [orjson.loads(line) for line in stream_registry(PLAN)]
    with Stream(services, events).sending() as stream:
        for victim in VICTIMS:
            stream.wait_for(stream.allowed)
            kill_in_the_middle(services, stream, victim)
    services.wait_until_ready()
    services.wait_until_settled()
    verified = services.week12("verify", "--published")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    outcomes, alerts = services.topics.newest(OUTCOMES), services.topics.newest(ALERTS)
    values = [record.value for record in services.topics.records(*EVENT_TOPICS.values())]
    assert not services.topics.records(DEAD_LETTERS)
    services.stop()
    services.broker.stop()
    assert services.left_behind() == []

    assert stream.acknowledged == set(map(version_of, events))
    for name in STORES:
        assert stored_versions(services, name) == Counter(stream.acknowledged)
    for name, tables in computed(tmp_path / "computed", values, UNTIL).items():
        assert services.contents(name) == tables, name
    assert_topics_show_the_tables(services.folder, outcomes, alerts)


def kill_in_the_middle(services: RunningServices, stream: "Stream", victim: str) -> None:
    """Kill it once some of the next portion has reached it, with the rest on its way, and start it again."""
    if victim in STORES:
        services.wait_until_ready(victim)
    before = services.records_read(victim) if victim in STORES else 0
    stream.send_until(stream.allowed + A_PORTION)
    if victim in STORES:
        services.until(lambda: services.records_read(victim) > before, f"{victim} reads on")
    else:
        stream.wait_for(stream.allowed - A_PORTION + A_REQUEST)
    if victim == "broker":
        services.broker.kill()
        services.broker.start()
    else:
        services.kill(victim)
        services.start(victim)


class Stream:
    """Clients that send until everything is acknowledged, whatever dies meanwhile.

    They send at most `allowed` events, so that there is something to send at every kill.
    """

    def __init__(self, services: RunningServices, events: Sequence[Event]) -> None:
        self.acknowledged: set[Version] = set()
        self._services = services
        self._requests = iter([events[i : i + A_REQUEST] for i in range(0, len(events), A_REQUEST)])
        self._changed = threading.Condition()
        self.allowed = A_PORTION
        self._given = 0
        self._failures: list[BaseException] = []
        self._stopped = False

    @contextmanager
    def sending(self) -> Iterator["Stream"]:
        """Send in the background; at the end wait until all is acknowledged."""
        threads = [threading.Thread(target=self._send_all) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
            self.send_until(PLAN.events + 1)
            for thread in threads:
                thread.join(90)
            assert not any(thread.is_alive() for thread in threads), "not everything was taken"
        finally:
            self._stopped = True
            self.send_until(PLAN.events + 1)
            for thread in threads:
                thread.join()
        assert self._failures == []

    def wait_for(self, count: int) -> None:
        """Wait until so many events are acknowledged."""
        with self._changed:
            enough = self._changed.wait_for(lambda: self._failures or len(self.acknowledged) >= count, 60)
        assert not self._failures, self._failures
        assert enough, f"{len(self.acknowledged)} of {count} acknowledged: {self._services.tail('ingest')}"

    def send_until(self, count: int) -> None:
        """Let the clients send as many events as that."""
        with self._changed:
            self.allowed = max(self.allowed, count)
            self._changed.notify_all()

    def _send_all(self) -> None:
        try:
            with self._services.client("ingest", self._services.secret) as client:
                while request := self._next():
                    self._send(client, request)
        except BaseException as error:
            with self._changed:
                self._failures.append(error)
                self._changed.notify_all()

    def _next(self) -> Sequence[Event]:
        with self._changed:
            self._changed.wait_for(lambda: self._given < self.allowed or self._stopped)
            request = [] if self._stopped else next(self._requests, [])
            self._given += len(request)
            return request

    def _send(self, client: httpx.Client, request: Sequence[Event]) -> None:
        while not self._stopped:
            if self._is_taken(client, lines(*request)):
                with self._changed:
                    self.acknowledged.update(map(version_of, request))
                    self._changed.notify_all()
                return
            time.sleep(0.05)

    @staticmethod
    def _is_taken(client: httpx.Client, body: bytes) -> bool:
        try:
            answer = client.post("/v1/events", content=body, headers={"Content-Type": NDJSON})
        except httpx.TransportError:
            return False
        assert answer.status_code in (202, 503), answer.text[:500]
        return answer.status_code == 202


def version_of(event: Event) -> Version:
    return event["site_id"], event["event_id"], event["version"]


def stored_versions(services: RunningServices, name: str) -> Counter[Version]:
    """How often each version of each record stands in a stopped service's store."""
    rows = rows_of(services.store_path(name), "SELECT site_id, event_id, version FROM events")
    return Counter((row["site_id"], row["event_id"], row["version"]) for row in rows)

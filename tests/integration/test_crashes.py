"""Ten times kill -9 in the middle of a stream, of every service and of Apache Kafka, and nothing is lost."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random

import orjson
import pytest
from comparison import STORES, assert_topics_show_the_tables, computed
from plugins.load import A_REQUEST, Load, version_of
from plugins.services import RunningServices
from reliability.driver import stored_versions

from schemas.topics import ALERTS, DEAD_LETTERS, EVENT_TOPICS, OUTCOMES
from services.broker import Broker
from services.simulation.registry import RegistryPlan, stream_registry

UNTIL = date(2025, 6, 30)
PLAN = RegistryPlan(
    patients=100, sites=4, events=3_300, seed=7, until=UNTIL, late=0.1, corrections=0.06, retractions=0.01
)
VICTIMS = Random(3).sample(["outcomes", "safety", "ingest", "broker"], 10, counts=[3, 2, 3, 2])
A_PORTION = PLAN.events // (len(VICTIMS) + 1)


@pytest.mark.crash
@pytest.mark.real_kafka
def test_what_was_acknowledged_survives_ten_kills(
    own_kafka: Broker, run_services: Callable[..., RunningServices], tmp_path: Path
) -> None:
    services = run_services(own_kafka, WEEK12_TODAY=str(UNTIL))
    events = [orjson.loads(line) for line in stream_registry(PLAN)]
    with Load(services, events, A_PORTION).sending() as stream:
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
        assert stored_versions(services.store_path(name)) == Counter(stream.acknowledged)
    for name, tables in computed(tmp_path / "computed", values, UNTIL).items():
        assert services.contents(name) == tables, name
    assert_topics_show_the_tables(services.folder, outcomes, alerts)


def kill_in_the_middle(services: RunningServices, stream: Load, victim: str) -> None:
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

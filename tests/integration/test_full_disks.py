"""A full disk under the stores, and under Apache Kafka: it is said, nothing is lost, and all goes on with room."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest
from comparison import STORES, computed
from ingest_helpers import NDJSON, lines
from plugins.disks import SmallDisk
from plugins.services import RunningServices

from services.broker import BrokerProblem
from services.broker.local import LocalKafka
from services.simulation.registry import RegistryPlan, stream_registry
from services.testing.plugin import start_or_skip

UNTIL = date(2025, 6, 30)
PLAN = RegistryPlan(patients=40, sites=3, events=1_500, seed=11, until=UNTIL, corrections=0.05)
FIRST, SECOND, THIRD = slice(0, 500), slice(500, 1_000), slice(1_000, None)


@pytest.mark.real_kafka
def test_full_disks_are_said_and_lose_nothing(
    small_disk: Callable[..., SmallDisk], run_services: Callable[..., RunningServices], tmp_path: Path
) -> None:
    data, log = small_disk(40, "data"), small_disk(80, "log")
    broker = LocalKafka(log.path / "kafka")
    start_or_skip(broker)
    try:
        services = run_services(broker, WEEK12_TODAY=str(UNTIL))
        events = [orjson.loads(line) for line in stream_registry(PLAN)]
        services.send(events[FIRST])
        services.wait_until_settled()
        fill_the_stores_disk(services, data, events[SECOND])
        fill_the_brokers_disk(services, log, events[THIRD])
        services.wait_until_settled()
        services.wait_until_ready()
        verified = services.week12("verify", "--published")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        services.stop()
    finally:
        broker.stop()
    for name, tables in computed(tmp_path / "computed", map(orjson.dumps, events), UNTIL).items():
        assert services.contents(name) == tables, name


def fill_the_stores_disk(
    services: RunningServices, disk: SmallDisk, events: Sequence[dict[str, Any]]
) -> None:
    """Ingest keeps nothing on it and takes all; the stores say what is wrong, answer, and catch up with room."""
    disk.fill()
    services.send(events)
    for name in STORES:
        services.until(lambda name=name: store_of(services, name) == "disk full", f"{name} says it")  # type: ignore[misc]
    assert services.get("outcomes", "/v1/cohort")["rows"]
    assert services.reader("outcomes").post("/v1/snapshot").status_code == 503
    disk.make_room()
    services.wait_until_settled()
    services.wait_until_ready()
    assert not any("Traceback" in services.log(name) for name in STORES)


def fill_the_brokers_disk(
    services: RunningServices, disk: SmallDisk, events: Sequence[dict[str, Any]]
) -> None:
    """Nothing is acknowledged that Kafka could not keep. Kafka ends, and is started again as `week12 up` does."""
    disk.fill()
    assert not is_taken(services, events)
    services.until(lambda: services.broker.pid is None, "Apache Kafka gives up its disk")
    with pytest.raises(BrokerProblem, match="is full: make room"):
        services.broker.start()
    disk.make_room()
    services.broker.start()
    services.until(lambda: is_taken(services, events), "the rest is taken")


def store_of(services: RunningServices, name: str) -> Any:
    """What the service's health says of its store."""
    return services.reader(name).get("/health/ready").json()["parts"]["store"]


def is_taken(services: RunningServices, events: Sequence[dict[str, Any]]) -> bool:
    """Whether ingest acknowledged all; any answer but 202 and 503 fails."""
    with services.client("ingest", services.secret) as client:
        answer = client.post("/v1/events", content=lines(*events), headers={"Content-Type": NDJSON})
    assert answer.status_code in (202, 503), answer.text[:500]
    return answer.status_code == 202

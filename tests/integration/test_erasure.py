"""An erased patient on running services and Apache Kafka: from every file and topic, and never back."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from plugins.brokers import EAGER_CLEANER
from plugins.services import RunningServices
from twin.builders import adverse_event, consent, enrolment, lab, start, visit

from schemas.topics import ALERT_ACTIONS, ALERTS, DEAD_LETTERS, ERASURES, EVENT_TOPICS, OUTCOMES, TOPICS
from services.broker import Broker, BrokerKind
from services.broker.local import LocalKafka
from services.testing.plugin import start_or_skip

Row = dict[str, Any]
GONE, STAYS = "W12-GONE-77", "W12-STAYS-1"
LABS = EVENT_TOPICS["lab"]  # type: ignore[index]
PARTITIONS = 2
IN_HASTE = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "max.compaction.lag.ms": "1000",
    "delete.retention.ms": "0",
    "file.delete.delay.ms": "0",
}
"""What the documents promise within days, within seconds."""


@pytest.fixture
def eager_kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    broker = LocalKafka(tmp_path / "kafka", properties=EAGER_CLEANER)
    start_or_skip(broker)
    yield broker
    broker.stop()


def data_of(patient_id: str) -> list[Row]:
    """Events of every type, a correction included, that lead to outcomes and to an alert."""
    who = {"patient_id": patient_id, "site_id": "S01"}
    events = [
        enrolment(**who),
        start(**who),
        visit(0, cdai=300, **who),
        visit(84, cdai=100, **who),
        visit(84, version=2, cdai=90, **who),
        lab("crp", 0, 24.0, **who),
        adverse_event(10, grade=3, **who),
        consent("given", -14, **who),
    ]
    return [event | {"event_id": f"{patient_id[-2:]}:{event['event_id']}"} for event in events]


ERASE = consent("erase", 90, patient_id=GONE, site_id="S01")
LATE = lab("crp", 50, 3.0, patient_id=GONE, site_id="S01", event_id="late")


def send_past_ingest(broker: Broker, topic: str, key: bytes, value: bytes | None, partition: int) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all", enable_idempotence=False)
    producer.send(topic, value, key, partition=partition).get(timeout=30)
    producer.close()


def write_about_the_alert(services: RunningServices) -> None:
    """An officer acknowledges the patient's alert, and names the patient in the note."""
    alerts = services.get("safety", "/v1/alerts", patient_id=GONE)["rows"]
    with services.client("safety", services.token("officer", "safety_officer")) as officer:
        answer = officer.post(
            f"/v1/alerts/{alerts[0]['alert_id']}/acknowledge", json={"note": f"rang {GONE}"}
        )
    assert answer.status_code == 200, answer.text


def set_configs(broker: Broker, configs: Callable[[str], dict[str, Any]]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs(name)) for name in TOPICS])
    admin.close()


def compact(broker: LocalKafka, *, within_s: float) -> None:
    """Have Kafka clean all topics now, until no file of it tells of the patient."""
    set_configs(broker, lambda _: IN_HASTE)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all", enable_idempotence=False)
    deadline = time.monotonic() + within_s
    while found := files_with(GONE, broker.data_dir / "logs"):
        assert time.monotonic() < deadline, found
        for topic in TOPICS:  # a segment is rolled by the next record, and only those behind it are cleaned
            for partition in range(PARTITIONS):
                producer.send(topic, None, b"FILLER|S01|a|1|00000000", partition=partition)
        producer.flush()
        time.sleep(0.25)
    producer.close()
    unset = dict.fromkeys(IN_HASTE, ("DELETE", None))
    set_configs(broker, lambda name: {**unset, **TOPICS[name].configs})


def files_with(text: str, folder: Path) -> list[str]:
    """The files below a folder that hold the text; one that is deleted meanwhile does not."""
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and text.encode() in path.read_bytes():
                    found.append(str(path.relative_to(folder)))
    return found


@pytest.mark.real_kafka
def test_nothing_in_files_and_topics_tells_of_an_erased_patient(
    eager_kafka: LocalKafka, run_services: Callable[..., RunningServices]
) -> None:
    services = run_services(eager_kafka, WEEK12_PARTITIONS=str(PARTITIONS))
    services.send([*data_of(GONE), *data_of(STAYS)])
    send_past_ingest(eager_kafka, LABS, f"{GONE}|S01|bad|1|00000000".encode(), b"not JSON", 0)
    services.wait_until_settled()
    write_about_the_alert(services)
    for name in ("outcomes", "safety"):
        assert services.reader(name).post("/v1/snapshot").status_code == 200
    told = (OUTCOMES, ALERTS, ALERT_ACTIONS, DEAD_LETTERS)
    assert {r.topic for r in services.topics.records(*told) if GONE in f"{r.key!r}{r.value!r}"} == set(told)

    services.send([ERASE])
    services.kill("outcomes")  # at whatever point: what was begun goes on
    services.start("outcomes")
    services.wait_until_ready()
    services.wait_until_settled()
    wait_until_ingest_knows(services)
    newest = {(r.topic, r.key): r.value for r in services.topics.records(*TOPICS)}
    named = {place: value for place, value in newest.items() if GONE.encode() in place[1]}
    assert len(named) >= len(data_of(GONE)) + 3
    assert set(named.values()) == {None}
    assert not [place for place, value in newest.items() if value and GONE.encode() in value]
    assert len([place for place in newest if place[0] == ERASURES]) == 1
    services.until(lambda: not files_with(GONE, services.folder), "the stores' files are clean")
    assert files_with(STAYS, services.folder)

    compact(eager_kafka, within_s=90)
    assert not files_with(GONE, eager_kafka.data_dir)
    services.wait_until_settled()
    verified = services.week12("verify", "--published", "--show")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    services.stop()
    before = {name: services.contents(name) for name in ("outcomes", "safety")}
    for name in ("outcomes", "safety"):
        services.store_path(name).unlink()
    services.start("outcomes", "safety")
    services.wait_until_ready()
    services.wait_until_settled()
    services.stop()
    assert {name: services.contents(name) for name in before} == before
    assert not files_with(GONE, services.folder)


def wait_until_ingest_knows(services: RunningServices) -> None:
    with services.client("ingest", services.secret) as client:

        def refused() -> bool:
            answer = client.post("/v1/events", json=LATE)
            assert answer.status_code in (202, 410), answer.text
            return answer.status_code == 410

        services.until(refused, "ingest knows", 30)


def test_what_comes_later_is_refused_and_dropped(
    make_broker: Callable[[BrokerKind], Broker], run_services: Callable[..., RunningServices]
) -> None:
    services = run_services(make_broker("embedded"), WEEK12_PARTITIONS=str(PARTITIONS))
    services.send([ERASE])
    services.wait_until_settled()
    wait_until_ingest_knows(services)
    with services.client("ingest", services.secret) as client:
        answer = client.post("/v1/events", json=[LATE, lab("crp", 50, 3.0, patient_id=STAYS, site_id="S01")])
    assert answer.status_code == 207
    assert [r["status"] for r in answer.json()["receipts"]] == ["refused", "accepted"]
    assert answer.json()["receipts"][0]["code"] == "erased"
    assert GONE not in answer.text
    services.wait_until_settled()
    for name in ("outcomes", "safety"):
        services.kill(name)
        services.store_path(name).unlink()
        services.start(name)
    services.wait_until_ready()
    services.wait_until_settled()
    assert services.get("outcomes", "/v1/outcomes", site_id="S01")["rows"]
    verified = services.week12("verify", "--published", "--show")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    services.stop()
    assert not any(GONE in repr(services.contents(name)) for name in ("outcomes", "safety"))

"""After good and bad input on every door, no log, metric or error says anything about a patient."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import httpx
import orjson
from ingest_helpers import NDJSON, lines
from kafka import KafkaProducer
from plugins.services import NAMES, RunningServices

from schemas.topics import EVENT_TOPICS
from services.broker import Broker, BrokerKind
from services.simulation.registry import RegistryPlan, stream_registry

UNTIL = date(2025, 2, 28)
PLAN = RegistryPlan(patients=20, sites=2, events=400, seed=11, until=UNTIL, corrections=0.05, duplicates=0.05)
NAME, PSEUDONYM, RECORD, VALUE, WORD = "Quxmarillo", "ZZ-PATIENT-77", "ZZ:record:77", "7391.6482", "xylopain"
"""Recognisable wherever they turn up: a name, a pseudonym, an event id, a number, a free text."""
LAB = {
    "event_type": "lab",
    "site_id": "S01",
    "event_id": RECORD,
    "patient_id": PSEUDONYM,
    "recorded_at": "2025-02-02T09:30:00+01:00",
    "collected_on": "2025-02-01",
    "analyte": "crp",
    "value": 12.5,
    "unit": "mg/L",
}
GRAVE = {
    **{name: LAB[name] for name in ("site_id", "patient_id", "recorded_at")},
    "event_type": "adverse_event",
    "event_id": RECORD,
    "term": WORD,
    "onset_on": "2025-02-01",
    "grade": 4,
    "serious": True,
    "seriousness": ["life_threatening"],
    "related": "possible",
    "action_taken": "none",
    "outcome": "unknown",
}
REFUSED: list[Any] = [
    LAB | {"patient_id": f"{NAME} Lopez"},
    LAB | {"value": f"{VALUE} {WORD}"},
    LAB | {"value": -7391.6482},
    LAB | {"unit": WORD},
    LAB | {"analyte": WORD},
    LAB | {"collected_on": WORD},
    LAB | {"patient_id": {"given": NAME}},
    GRAVE | {"grade": VALUE},
    GRAVE | {"seriousness": [WORD]},
    {"event_type": WORD, "patient_id": PSEUDONYM, "event_id": RECORD},
]
QUESTIONS = {
    "outcomes": [
        "/v1/patients/{p}",
        "/v1/patients/{p}?as_of={w}",
        "/v1/outcomes?after={p}",
        "/v1/outcomes?limit={p}",
        "/v1/cohort?as_of={w}",
        "/v1/data-quality?after={w}",
        "/patients/{p}",
        "/{p}",
    ],
    "safety": [
        "/v1/patients/{p}/timeline",
        "/v1/alerts/{p}",
        "/v1/alerts?state={w}",
        "/v1/alerts?limit={w}",
        "/v1/incidence?as_of={w}",
        "/patients/{p}",
        "/{p}",
    ],
    "ingest": ["/v1/events/{p}", "/{p}?{w}"],
}


def test_nothing_of_a_patient_stands_in_logs_metrics_or_errors(
    make_broker: Callable[[BrokerKind], Broker], run_services: Callable[..., RunningServices]
) -> None:
    broker = make_broker("embedded")
    services = run_services(broker, WEEK12_TODAY=str(UNTIL), WEEK12_LOG_LEVEL="DEBUG")
    events = [orjson.loads(line) for line in stream_registry(PLAN)]
    services.send([*events, LAB | {"event_id": f"{RECORD}:lab"}, GRAVE])
    said = [answer.text for answer in bad_requests(services)]
    poison_topics(services)
    services.wait_until_settled()
    said += [answer.text for answer in bad_questions(services, events[0]["patient_id"])]
    said += [services.reader(name).get("/metrics").text for name in NAMES]
    broker.kill()
    services.until(lambda: not services.is_ready("ingest"), "ingest notices")
    said.append(ask(services, "ingest", lines(LAB | {"version": 2})).text)
    said += [services.reader(name).get("/metrics").text for name in NAMES]
    services.stop()
    said += map(services.log, NAMES)

    secrets = {NAME, PSEUDONYM, RECORD, VALUE, WORD}
    secrets |= {event[name] for event in events for name in ("patient_id", "event_id")}
    secrets |= {event["term"] for event in events if "term" in event and " " in event["term"]}
    everything = "\n".join(said).lower()
    assert "week12_stream_records_total" in everything
    assert "kafka is away" in everything
    assert sorted(secret for secret in secrets if secret.lower() in everything) == []


def bad_requests(services: RunningServices) -> Iterator[httpx.Response]:
    """What ingest says to events it refuses, one by one, together, broken, and with no right to send."""
    bodies = [orjson.dumps(event) for event in REFUSED]
    for body in [*bodies, b"\n".join(bodies), b'{"patient_id": "' + NAME.encode(), orjson.dumps([WORD])]:
        answer = ask(services, "ingest", body)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["code"]
        yield _without_receipts(answer)
    foreign = services.client("ingest", services.token("elsewhere", "submitter", ["S99"]))
    for client in (foreign, services.client("ingest", WORD), services.client("ingest")):
        with client:
            answer = client.post("/v1/events", content=lines(LAB), headers={"Content-Type": NDJSON})
        assert answer.status_code in (401, 403)
        yield _without_receipts(answer)


def _without_receipts(answer: httpx.Response) -> httpx.Response:
    """Receipts name the sender's own records by `event_id`, so that it can tell which was refused."""
    body = {name: value for name, value in answer.json().items() if name != "receipts"}
    return httpx.Response(answer.status_code, json=body)


def poison_topics(services: RunningServices) -> None:
    """The same past ingest, straight into a topic."""
    producer = KafkaProducer(**services.topics.client, acks="all", enable_idempotence=False)
    key = f"{PSEUDONYM}|S01|{RECORD}|1|00000000".encode()
    for value in [*map(orjson.dumps, REFUSED), b'{"patient_id": "' + NAME.encode()]:
        producer.send(EVENT_TOPICS["lab"], value, key)  # type: ignore[index]
    producer.send(EVENT_TOPICS["lab"], None, PSEUDONYM.encode())  # type: ignore[index]
    producer.flush()
    producer.close()


def bad_questions(services: RunningServices, patient_id: str) -> Iterator[httpx.Response]:
    """Errors of every service: unknown and foreign patients, wrong parameters, no or a poor token."""
    for service, paths in QUESTIONS.items():
        submitter = services.client(service, services.secret)
        with submitter, services.client(service) as nobody:
            for client in (services.reader(service), submitter, nobody):
                for path in paths:
                    for patient in (
                        "XX-NOBODY",
                        patient_id if client is not services.reader(service) else NAME,
                    ):
                        answer = client.get(path.format(p=patient, w=WORD))
                        assert answer.status_code >= 300, (path, answer.status_code)
                        yield answer
    officer = services.client("safety", services.token("officer", "safety_officer"))
    with officer:
        for note in ({"note": 7391.6482}, {WORD: WORD}, [WORD], {"note": "x"}):
            answer = officer.post(f"/v1/alerts/{PSEUDONYM}/acknowledge", json=note)
            assert answer.status_code >= 400
            yield answer


def ask(services: RunningServices, service: str, body: bytes) -> httpx.Response:
    """POST events, one or NDJSON."""
    with services.client(service, services.secret) as client:
        return client.post("/v1/events", content=body, headers={"Content-Type": NDJSON})

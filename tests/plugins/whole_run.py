"""One whole run of the three services for all tests that look at what they say about it.

The study cohort in disorder, events that ingest refuses, records that no service can use, a patient who is erased, a
verification, and at last a broker that goes away: with the logs, metrics and errors of all of it, and, where there is
one, a Prometheus that watched.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
from ingest_helpers import NDJSON, lines
from kafka import KafkaProducer
from plugins.prometheus import Prometheus, prometheus_program
from plugins.services import NAMES, RunningServices

from schemas.topics import ALERTS, DEAD_LETTERS, EVENT_TOPICS, OUTCOMES
from services.broker import open_broker
from services.local.study import study_stream
from services.simulation.fu2025.plan import CUT
from services.testing.topics import TopicRecord

NAME, PSEUDONYM, RECORD, VALUE, WORD = "Quxmarillo", "ZZ-PATIENT-77", "ZZ:record:77", "7391.6482", "xylopain"
"""Recognisable wherever they turn up: a name, a pseudonym, an event id, a number, a free text."""
GONE = "ZZ-ERASED-78"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
"""With which one request of the run comes: two events of PSEUDONYM."""
LAB: dict[str, Any] = {
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
HARMLESS = {**GRAVE, "version": 2, "grade": 1, "serious": False, "seriousness": []}
"""The correction that withdraws its alerts."""
ERASE = {
    **{name: LAB[name] for name in ("site_id", "recorded_at")},
    "event_type": "consent",
    "event_id": "ZZ:erase:78",
    "patient_id": GONE,
    "status": "erase",
    "effective_on": "2025-02-02",
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


@dataclass
class WholeRun:
    """What was sent, and everything the services said."""

    events: list[dict[str, Any]]
    errors: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    prometheus: Prometheus | None = None
    answered_trace: str = ""  # what ingest answered to the request that came with TRACEPARENT
    records: list[TopicRecord] = field(default_factory=list)  # of events, and what was derived from them
    settled_at: float = 0.0  # when all was in the stores and Prometheus had seen it
    alerts: list[dict[str, Any]] = field(default_factory=list)  # Prometheus' at that moment

    @property
    def watcher(self) -> Prometheus:
        """The Prometheus that watched; skips or fails the test where this machine has none."""
        prometheus_program("prometheus")
        assert self.prometheus is not None
        return self.prometheus

    def log_lines(self, service: str) -> list[dict[str, Any]]:
        """The service's log."""
        return [json.loads(line) for line in self.logs[service].splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeRun]:
    """Everything happens once; tests look at what came of it."""
    folder = tmp_path_factory.mktemp("whole-run")
    broker = open_broker("embedded", folder / "broker")
    broker.start()
    services = RunningServices(broker, folder / "data", WEEK12_TODAY=str(CUT), WEEK12_LOG_LEVEL="DEBUG")
    run = WholeRun(study_stream(2025))
    try:
        services.start(*NAMES)
        services.wait_until_ready()
        run.prometheus = _watch(services)
        _work(services, run)
        services.stop("outcomes", "safety")  # without Kafka they would take their time
        _lose_the_broker(services, run)
        services.stop()
        run.logs = {name: services.log(name) for name in NAMES}
        yield run
    finally:
        services.end()
        broker.stop()
        if run.prometheus:
            run.prometheus.stop()


def _watch(services: RunningServices) -> Prometheus | None:
    try:
        prometheus_program("prometheus")
    except (pytest.skip.Exception, pytest.fail.Exception):
        return None  # the tests that need it say so
    shipped = {"ingest": 8120, "outcomes": 8121, "safety": 8122}
    ports = {shipped[name]: services.reader(name).base_url.port or 0 for name in NAMES}
    prometheus = Prometheus(services.folder / "prometheus", ports)
    try:
        prometheus.until("up == 1", lambda found: len(found) == 3)
    except BaseException:
        prometheus.stop()
        raise
    return prometheus


def _work(services: RunningServices, run: WholeRun) -> None:
    services.send(run.events)
    services.send([LAB | {"patient_id": GONE, "event_id": "ZZ:78"}])
    services.wait_until_settled()  # of a backlog, what is published does not name each trace
    followed = _post(services, lines(LAB | {"event_id": f"{RECORD}:lab"}, GRAVE), traceparent=TRACEPARENT)
    assert followed.status_code == 202, followed.text
    run.answered_trace = followed.headers["trace-id"]
    services.wait_until_settled()
    services.send([HARMLESS, ERASE])
    run.errors += [answer.text for answer in _bad_requests(services)]
    _poison_topics(services)
    services.wait_until_settled()
    verified = services.week12("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    run.errors += [answer.text for answer in _bad_questions(services, run.events[0]["patient_id"])]
    if run.prometheus:
        run.prometheus.until("week12_verify_differences", lambda found: len(found) == 2)
        run.prometheus.until('ALERTS{alertname="Week12DeadLetters", alertstate="firing"}', bool)
        run.prometheus.until("sum(week12_consumer_lag_records)", lambda found: found == [0])
        run.prometheus.until('sum(week12_patients{status="erased"})', lambda found: found == [1])
        run.prometheus.until('sum(week12_patients{status!="erased"})', lambda found: found == [95])
        run.prometheus.until("sum(week12_outcome_changes_total)", bool)
        run.alerts = run.prometheus.get("/alerts")["alerts"]
    run.records = services.topics.records(*EVENT_TOPICS.values(), OUTCOMES, ALERTS, DEAD_LETTERS)
    run.settled_at = time.time()
    run.metrics += [services.reader(name).get("/metrics").text for name in NAMES]


def _lose_the_broker(services: RunningServices, run: WholeRun) -> None:
    services.broker.kill()
    services.until(lambda: not services.is_ready("ingest"), "ingest notices")
    run.errors.append(_post(services, lines(LAB | {"version": 2})).text)
    run.metrics.append(services.reader("ingest").get("/metrics").text)
    if run.prometheus:
        run.prometheus.until('week12_part_up{service="ingest"} == 0', bool)


def _bad_requests(services: RunningServices) -> Iterator[httpx.Response]:
    """What ingest says to events it refuses, one by one, together, broken, and with no right to send."""
    bodies = [orjson.dumps(event) for event in REFUSED]
    for body in [*bodies, b"\n".join(bodies), b'{"patient_id": "' + NAME.encode(), orjson.dumps([WORD])]:
        answer = _post(services, body)
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


def _poison_topics(services: RunningServices) -> None:
    """The same past ingest, straight into a topic."""
    producer = KafkaProducer(**services.topics.client, acks="all", enable_idempotence=False)
    key = f"{PSEUDONYM}|S01|{RECORD}|1|00000000".encode()
    for value in [*map(orjson.dumps, REFUSED), b'{"patient_id": "' + NAME.encode()]:
        producer.send(EVENT_TOPICS["lab"], value, key)  # type: ignore[index]
    producer.send(EVENT_TOPICS["lab"], None, PSEUDONYM.encode())  # type: ignore[index]
    producer.flush()
    producer.close()


def _bad_questions(services: RunningServices, patient_id: str) -> Iterator[httpx.Response]:
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


def _post(services: RunningServices, body: bytes, **headers: str) -> httpx.Response:
    """POST events, one or NDJSON."""
    with services.client("ingest", services.secret) as client:
        return client.post("/v1/events", content=body, headers={"Content-Type": NDJSON, **headers})

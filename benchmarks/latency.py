"""How long until what was accepted is seen: adverse event to alert, and event to cohort rate.

    python -m benchmarks.latency
    python -m benchmarks.latency --seconds 20

Real Apache Kafka and the three services as processes of their own, with 200 000 events already read. All times
are taken outside the services, from the moment the sender has its 202:

- 50 serious adverse events a second, each sent alone; a listener on the safety service's event stream notes when
  the row is there.
- 500 events a second in requests of 10; a reader asks for the rates of clinical response at
  week 12 (all centres, all estimands) 20 times a second. Four times
  a second the events of one more responder are sent, and the moment counts at which the reader first sees the
  rate move: waiting for the next question, up to 50 ms, is part of it.

Sender, listener and reader are three processes; all stop by themselves. Raw floors of the same run: one record
a message from a bare producer's acknowledgement to a bare consumer, and /health/live asked as often as the cohort.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import httpx
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from benchmarks.inputs import registry_file, to_records
from benchmarks.kafka import environment, load_records, scratch_kafka, without_settings
from benchmarks.observers import MARKED_SITE, PATIENCE_SECONDS, Asked, Observer, ask, listen
from benchmarks.report import Figure, command, percentile
from services.runtime.settings import Settings
from services.runtime.tokens import TokenStore

COHORT = "/v1/cohort?timepoint=week_12&endpoint=clinical_response"
AE_RATE, EVENT_RATE, READ_RATE, RESPONDER_RATE = 50, 500, 20, 4
LINES = 10
FLOOR_SECONDS = 5
WEEK12 = (sys.executable, "-c", "from services.cli import main; main()")


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Percentiles of both delays and of the reader's own answers."""
    with registry_file(options.folder, options.stored).open("rb") as lines:
        records = list(to_records(lines))
    with scratch_kafka(options.folder) as settings:
        load_records(settings, records)
        del records
        secret = TokenStore(settings.tokens_path).add("benchmark", ["submitter", "safety_officer"])
        with services(settings):
            wait(settings)
            bare = told("producer to consumer, bare", uvloop.run(_bare_delays(settings)))
            alerts = told("adverse event to alert", _alerts(settings, secret, options.seconds))
            wait(settings)
            idle, delays, answers = _cohort(settings, secret, options.seconds)
            told("/health/live answers", idle)
            cohort = told("event to cohort rate", delays)
            told("/v1/cohort answers", answers)
    floor = f"bare p50 {percentile(bare, 0.5):.1f}, p99 {percentile(bare, 0.99):.1f} ms"
    yield _figure("adverse event accepted to alert, p50", percentile(alerts, 0.5), floor, 100)
    yield _figure("adverse event accepted to alert, p99", percentile(alerts, 0.99), floor, 500)
    yield _figure("event accepted to cohort rate, p95", percentile(cohort, 0.95), floor, 300)
    live = f"/health/live p95 {percentile(idle, 0.95):.1f} ms"
    yield _figure(f"answer of /v1/cohort at {EVENT_RATE} events/s, p95", percentile(answers, 0.95), live, 30)


def told(name: str, values: list[float]) -> list[float]:
    shares = ", ".join(f"p{share * 100:.0f} {percentile(values, share):.1f}" for share in (0.5, 0.95, 0.99))
    print(f"{name}: {len(values)} measured, {shares}, longest {max(values):.1f} ms", flush=True)
    return values


def _figure(name: str, value: float, floor: str, target: float) -> Figure:
    return Figure(name, value, "ms", floor, target, at_most=True)


# -- adverse event to alert --------------------------------------------------------------------------------


def _alerts(settings: Settings, secret: str, seconds: int) -> list[float]:
    """Milliseconds from 202 to the row, for every adverse event."""
    with Observer(listen, f"http://127.0.0.1:{settings.safety_port}", secret) as listener:
        accepted = uvloop.run(send(settings, secret, seconds, AE_RATE, _adverse_event))
        seen: dict[str, float] = listener.finish(len(accepted))
    if missing := accepted.keys() - seen.keys():
        sys.exit(
            f"{len(missing)} of {len(accepted)} adverse events raised no alert within {PATIENCE_SECONDS} s"
        )
    return [max(0.0, seen[patient] - at) * 1000 for patient, at in accepted.items()]


def _adverse_event(number: int) -> tuple[str, list[dict[str, object]]]:
    patient = f"A{number:06}"
    event = {
        **_common("adverse_event", MARKED_SITE, patient, "ae", "2025-02-12"), "term": "Herpes zoster",
        "onset_on": "2025-02-10", "grade": 2, "serious": True, "seriousness": ["hospitalisation"], "related": "related",
        "outcome": "recovering",
    }  # fmt: skip
    return patient, [event]


# -- event to cohort rate ----------------------------------------------------------------------------------


def _cohort(settings: Settings, secret: str, seconds: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of /health/live, from 202 to the rate, and of /v1/cohort."""
    url = f"http://127.0.0.1:{settings.outcomes_port}"
    with Observer(ask, url, secret, "/health/live", READ_RATE) as reader:
        time.sleep(FLOOR_SECONDS)
        idle: list[Asked] = reader.finish()
    with Observer(ask, url, secret, COHORT, READ_RATE) as reader:
        accepted = uvloop.run(_send_both(settings, secret, seconds))
        asked: list[Asked] = reader.finish(len(accepted))
    # The nth responder is seen once n are counted: they are sent one after the other, 250 ms apart.
    order = sorted(accepted.values())
    delays = []
    for number, at in enumerate(order, start=1):
        moment = next((a.answered for a in asked if a.responders >= number), None)
        if moment is None:
            sys.exit(
                f"{len(order) - number + 1} of {len(order)} responders are in no rate after {PATIENCE_SECONDS} s"
            )
        delays.append(max(0.0, moment - at) * 1000)
    answers = [a.seconds * 1000 for a in asked if order[0] <= a.answered <= order[-1]]
    return [a.seconds * 1000 for a in idle], delays, answers


async def _send_both(settings: Settings, secret: str, seconds: int) -> dict[str, float]:
    markers, _ = await asyncio.gather(
        send(settings, secret, seconds, RESPONDER_RATE, _responder),
        send(settings, secret, seconds, (EVENT_RATE - 3 * RESPONDER_RATE) / LINES, _background),
    )
    return markers


def _responder(number: int) -> tuple[str, list[dict[str, object]]]:
    patient = f"M{number:06}"
    return patient, [
        {
            **_common("treatment", MARKED_SITE, patient, "start", "2025-01-08"),
            "drug": "upadacitinib", "action": "start", "effective_on": "2025-01-08",
        },
        {**_common("visit", MARKED_SITE, patient, "baseline", "2025-01-08"), "visited_on": "2025-01-08", "cdai": 300},
        {**_common("visit", MARKED_SITE, patient, "week12", "2025-04-02"), "visited_on": "2025-04-02", "cdai": 90},
    ]  # fmt: skip


def _background(number: int) -> tuple[str, list[dict[str, object]]]:
    """Ten results of ten patients, as they come at any centre."""
    return f"request {number}", [
        {
            **_common("lab", f"S{i:02}", f"L{(number * LINES + i) % 5_000:06}", f"crp-{number}", "2025-03-03"),
            "collected_on": "2025-03-03", "analyte": "crp", "value": 4.5, "unit": "mg/L", "ref_high": 5.0,
        }
        for i in range(LINES)
    ]  # fmt: skip


def _common(kind: str, site: str, patient: str, name: str, day: str) -> dict[str, object]:
    return {
        "event_type": kind, "site_id": site, "event_id": f"{patient}:{name}", "patient_id": patient,
        "recorded_at": f"{day}T10:00:00+00:00",
    }  # fmt: skip


# -- sending -----------------------------------------------------------------------------------------------

Make = Callable[[int], tuple[str, list[dict[str, object]]]]


async def send(settings: Settings, secret: str, seconds: int, rate: float, make: Make) -> dict[str, float]:
    """Send a request every 1/rate seconds, whatever the answers take; when each had its 202."""
    accepted: dict[str, float] = {}
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{settings.ingest_port}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:

        async def post(name: str, events: list[dict[str, object]]) -> None:
            response = await client.post("/v1/events", content=orjson.dumps(events))
            if response.status_code != 202:
                raise RuntimeError(f"ingest answered {response.status_code}: {response.text[:300]}")
            accepted[name] = time.monotonic()

        await _pace(rate, int(seconds * rate), lambda number: post(*make(number)))
    return accepted


async def _pace(rate: float, total: int, start: Callable[[int], Awaitable[None]]) -> None:
    begun, running = time.monotonic(), []
    for number in range(total):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        running.append(asyncio.ensure_future(start(number)))
    await asyncio.gather(*running)


# -- the floor ---------------------------------------------------------------------------------------------


async def _bare_delays(settings: Settings) -> list[float]:
    """Milliseconds from a producer's acknowledgement to a consumer, one record at a time at the rate of AEs."""
    topic = "week12-benchmark-floor"
    admin = KafkaAdminClient(**settings.kafka_python_options())
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    consumer = AIOKafkaConsumer(
        **settings.aiokafka_options(), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(**settings.aiokafka_options(), acks="all", enable_idempotence=False)
    await consumer.start()
    await producer.start()
    acknowledged: dict[int, float] = {}
    seen: dict[int, float] = {}
    total = FLOOR_SECONDS * AE_RATE

    async def produce(number: int) -> None:
        sent = await producer.send_and_wait(topic, b"%d" % number + b"." * 300)
        acknowledged[sent.offset] = time.monotonic()

    async def consume() -> None:
        while len(seen) < total:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                seen.update((record.offset, time.monotonic()) for record in records)

    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(60):
            await asyncio.gather(consume(), _pace(AE_RATE, total, produce))
    finally:
        await producer.stop()
        await consumer.stop()
    return [max(0.0, seen[offset] - at) * 1000 for offset, at in acknowledged.items()]


# -- services ----------------------------------------------------------------------------------------------


@contextmanager
def services(settings: Settings) -> Iterator[None]:
    """Ingest, outcomes and safety as processes, ready; stopped at the end."""
    variables, quiet = {**without_settings(), **environment(settings)}, subprocess.DEVNULL
    with ExitStack() as stack:
        for name in ("ingest", "outcomes", "safety"):
            process = subprocess.Popen([*WEEK12, name], env=variables, stdout=quiet, stderr=quiet)
            stack.callback(_stop, process)
        for port in (settings.ingest_port, settings.outcomes_port, settings.safety_port):
            _wait_until_ready(port)
        yield


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 60
    for attempt in count():
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            sys.exit(f"a service was not ready after {attempt} questions in 60 s")
        time.sleep(0.1)


def wait(settings: Settings) -> None:
    """Until both stores have every record, and have published what follows from it."""
    done = subprocess.run(
        [*WEEK12, "wait", "--timeout", "600", "--published"],
        env={**without_settings(), **environment(settings)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"week12 wait: {done.stderr.strip()}")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stored", type=int, default=200_000, help="events read before anything is timed (default 200000)"
    )
    parser.add_argument(
        "--seconds", type=int, default=60, help="how long each of the two parts sends (default 60)"
    )


if __name__ == "__main__":
    command(__doc__, measure, _configure)

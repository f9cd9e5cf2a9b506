"""How many events a second one ingest process takes, every receipt acknowledged by Kafka with acks=all.

    python -m benchmarks.ingest                 a local Apache Kafka (Java 17) in a scratch folder
    python -m benchmarks.ingest --broker embedded
    KAFKA_BOOTSTRAP_SERVERS=... python -m benchmarks.ingest --broker given     your own: a scratch cluster!

Client, ingest and broker share this machine. The client sends prepared NDJSON bodies, a few at a time, and
reads every receipt. The raw floor in the same run is the same records (key, headers, value) handed to a bare
kafka-python producer with the same settings: what Kafka and its client cost, without HTTP and checks. Rates
vary between runs on a shared machine; compare each with its own floor.
"""

import argparse
import asyncio
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path

import httpx
import orjson
from kafka import KafkaProducer

from benchmarks.report import machine
from schemas import content_hash, parse_event
from services.broker import BrokerProblem, open_broker
from services.broker.topics import ensure_topics
from services.ingest.publisher import KafkaPublisher
from services.ingest.records import Record, to_record
from services.runtime.errors import OperatorError
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings, load_settings
from services.runtime.tokens import TokenStore

PORT = 18_120
COMMAND = [sys.executable, "-c", "from services.cli import main; main()", "ingest"]
START = date(2024, 1, 1)


def main() -> None:
    options = _options()
    events = list(make_events(options.events, options.seed))
    bodies = [
        b"\n".join(events[start : start + options.lines]) for start in range(0, len(events), options.lines)
    ]
    with (
        tempfile.TemporaryDirectory(prefix="week12-ingest-") as folder,
        _broker(options.broker, folder) as servers,
    ):
        settings = load_settings(
            kafka_bootstrap_servers=servers, data_dir=Path(folder) / "data", ingest_port=PORT
        )
        _describe(options, events)
        ensure_topics(settings.kafka_python_options(), partitions=settings.partitions)
        secret = TokenStore(settings.tokens_path).add("benchmark", ["submitter"])
        floors, rates = [], []
        with _ingest(settings) as process:
            asyncio.run(_send(secret, bodies[:2], options.in_flight))
            for _ in range(options.rounds):
                floors.append(_floor(settings, events))
                spent = _cpu_seconds(process.pid)
                took, accepted, latencies = asyncio.run(_send(secret, bodies, options.in_flight))
                rates.append(accepted / took)
                _report(floors[-1], took, accepted, latencies, _cpu_seconds(process.pid) - spent)
            print(f"memory of ingest {_memory_mib(process.pid)} MiB")
        print(
            f"median: ingest {statistics.median(rates):,.0f} events/s, floor {statistics.median(floors):,.0f}"
        )
    if options.at_least and statistics.median(rates) < options.at_least:
        sys.exit(f"below {options.at_least:,} events/s")


def make_events(count: int, seed: int) -> Iterator[bytes]:
    """Labs, visits and adverse events of many patients of four centres, as JSON lines of about 330 bytes."""
    draw = random.Random(seed)
    for number in range(count):
        patient, day = draw.randrange(count // 20 + 1), START + timedelta(draw.randrange(300))
        site = f"S{patient % 4 + 1:02}"
        common = {
            "site_id": site,
            "event_id": f"{site}:Observation/{number}",
            "patient_id": f"{site}-{patient:06}",
            "recorded_at": f"{day + timedelta(1)}T08:{number % 60:02}:00+02:00",
        }
        yield orjson.dumps(_specific(draw, str(day)) | common)


def _specific(draw: random.Random, day: str) -> dict[str, object]:
    kind = draw.random()
    if kind < 0.6:
        analyte, unit, high = draw.choice(
            [("crp", "mg/L", 5.0), ("1988-5", "mg/L", 5.0), ("lymphocytes", "10*9/L", 4.0)]
        )
        value = round(draw.uniform(0.4, 4), 2)
        return {
            "event_type": "lab", "collected_on": day, "analyte": analyte, "value": value, "unit": unit,
            "ref_high": high, "visit_kind": "scheduled",
        }  # fmt: skip
    if kind < 0.9:
        parts = {
            "stool_frequency": round(draw.uniform(0, 9), 1),
            "abdominal_pain": round(draw.uniform(0, 3), 1),
        }
        return {
            "event_type": "visit", "visited_on": day, "cdai": draw.randrange(20, 450), "pro2": parts,
            "ses_cd": draw.randrange(0, 40), "corticosteroid": draw.random() < 0.2,
        }  # fmt: skip
    return {
        "event_type": "adverse_event", "term": "headache", "onset_on": day, "grade": draw.randrange(1, 4),
        "serious": False, "seriousness": [], "related": "possible", "outcome": "recovered",
        "action_taken": "none",
    }  # fmt: skip


def _floor(settings: Settings, events: Sequence[bytes]) -> float:
    """Records a second through kafka-python alone, with the producer settings of ingest."""
    records = [_record(settings, value) for value in events]
    options = KafkaPublisher(settings, Metrics("floor"), lambda: None).producer_options()
    producer = KafkaProducer(**options)
    for topic in {record.topic for record in records}:
        producer.partitions_for(topic)
    started = time.perf_counter()
    futures = [
        producer.send(topic, value, key, headers, partition)
        for topic, partition, key, value, headers in records
    ]
    for future in futures:
        future.get(60)
    took = time.perf_counter() - started
    producer.close()
    return len(records) / took


def _record(settings: Settings, value: bytes) -> Record:
    event = parse_event(value)
    return to_record(event, content_hash(event), value, settings.partitions)


async def _send(secret: str, bodies: Sequence[bytes], in_flight: int) -> tuple[float, int, list[float]]:
    """Seconds, receipts that say accepted, and seconds per request."""
    waiting, latencies, statuses = iter(bodies), list[float](), Counter[str]()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/x-ndjson"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", headers=headers, timeout=60) as client:

        async def work() -> None:
            for body in waiting:
                started = time.perf_counter()
                response = await client.post("/v1/events", content=body)
                latencies.append(time.perf_counter() - started)
                if response.status_code != 202:
                    raise RuntimeError(f"ingest answered {response.status_code}: {response.text[:500]}")
                statuses.update(receipt["status"] for receipt in orjson.loads(response.content)["receipts"])

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(in_flight)))
        return time.perf_counter() - started, statuses["accepted"], latencies


@contextmanager
def _broker(kind: str, folder: str) -> Iterator[str]:
    if kind == "given":
        yield load_settings().kafka_bootstrap_servers
        return
    with open_broker(kind, Path(folder) / "broker") as broker:  # type: ignore[arg-type]
        yield broker.bootstrap_servers


@contextmanager
def _ingest(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "WEEK12_DATA_DIR": str(settings.data_dir),
        "WEEK12_INGEST_PORT": str(PORT),
        "WEEK12_INGEST_RATE": "1000000/minute",
        "WEEK12_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen(COMMAND, env=environment)
    try:
        _wait_until_ready(process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    sys.exit("ingest did not become ready")


def _describe(options: argparse.Namespace, events: Sequence[bytes]) -> None:
    names = ("kafka-python", "fastapi", "uvicorn", "pydantic", "orjson", "uvloop", "httptools")
    print(f"machine: {machine()}, load before {os.getloadavg()[0]:.1f}")
    print(f"versions: Python {platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in names))
    mean = sum(map(len, events)) / len(events)
    print(
        f"{len(events):,} events of {mean:.0f} bytes, {options.lines} a request, "
        f"{options.in_flight} requests in flight, broker: {options.broker}"
    )


def _report(floor: float, took: float, accepted: int, latencies: list[float], cpu: float) -> None:
    latencies.sort()
    p50, p99 = (latencies[int(len(latencies) * part)] * 1000 for part in (0.5, 0.99))
    print(
        f"floor {floor:,.0f} records/s; ingest {accepted / took:,.0f} events/s acknowledged "
        f"({accepted:,} in {took:.2f} s, request p50 {p50:.0f} ms, p99 {p99:.0f} ms, "
        f"ingest CPU {cpu / accepted * 1e6:.0f} us an event)",
        flush=True,
    )


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--broker", choices=("local", "embedded", "given"), default="local")
    parser.add_argument("--events", type=int, default=100_000, help="events a round (default 100000)")
    parser.add_argument("--lines", type=int, default=1000, help="events a request (default 1000)")
    parser.add_argument("--in-flight", type=int, default=4, help="requests at once (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of floor and ingest (default 3)")
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--at-least", type=int, help="exit 1 where the median is below this many events/s")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (BrokerProblem, OperatorError) as problem:
        sys.exit(f"Error: {problem}")

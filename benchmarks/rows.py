"""How long until an accepted event is in the rows of outcomes, with several protocols side by side.

    python -m benchmarks.rows
    python -m benchmarks.rows --seconds 20 --stored 20000

Real Apache Kafka and the three services as processes of their own. The next events of the same registry are sent, 300 a
second in requests of 10, and `GET /v1/progress` is asked 20 times a second how many are in the store: the nth accepted
event is in its row once n are. The time counts from the sender's 202; waiting for the next question, up to 50 ms, is
part of it. The raw floor is `/health/live` asked as often beforehand.
"""

import argparse
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import httpx
import orjson
import uvloop

from benchmarks.inputs import registry_file, to_records
from benchmarks.kafka import load_records, scratch_kafka
from benchmarks.latency import FLOOR_SECONDS, LINES, send, services, told, wait
from benchmarks.observers import PATIENCE_SECONDS, Asked, Observer, ask
from benchmarks.report import Figure, command, percentile
from services.runtime.tokens import TokenStore

EVENT_RATE, READ_RATE = 300, 20
TARGET_MS = 300
VERSION = ("site_id", "patient_id", "event_type", "event_id", "version")


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Percentiles of the time from 202 to the row."""
    count = options.seconds * EVENT_RATE
    lines = registry_file(options.folder, options.stored + count * 11 // 10).read_bytes().splitlines()
    arriving = map(orjson.loads, lines[options.stored :])
    # Copies within a request would not be written.
    sent = list({tuple(event[name] for name in VERSION): event for event in arriving}.values())[:count]
    protocols = tuple(options.protocols.split(","))
    with scratch_kafka(options.folder, protocols) as settings:
        load_records(settings, list(to_records(lines[: options.stored])))
        del lines
        secret = TokenStore(settings.tokens_path).add("benchmark", ["submitter", "safety_officer"])
        url = f"http://127.0.0.1:{settings.outcomes_port}"

        def request(number: int) -> tuple[str, list[dict[str, object]]]:
            return str(number), sent[number * LINES : (number + 1) * LINES]

        with services(settings):
            wait(settings)
            with Observer(ask, url, secret, "/health/live", READ_RATE) as reader:
                time.sleep(FLOOR_SECONDS)
                idle: list[Asked] = reader.finish()
            with Observer(count_stored, url, READ_RATE) as counter:
                accepted = uvloop.run(send(settings, secret, options.seconds, EVENT_RATE / LINES, request))
                seen: list[tuple[float, int]] = counter.finish(count)
    delays, at = [], 0
    for number, moment in enumerate(sorted(accepted.values()), start=1):
        while seen[at][1] < number * LINES:
            at += 1
        delays += [max(0.0, seen[at][0] - moment) * 1000] * LINES
    told("event to row", delays)
    live = percentile([a.seconds * 1000 for a in idle], 0.95)
    yield Figure(
        f"event accepted to row, {EVENT_RATE} events/s, {len(protocols)} protocols, p95",
        percentile(delays, 0.95), "ms", f"/health/live p95 {live:.1f} ms", TARGET_MS, at_most=True,
    )  # fmt: skip


def count_stored(pipe: Connection, url: str, rate: float) -> None:
    """(moment, events stored since the start) for every question, `rate` times a second, until so many are."""
    seen: list[tuple[float, int]] = []
    with httpx.Client(base_url=url, timeout=30) as client:

        def stored() -> int:
            topics = client.get("/v1/progress").raise_for_status().json()["offsets"].values()
            return sum(sum(partitions.values()) for partitions in topics)

        before = stored()
        pipe.send("ready")
        expected, deadline, next_at = -1, float("inf"), time.monotonic()
        while expected < 0 or seen[-1][1] < expected:
            if time.monotonic() > deadline:
                raise SystemExit(f"not every accepted event was stored within {PATIENCE_SECONDS} s")
            next_at = max(next_at + 1 / rate, time.monotonic())
            time.sleep(max(0.0, next_at - time.monotonic()))
            number = stored() - before
            seen.append((time.monotonic(), number))
            if expected < 0 and pipe.poll():
                expected, deadline = pipe.recv(), time.monotonic() + PATIENCE_SECONDS
    pipe.send(seen)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stored", type=int, default=200_000, help="events read before anything is timed (default 200000)"
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long events are sent (default 60)")
    parser.add_argument(
        "--protocols", default="fu2025,u_exceed,stride2", help="evaluated side by side (default all three)"
    )


if __name__ == "__main__":
    command(__doc__, measure, _configure)

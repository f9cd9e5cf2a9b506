"""How much memory the outcomes process takes at 1 million events.

    python -m benchmarks.memory

The service starts with a store of 800 000 events, reads 200 000 more from a real Apache Kafka in the largest
batches it makes, publishes what they changed, and answers the cohort once a second meanwhile. The figure is the
highest resident memory of the whole process (VmHWM), from its start to the end of the publication. The raw floor
is the same process before it has read anything, on an empty store.
"""

import argparse
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx

from benchmarks.inputs import base_store, to_records
from benchmarks.kafka import PATIENCE_SECONDS, Worker, load_records, scratch_kafka
from benchmarks.report import Figure, command, peak_mib
from services.runtime.settings import Settings
from services.runtime.tokens import TokenStore

TARGET = 600
ARRIVING = 5  # one event in five arrives while it is measured


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Peak memory in MiB."""
    arriving = options.events // ARRIVING
    base = base_store(options.folder, options.events - arriving, arriving)
    records = list(to_records(base.held_back))
    with scratch_kafka(options.folder) as settings:
        with Worker(settings, 1) as idle:
            _wait_until(settings, "ready")
            floor = peak_mib(idle.pid)
        shutil.rmtree(settings.data_dir)
        settings.data_dir.mkdir()
        shutil.copy(base.path, settings.data_dir / "outcomes.duckdb")
        load_records(settings, records)
        secret = TokenStore(settings.tokens_path).add("benchmark", ["analyst"])
        done = threading.Event()
        with Worker(settings, arriving) as worker:
            reader = threading.Thread(target=_ask, args=(settings, secret, done))
            reader.start()
            try:
                reached = worker.reached()
                read = peak_mib(worker.pid)
                _wait_until(settings, "published")
                peak = peak_mib(worker.pid)
            finally:
                done.set()
                reader.join()
    print(
        f"{arriving:,} events read in {reached.seconds:.1f} s: {read:.0f} MiB; all published: {peak:.0f} MiB"
    )
    yield Figure(
        f"memory of outcomes at {options.events:,} events",
        peak,
        "MiB",
        f"idle and empty {floor:.0f} MiB",
        TARGET,
        at_most=True,
    )


def _ask(settings: Settings, secret: str, done: threading.Event) -> None:
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.outcomes_port}", headers=headers) as client:
        while not done.wait(1):
            with suppress(httpx.HTTPError):
                client.get("/v1/cohort")


def _wait_until(settings: Settings, what: str) -> None:
    """Until the service is ready, or has published everything twice in a row half a second apart."""
    base, calm = f"http://127.0.0.1:{settings.outcomes_port}", 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if what == "ready" and httpx.get(f"{base}/health/ready").status_code == 200:
                return
            if what == "published":
                waiting = httpx.get(f"{base}/v1/progress").json()["waiting_to_publish"]
                calm = 0 if waiting else calm + 1
                if calm == 2:
                    return
        time.sleep(0.5)
    raise SystemExit(f"outcomes was not {what} after {PATIENCE_SECONDS} s")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=1_000_000, help="events in the end (default 1000000)")


if __name__ == "__main__":
    command(__doc__, measure, _configure)

"""How fast one outcomes worker reads a backlog: 200 000 events of 10 000 patients from a real Apache Kafka.

    python -m benchmarks.pipeline
    python -m benchmarks.pipeline --events 1000000 --rounds 1
    python -m benchmarks.pipeline --protocols fu2025,u_exceed,stride2

The events (4 % duplicates, 6 % corrections, 10 % late) stand in the six event topics as ingest writes them. The
worker is the whole outcomes service with an empty store, in a process of its own: validation, one DuckDB
transaction a batch, publication and HTTP. The clock runs from the first request for records to the last
committed row. The raw floor is the same records through the same client and settings, thrown away. Floor and
worker take turns; Kafka shares the machine.
"""

import argparse
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb

from benchmarks.inputs import registry_file, to_records
from benchmarks.kafka import Worker, load_records, read_and_throw_away, scratch_kafka
from benchmarks.report import Figure, command, median, peak_mib
from services.ingest.records import Record

TARGET = 25_000
TARGET_OF_SEVERAL = 15_000
AIM = 50_000


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Events a second, the median of some rounds, each on a fresh store."""
    events = options.events
    with registry_file(options.folder, events).open("rb") as lines:
        records = list(to_records(lines))
    versions = len({(record.key, _recorded_at(record)) for record in records})
    rates, floors, memory, cpu = [], [], [], []
    protocols = tuple(options.protocols.split(","))
    with scratch_kafka(options.folder, protocols) as settings:
        print(f"{events:,} events written at {load_records(settings, records):,.0f}/s", flush=True)
        for _ in range(options.rounds):
            floors.append(read_and_throw_away(settings, events))
            shutil.rmtree(settings.data_dir, ignore_errors=True)
            with Worker(settings, events) as worker:
                reached = worker.reached()
                memory.append(peak_mib(worker.pid))
            _check(settings.data_dir / "outcomes.duckdb", versions)
            rates.append(events / reached.seconds)
            cpu.append(events / reached.cpu_seconds)
            print(
                f"{rates[-1]:,.0f} events/s in {reached.batches} batches ({reached.seconds:.1f} s, "
                f"{reached.cpu_seconds:.1f} s of processor), floor {floors[-1]:,.0f}/s",
                flush=True,
            )
    one = len(protocols) == 1
    named = f"one worker (aim {AIM:,})" if one else f"one worker, {len(protocols)} protocols"
    yield Figure(
        f"{events:,} events from Kafka into outcomes, {named}", median(rates), "events/s",
        f"reading them {median(floors):,.0f}/s; {median(cpu):,.0f} a second of processor time",
        TARGET if one else TARGET_OF_SEVERAL,
    )  # fmt: skip
    yield Figure("memory of that worker when it has read them", max(memory), "MiB")


def _recorded_at(record: Record) -> datetime:
    return datetime.fromisoformat(dict(record.headers)["ce_time"].decode())


def _check(store: Path, versions: int) -> None:
    """A figure counts only where the work was done: every version is there once, and patients are."""
    with duckdb.connect(str(store), read_only=True) as con:
        stored, patients = con.execute(
            "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM patients)"
        ).fetchall()[0]
    if stored != versions or not patients:
        raise SystemExit(f"the store holds {stored:,} versions of {versions:,}: nothing was measured")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=200_000, help="20 for each patient (default 200000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of floor and worker (default 3)")
    parser.add_argument("--protocols", default="fu2025", help="evaluated side by side (default fu2025)")


if __name__ == "__main__":
    command(__doc__, measure, _configure)

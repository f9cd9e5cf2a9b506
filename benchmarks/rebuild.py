"""How fast the tables are derived anew from 1 million stored events, on one thread.

    python -m benchmarks.rebuild
    python -m benchmarks.rebuild --events 200000

This is what happens when a rule changes: no Kafka, one transaction. The derived tables are emptied before each
round, so that every row is written. The raw floor is reading every column of the same events, on one thread,
and throwing them away.
"""

import argparse
import shutil
import time
from collections.abc import Iterator

from benchmarks.inputs import base_store, open_store
from benchmarks.report import Figure, command, median, peak_mib
from services.stream.store import EventStore

TARGET = 500_000


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Events a second, the median of some rounds."""
    base = base_store(options.folder, options.events)
    work = base.path.with_name("rebuild.duckdb")
    shutil.copy(base.path, work)
    store = open_store(work)
    rates, floors, cpu = [], [], []
    for _ in range(options.rounds):
        floors.append(_floor(store))
        before = _empty(store)
        started, spent = time.perf_counter(), time.thread_time()
        events = store.rebuild()
        rates.append(events / (time.perf_counter() - started))
        cpu.append(events / (time.thread_time() - spent))
        if _rows(store) != before:
            raise SystemExit("the rebuilt tables have another number of rows than before")
        print(f"{rates[-1]:,.0f} events/s ({cpu[-1]:,.0f} a second of processor), floor {floors[-1]:,.0f}")
    peak = peak_mib()
    store.close()
    work.unlink()
    yield Figure(
        f"rebuild of {events:,} stored versions, one thread", median(rates), "events/s",
        f"reading them {median(floors):,.0f}/s; {median(cpu):,.0f} a second of processor time", TARGET,
    )  # fmt: skip
    yield Figure("memory of a process that rebuilds them", peak, "MiB")


def _floor(store: EventStore) -> float:
    cursor = store.cursor()
    started = time.perf_counter()
    found = cursor.execute("SELECT count(*), bit_xor(hash(events)) FROM events").fetchall()
    took = time.perf_counter() - started
    cursor.close()
    return float(found[0][0] / took)


def _rows(store: EventStore) -> list[object]:
    return [
        store.execute(f"SELECT count(*) FROM store.{step.name}")[0][0] for step in store.definition.stored
    ]


def _empty(store: EventStore) -> list[object]:
    rows = _rows(store)
    for step in store.definition.stored:
        store.execute(f"DELETE FROM store.{step.name}")
    store.execute("CHECKPOINT store")
    return rows


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="events of the registry (default 1000000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default 3")


if __name__ == "__main__":
    command(__doc__, measure, _configure)

"""How long a statistician waits for figures of 100 000 patients, and what the background computation takes.

    python -m benchmarks.cohort
    python -m benchmarks.cohort --patients 20000

Asked on a cursor of a store of its own, one thread, nothing else going on: one pooled rate with both intervals, one
centre comparison, and the regressions of the protocol. The patients of a smaller registry are there many times over,
under other names: what a question costs does not depend on who they are. The raw floor is counting the rows that the
figures are made of.
"""

import argparse
import shutil
import time
from collections.abc import Iterator

from benchmarks.inputs import base_store, open_store
from benchmarks.report import Figure, command, median, percentile
from services.stream.settling import read
from services.stream.store import EventStore

EVENTS = 100_000
TARGET_MS = 50
ONE = "timepoint = 'week_12' AND endpoint = 'clinical_remission' AND estimand = 'observed'"
RATE = (
    "SELECT rate, ci_low, ci_high, ci_exact_low, ci_exact_high, worst_case, best_case "
    f"FROM cohort_rates WHERE site_id IS NULL AND {ONE}"
)
FUNNEL = f"FROM cohort_funnel WHERE {ONE}"


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Percentiles of some dozens of answers."""
    base = base_store(options.folder, EVENTS)
    work = base.path.with_name("cohort.duckdb")
    shutil.copy(base.path, work)
    store = open_store(work)
    _multiply(store, max(1, round(options.patients / _patients(store))))
    patients = _patients(store)
    rows = " + ".join(f"(SELECT count(*) FROM {step.name})" for step in store.definition.stored)
    floor = f"counting the rows {median(_times(store, f'SELECT {rows}', options.rounds)):.1f} ms"
    for name, sql in (("a rate with its intervals", RATE), ("centres around a rate", FUNNEL)):
        times = _times(store, sql, options.rounds)
        target = TARGET_MS if sql is RATE else None
        print(f"{name}: p50 {median(times):.1f} ms, p95 {percentile(times, 0.95):.1f} ms")
        yield Figure(
            f"{name}, {patients:,} patients, p95", percentile(times, 0.95), "ms", floor, target, at_most=True
        )
    for table in store.definition.settled:
        started = time.perf_counter()
        _, found = read(store, table.read)
        held = time.perf_counter() - started
        count = len(table.compute(found))
        took = time.perf_counter() - started
        yield Figure(f"{table.name}, {count} rows, in the background", took, "s", f"reading {held:.1f} s")
    store.close()
    work.unlink()


def _patients(store: EventStore) -> int:
    rows = store.execute("SELECT count(*)::INTEGER FROM store.patients")
    return int(str(rows[0][0]))


def _multiply(store: EventStore, times: int) -> None:
    """Have every patient so many times."""
    for step in store.definition.stored:
        names = {row[0] for row in store.execute(f"SELECT column_name FROM (DESCRIBE store.{step.name})")}
        patient_id = ", patient_id || '-' || n AS patient_id" if "patient_id" in names else ""
        store.execute(
            f"INSERT INTO store.{step.name} "
            f"SELECT * EXCLUDE (n) REPLACE (xor(patient_key, n::UBIGINT) AS patient_key{patient_id}) "
            f"FROM store.{step.name} CROSS JOIN range(1, {times}) AS copies(n)"
        )
    store.execute("CHECKPOINT store")


def _times(store: EventStore, sql: str, rounds: int) -> list[float]:
    cursor = store.cursor()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        if not cursor.execute(sql).fetchall():
            raise SystemExit("there is nothing to count: the registry has no such outcome")
        times.append((time.perf_counter() - started) * 1000)
    cursor.close()
    return times


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--patients", type=int, default=100_000, help="about (default 100000)")
    parser.add_argument("--rounds", type=int, default=40, help="answers measured of each (default 40)")


if __name__ == "__main__":
    command(__doc__, measure, _configure)

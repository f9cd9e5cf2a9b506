"""What one transaction costs: 1, 100 and 1 000 events of random patients, on stores of 100 000 and 1 million events.

    python -m benchmarks.batches
    python -m benchmarks.batches --large        also 5 million events (takes some minutes and 3 GB of disk)

Each batch is new events, drawn at random over all patients and years, so that nearly every part of the store
holds something of the patients concerned: the worst case. Batches go in turn to each store, so that all of
them feel the same load. The time is that of `EventStore.apply`, commit to disk included, decoding not; `cpu`
is the processor time of it. The raw floor is the same columns appended to a bare DuckDB table and committed.

The target is about growth: a batch of 1 000 on 1 million events costs at most 3 times one on 100 000.
"""

import argparse
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import duckdb

from benchmarks.inputs import base_store, open_store, portions, to_batch
from benchmarks.report import Figure, command, median
from services.stream.batch import Batch
from services.stream.store import EventStore

SIZES = (1, 100, 1_000)
SMALL, BIG, LARGE = 100_000, 1_000_000, 5_000_000
WARM_UP = (1_000, 100, 1)
TARGET_RATIO = 3.0


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Median milliseconds by store and batch size, and the ratio between the stores."""
    sizes = [SMALL, BIG, *([LARGE] if options.large else [])]
    plan = [*WARM_UP, *(size for _ in range(options.rounds) for size in SIZES)]
    stores: dict[int, EventStore] = {}
    batches: dict[int, Iterator[list[bytes]]] = {}
    for stored in sizes:
        base = base_store(options.folder, stored)
        stores[stored] = open_store(_copy(base.path))
        batches[stored] = portions(base.held_back, plan)
    bare = Bare(options.folder / "bare.duckdb")
    wall: dict[tuple[int, int], list[float]] = defaultdict(list)
    cpu: dict[tuple[int, int], list[float]] = defaultdict(list)
    floor: dict[int, list[float]] = defaultdict(list)
    for turn, size in enumerate(plan):
        for stored, store in stores.items():
            batch = to_batch(next(batches[stored]))
            bare_ms = bare.append(batch)
            started, spent = time.perf_counter(), time.thread_time()
            store.apply(batch)
            if turn >= len(WARM_UP):
                floor[size].append(bare_ms)
                cpu[stored, size].append((time.thread_time() - spent) * 1000)
                wall[stored, size].append((time.perf_counter() - started) * 1000)
    for store in stores.values():
        store.close()
        store.path.unlink()
    bare.close()
    for (stored, size), times in wall.items():
        print(
            f"{stored:>9,} stored, batch of {size:>5,}: median {median(times):6.1f} ms "
            f"(cpu {median(cpu[stored, size]):6.1f}), slowest {max(times):6.1f}, floor {median(floor[size]):5.1f}"
        )
    for size in SIZES:
        yield Figure(
            f"batch of {size:,} on 1 million events",
            median(wall[BIG, size]),
            "ms",
            f"bare append {median(floor[size]):.1f} ms",
        )
    small = median(wall[SMALL, 1_000])
    for stored in sizes[1:]:
        yield Figure(
            f"batch of 1,000: {stored:,} events against {SMALL:,}",
            median(wall[stored, 1_000]) / small,
            "times",
            f"{small:.0f} ms on {SMALL:,}; by processor time "
            f"{median(cpu[stored, 1_000]) / median(cpu[SMALL, 1_000]):.2f} times",
            TARGET_RATIO if stored == BIG else None,
            at_most=True,
        )


class Bare:
    """DuckDB without us: the columns of a batch appended to a table, and committed."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._con = duckdb.connect(str(path), config={"threads": 1})
        self._made: set[str] = set()

    def close(self) -> None:
        """Remove it."""
        self._con.close()
        self._path.unlink()

    def append(self, batch: Batch) -> float:
        """Milliseconds for one transaction."""
        for event_type, columns in batch.events.items():
            self._con.register(f"new_{event_type}", columns)
            if event_type not in self._made:
                self._con.execute(f"CREATE TABLE {event_type} AS FROM new_{event_type} LIMIT 0")
                self._made.add(event_type)
        started = time.perf_counter()
        self._con.execute("BEGIN")
        for event_type in batch.events:
            self._con.execute(f"INSERT INTO {event_type} FROM new_{event_type}")
        self._con.execute("COMMIT")
        return (time.perf_counter() - started) * 1000


def _copy(path: Path) -> Path:
    work = path.with_name(f"work-{path.name}")
    shutil.copy(path, work)
    work.with_name(f"{work.name}.wal").unlink(missing_ok=True)
    return work


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=12, choices=range(3, 17), metavar="3..16",
                        help="batches of each size on each store (default 12)")  # fmt: skip
    parser.add_argument("--large", action="store_true", help="also on 5 million events")


if __name__ == "__main__":
    command(__doc__, measure, _configure)

"""How fast `week12 compute` turns a file of 200 000 events into outcomes and safety.

    python -m benchmarks.compute
    python -m benchmarks.compute --events 1000000

The figure is what the command says of itself: from the first line read to both stores closed, which is everything
but the start of Python; beside it stands the whole process, from its start to its end. The raw floor is parsing the
same lines into validated events, one type at a time in chunks of 20 000, and throwing them away.
"""

import argparse
import re
import resource
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import orjson

from benchmarks.inputs import TODAY, registry_file
from benchmarks.report import Figure, command, median
from schemas import EventType, parse_batch
from services.runtime.collector import relax_collector

TARGET = 60_000
CHUNK = 20_000
WEEK12 = (sys.executable, "-c", "from services.cli import main; main()")


def measure(options: argparse.Namespace) -> Iterator[Figure]:
    """Events a second, the median of some rounds."""
    relax_collector()
    source = registry_file(options.folder, options.events)
    lines = source.read_bytes().splitlines()
    types = [EventType(orjson.loads(line)["event_type"]) for line in lines]
    rates, own, floors, cpu = [], [], [], []
    for _ in range(options.rounds):
        floors.append(_floor(lines, types))
        spent = _children_cpu()
        seconds, said = _compute(source, options.folder / "computed")
        cpu.append(options.events / (_children_cpu() - spent))
        rates.append(options.events / seconds)
        own.append(said)
        print(
            f"{rates[-1]:,.0f} events/s (the command says {said:,.0f}; {cpu[-1]:,.0f} a second of processor), "
            f"floor {floors[-1]:,.0f}",
            flush=True,
        )
    yield Figure(
        f"compute from a file of {options.events:,} events", median(own), "events/s",
        f"parsing them {median(floors):,.0f}/s; {median(cpu):,.0f} a second of processor time", TARGET,
    )  # fmt: skip
    yield Figure("the same with the start of Python", median(rates), "events/s")


def _floor(lines: Sequence[bytes], types: Sequence[EventType]) -> float:
    pairs = iter(zip(types, lines, strict=True))
    started = time.perf_counter()
    while chunk := list(islice(pairs, CHUNK)):
        by_type: dict[EventType, list[bytes]] = defaultdict(list)
        for event_type, line in chunk:
            by_type[event_type].append(line)
        for event_type, values in by_type.items():
            parse_batch(event_type, values)
    return len(lines) / (time.perf_counter() - started)


def _compute(source: Path, out: Path) -> tuple[float, float]:
    """Seconds of the whole command, and the events a second that it prints."""
    started = time.perf_counter()
    done = subprocess.run(
        [*WEEK12, "compute", str(source), "--out", str(out), "--as-of", str(TODAY)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    took = time.perf_counter() - started
    shutil.rmtree(out, ignore_errors=True)
    said = re.search(r"\(([\d,]+)/s\)", done.stderr)
    if done.returncode or not said:
        sys.exit(f"week12 compute failed: {done.stderr.strip()[-500:]}")
    return took, float(said[1].replace(",", ""))


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=200_000, help="events in the file (default 200000)")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")


if __name__ == "__main__":
    command(__doc__, measure, _configure)

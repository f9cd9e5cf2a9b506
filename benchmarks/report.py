"""What all benchmarks share: their options, the machine they ran on, and figures beside their targets."""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from services.runtime.errors import OperatorError

LIBRARIES = ("duckdb", "pyarrow", "pydantic", "aiokafka", "kafka-python", "faust-streaming")


@dataclass(frozen=True)
class Figure:
    """One measured number. `floor` says in words what the raw operation alone took in the same run."""

    name: str
    value: float
    unit: str
    floor: str = ""
    target: float | None = None
    at_most: bool = False
    load: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is reached; true where there is none."""
        if self.target is None:
            return True
        return self.value <= self.target if self.at_most else self.value >= self.target

    def cells(self) -> tuple[str, ...]:
        """Name, figure, target, met, floor, load: for a table."""
        sign = "at most" if self.at_most else "at least"
        wanted = "" if self.target is None else f"{sign} {number(self.target)} {self.unit}".strip()
        met = "" if self.target is None else "yes" if self.met else "NO"
        return self.name, f"{number(self.value)} {self.unit}".strip(), wanted, met, self.floor, self.load


COLUMNS = ("what", "figure", "target", "met", "raw floor, same run", "load before, after")


def number(value: float) -> str:
    """Three significant digits or more, thousands apart by a comma."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


Measure = Callable[[argparse.Namespace], Iterable[Figure]]
Configure = Callable[[argparse.ArgumentParser], None]


def command(
    doc: str | None,
    measure: Measure,
    configure: Configure = lambda _: None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Run one benchmark as a command: header, the measure's own lines, figures beside targets."""
    options = _options(doc, configure, arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped then too
    before = os.getloadavg()[0]
    print(describe_machine(), flush=True)
    print(f"load before (1 min, {os.cpu_count()} cores): {before:.1f}", flush=True)
    with _folder(options.folder) as folder:
        options.folder = folder
        try:
            measured = list(measure(options))
        except OperatorError as error:
            sys.exit(f"error: {error}")
    load = f"{before:.1f}, {os.getloadavg()[0]:.1f}"
    figures = [Figure(**{**asdict(figure), "load": load}) for figure in measured]
    print_table([COLUMNS, *(figure.cells() for figure in figures)])
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures]), encoding="utf-8")
    if options.strict and not all(figure.met for figure in figures):
        sys.exit(1)


def describe_machine() -> str:
    """Machine and versions in two lines."""
    versions = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    return f"machine: {machine()}\nversions: Python {platform.python_version()}, {versions}"


def machine() -> str:
    """Cores, processor and memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {_processor()}, {memory:.0f} GiB, {platform.system()}"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns aligned by spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0..1) of `values` lie: the next one that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def peak_mib(pid: int | str = "self") -> float:
    """The highest resident memory of a process so far, MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="week12-bench-") as scratch:
        yield Path(scratch)


def _options(doc: str | None, configure: Configure, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    configure(parser)
    parser.add_argument(
        "--folder", type=Path, help="keep inputs here for the next run (default: a scratch folder, removed)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a target is missed")
    return parser.parse_args(arguments)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.processor()

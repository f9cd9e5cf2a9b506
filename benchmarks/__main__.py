"""All benchmarks, one after the other, and their figures into docs/performance.md.

    python -m benchmarks                       about 20 minutes; leave the machine alone meanwhile
    python -m benchmarks pipeline rebuild      only these; the table then shows only these
    python -m benchmarks --print               do not touch docs/performance.md

Each runs in a process of its own and cleans up after itself; what they read is made once and shared. They need
Java 17 for Apache Kafka, 4 GB of memory and 3 GB of disk. `python -m benchmarks.pipeline --help` and its
siblings say what each one measures. A figure counts only from a quiet machine: the load stands beside it.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import COLUMNS, Figure, describe_machine, print_table

NAMES = ("pipeline", "batches", "rebuild", "compute", "cohort", "memory", "latency", "rows", "ingest")
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- begin: written by `python -m benchmarks` -->", "<!-- end -->"
INGEST_TARGET = 8_000


def main() -> None:
    """Run, print and write."""
    options = _options()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="week12-bench-") as scratch:
        folder = options.folder or Path(scratch)
        for name in options.names or NAMES:
            print(f"\n=== {name}", flush=True)
            figures += _ingest() if name == "ingest" else _run(name, folder)
    print_table([COLUMNS, *(figure.cells() for figure in figures)])
    if not options.print:
        write_page(PAGE, figures)
        print(f"\nwritten to {PAGE}")
    if not all(figure.met for figure in figures):
        print("a target was missed", file=sys.stderr)


def write_page(page: Path, figures: list[Figure]) -> None:
    """Replace what stands between the two markers of the page."""
    text = page.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{_section(figures)}\n{END}{after}", encoding="utf-8")


def _section(figures: list[Figure]) -> str:
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}.",
        *(f"{line[0].upper()}{line[1:]}." for line in describe_machine().splitlines()),
        "",
        _row(COLUMNS),
        _row("---" for _ in COLUMNS),
        *(_row(figure.cells()) for figure in figures),
    ]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _run(name: str, folder: Path) -> list[Figure]:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--folder", str(folder), "--json", file.name]
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"{name} failed: nothing is written")
        return [Figure(**figure) for figure in json.loads(Path(file.name).read_bytes())]


def _ingest() -> list[Figure]:
    """The ingest benchmark prints its median in words of its own."""
    command = [sys.executable, "-m", "benchmarks.ingest"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            said = line
    found = re.search(r"ingest ([\d,]+) events/s, floor ([\d,]+)", said)
    if process.wait() or not found:
        sys.exit("ingest failed: nothing is written")
    rate = float(found[1].replace(",", ""))
    floor = f"bare producer {found[2]}/s"
    return [
        Figure(
            "ingest of NDJSON, one process, every receipt acknowledged",
            rate,
            "events/s",
            floor,
            INGEST_TARGET,
        )
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--folder", type=Path, help="keep the inputs here for the next run")
    parser.add_argument("--print", action="store_true", help="do not write docs/performance.md")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}: choose of {', '.join(NAMES)}")
    return options


if __name__ == "__main__":
    main()

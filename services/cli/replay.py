"""`week12 replay`: the stores made anew from Kafka; or the same events under another protocol."""

import csv
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TextIO

import click
import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.protocol import ProtocolError, load_protocol
from services.cli.verify import bar, report
from services.outcomes.definition import OUTCOMES
from services.outcomes.replaying import COLUMNS, Pair, Row, class_changes, derive_under
from services.query.snapshots import readable_files
from services.query.stores import one_line
from services.runtime.collector import collector_paused
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings, load_settings
from services.safety.definition import SAFETY
from services.stream.replay import replay, stand_of
from services.stream.verify import Comparison

MOST_SHOWN = 40
SPILL: dict[str, str | bool | int | float | list[str]] = {"memory_limit": "1GB"}

HELP = """Make both stores anew from Kafka, and say what differs from before.

Outcomes and safety must be stopped. A store is made beside the old one, from exactly the records that the old one has
read, and takes its place by a rename: killed at any moment, one of the two is there and whole. What people did about
alerts is kept. The services then tell the derived topics everything once more. Exit code 1 where rows differ: the old
store was wrong then (`week12 verify` finds the same while the services run).

With --protocol nothing is replaced: the events of the store are evaluated under another protocol beside the current
one, and every patient is listed who changes class in an endpoint and timepoint that both have (status; met as
observed, with missing as failure, or with the last observation carried forward), with the values judged and the
definitions that differ. Needs no Kafka; while the services run, a snapshot is read, which takes a token as for
`week12 query`.

\b
Examples:
  week12 replay
  week12 replay --protocol ours.toml --out changes.csv
  week12 replay --protocol u_exceed --against fu2025 --store audit
"""


@click.command(help=HELP)
@click.option("--protocol", help="Name or file of another protocol: who changes class, and why.")
@click.option(
    "--against", help="With --protocol: in place of which.  [default: the first of WEEK12_PROTOCOLS]"
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="With --protocol: folder with outcomes.duckdb.  [default: WEEK12_DATA_DIR]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --protocol: file for all changes, .csv or .json.",
)
@click.option(
    "--timepoint",
    "timepoints",
    multiple=True,
    help="With --protocol: only this one, such as week_12; may be repeated.",
)
@click.option("--show", is_flag=True, help="Without --protocol: name the first differing rows, never values.")
@click.option("--token", envvar="WEEK12_TOKEN", help="While the services run; better in WEEK12_TOKEN.")
@click.pass_context
def command(
    context: click.Context,
    protocol: str | None,
    against: str | None,
    store: Path | None,
    out: Path | None,
    timepoints: tuple[str, ...],
    show: bool,
    token: str | None,
) -> None:
    if out and out.suffix not in WRITERS:
        raise click.BadParameter("name a file that ends in .csv or .json", param_hint="--out")
    if protocol is None and (
        given := [f"--{n}" for n, v in context.params.items() if n in NEED_PROTOCOL and v]
    ):
        raise click.UsageError(f"{given[0].rstrip('s')} is for a comparison: give --protocol too")
    try:
        settings = load_settings()
        if protocol is None:
            comparisons = _make_anew(settings)
            report(comparisons, show, "The stores equal what they were before.")
            context.exit(0 if all(comparison.equal for _, comparison in comparisons) else 1)
        pair = Pair(load_protocol(against or settings.protocols[0]), load_protocol(protocol), timepoints)
        if not pair.timepoints:
            raise OperatorError(
                f"--timepoint {timepoints[0]}: not in both {pair.one.name} and {pair.other.name}"
            )
        folder = store or settings.data_dir
        paths = readable_files(folder, settings, token)
        if "outcomes" not in paths:
            raise OperatorError(f"{folder} holds no outcomes.duckdb: name another with --store")
        _compare(paths["outcomes"], pair, out)
    except (OperatorError, ProtocolError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    except duckdb.Error as error:
        raise click.ClickException(one_line(error)) from None


NEED_PROTOCOL = ("against", "store", "out", "timepoints")


def _make_anew(settings: Settings) -> list[tuple[str, Comparison]]:
    protocols = [load_protocol(name) for name in settings.protocols]
    stands = [(d, stand_of(d, settings.data_dir / f"{d.name}.duckdb")) for d in (OUTCOMES, SAFETY)]
    found = []
    with bar(sum(sum(stand.offsets.values()) for _, stand in stands)) as (progress, task), collector_paused():
        for definition, stand in stands:
            progress.update(task, description=f"replaying {definition.name}")
            replayed = replay(
                settings, definition, protocols, stand, lambda records: progress.advance(task, records)
            )
            found += [(definition.name, row) for row in replayed.comparisons]
    return found


# -- another protocol --------------------------------------------------------------------------------------


def _compare(events: Path, pair: Pair, out: Path | None) -> None:
    with duckdb.connect(str(events), read_only=True) as con:
        today: date = con.execute("SELECT today FROM clock").fetchall()[0][0]
    counts: Counter[tuple[str, ...]] = Counter()
    patients: set[object] = set()
    shown: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="week12-replay-") as place,
        bar(2 + len(pair.timepoints)) as (progress, task),
        collector_paused(),
    ):
        stores = {"one": Path(place) / "one.duckdb", "other": Path(place) / "other.duckdb"}
        for protocol, path in zip((pair.one, pair.other), stores.values(), strict=True):
            progress.update(task, description=f"evaluating {protocol.name}")
            derive_under(protocol, events, today, path)
            progress.advance(task)
        progress.update(task, description="comparing")
        with duckdb.connect(":memory:", config={**SPILL, "temp_directory": f"{place}/spill"}) as con:
            changes = class_changes(con, pair, stores, lambda number: progress.advance(task, number))
            for row in _kept(changes, out):
                counts[tuple(str(row[name]) for name in SUMMED)] += 1
                patients.add(row["patient_id"])
                if len(shown) < MOST_SHOWN * 3:
                    shown.append(row)
    _print(pair, today, counts, shown, len(patients), out)


SUMMED = ("timepoint", "endpoint", "measure", "was", "became")


def _print(
    pair: Pair,
    today: date,
    counts: Counter[tuple[str, ...]],
    rows: list[Row],
    patients: int,
    out: Path | None,
) -> None:
    if not counts:
        click.echo(f"As of {today} nobody changes class from {pair.one.name} to {pair.other.name}.")
        return
    console = Console(width=None if Console().is_terminal else 160)
    summary = Table("timepoint", "endpoint", "measure", "from", "to", "patients", box=None, header_style="bold",
                    pad_edge=False)  # fmt: skip
    for line in _summary(pair, counts):
        summary.add_row(*map(Text, line))
    console.print(summary)
    click.echo()
    table = Table("patient", "timepoint", "endpoint", "measure", "from", "to", "judged", "because", box=None,
                  header_style="bold", pad_edge=False)  # fmt: skip
    lines = list(_merged(rows))
    for line in lines[:MOST_SHOWN]:
        table.add_row(*map(Text, line))
    console.print(table)
    if len(lines) > MOST_SHOWN or sum(counts.values()) > len(rows):
        click.echo("…" + (f" all in {out}" if out else " --out FILE writes all"))
    click.echo(
        f"{patients} patients change class from {pair.one.name} {pair.one.version} to "
        f"{pair.other.name} {pair.other.version}, as of {today}."
    )


def _summary(pair: Pair, counts: Counter[tuple[str, ...]]) -> Iterator[list[str]]:
    """One line for measures in which as many change alike."""
    order = {name: number for number, name in enumerate(pair.timepoints)}
    measures: dict[tuple[int, str, str, str, str, int], list[str]] = {}
    for (timepoint, endpoint, measure, was, became), patients in sorted(counts.items(), reverse=True):
        measures.setdefault((order[timepoint], timepoint, endpoint, was, became, patients), []).append(
            measure
        )
    for (_, timepoint, endpoint, was, became, patients), alike in sorted(measures.items()):
        words = (timepoint, endpoint, ", ".join(alike), _word(was), _word(became), patients)
        yield [str(word) for word in words]


def _merged(rows: Iterable[Row]) -> Iterator[list[str]]:
    """One line for measures of an outcome that change alike."""

    def alike(row: Row) -> tuple[object, ...]:
        return row["patient_id"], row["timepoint"], row["endpoint"], str(row["was"]), str(row["became"])

    for (patient, timepoint, endpoint, was, became), group in itertools.groupby(
        sorted(rows, key=alike), alike
    ):
        same = list(group)
        measures = ", ".join(str(row["measure"]) for row in same)
        judged = _judged(same[0])
        words = (
            patient,
            timepoint,
            endpoint,
            measures,
            _word(was),
            _word(became),
            judged,
            same[0]["because"],
        )
        yield [str(word) for word in words]


def _judged(row: Row) -> str:
    """The value, where both judged the same; else both."""
    sides = [
        f"{_plain(row[f'value_{side}'])} (baseline {_plain(row[f'baseline_value_{side}'])})"
        for side in ("was", "became")
    ]
    return sides[0] if sides[0] == sides[1] else " / ".join(sides)


def _word(value: object) -> str:
    return "unknown" if value in (None, "None") else str(value)


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}".rstrip("0").rstrip(".")
    return "-" if value is None else str(value)


def _kept(rows: Iterable[Row], out: Path | None) -> Iterator[Row]:
    """The rows, each written to the file on its way; an empty list of them makes a file too."""
    if out is None:
        yield from rows
        return
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = WRITERS[out.suffix](file)
        for row in rows:
            writer.write([_cell(value) for value in row.values()])
            yield row
        writer.close()


class _Csv:
    """A header and a line a row; empty where there is no value."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def write(self, values: list[str | None]) -> None:
        """Add a row."""
        self._writer.writerow(values)

    def close(self) -> None:
        """Nothing is left to write."""


class _Json:
    """An array of objects; numbers as text, as exact as they are."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._between = "["

    def write(self, values: list[str | None]) -> None:
        """Add a row."""
        self._file.write(f"{self._between}\n{json.dumps(dict(zip(COLUMNS, values, strict=True)))}")
        self._between = ","

    def close(self) -> None:
        """End the array."""
        self._file.write("\n]\n" if self._between == "," else "[]\n")


WRITERS: dict[str, type[_Csv] | type[_Json]] = {".csv": _Csv, ".json": _Json}


def _cell(value: object) -> str | None:
    return None if value is None else _plain(value)

"""`week12 simulate`: a synthetic registry of any size."""

import os
import sys
import time
from datetime import datetime
from itertools import islice
from typing import IO, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.simulation.registry import RegistryPlan, stream_registry

HELP = """Write a realistic synthetic registry as JSON lines, one event a line, in order of arrival.

Patients with Crohn's disease start treatment over the three years before --until, so that for the newest
ones week 12 is still open or not due. Centres differ in size, units and habits. No patient is real, and the
same options always give the same lines.

Records arrive clean and in time unless you ask for disorder: --disorder for the usual amounts, or each kind
on its own. Disorder never changes what the records come to in the end.

\b
Examples:
  week12 simulate --patients 1000 --sites 8 --seed 1 --out registry.jsonl
  week12 simulate --patients 1000 --sites 8 --seed 1 --disorder | gzip > registry.jsonl.gz
  week12 simulate --patients 10000 --events 200000 --duplicates 0.04 --corrections 0.06 --out load.jsonl
  week12 simulate --patients 50 | head -3

Then: `week12 send registry.jsonl` streams the file, `week12 compute registry.jsonl --out DIR` needs no Kafka.
"""
_BATCH: Final = 2_000
_MOST_PATIENTS: Final = 9_999_999
_SHARE: Final = click.FloatRange(0, 0.5)


_YEARS: Final = range(2000, 2100)
_USUAL: Final = {"late": 0.10, "duplicates": 0.04, "corrections": 0.06, "retractions": 0.01}


@click.command(help=HELP)
@click.option(
    "--patients", type=click.IntRange(1, _MOST_PATIENTS), default=1000, show_default=True, help="How many."
)
@click.option(
    "--sites", type=click.IntRange(1, 999), default=8, show_default=True, help="Centres, S01 onwards."
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed, other patients."
)
@click.option(
    "--events-per-patient",
    type=click.IntRange(2),
    default=20,
    show_default=True,
    help="On average, disorder included.",
)
@click.option("--events", type=click.IntRange(1), help="Exactly so many events in all, instead.")
@click.option(
    "--disorder",
    is_flag=True,
    help="The same as " + " ".join(f"--{name} {share:.2f}" for name, share in _USUAL.items()) + ".",
)
@click.option(
    "--late", type=_SHARE, help="Share of events that arrive 2 to 60 days after they were recorded."
)
@click.option("--duplicates", type=_SHARE, help="Share of events that repeat a version already sent.")
@click.option("--corrections", type=_SHARE, help="Share of events that correct an earlier, wrong version.")
@click.option("--retractions", type=_SHARE, help="Share of events that withdraw a record entered by mistake.")
@click.option(
    "--other-drugs",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of patients on risankizumab, vedolizumab or ustekinumab instead of upadacitinib.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2026-06-30",
    show_default=True,
    help="The last day on which anything is recorded.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    show_default=True,
    help="The file to write; - is standard output.",
)
def command(
    patients: int,
    sites: int,
    seed: int,
    events_per_patient: int,
    events: int | None,
    disorder: bool,
    other_drugs: float,
    until: datetime,
    out: str,
    **shares: float | None,
) -> None:
    if not _YEARS.start <= until.year < _YEARS.stop:
        raise click.BadParameter(f"say a year from {_YEARS.start} to {_YEARS.stop - 1}", param_hint="--until")
    usual = _USUAL if disorder else dict.fromkeys(_USUAL, 0.0)
    try:
        plan = RegistryPlan(
            patients=patients,
            sites=sites,
            events=events or patients * events_per_patient,
            seed=seed,
            until=until.date(),
            other_drugs=other_drugs,
            **{name: usual[name] if share is None else share for name, share in shares.items()},
        )
    except ValueError as error:
        raise click.UsageError(f"{error}: give more --events, or fewer --patients") from None
    _write(plan, out)


def _write(plan: RegistryPlan, out: str) -> None:
    started = time.monotonic()
    try:
        with click.open_file(out, "wb") as file:
            _write_lines(plan, file, show=sys.stderr.isatty() and not (out == "-" and sys.stdout.isatty()))
    except BrokenPipeError:
        # The reader (`head`, a pager) has what it wanted; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    except OSError as error:
        raise click.ClickException(
            f"cannot write {out}: {error.strerror}; name another file with --out"
        ) from None
    seconds = time.monotonic() - started
    click.echo(
        f"{plan.events} events of {plan.patients} synthetic patients, {plan.sites} sites, {seconds:.1f} s",
        err=True,
    )


def _write_lines(plan: RegistryPlan, file: IO[bytes], *, show: bool) -> None:
    lines = stream_registry(plan)
    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not show) as progress:
        task = progress.add_task("events", total=plan.events)
        while batch := list(islice(lines, _BATCH)):
            file.writelines(batch)
            progress.advance(task, len(batch))
        file.flush()

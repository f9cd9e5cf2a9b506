"""`week12 verify`: the live stores beside a batch recomputation from Kafka."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from schemas.protocol import ProtocolError, load_protocol
from services.local.derived import DERIVED
from services.local.waiting import read_progress
from services.outcomes.definition import OUTCOMES
from services.query.snapshots import ask_for_snapshot, bearer
from services.runtime.collector import collector_paused
from services.runtime.errors import OperatorError
from services.runtime.places import Place, places
from services.runtime.settings import Settings, load_settings
from services.runtime.verified import note_verified
from services.safety.definition import SAFETY
from services.stream.definition import StoreDefinition
from services.stream.verify import (
    Comparison,
    Snapshot,
    compare,
    compare_published,
    read_snapshot,
    recompute,
    waiting_to_publish,
)

HELP = """Prove that the live stores equal a batch recomputation from Kafka, row by row.

Asks each running service for a snapshot of its store (with a token that may `operate`: roles analyst,
registry_lead, auditor), or opens the store of a service that does not run. Reads the event topics from their
beginning up to exactly where the snapshot stands, derives everything anew in fresh stores, and compares. Runs on
the machine of the services, beside them; nothing is changed. With --published, registry.outcomes.v1 and
registry.alerts.v1 are read too: the newest value of every key must be what the tables show.

Exit code: 0 when all is equal, 1 on any difference, or when it could not be done.

\b
Example:
  week12 token add me --role auditor > me.token
  WEEK12_TOKEN=$(cat me.token) week12 verify --published
"""


@dataclass(frozen=True)
class _Subject:
    """One store to verify; `place` answers where the service runs."""

    definition: StoreDefinition
    place: Place
    snapshot: Snapshot
    runs: bool


@click.command(help=HELP)
@click.option("--token", envvar="WEEK12_TOKEN", help="A token that may operate; better in WEEK12_TOKEN.")
@click.option("--published", is_flag=True, help="Compare the derived topics too.")
@click.option("--show", is_flag=True, help="Name the first differing rows: their ids, never values.")
@click.pass_context
def command(context: click.Context, token: str | None, published: bool, show: bool) -> None:
    try:
        settings = load_settings()
        comparisons = _verify(settings, token, published)
    except (OperatorError, ProtocolError) as error:
        raise click.ClickException(str(error)) from None
    report(comparisons, show)
    _note(settings, comparisons)
    context.exit(0 if all(comparison.equal for _, comparison in comparisons) else 1)


def _verify(settings: Settings, token: str | None, published: bool) -> list[tuple[str, Comparison]]:
    protocols = [load_protocol(name) for name in settings.protocols]
    _, outcomes, safety = places(settings)
    with httpx.Client(timeout=120, trust_env=False) as client, collector_paused():
        subjects = [
            _subject(client, settings, definition, place, token)
            for definition, place in ((OUTCOMES, outcomes), (SAFETY, safety))
        ]
    found: list[tuple[str, Comparison]] = []
    total = sum(sum(subject.snapshot.offsets.values()) for subject in subjects)
    with bar(total) as (progress, task), tempfile.TemporaryDirectory(prefix="week12-verify-") as folder:
        for subject in subjects:
            name, fresh = subject.definition.name, Path(folder) / f"{subject.definition.name}.duckdb"
            progress.update(task, description=f"reading for {name}")
            recompute(
                settings,
                subject.snapshot,
                subject.definition,
                protocols,
                fresh,
                lambda records: progress.advance(task, records),
            )
            progress.update(task, description=f"comparing {name}")
            found += [(name, row) for row in compare(subject.snapshot.path, fresh, subject.definition)]
            fresh.unlink()
            if published:
                found += [(name, row) for row in _published(settings, subject)]
    return found


def _note(settings: Settings, comparisons: list[tuple[str, Comparison]]) -> None:
    """For the services' metrics; that it cannot be kept is no difference."""
    differences: Counter[str] = Counter()
    for store, comparison in comparisons:
        differences[store] += comparison.only_live + comparison.only_recomputed
    try:
        note_verified(settings.data_dir, differences, time.time())
    except OSError as error:
        click.echo(
            f"The result could not be kept in {settings.data_dir} for Prometheus ({error.strerror}).",
            err=True,
        )


def _subject(
    client: httpx.Client, settings: Settings, definition: StoreDefinition, place: Place, token: str | None
) -> _Subject:
    name = definition.name
    if read_progress(client, place.url):
        path = ask_for_snapshot(client, place, bearer(token, place))
        return _Subject(definition, place, read_snapshot(name, path), runs=True)
    path = settings.data_dir / f"{name}.duckdb"
    if not path.exists():
        raise OperatorError(
            f"{name} does not answer at {place.url}, and there is no {path}: start it, or set WEEK12_DATA_DIR"
        )
    return _Subject(definition, place, read_snapshot(name, path), runs=False)


def _published(settings: Settings, subject: _Subject) -> Iterator[Comparison]:
    """Nothing where the topic may rightly differ: a change on its way, or one since the snapshot."""
    name, derived = subject.definition.name, DERIVED[subject.definition.name]
    if waiting_to_publish(subject.snapshot, derived):
        click.echo(f"{derived.topic}: left out, {name} had changes yet to publish; run it again", err=True)
        return
    comparison = compare_published(settings, subject.snapshot, derived)
    if not comparison.equal and subject.runs and _moved_on(subject):
        click.echo(f"{derived.topic}: left out, {name} went on meanwhile; run it when less arrives", err=True)
        return
    yield comparison


def _moved_on(subject: _Subject) -> bool:
    with httpx.Client(timeout=10, trust_env=False) as client:
        progress = read_progress(client, subject.place.url)
    return progress is not None and dict(progress.offsets) != dict(subject.snapshot.offsets)


def report(
    comparisons: list[tuple[str, Comparison]],
    show: bool,
    equal: str = "The live stores equal a recomputation from Kafka.",
) -> None:
    """Print the table of (store, comparison), and `equal` where they are; ids of patients only where `show`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("store", "relation"):
        table.add_column(heading)
    for heading in ("live", "recomputed", "only live", "only recomputed"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for store, row in comparisons:
        numbers = (row.live, row.recomputed, row.only_live, row.only_recomputed)
        verdict = Text("equal", "green") if row.equal else Text("DIFFERENT", "bold red")
        table.add_row(store, row.relation, *(f"{number:,}" for number in numbers), verdict)
    Console(width=None if Console().is_terminal else 120).print(table)
    different = [(store, row) for store, row in comparisons if not row.equal]
    if not different:
        click.echo(equal)
        return
    for store, row in different if show else ():
        for example in row.examples:
            named = ", ".join(f"{name} {value}" for name, value in example.items() if value is not None)
            click.echo(f"{store}.{row.relation}: {named}")
    hint = "" if show else "; --show names the first rows"
    click.echo(f"{len(different)} of {len(comparisons)} relations differ{hint}.")


@contextmanager
def bar(total: int) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar on a terminal's standard error."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield progress, progress.add_task("reading", total=total)

"""`week12 compute`: derive everything from files of events, without Kafka."""

import sys
import time
from datetime import date, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.protocol import ProtocolError, load_protocol
from services.outcomes.definition import OUTCOMES
from services.runtime.clock import today
from services.runtime.collector import collector_paused
from services.runtime.errors import OperatorError
from services.runtime.interpreter import leave_out_pandas
from services.runtime.settings import load_settings
from services.safety.definition import SAFETY
from services.stream.files import DecodedFiles, Loaded, decoding, derive
from services.stream.store import EventStore

HELP = """Derive outcomes and safety from FILES of events (JSON lines, .gz too), without Kafka.

Writes outcomes.duckdb and safety.duckdb into the folder OUT by the same code that the services run, and
rejects.jsonl with file, line, path, code and reason of every line that was refused. Exit code 1 if any was.
`--as-of` makes that day today: later events are ignored, and windows that are open on it stay open.
`--known-at` leaves out versions that centres recorded later (a data cut is both, of one day).

\b
Example:
  week12 compute examples/fu2025/cohort.jsonl --out audit
  week12 query "FROM cohort_rates WHERE site_id IS NULL" --store audit
"""


@click.command(help=HELP)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the stores."
)
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day to compute for.  [default: today, UTC]"
)
@click.option(
    "--known-at",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Only versions that centres had recorded by the end of that day (UTC).",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    help="Protocol name or file; may be repeated.  [default: fu2025]",
)
@click.option("--force", is_flag=True, help="Replace stores that are already in OUT.")
def command(
    files: tuple[Path, ...],
    out: Path,
    as_of: datetime | None,
    known_at: datetime | None,
    protocols: tuple[str, ...],
    force: bool,
) -> None:
    leave_out_pandas()
    try:
        settings = load_settings()
        day = as_of.date() if as_of else today(settings)
        definitions = [load_protocol(name) for name in protocols or settings.protocols]
        paths = [out / "outcomes.duckdb", out / "safety.duckdb"]
        _make_room(paths, force)
        started = time.perf_counter()
        with collector_paused(), decoding(files, (OUTCOMES, SAFETY)) as decoded:
            stores = [
                EventStore(path, definition, definitions, today=day, memory_limit="1GB")
                for path, definition in zip(paths, (OUTCOMES, SAFETY), strict=True)
            ]
            loaded = _derive(files, decoded, stores, known_at and known_at.date())
        for store in stores:
            store.close()
        seconds = time.perf_counter() - started
    except (OperatorError, ProtocolError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    rejects = out / "rejects.jsonl"
    rejects.write_text("".join(f"{reject.json()}\n" for reject in loaded.rejects), encoding="utf-8")
    click.echo(
        f"{loaded.events} events in {seconds:.1f} s ({loaded.events / seconds:,.0f}/s) into {out}", err=True
    )
    if loaded.rejects:
        click.echo(f"{len(loaded.rejects)} lines were refused: see {rejects}", err=True)
        sys.exit(1)


def _derive(
    files: tuple[Path, ...], decoded: DecodedFiles, stores: list[EventStore], known_at: date | None
) -> Loaded:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        total = None if any(f.suffix == ".gz" for f in files) else sum(f.stat().st_size for f in files)
        task = progress.add_task("reading", total=total)
        return derive(files, decoded, stores, lambda size: progress.advance(task, size), known_at)


def _make_room(paths: list[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise OperatorError(f"{path} exists: name another folder with --out, or replace it with --force")
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)

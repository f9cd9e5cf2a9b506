"""`week12 reconcile`: where every event is, so that nobody has to believe that nothing is missing."""

import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from services.cli.query import WRITERS
from services.local.reconciliation import COUNTS, WRONG, Account, read_log, read_sent, reconcile
from services.query.snapshots import readable_files
from services.query.stores import open_stores
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

BY = ("site", "day")
WIDTH = max(map(len, COUNTS))

HELP = f"""Account for every event, by centre and day: sent, acknowledged, in the stores, or where else.

It reads the whole of the event topics and of the dead letters from Kafka, and both stores (from snapshots while the
services run, which takes a token as for `week12 query`). A day is the one (UTC) on which the centre recorded the
version. The counts have to add up; it ends with 1 where {", ".join(WRONG)} are not all 0.

\b
{"".join(f"  {name:{WIDTH}}  {what}" + chr(10) for name, what in COUNTS.items())}
\b
Examples:
  week12 reconcile                                        all centres, all days together
  week12 reconcile --by site,day --from 2025-06-01        each centre and day since then
  week12 reconcile --site S01 --sent june.jsonl --sent july.jsonl.gz
"""
DAY = click.DateTime(["%Y-%m-%d"])


@click.command(help=HELP)
@click.option("--by", default="site", show_default=True, help="Rows for each of these: site, day, or both.")
@click.option("--site", "sites", multiple=True, help="Only this centre; may be repeated.")
@click.option("--from", "first", type=DAY, help="Recorded on that day (UTC) or later.")
@click.option("--to", "last", type=DAY, help="Recorded on that day (UTC) or before.")
@click.option(
    "--sent", "files", multiple=True, help="A file that was sent (JSON lines, .gz too); may be repeated."
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder with outcomes.duckdb and safety.duckdb.  [default: WEEK12_DATA_DIR]",
)
@click.option("--format", "form", type=click.Choice(list(WRITERS)), default="table", show_default=True)
@click.option("--token", envvar="WEEK12_TOKEN", help="While the services run; better in WEEK12_TOKEN.")
def command(
    by: str,
    sites: tuple[str, ...],
    first: datetime | None,
    last: datetime | None,
    files: tuple[str, ...],
    store: Path | None,
    form: str,
    token: str | None,
) -> None:
    try:
        groups = _groups(by)
        accounts = [
            account
            for account in _accounts(store, files, token)
            if _wanted(account, sites, first and first.date(), last and last.date())
        ]
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    names = [
        name for name in COUNTS if files or name not in ("sent", "repeated", "refused", "unacknowledged")
    ]
    click.echo(WRITERS[form]([*groups, *names], _summed(accounts, groups, names)), nl=False)
    wrong = {name: sum(account.counts[name] for account in accounts) for name in WRONG}
    if any(wrong.values()):
        said = ", ".join(f"{count} {name}" for name, count in wrong.items() if count)
        click.echo(f"Not everything is accounted for: {said}", err=True)
        sys.exit(1)


def _groups(by: str) -> list[str]:
    names = [name.strip() for name in by.split(",")]
    if not set(names) <= set(BY):
        raise OperatorError(f"--by {by}: takes {' and '.join(BY)}, separated by a comma")
    return names


def _accounts(store: Path | None, files: Sequence[str], token: str | None) -> list[Account]:
    settings = load_settings()
    sent = read_sent(files)
    with Console(stderr=True).status("reading Kafka") as status:
        read = 0

        def progress(count: int) -> None:
            nonlocal read
            read += count
            status.update(f"reading Kafka: {read:,} records")

        # The stores first: what they hold is then in the log that is read after them.
        paths = readable_files(store or settings.data_dir, settings, token)
        with (
            tempfile.TemporaryDirectory(prefix="week12-reconcile-") as spill,
            open_stores(paths, "", temp_directory=spill) as con,
        ):
            logged, dead = read_log(settings, progress)
            status.update("comparing")
            return reconcile(con, list(paths), logged, dead, sent)


def _wanted(account: Account, sites: Sequence[str], first: date | None, last: date | None) -> bool:
    day = account.day
    return (not sites or account.site_id in sites) and (
        day is None or ((first is None or day >= first) and (last is None or day <= last))
    )


def _summed(
    accounts: Iterable[Account], groups: Sequence[str], names: Sequence[str]
) -> list[tuple[Any, ...]]:
    values: dict[str, Callable[[Account], Any]] = {"site": lambda a: a.site_id, "day": lambda a: a.day}
    sums: dict[tuple[Any, ...], list[int]] = {}
    for account in accounts:
        row = sums.setdefault(tuple(values[name](account) for name in groups), [0] * len(names))
        for number, name in enumerate(names):
            row[number] += account.counts[name]
    return [(*group, *counts) for group, counts in sorted(sums.items(), key=_order)]


def _order(item: tuple[tuple[Any, ...], list[int]]) -> tuple[str, ...]:
    return tuple(str(value or "") for value in item[0])

"""`week12 dead-letters`: records that could not be read, and how they are sent again."""

import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from services.cli.query import WRITERS
from services.local.dead_letters import Attempt, Filter, Letter, named, read_letters, replay
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

HELP = """List, show and send again the records that the services could not read.

They stand in registry.dead-letters.v1 for WEEK12_DEAD_LETTER_DAYS. This reads and writes Kafka itself
(KAFKA_BOOTSTRAP_SERVERS), on the machine and with the credentials of the services. Only `show` prints what a
letter holds.

\b
Examples:
  week12 dead-letters list                                    every letter that waits
  week12 dead-letters list --by code,site                     how many, by reason and centre
  week12 dead-letters show 3:17 --bytes > 3-17.json           one record as received, to be mended
  week12 dead-letters replay 3:17 --payload 3-17.json         the mended one to the topic it came from
  week12 dead-letters replay --code unprocessable             all of one reason, after an update of the software
"""

BY = ("topic", "code", "site", "day")
COLUMNS = ("letter", "day", "topic", "code", "path", "site", "source", "replayed_at")
DAY = click.DateTime(["%Y-%m-%d"])


@click.group(help=HELP)
def command() -> None:
    pass


def _filters(function: Any) -> Any:
    for option in (
        click.option(
            "--topic", "topics", multiple=True, help="The topic that the record stood in; may be repeated."
        ),
        click.option("--code", "codes", multiple=True, help="The reason; may be repeated."),
        click.option("--site", "sites", multiple=True, help="The centre; may be repeated."),
        click.option("--from", "first", type=DAY, help="Received on that day (UTC) or later."),
        click.option("--to", "last", type=DAY, help="Received on that day (UTC) or before."),
    ):
        function = option(function)
    return function


def _filter(
    topics: tuple[str, ...],
    codes: tuple[str, ...],
    sites: tuple[str, ...],
    first: datetime | None,
    last: datetime | None,
    replayed: bool = False,
) -> Filter:
    return Filter(topics, codes, sites, first and first.date(), last and last.date(), replayed)


@command.command("list")
@_filters
@click.option("--replayed", is_flag=True, help="Those that were sent again, too.")
@click.option("--by", help=f"Count them by some of {', '.join(BY)}, separated by commas.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Letters at most.")
@click.option("--after", metavar="LETTER", help="Those behind this one: the next page.")
@click.option("--format", "form", type=click.Choice(list(WRITERS)), default="table", show_default=True)
def list_letters(
    replayed: bool, by: str | None, limit: int, after: str | None, form: str, **filters: Any
) -> None:
    """Show which letters wait, the oldest first: never what they hold."""
    try:
        letters = list(filter(_filter(**filters, replayed=replayed), read_letters(load_settings())))
        if by is not None:
            click.echo(_counted(letters, by, form), nl=False)
            return
        if after:
            letters = letters[letters.index(named(letters, after)) + 1 :]
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    shown = letters[:limit]
    click.echo(WRITERS[form](COLUMNS, [_row(letter) for letter in shown]), nl=False)
    if len(letters) > limit:
        click.echo(f"{len(letters) - limit} more: --after {shown[-1].name}", err=True)


def _row(letter: Letter) -> tuple[object, ...]:
    return (
        letter.name,
        letter.day,
        letter.topic,
        letter.code,
        letter.path,
        letter.site,
        letter.headers.get("source", ""),
        letter.replayed_at,
    )


def _counted(letters: list[Letter], by: str, form: str) -> str:
    names = [name.strip() for name in by.split(",")]
    if unknown := set(names) - set(BY):
        raise OperatorError(f"--by {', '.join(sorted(unknown))}: takes {', '.join(BY)}")
    counts = Counter(tuple(getattr(letter, name) for name in names) for letter in letters)
    rows = [(*group, count) for group, count in sorted(counts.items(), key=lambda item: str(item[0]))]
    return WRITERS[form]([*names, "letters"], rows)


@command.command()
@click.argument("letter")
@click.option("--bytes", "only_bytes", is_flag=True, help="Nothing but the record as received.")
def show(letter: str, only_bytes: bool) -> None:
    """Show one LETTER (PARTITION:OFFSET): headers, reason, and the record as received, with its patient's data."""
    try:
        found = named(read_letters(load_settings()), letter)
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    click.echo("This shows what was received: it may hold data of a patient.", err=True)
    value = found.value or b""
    if only_bytes:
        sys.stdout.buffer.write(value)
        return
    for name, text in found.headers.items():
        click.echo(f"{name}: {text}")
    if found.replayed_at:
        click.echo(f"replayed: {found.replayed_at:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"key: {(found.key or b'').decode(errors='backslashreplace')}")
    click.echo()
    click.echo("(a null record)" if found.value is None else value.decode(errors="backslashreplace"))


@command.command("replay")
@click.argument("names", metavar="[LETTER]...", nargs=-1)
@_filters
@click.option("--all", "everything", is_flag=True, help="Every letter that waits.")
@click.option(
    "--payload",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the mended event, for one LETTER.",
)
@click.option("--dry-run", is_flag=True, help="Check only; send nothing.")
def send_again(
    names: tuple[str, ...], everything: bool, payload: Path | None, dry_run: bool, **filters: Any
) -> None:
    """Send letters again, by name or by what they have in common, through the checks of ingest.

    Each goes to the topic it came from, and `list` leaves it out from then on. Doing it twice changes nothing.
    Exit code: 0 when all were taken, 1 when any was refused.
    """
    if not (names or everything or any(filters.values())):
        raise click.UsageError("name letters, say what they have in common, or --all")
    if payload and len(names) != 1:
        raise click.UsageError("--payload is for exactly one LETTER")
    try:
        settings = load_settings()
        known = read_letters(settings)
        chosen = [named(known, name) for name in names] or list(filter(_filter(**filters), known))
        attempts = replay(
            settings, chosen, payload.read_bytes().strip() if payload else None, dry_run=dry_run
        )
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    _report(attempts, dry_run)
    sys.exit(1 if any(attempt.result == "refused" for attempt in attempts) else 0)


def _report(attempts: list[Attempt], dry_run: bool) -> None:
    for attempt in attempts:
        if attempt.result == "refused":
            where = f"{attempt.path}: " if attempt.path else ""
            click.echo(f"{attempt.letter.name} refused: {where}{attempt.code}, {attempt.reason}")
    counts = Counter(attempt.result for attempt in attempts)
    told = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
    click.echo(f"{told or 'no letter'}{' (nothing was sent: --dry-run)' if dry_run else ''}")

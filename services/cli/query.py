"""`week12 query`: read-only SQL over both stores."""

import io
import sys
import tempfile
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.query.formats import to_csv, to_json
from services.query.snapshots import readable_files
from services.query.stores import cut_of, move_to, one_line, open_stores
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

HELP = """Read-only SQL over both stores, in DuckDB's dialect.

The tables of outcomes and safety stand under their names (`FROM cohort_rates`, `FROM alerts`); a name that both
have means that of outcomes, and `safety.patients` or `outcomes.patients` says which. The query cannot write, read
other files or reach the network. With --as-of, everything that has a macro such as cohort_rates_at(day) means its
rows of that day; with --known-at besides, as cohort_rates_known(day, day), what was known at the end of that day.

While the services run, their stores are read from snapshots at most 5 seconds old, which they write when asked;
that takes a token whose role may query or verify: analyst, registry_lead, auditor.

\b
Examples:
  week12 query "FROM cohort_rates WHERE site_id IS NULL AND timepoint = 'week_12'" --store audit
  week12 query "SELECT severity, count(*) FROM alerts GROUP BY ALL" --format csv
  week12 query "FROM incidence WHERE event_group = 'any'" --as-of 2025-06-30 --format json
  week12 query "FROM patient_outcomes WHERE status = 'missed'" --as-of 2025-06-30 --known-at 2025-06-30
  week12 query "SELECT database, name FROM (SHOW ALL TABLES)"
"""


@click.command(help=HELP)
@click.argument("sql")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder with outcomes.duckdb and safety.duckdb.  [default: WEEK12_DATA_DIR]",
)
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day to derive for.")
@click.option(
    "--known-at",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Only from versions that centres had recorded by the end of that day (UTC).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to write the rows; empty in csv and null in json is NULL.",
)
@click.option("--token", envvar="WEEK12_TOKEN", help="While the services run; better in WEEK12_TOKEN.")
def command(
    sql: str,
    store: Path | None,
    as_of: datetime | None,
    known_at: datetime | None,
    form: str,
    token: str | None,
) -> None:
    days = (as_of and as_of.date(), known_at and known_at.date())
    try:
        text = _answer(sql, store, days, form, token)
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    except duckdb.Error as error:
        raise click.ClickException(one_line(error)) from None
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`head`, a pager) has what it wanted


def _answer(
    sql: str, store: Path | None, days: tuple[date | None, date | None], form: str, token: str | None
) -> str:
    settings = load_settings()
    paths = readable_files(store or settings.data_dir, settings, token)
    with (
        tempfile.TemporaryDirectory(prefix="week12-query-") as spill,
        open_stores(paths, sql, temp_directory=spill) as con,
    ):
        if cut := cut_of(con, *days):
            move_to(con, cut, sql)
        found = con.execute(sql)
        names = [column[0] for column in found.description or ()]
        return WRITERS[form](names, found.fetchall())


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    table = Table(box=None, header_style="bold", pad_edge=False)
    numeric = [
        all(isinstance(row[i], int | float | Decimal | None) for row in rows) for i in range(len(names))
    ]
    for name, right in zip(names, numeric, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row))
    out = io.StringIO()
    wide = None if sys.stdout.isatty() else 10_000
    console = Console(file=out, width=wide, force_terminal=sys.stdout.isatty())
    console.print(table)
    noun = "row" if len(rows) == 1 else "rows"
    click.echo(f"{len(rows)} {noun}", err=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


WRITERS = {"table": _table, "csv": to_csv, "json": to_json}

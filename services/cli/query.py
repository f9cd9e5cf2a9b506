"""`week12 query`: read-only SQL over both stores."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

HELP = """Read-only SQL over both stores, in DuckDB's dialect.

The tables of outcomes and safety stand under their names (`FROM cohort_rates`, `FROM alerts`); a name that both
have means that of outcomes, and `safety.patients` or `outcomes.patients` says which. The query cannot write, read
other files or reach the network. With --as-of, patient_outcomes, cohort_rates and incidence are those of that day;
so they are for any day as cohort_rates_at('2025-06-30').

The stores of running services cannot be queried yet (the next version can): stop the service, or query a folder
made by `week12 compute`.

\b
Examples:
  week12 query "FROM cohort_rates WHERE site_id IS NULL AND timepoint = 'week_12'" --store audit
  week12 query "SELECT severity, count(*) FROM alerts GROUP BY ALL" --format csv
  week12 query "FROM incidence WHERE event_group = 'any'" --as-of 2025-06-30 --format json
  week12 query "SELECT database, name FROM (SHOW ALL TABLES)"
"""

STORES = ("outcomes", "safety")
DATED = ("patient_outcomes", "cohort_rates", "incidence")
_ALL_EVENTS = "AS (SELECT * FROM events)"


@click.command(help=HELP)
@click.argument("sql")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder with outcomes.duckdb and safety.duckdb.  [default: WEEK12_DATA_DIR]",
)
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day to derive for.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to write the rows; empty in csv and null in json is NULL.",
)
def command(sql: str, store: Path | None, as_of: datetime | None, form: str) -> None:
    try:
        with open_stores(store or load_settings().data_dir) as con:
            if as_of:
                _shadow(con, as_of.date())
            found = con.execute(sql)
            names = [column[0] for column in found.description or ()]
            text = WRITERS[form](names, found.fetchall())
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    except duckdb.Error as error:
        raise click.ClickException(_one_line(error)) from None
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`head`, a pager) has what it wanted


def open_stores(folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection that reads the stores in `folder`, and can do nothing else.

    Raises OperatorError where there is none, or a service holds one.
    """
    paths = {name: folder / f"{name}.duckdb" for name in STORES}
    there = {name: path for name, path in paths.items() if path.exists()}
    if not there:
        raise OperatorError(
            f"{folder} holds neither outcomes.duckdb nor safety.duckdb: name another with --store"
        )
    con = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    for name, path in there.items():
        try:
            con.execute(f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS {name} (READ_ONLY)")
        except duckdb.Error as error:
            con.close()
            raise OperatorError(_why_not_opened(name, path, error)) from None
    con.execute("SET enable_external_access = false")
    con.execute(f"SET search_path = '{','.join(f'{name}.main' for name in there)}'")
    _let_safety_macros_read_safety(con)
    con.execute("SET lock_configuration = true")
    return con


def _let_safety_macros_read_safety(con: duckdb.DuckDBPyConnection) -> None:
    """DuckDB expands a macro in the caller's search path, where `events` means those of outcomes."""
    macros = con.execute(
        "SELECT function_name, macro_definition FROM duckdb_functions() "
        "WHERE function_type = 'table_macro' AND database_name = 'safety'"
    ).fetchall()
    for name, definition in macros:
        own = definition.replace(_ALL_EVENTS, _ALL_EVENTS.replace("events", "safety.main.events"))
        con.execute(f"CREATE TEMP MACRO {name}(as_of) AS TABLE {own}")


def _shadow(con: duckdb.DuckDBPyConnection, day: date) -> None:
    """Let the plain names mean the tables as of `day`."""
    known = con.execute(
        "SELECT function_name FROM duckdb_functions() WHERE function_type = 'table_macro'"
    ).fetchall()
    for name in DATED:
        if (f"{name}_at",) in known:
            con.execute(f"CREATE TEMP VIEW {name} AS FROM {name}_at(DATE '{day}')")


def _why_not_opened(name: str, path: Path, error: duckdb.Error) -> str:
    if "lock" in str(error).lower():
        return (
            f"{name} is running, and the store of a running service cannot be queried yet (the next version can): "
            f"stop it, or give --store with a folder made by `week12 compute`"
        )
    return f"{path} cannot be opened as a store: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    """What DuckDB says before it shows the query again."""
    first = str(error).strip().split("\n\n")[0]
    return re.sub(r"\s+", " ", first)


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


def _csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(value) for value in row] for row in rows)
    return out.getvalue()


def _json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = (
        json.dumps(dict(zip(names, row, strict=True)), default=_plain, ensure_ascii=False) for row in rows
    )
    return "[" + ",\n ".join(lines) + "]\n"


def _plain(value: Any) -> Any:
    """Dates and times in ISO 8601, decimals as numbers, lists and structs as JSON."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return value if isinstance(value, int | float | str | None) else str(value)


WRITERS = {"table": _table, "csv": _csv, "json": _json}

"""`week12 export`: analysis data sets from the stores."""

import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
import duckdb

from services.export.definition import load_data_sets
from services.export.tables import prepare
from services.export.writing import FORMATS, export, file_names
from services.query.snapshots import readable_files
from services.query.stores import one_line, open_stores
from services.runtime.clock import now
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

MEMORY = "2GB"
"""Of DuckDB; what needs more goes through a temporary folder."""

HELP = """Write ADSL, ADRS, ADLB and ADAE into the folder DIR, in one or several formats.

Every data set becomes a file of each format, such as adsl.parquet, and variables.csv lists all variables with
label, source and rule. The data are of single patients and pseudonymised, nothing is masked: treat the files
as you treat the registry. Erased patients are in none.

While the services run, their stores are read from snapshots at most 5 seconds old, which they write when asked;
that takes a token whose role may query or verify: analyst, registry_lead, auditor.

\b
parquet       exact decimals and dates; labels in the metadata of the fields
csv           UTF-8, dates as 2025-03-31, empty where there is no value
dataset-json  CDISC Dataset-JSON 1.1
xpt           SAS transport file, version 5: ASCII, texts of up to 200 bytes; what does not fit is refused

\b
Examples:
  week12 export --format parquet,csv analysis --store audit
  week12 export --format xpt --as-of 2025-06-30 --protocol fu2025 --study MYREG submission
"""


def _chosen(_context: click.Context, _option: click.Parameter, text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise click.BadParameter(f"choose from {', '.join(FORMATS)}, separated by commas")
    return names


def _study(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}", text):
        raise click.BadParameter("use 1 to 20 letters, digits, dots, hyphens or underscores")
    return text


@click.command(help=HELP)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format",
    "formats",
    default="parquet",
    show_default=True,
    callback=_chosen,
    help=f"Formats, separated by commas: {', '.join(FORMATS)}.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder with outcomes.duckdb and safety.duckdb.  [default: WEEK12_DATA_DIR]",
)
@click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day to derive for.  [default: the stores' today]"
)
@click.option(
    "--known-at",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Only from versions that centres had recorded by the end of that day (UTC).",
)
@click.option("--protocol", help="Whose outcomes.  [default: the first that is evaluated]")
@click.option("--study", default="WEEK12", show_default=True, callback=_study, help="STUDYID of all records.")
@click.option("--force", is_flag=True, help="Replace files that are already in DIR.")
@click.option("--token", envvar="WEEK12_TOKEN", help="While the services run; better in WEEK12_TOKEN.")
def command(
    folder: Path,
    formats: Sequence[str],
    store: Path | None,
    as_of: datetime | None,
    known_at: datetime | None,
    protocol: str | None,
    study: str,
    force: bool,
    token: str | None,
) -> None:
    data_sets = load_data_sets()
    try:
        _make_room(folder, file_names(data_sets, formats), force)
        settings = load_settings()
        paths = readable_files(store or settings.data_dir, settings, token)
        with (
            tempfile.TemporaryDirectory(prefix="week12-export-") as spill,
            open_stores(paths, temp_directory=spill, memory_limit=MEMORY) as con,
        ):
            asked = prepare(con, study, protocol, as_of and as_of.date(), known_at and known_at.date())
            records = export(con, asked, data_sets, formats, folder, now())
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    except (duckdb.BinderException, duckdb.CatalogException):
        raise click.ClickException(
            "these stores were made by another version of week12: make them anew with `week12 compute`, "
            "or let the services of this version open them"
        ) from None
    except duckdb.Error as error:
        raise click.ClickException(one_line(error)) from None
    counts = ", ".join(f"{name} {count:,}" for name, count in records.items())
    click.echo(f"{asked.protocol} as of {asked.as_of} into {folder}: {counts} records", err=True)


def _make_room(folder: Path, names: Sequence[str], force: bool) -> None:
    there = [name for name in names if (folder / name).exists()]
    if there and not force:
        raise OperatorError(f"{folder / there[0]} exists: name another folder, or replace it with --force")

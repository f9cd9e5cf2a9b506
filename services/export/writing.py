"""Writes the data sets into a folder: all files, or none."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import duckdb

from services.export.definition import DataSet
from services.export.files import Content, CsvFile, DataFile, DatasetJsonFile, ParquetFile, write_variables
from services.export.tables import Asked, derived
from services.export.xpt import NotHeld, XptFile
from services.runtime.errors import OperatorError

Kind = type[ParquetFile] | type[CsvFile] | type[DatasetJsonFile] | type[XptFile]
FORMATS: Mapping[str, Kind] = {
    "parquet": ParquetFile,
    "csv": CsvFile,
    "dataset-json": DatasetJsonFile,
    "xpt": XptFile,
}
LISTING = "variables.csv"


def export(
    con: duckdb.DuckDBPyConnection,
    asked: Asked,
    data_sets: Sequence[DataSet],
    formats: Sequence[str],
    folder: Path,
    created_at: datetime,
) -> dict[str, int]:
    """Write every data set in every format, and the list of variables. Returns the records of each.

    `con` has been prepared (see `prepare`). Files stand under draft names until all of them are whole; files
    of the same names are replaced. Raises OperatorError for what a format cannot hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records: dict[str, int] = {}
    problems: list[str] = []
    with ExitStack() as drafts:
        finished: dict[Path, Path] = {}

        def draft(name: str) -> Path:
            path = folder / f".{name}.draft"
            drafts.callback(path.unlink, missing_ok=True)
            finished[path] = folder / name
            return path

        for data_set in data_sets:
            with derived(con, data_set) as (count, batches):
                content = Content(data_set, count, asked, created_at)
                files = [_opened(name, draft, content) for name in formats]
                for batch in batches:
                    for file in files:
                        file.write(batch)
            problems += _close(files)
            records[data_set.name] = count
        if problems:
            raise OperatorError(
                f"a SAS transport file cannot hold these texts: {'; '.join(problems)}. "
                "Correct them at their centres, or leave xpt out of --format"
            )
        write_variables(draft(LISTING), data_sets)
        for path, name in finished.items():
            path.replace(name)
    return records


def file_names(data_sets: Sequence[DataSet], formats: Sequence[str]) -> list[str]:
    """The files that an export makes."""
    return [*(_name(data_set, name) for data_set in data_sets for name in formats), LISTING]


def _name(data_set: DataSet, form: str) -> str:
    return f"{data_set.name.lower()}{FORMATS[form].suffix}"


def _opened(form: str, draft: Callable[[str], Path], content: Content) -> DataFile:
    return FORMATS[form](draft(_name(content.data_set, form)), content)


def _close(files: Sequence[DataFile]) -> list[str]:
    problems: list[str] = []
    for file in files:
        try:
            file.close()
        except NotHeld as error:
            problems += error.problems
    return problems

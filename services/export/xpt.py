"""SAS transport files, version 5; what they cannot hold is refused, for their writer would take some of it silently."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyreadstat

from services.export.definition import Type
from services.export.files import ARROW_TYPES, Content

TEXT_BYTES = 200
SAS_EPOCH = date(1960, 1, 1)


class NotHeld(Exception):
    """What a transport file cannot hold: one line for each variable, without the values."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class XptFile:
    """Numbers are doubles, dates SAS dates, missing text is empty."""

    suffix = ".xpt"

    def __init__(self, path: Path, content: Content) -> None:
        self._path = path
        self._data_set = content.data_set
        self._batches: list[pa.RecordBatch] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Keep records: the library writes them together."""
        self._batches.append(batch)

    def close(self) -> None:
        """Write the file. Raises NotHeld, and writes nothing, where it could not hold a text."""
        variables = self._data_set.variables
        schema = pa.schema([(v.name, ARROW_TYPES[v.type]) for v in variables])
        table = pa.Table.from_batches(self._batches, schema)
        texts = {v.name: table.column(v.name).to_pylist() for v in variables if v.type == "text"}
        if problems := list(_problems(self._data_set.name, texts)):
            raise NotHeld(problems)
        pyreadstat.write_xport(
            pd.DataFrame({v.name: _column(v.type, table.column(v.name).to_pylist()) for v in variables}),
            str(self._path),
            file_label=self._data_set.label,
            column_labels=[v.label for v in variables],
            table_name=self._data_set.name,
            file_format_version=5,
            variable_format={v.name: "DATE9." for v in variables if v.type == "date"},
        )


def _problems(data_set: str, texts: dict[str, list[str | None]]) -> Iterator[str]:
    for name, values in texts.items():
        given = [value for value in values if value is not None]
        if foreign := sum(not value.isascii() for value in given):
            yield f"{data_set}.{name} has {foreign} not in ASCII"
        if long := sum(len(value.encode()) > TEXT_BYTES for value in given):
            yield f"{data_set}.{name} has {long} of more than {TEXT_BYTES} bytes"


def _column(kind: Type, values: list[Any]) -> "pd.Series[Any]":
    if kind == "text":
        return pd.Series(["" if value is None else value for value in values], dtype=object)
    return pd.Series([_number(value) for value in values], dtype="float64")


def _number(value: Any) -> float | None:
    if isinstance(value, date):
        return float((value - SAS_EPOCH).days)
    return None if value is None else float(value)

"""SAS transport files, version 5; what they cannot hold is refused, for their writer would take some of it silently."""

import math
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyreadstat

from services.export.definition import Type
from services.export.files import Content

TEXT_BYTES = 200
SAS_EPOCH = (date(1960, 1, 1) - date(1970, 1, 1)).days

Column: TypeAlias = npt.NDArray[Any]


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
        """Keep records, each text once: the library writes them together."""
        kept = [pc.dictionary_encode(c) if pa.types.is_string(c.type) else c for c in batch.columns]
        self._batches.append(pa.RecordBatch.from_arrays(kept, names=batch.schema.names))

    def close(self) -> None:
        """Write the file. Raises NotHeld, and writes nothing, where it could not hold a text."""
        variables = self._data_set.variables
        columns = {
            v.name: _column(v.type, [batch.column(v.name) for batch in self._batches]) for v in variables
        }
        texts = {v.name: columns[v.name] for v in variables if v.type == "text"}
        if problems := list(_problems(self._data_set.name, texts)):
            raise NotHeld(problems)
        pyreadstat.write_xport(
            pd.DataFrame(columns, copy=False),
            str(self._path),
            file_label=self._data_set.label,
            column_labels=[v.label for v in variables],
            table_name=self._data_set.name,
            file_format_version=5,
            variable_format={v.name: "DATE9." for v in variables if v.type == "date"},
        )


def _problems(data_set: str, texts: dict[str, Column]) -> Iterator[str]:
    for name, values in texts.items():
        known = {value: (value.isascii(), len(value.encode()) <= TEXT_BYTES) for value in set(values)}
        if foreign := sum(not known[value][0] for value in values):
            yield f"{data_set}.{name} has {foreign} not in ASCII"
        if long := sum(not known[value][1] for value in values):
            yield f"{data_set}.{name} has {long} of more than {TEXT_BYTES} bytes"


def _column(kind: Type, parts: "Sequence[pa.Array[Any]]") -> Column:
    """A column as the library wants it; equal texts of a part are one object."""
    of = _texts if kind == "text" else _numbers
    empty = np.array([], dtype=object if kind == "text" else np.float64)
    return np.concatenate([empty, *(of(part) for part in parts)])


def _texts(part: Any) -> Column:
    words = np.array([*part.dictionary.to_pylist(), ""], dtype=object)
    return cast("Column", words[pc.fill_null(part.indices, len(words) - 1).to_numpy(zero_copy_only=False)])


def _numbers(part: Any) -> Column:
    if pa.types.is_decimal(part.type):
        # not Arrow's cast: Python rounds to the nearest double
        return np.array([math.nan if v is None else float(v) for v in part.to_pylist()], dtype=np.float64)
    if pa.types.is_date(part.type):
        part = pc.subtract(part.cast(pa.int32()), SAS_EPOCH)
    return cast("Column", part.cast(pa.float64()).to_numpy(zero_copy_only=False))

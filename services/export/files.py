"""The files of a data set: Parquet, CSV and Dataset-JSON, written batch by batch."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from services.export.definition import DataSet, Type, Variable
from services.export.tables import Asked

ARROW_TYPES: Mapping[Type, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "decimal": pa.decimal128(18, 9),
    "float": pa.float64(),
    "date": pa.date32(),
}


@dataclass(frozen=True)
class Content:
    """What a file is to hold: the data set, how many records, of what, written when."""

    data_set: DataSet
    records: int
    asked: Asked
    created_at: datetime


class DataFile(Protocol):
    """A file that is being written."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Add records."""

    def close(self) -> None:
        """Add what stands at the end."""


class ParquetFile:
    """Exact decimals and dates; labels in the fields' metadata."""

    suffix = ".parquet"

    def __init__(self, path: Path, content: Content) -> None:
        asked, data_set = content.asked, content.data_set
        about: dict[bytes | str, bytes | str] = {
            "label": data_set.label,
            "study": asked.study,
            "protocol": asked.protocol,
            "as_of": str(asked.as_of),
            "known_at": str(asked.known_at or ""),
        }
        fields = [
            pa.field(v.name, ARROW_TYPES[v.type], metadata={"label": v.label}) for v in data_set.variables
        ]
        self._schema = pa.schema(fields, metadata=about)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        """Add records."""
        self._writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


class CsvFile:
    """UTF-8 with a header; dates in ISO 8601, numbers as they are, empty where there is none."""

    suffix = ".csv"

    def __init__(self, path: Path, content: Content) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([variable.name for variable in content.data_set.variables])

    def write(self, batch: pa.RecordBatch) -> None:
        """Add records."""
        self._writer.writerows(_rows(batch))

    def close(self) -> None:
        """Close it."""
        self._file.close()


class DatasetJsonFile:
    """CDISC Dataset-JSON 1.1; attributes in the order that the standard recommends."""

    suffix = ".json"

    def __init__(self, path: Path, content: Content) -> None:
        head = orjson.dumps(_head(content), option=orjson.OPT_INDENT_2)
        self._file = path.open("wb")
        self._file.write(head.removesuffix(b"\n}") + b',\n  "rows": [')
        self._between = b"\n"

    def write(self, batch: pa.RecordBatch) -> None:
        """Add records."""
        for row in _rows(batch):
            self._file.write(self._between + orjson.dumps(row))
            self._between = b",\n"

    def close(self) -> None:
        """Write the end."""
        self._file.write(b"\n]\n}\n")
        self._file.close()


def _head(content: Content) -> dict[str, Any]:
    data_set, asked = content.data_set, content.asked
    return {
        "datasetJSONCreationDateTime": content.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "datasetJSONVersion": "1.1.0",
        "fileOID": f"week12.{asked.study}.{asked.protocol}.{asked.cut}.{data_set.name}",
        "sourceSystem": {"name": "week12", "version": version("week12")},
        "studyOID": asked.study,
        "itemGroupOID": f"IG.{data_set.name}",
        "records": content.records,
        "name": data_set.name,
        "label": data_set.label,
        "columns": [_column(data_set, variable) for variable in data_set.variables],
    }


JSON_TYPES: Mapping[Type, Mapping[str, str]] = {
    "text": {"dataType": "string"},
    "integer": {"dataType": "integer"},
    "decimal": {"dataType": "decimal", "targetDataType": "decimal"},  # exact: exchanged as text
    "float": {"dataType": "double"},
    "date": {"dataType": "date", "targetDataType": "integer", "displayFormat": "E8601DA."},
}


def _column(data_set: DataSet, variable: Variable) -> dict[str, Any]:
    about: dict[str, Any] = {
        "itemOID": f"IT.{data_set.name}.{variable.name}",
        "name": variable.name,
        "label": variable.label,
        **JSON_TYPES[variable.type],
    }
    if variable.name in data_set.keys:
        about["keySequence"] = data_set.keys.index(variable.name) + 1
    return about


def _rows(batch: pa.RecordBatch) -> Iterator[list[Any]]:
    """Records with decimals and dates as text."""
    columns = [[_plain(value) for value in column.to_pylist()] for column in batch.columns]
    return (list(row) for row in zip(*columns, strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}".rstrip("0").rstrip(".")  # the store's scale is 9: there always is a point
    return value.isoformat() if isinstance(value, date) else value


def write_variables(path: Path, data_sets: Iterable[DataSet]) -> None:
    """A CSV of every variable, for formats that hold no labels."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["dataset", "variable", "label", "type", "source", "rule"])
        writer.writerows(_listing(data_sets))


def _listing(data_sets: Iterable[DataSet]) -> Iterator[Sequence[str]]:
    for data_set in data_sets:
        for v in data_set.variables:
            yield data_set.name, v.name, v.label, v.type, v.source, v.rule

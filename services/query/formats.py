"""Rows of a query as text for programs."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any


def to_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with a header; empty is NULL, lists and structs are JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_text(value) for value in row] for row in rows)
    return out.getvalue()


def to_json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A JSON array with an object a row, one a line."""
    unique = unique_names(names)
    lines = (json_text(dict(zip(unique, row, strict=True))) for row in rows)
    return "[" + ",\n ".join(lines) + "]\n"


def json_text(value: Any) -> str:
    """Any value of DuckDB as JSON: days and times in ISO 8601, decimals as numbers, NaN and infinity as null."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """A value of DuckDB as JSON has them."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date | time) else str(value)


def unique_names(names: Sequence[str]) -> list[str]:
    """Names of columns in which a repeated one has a number behind it: `site_id`, `site_id_2`."""
    unique: list[str] = []
    for name in names:
        number, new = 1, name
        while new in unique:
            number += 1
            new = f"{name}_{number}"
        unique.append(new)
    return unique


def _text(value: Any) -> Any:
    """A cell of CSV."""
    value = plain(value)
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value

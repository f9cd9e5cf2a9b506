"""Small cells: who acts for one centre must not recognise another centre's patient in a pooled figure."""

from collections.abc import Iterable, Sequence
from typing import Any

SMALLEST_CELL = 5
"""Counts from 1 to one below this are not shown to callers bound to centres (interfaces, section 10)."""


def mask_small_cells(
    rows: Iterable[dict[str, Any]], count: str, total: str, derived: Sequence[str]
) -> list[dict[str, Any]]:
    """Pooled rows (`site_id` null) with a small `count` lose it and what is `derived` from it.

    A small `total` goes too. Such a row carries `masked: true`; a count of 0 is nobody, and shown.
    """
    return [_masked(row, count, total, derived) for row in rows]


def _masked(row: dict[str, Any], count: str, total: str, derived: Sequence[str]) -> dict[str, Any]:
    if row["site_id"] is not None or not (_small(row[count]) or _small(row[total])):
        return row
    hidden = [count, *derived, *([total] if _small(row[total]) else [])]
    return {**row, **dict.fromkeys(hidden), "masked": True}


def _small(number: int) -> bool:
    return 0 < number < SMALLEST_CELL

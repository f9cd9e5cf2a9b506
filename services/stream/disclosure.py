"""Small cells: nobody is to recognise a patient in a figure made of few, nor in the difference of two figures.

A cell is a count of patients that nothing else divides: those who succeeded, those who failed. From 1 to 4 it is
small. A sum without one of its parts gives that part away, so that parts are hidden until what is missing from
every sum is nobody, or five and more.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

SMALLEST_CELL = 5
"""Counts from 1 to one below this are not shown to callers bound to centres (interfaces, section 10)."""


def mask_small_cells(rows: Iterable[Row], count: str, total: str, derived: Sequence[str]) -> list[Row]:
    """Pooled rows (`site_id` null) with a small `count` lose it and what is `derived` from it.

    A small `total` goes too. Such a row carries `masked: true`; a count of 0 is nobody, and shown.
    """
    return [_masked(row, count, total, derived) for row in rows]


def _masked(row: Row, count: str, total: str, derived: Sequence[str]) -> Row:
    if row["site_id"] is not None or not (_small(row[count]) or _small(row[total])):
        return row
    hidden = [count, *derived, *([total] if _small(row[total]) else [])]
    return {**row, **dict.fromkeys(hidden), "masked": True}


def _small(number: int) -> bool:
    return 0 < number < SMALLEST_CELL


@dataclass(frozen=True)
class Figures:
    """Which figures of a table may be seen, and by whom."""

    group: Sequence[str]
    """Columns that a pooled row (`site_id` null) shares with the rows of the centres that it sums."""
    cells: Sequence[str | tuple[str, str]]
    """Columns of counts; of two, the first less the second."""
    hidden: Sequence[str]
    """Columns that go where a cell is small."""

    def for_centres(self, rows: Iterable[Row]) -> list[Row]:
        """What may be shown to somebody bound to the centres in `rows`: all of those, and pooled rows that have no
        small cell, neither in themselves nor without these centres.
        """
        return [row for group in self._groups(rows) for row in self._for_centres(group)]

    def for_sharing(self, rows: Iterable[Row]) -> list[Row]:
        """The rows of all centres for passing on: those with small cells are hidden, and with them the next smallest
        centres, until the hidden ones together have no small cell, or the pooled row is hidden as well.
        """
        return [row for group in self._groups(rows) for row in self._for_sharing(group)]

    def _for_centres(self, group: Sequence[Row]) -> list[Row]:
        own = [row for row in group if row["site_id"] is not None]
        return [
            self._hide(row)
            if row["site_id"] is None and (self._small([row]) or self._small([row], without=own))
            else row
            for row in group
        ]

    def _for_sharing(self, group: Sequence[Row]) -> list[Row]:
        pooled = [row for row in group if row["site_id"] is None]
        centres = [row for row in group if row["site_id"] is not None]
        centres.sort(key=lambda row: (not self._small([row]), sum(self._counts(row)), row["site_id"]))
        gone = [row for row in centres if self._small([row])]
        if self._small(pooled):
            gone += pooled
        else:
            while self._small(gone):
                gone = centres[: len(gone) + 1]
        return [self._hide(row) if row in gone else row for row in group]

    def _groups(self, rows: Iterable[Row]) -> Iterable[list[Row]]:
        groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in rows:
            groups[tuple(row[name] for name in self.group)].append(row)
        return groups.values()

    def _counts(self, row: Row) -> list[int]:
        return [row[cell] if isinstance(cell, str) else row[cell[0]] - row[cell[1]] for cell in self.cells]

    def _small(self, rows: Iterable[Row], without: Sequence[Row] = ()) -> bool:
        """Whether a cell of the sum of `rows`, less that of others, is small."""
        signed = [(1, self._counts(row)) for row in rows] + [(-1, self._counts(row)) for row in without]
        return any(
            _small(sum(sign * counts[cell] for sign, counts in signed)) for cell in range(len(self.cells))
        )

    def _hide(self, row: Row) -> Row:
        return {**row, **dict.fromkeys(self.hidden), "masked": True}

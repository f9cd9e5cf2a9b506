"""The course of a patient's biomarkers, ready to be drawn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from services.runtime.pages.drawing import Axis, axis_for

Row = dict[str, Any]

FIRST = ("crp", "esr", "fcal")
"""The biomarkers of the disease stand before the others."""
WIDTH, HEIGHT, MARGIN = 260.0, 56.0, 6.0


@dataclass(frozen=True)
class Point:
    """A result at its place in the drawing."""

    x: float
    y: float
    row: Row


@dataclass(frozen=True)
class Course:
    """The results of one analyte in order of time."""

    analyte: str
    unit: str
    points: Sequence[Point]
    limit_y: float | None
    """Where the newest upper limit of normal stands."""
    start_x: float | None
    """Where the first dose stands."""

    @property
    def newest(self) -> Row:
        """The last result."""
        return self.points[-1].row

    @property
    def line(self) -> str:
        """The points for an SVG polyline."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


def courses(biomarkers: Sequence[Row], first_dose_on: date | None) -> list[Course]:
    """The courses of all analytes on one axis of time; `biomarkers` sorted by analyte and date."""
    if not biomarkers:
        return []
    days = [row["collected_on"].toordinal() for row in biomarkers]
    start = first_dose_on.toordinal() if first_dose_on else days[0]
    low, high = min(start, *days), max(start, *days)
    time = Axis(low, max(high, low + 1), WIDTH, MARGIN)
    start_x = time.x(start) if first_dose_on else None
    by_analyte = groupby(biomarkers, key=lambda row: row["analyte"])
    drawn = [_course(analyte, list(rows), time, start_x) for analyte, rows in by_analyte]
    return sorted(
        drawn, key=lambda course: FIRST.index(course.analyte) if course.analyte in FIRST else len(FIRST)
    )


def _course(analyte: str, rows: Sequence[Row], time: Axis, start_x: float | None) -> Course:
    limit = rows[-1]["upper_limit"]
    values = axis_for(_numbers([*(row["value"] for row in rows), limit]), width=HEIGHT, margin=MARGIN)
    points = [Point(time.x(row["collected_on"].toordinal()), _y(values, row["value"]), row) for row in rows]
    return Course(analyte, rows[-1]["unit"], points, None if limit is None else _y(values, limit), start_x)


def _numbers(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values if value is not None]


def _y(axis: Axis, value: Any) -> float:
    return round(HEIGHT - axis.x(float(value)), 1)

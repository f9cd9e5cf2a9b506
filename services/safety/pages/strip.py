"""A patient's time at a glance: what was taken when, and what happened, on one axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.runtime.pages.drawing import Axis

Row = dict[str, Any]

LANES = {
    "visit": "Visits",
    "lab": "Laboratory",
    "adverse_event": "Adverse events",
    "treatment": "Treatment",
}
"""Event types drawn as points, from above."""
WIDTH, ROW_HEIGHT = 960, 22


@dataclass(frozen=True)
class Mark:
    """Something on a day."""

    x: float
    text: str


@dataclass(frozen=True)
class Span:
    """A drug, from its first to its last dose or the end of the drawing."""

    x: float
    width: float
    label: str


@dataclass(frozen=True)
class Strip:
    """The drawing; `months` are (x, label) along its foot."""

    lanes: Sequence[tuple[str, Sequence[Mark]]]
    spans: Sequence[Span]
    months: Sequence[tuple[float, str]]
    start_x: float | None

    @property
    def height(self) -> int:
        """Units high, without the foot."""
        return ROW_HEIGHT * (len(self.lanes) + len(self.spans))


def strip(timeline: Sequence[Row], exposures: Sequence[Row], today: date) -> Strip | None:
    """The drawing of a patient's timeline and exposures up to `today`; None where nothing happened."""
    if not timeline:
        return None
    days = [row["on_date"] for row in timeline]
    last = min(today, max([*days, *(e["last_dose_on"] or today for e in exposures)]))
    time = Axis(min(days).toordinal(), max(last.toordinal(), min(days).toordinal() + 28), WIDTH, 12)
    lanes = [
        (label, [_mark(time, row) for row in timeline if row["event_type"] == event_type])
        for event_type, label in LANES.items()
    ]
    spans = [_span(time, exposure, last) for exposure in exposures]
    start_x = time.x(exposures[0]["first_dose_on"].toordinal()) if exposures else None
    return Strip([lane for lane in lanes if lane[1]], spans, _months(time), start_x)


def _mark(time: Axis, row: Row) -> Mark:
    return Mark(time.x(row["on_date"].toordinal()), f"{row['on_date']}: {row['description']}")


def _span(time: Axis, exposure: Row, last: date) -> Span:
    start = time.x(exposure["first_dose_on"].toordinal())
    end = time.x((exposure["last_dose_on"] or last).toordinal())
    return Span(start, max(2.0, round(end - start, 1)), exposure["drug"])


def _months(time: Axis) -> list[tuple[float, str]]:
    """First days of months, at most about ten of them."""
    first, last = date.fromordinal(int(time.low)), date.fromordinal(int(time.high))
    months = [
        date(year, month, 1)
        for year in range(first.year, last.year + 1)
        for month in range(1, 13)
        if first <= date(year, month, 1) <= last
    ]
    step = -(-len(months) // 10) or 1
    return [(time.x(month.toordinal()), f"{month:%Y-%m}") for month in months[::step]]

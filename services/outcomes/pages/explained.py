"""What a patient's explanation looks like: the values of one protocol over time, with the windows they fall into."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.outcomes.explain.wording import WEIGHED, quantity
from services.runtime.pages.drawing import Axis, axis_for

Row = Mapping[str, Any]

ASIDE = ("no_value", "before_window", "after_window")
"""Reasons of many records, which a table shows only when asked."""
VOID = ("superseded", "retracted", "conflicting", "after_as_of", "after_consent")
"""Reasons of what does not count at all."""
WIDTH, LANE_HEIGHT, MARGIN = 960.0, 56.0, 9.0


@dataclass(frozen=True)
class Mark:
    """A value at its place; `kind` is `used`, `void` or nothing."""

    x: float
    y: float
    kind: str
    value: str
    text: str


@dataclass(frozen=True)
class Window:
    """Where a value is looked for, and the day that it should be near to."""

    x: float
    width: float
    target_x: float
    text: str


@dataclass(frozen=True)
class Lane:
    """One parameter; `top` is where it begins."""

    label: str
    unit: str
    top: float
    marks: Sequence[Mark]
    windows: Sequence[Window]


@dataclass(frozen=True)
class Drawing:
    """All lanes on one axis of time; `events` are (x, text) of intercurrent events."""

    lanes: Sequence[Lane]
    start_x: float
    days: Sequence[tuple[float, int]]
    events: Sequence[tuple[float, str]]

    @property
    def height(self) -> float:
        """Units high, without the foot."""
        return LANE_HEIGHT * len(self.lanes)


def draw(protocol: Row) -> Drawing | None:
    """The drawing of what one protocol looks at; None where nothing was measured, or nothing started."""
    start: date | None = protocol["first_dose_on"]
    found: dict[str, list[Row]] = {}
    for timepoint in protocol["timepoints"]:
        for value in timepoint["values"]:
            found.setdefault(value["label"], []).append({**value, "timepoint": timepoint["timepoint"]})
    measured = {label: values for label, values in found.items() if any(map(_numbers, values))}
    if start is None or not measured:
        return None
    offsets = [
        record["study_offset"]
        for values in measured.values()
        for value in values
        for record in _valued(value)
    ]
    offsets += [
        value[bound] for values in measured.values() for value in values for bound in ("opens", "closes")
    ]
    time = Axis(min(0, *offsets) - 4, max(offsets) + 4, WIDTH, 4)
    lanes = [
        _lane(label, values, time, LANE_HEIGHT * n) for n, (label, values) in enumerate(measured.items())
    ]
    weeks = range(-(-int(time.low) // 28) * 28, int(time.high) + 1, 28)
    events = [
        (time.x(event["study_offset"]), f"{event['text']} on {event['on_date']}")
        for event in protocol["intercurrent_events"]
    ]
    return Drawing(lanes, time.x(0), [(time.x(day), day) for day in weeks], events)


def _lane(label: str, values: Sequence[Row], time: Axis, top: float) -> Lane:
    """Every record once: as used if any of the timepoints uses it."""
    heights = axis_for(
        [number for value in values for number in _numbers(value)], width=LANE_HEIGHT, margin=MARGIN
    )
    records: dict[tuple[str, int], Row] = {}
    for record in (record for value in values for record in _valued(value)):
        key = (record["record"], record["version"])
        if key not in records or record["observed"] == "used":
            records[key] = record
    marks = [_mark(record, time, heights, top) for record in records.values()]
    windows = [
        Window(
            time.x(value["opens"]),
            max(2.0, round(time.x(value["closes"]) - time.x(value["opens"]), 1)),
            time.x(value["target"]),
            f"{value['timepoint'].replace('_', ' ')}: day {value['opens']} to {value['closes']}",
        )
        for value in values
    ]
    return Lane(label, values[0]["unit"] or "", top, marks, windows)


def _mark(record: Row, time: Axis, heights: Axis, top: float) -> Mark:
    code = record["observed"]
    kind = "used" if code == "used" else "void" if code in VOID else ""
    value = quantity(record["comparator"], record["value"])
    return Mark(
        time.x(record["study_offset"]),
        round(top + LANE_HEIGHT - heights.x(float(record["value"])), 1),
        kind,
        value,
        f"{value} on {record['on']} (day {record['study_offset']}), {record['record']}: {WEIGHED[code].text}",
    )


def _valued(value: Row) -> Iterable[Row]:
    return (record for record in value["records"] if record["value"] is not None)


def _numbers(value: Row) -> list[float]:
    return [float(record["value"]) for record in _valued(value)]

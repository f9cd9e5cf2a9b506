"""Windows, ties and day 0: R4.1, R4.2, R4.5."""

from datetime import time
from fractions import Fraction
from typing import Any

import pytest
from twin.builders import FIRST_DOSE_ON, visit
from twin.protocols import BASELINE, CLINICAL, ENDOSCOPY, TIMEPOINTS, WEEK_12
from twin.selection import Measurement, select, select_baseline


def measured(*visits: dict[str, Any]) -> list[Measurement]:
    return [Measurement(Fraction(100), event) for event in visits]


def chosen(found: Measurement | None) -> str | None:
    return found and found.event["event_id"]


def at_week_12(*visits: dict[str, Any], kind: str = CLINICAL) -> str | None:
    return chosen(select(measured(*visits), FIRST_DOSE_ON, WEEK_12.target, WEEK_12.windows[kind]))


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [((70, 98), 98), ((80, 88), 88), ((83, 86), 83), ((69,), None), ((95,), 95), ((99,), None)],
)
def test_nearest_then_later(offsets: tuple[int, ...], expected: int | None) -> None:
    visits = [visit(offset) for offset in offsets]
    name = None if expected is None else f"visit-{expected}"
    assert at_week_12(*visits) == name
    assert at_week_12(*reversed(visits)) == name


@pytest.mark.parametrize(
    ("offset", "clinical", "endoscopic"),
    [
        (55, False, False),
        (56, False, True),
        (69, False, True),
        (70, True, True),
        (98, True, True),
        (99, False, True),
        (126, False, True),
        (127, False, False),
    ],
)
def test_week_12_edges(offset: int, clinical: bool, endoscopic: bool) -> None:
    assert (at_week_12(visit(offset)) is not None) is clinical
    assert (at_week_12(visit(offset), kind=ENDOSCOPY) is not None) is endoscopic


def test_every_window_of_the_table() -> None:
    assert [(t.name, t.target, t.windows[CLINICAL], t.windows.get(ENDOSCOPY)) for t in TIMEPOINTS] == [
        ("week_2", 14, (7, 20), None),
        ("week_4", 28, (21, 41), None),
        ("week_8", 56, (42, 69), None),
        ("week_12", 84, (70, 98), (56, 126)),
        ("week_16", 112, (99, 139), None),
        ("week_24", 168, (140, 196), (127, 224)),
    ]


SAME_DAY = [
    pytest.param(
        visit(84, "a", visit_kind="scheduled"),
        visit(84, "z", visit_kind="retest", at="23:00:00"),
        id="scheduled",
    ),
    pytest.param(
        visit(84, "a", visit_kind="retest"),
        visit(84, "z", visit_kind="unscheduled", at="23:00:00"),
        id="retest",
    ),
    pytest.param(visit(84, "a"), visit(84, "z", visit_kind="retest"), id="scheduled is the default"),
    pytest.param(visit(84, "a", at="09:01:00"), visit(84, "z", at="09:00:00"), id="later time"),
    pytest.param(visit(84, "a", at="00:00:00"), visit(84, "z"), id="missing time is the earliest"),
    pytest.param(visit(84, "b"), visit(84, "a"), id="greatest event id"),
    pytest.param(visit(84, "a"), visit(84, "Z"), id="byte order, not dictionary order"),
    pytest.param(visit(84, "10"), visit(84, "1"), id="longer id"),
    pytest.param(
        visit(84, "a", site_id="site-b"), visit(84, "z", site_id="site-a"), id="site before event id"
    ),
    pytest.param(visit(84, "é"), visit(84, "z"), id="UTF-8"),
]


@pytest.mark.parametrize(("winner", "loser"), SAME_DAY)
def test_same_day(winner: dict[str, Any], loser: dict[str, Any]) -> None:
    assert at_week_12(winner, loser) == winner["event_id"]
    assert at_week_12(loser, winner) == winner["event_id"]


@pytest.mark.parametrize(
    ("offset", "clinical", "endoscopic"),
    [
        (-91, False, False),
        (-90, False, True),
        (-29, False, True),
        (-28, True, True),
        (0, True, True),
        (1, False, False),
    ],
)
def test_baseline_edges(offset: int, clinical: bool, endoscopic: bool) -> None:
    for kind, expected in ((CLINICAL, clinical), (ENDOSCOPY, endoscopic)):
        found = select_baseline(measured(visit(offset)), FIRST_DOSE_ON, None, BASELINE.windows[kind])
        assert (found is not None) is expected


def test_baseline_is_the_last_value() -> None:
    found = select_baseline(measured(visit(-3), visit(-20)), FIRST_DOSE_ON, None, BASELINE.windows[CLINICAL])
    assert chosen(found) == "visit--3"


@pytest.mark.parametrize(
    ("visit_at", "dose_at", "counts"),
    [
        (None, None, True),
        ("10:00:00", None, True),
        (None, "09:00:00", True),
        ("08:59:59", "09:00:00", True),
        ("09:00:00", "09:00:00", True),
        ("09:00:01", "09:00:00", False),
    ],
)
def test_day_0(visit_at: str | None, dose_at: str | None, counts: bool) -> None:
    first_dose_at = None if dose_at is None else time.fromisoformat(dose_at)
    found = select_baseline(
        measured(visit(0, at=visit_at)), FIRST_DOSE_ON, first_dose_at, BASELINE.windows[CLINICAL]
    )
    assert (found is not None) is counts

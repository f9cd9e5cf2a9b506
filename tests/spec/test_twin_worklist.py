"""What stands in the worklist of the usual patient: week 12 is day 70 to 98 for visits, 56 to 126 for endoscopies."""

from typing import Any

import pytest
import twin
from twin.builders import adverse_event, consent, enrolment, lab, on, segment, start, stop, visit

Row = dict[str, Any]

TREATED = [enrolment(), start(0)]
ACTIVE = [*TREATED, visit(-3, cdai=300)]


def worklist(events: list[Row], offset: int) -> list[tuple[Any, ...]]:
    rows = twin.outcomes(events, on(offset))["worklist"]
    columns = ("window_start", "state", "days_left", "missing", "counted")
    return sorted(tuple(row[name] for name in columns) for row in rows if row["timepoint"] == "week_12")


def clinical(events: list[Row], offset: int) -> tuple[Any, ...] | None:
    """State, days left and what is missing and counted in the window of visits."""
    return next((row[1:] for row in worklist(events, offset) if row[0] == on(70)), None)


@pytest.mark.parametrize(
    ("offset", "state", "days_left"),
    [
        (55, None, 0),
        (56, "opens", 42),  # 14 days before the window
        (69, "opens", 29),
        (70, "open", 28),
        (83, "open", 15),
        (84, "closes", 14),
        (97, "closes", 1),
        (98, "closes", 0),  # due, and a visit on this day still counts
        (99, None, 0),
    ],
)
def test_a_window_is_near_from_two_weeks_before_to_its_last_day(
    offset: int, state: str | None, days_left: int
) -> None:
    found = clinical(ACTIVE, offset)
    assert found == ((state, days_left, ["cdai"], ["cdai"]) if state else None)


@pytest.mark.parametrize("offset", [56, 80, 98])
def test_a_value_in_the_window_takes_it_off_the_list(offset: int) -> None:
    assert clinical([*ACTIVE, visit(75, cdai=100)], offset) == (clinical(ACTIVE, 56) if offset < 75 else None)


def test_what_no_outcome_counts_is_missing_all_the_same() -> None:
    # without any baseline: remission and mucosal healing need none, all else is not applicable
    assert worklist(TREATED, 80) == [
        (on(56), "open", 46, ["ses_cd"], []),
        (on(70), "open", 18, ["cdai"], []),
    ]
    inactive = [*TREATED, visit(-3, cdai=149)]
    assert clinical(inactive, 80) == ("open", 18, ["cdai"], [])


def test_each_window_asks_for_what_its_outcomes_need() -> None:
    events = [
        *ACTIVE,
        visit(-20, "scope", ses_cd_segments={"ileum": segment(2, 2, 2, 0)}),
        lab("crp", -3, 20, ref_high=5),
        lab("esr", -3, 5, ref_high=20),
        lab("esr", 72, 5, ref_high=20),
    ]
    assert worklist(events, 80) == [
        (on(56), "open", 46, ["ses_cd"], ["ses_cd"]),
        (on(70), "open", 18, ["cdai", "crp"], ["cdai", "crp"]),
    ]
    without = [event for event in events if event["event_id"] != "esr-72"]
    assert worklist(without, 80)[1][3:] == (["cdai", "crp", "esr"], ["cdai", "crp"])  # normal at baseline


@pytest.mark.parametrize(
    "last",
    [
        adverse_event(60, outcome="fatal", grade=5, serious=True, seriousness=["death"]),
        stop(60, "death"),
        consent("withdrawn", 60),
        consent("erase", 60),
    ],
    ids=["fatal event", "stop by death", "consent withdrawn", "erased"],
)
def test_nobody_asks_for_what_cannot_be_used(last: Row) -> None:
    assert worklist([*ACTIVE, last], 59 if last.get("status") != "erase" else 80) == (
        worklist(ACTIVE, 59) if last.get("status") != "erase" else []
    )
    assert worklist([*ACTIVE, last], 80) == []


def test_a_stopped_drug_is_no_reason_not_to_look() -> None:
    assert worklist([*ACTIVE, stop(60, "adverse_event")], 80) == worklist(ACTIVE, 80)


def test_the_never_treated_have_no_windows() -> None:
    assert worklist([enrolment(), visit(-3, cdai=300)], 80) == []

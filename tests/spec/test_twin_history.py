"""The history of an outcome, by hand: what was known when, and what changed it (R4.6; contract, section 7)."""

import pytest
from stores import OUTCOMES, emptied, load, rows
from twin.builders import consent, enrolment, on, retraction, start, visit
from twin.history import history_rows
from twin.records import Event

MAY = "2024-05-01T08:00:00Z"
JULY = "2024-07-01T08:00:00Z"
AUGUST = "2024-08-01T08:00:00Z"
BEFORE = [enrolment(recorded_at=MAY), start(recorded_at=MAY), visit(-1, cdai=300, recorded_at=MAY)]
AT_WEEK_12 = visit(84, "w12", cdai=120, recorded_at=MAY)

State = tuple[int, str | None, bool | None, bool | None, str | None]

CASES: dict[str, tuple[list[Event], list[State], list[tuple[str, int]]]] = {
    # name: (events besides, states as (month, status, observed, nri, reason), versions that caused the last one)
    "a late value": (
        [AT_WEEK_12 | {"recorded_at": JULY}],
        [(5, "missed", None, False, "missed"), (7, "final", True, True, None)],
        [("w12", 1)],
    ),
    "a correction turns the answer": (
        [AT_WEEK_12, AT_WEEK_12 | {"version": 2, "cdai": 180, "recorded_at": JULY}],
        [(5, "final", True, True, None), (7, "final", False, False, None)],
        [("w12", 2)],
    ),
    "a correction recorded before what it corrects": (
        [AT_WEEK_12 | {"recorded_at": AUGUST}, AT_WEEK_12 | {"version": 2, "cdai": 180, "recorded_at": JULY}],
        [(5, "missed", None, False, "missed"), (7, "final", False, False, None)],
        [("w12", 2)],
    ),
    "a retraction": (
        [AT_WEEK_12, retraction(AT_WEEK_12, 2) | {"recorded_at": JULY}],
        [(5, "final", True, True, None), (7, "missed", None, False, "missed")],
        [("w12", 2)],
    ),
    "consent withdrawn before the window": (
        [AT_WEEK_12, consent("withdrawn", 60, "c", recorded_at=JULY)],
        [(5, "final", True, True, None), (7, "not_applicable", None, None, "consent_withdrawn")],
        [("c", 1)],
    ),
    "a copy recorded later tells nothing new": (
        [AT_WEEK_12, AT_WEEK_12 | {"recorded_at": JULY}],
        [(5, "final", True, True, None)],
        [(event["event_id"], 1) for event in (*BEFORE, AT_WEEK_12)],
    ),
    "every record retracted": (
        [retraction(event, 2) | {"recorded_at": JULY} for event in BEFORE],
        [(5, "missed", None, False, "missed"), (7, None, None, None, None)],
        [(event["event_id"], 2) for event in BEFORE],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_history_by_hand(name: str) -> None:
    besides, expected, causes = CASES[name]
    events = [*BEFORE, *besides]
    place = {"protocol": "fu2025", "timepoint": "week_12", "endpoint": "clinical_remission"}

    twins = [row for row in history_rows(events, "W12-0001", on(400)) if row.items() >= place.items()]
    columns = ("status", "observed", "nri", "reason")
    assert [(row["known_from"].month, *(row.get(c) for c in columns)) for row in twins] == expected

    store = load(emptied(OUTCOMES, on(400)), [events[::-1], events])
    found = rows(store, f"FROM outcome_history('W12-0001', DATE '{on(400)}') ORDER BY known_from")
    found = [row for row in found if row.items() >= place.items()]
    assert [(row["known_from"].month, *(row[c] for c in columns)) for row in found] == expected
    assert [row["known_until"] for row in found] == [*(row["known_from"] for row in found[1:]), None]
    last = sorted((cause["event_id"], cause["version"]) for cause in found[-1]["caused_by"])
    assert last == sorted(causes)

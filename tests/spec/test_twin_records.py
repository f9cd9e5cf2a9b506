"""Versions, conflicts, retractions, consent, and what a patient's row says: contract, sections 1, 2 and 7."""

from typing import Any

import pytest
import twin
from twin.builders import (
    adverse_event,
    consent,
    enrolment,
    on,
    retraction,
    start,
    stop,
    treatment,
    visit,
)
from twin.records import current_records

from schemas import content_hash, parse_event

TODAY = on(100)


def cdai_of(events: list[dict[str, Any]]) -> list[float]:
    return sorted(e["cdai"] for e in current_records(events, TODAY) if e["event_type"] == "visit")


def both_orders(*events: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [list(events), list(reversed(events))]


FIRST = visit(0, "v", cdai=200)
CORRECTED = visit(1, "v", version=2, cdai=190)
CONFLICTING = visit(0, "v", cdai=210)


def test_the_highest_version_wins() -> None:
    for events in both_orders(FIRST, CORRECTED):
        assert cdai_of(events) == [190]


def test_no_version_is_version_1() -> None:
    unversioned = {name: value for name, value in FIRST.items() if name != "version"}
    for events in both_orders(unversioned, CORRECTED):
        assert cdai_of(events) == [190]
    assert len(current_records([unversioned, FIRST], TODAY)) == 1


def test_a_retraction_may_come_first() -> None:
    for events in both_orders(FIRST, retraction(FIRST, 2)):
        assert cdai_of(events) == []


def test_a_later_version_brings_a_record_back() -> None:
    assert cdai_of([FIRST, retraction(FIRST, 2), visit(0, "v", version=3, cdai=180)]) == [180]


def test_of_a_conflict_the_smallest_hash_counts() -> None:
    smallest = min(FIRST, CONFLICTING, key=lambda e: content_hash(parse_event(e)))
    for events in both_orders(FIRST, CONFLICTING):
        assert cdai_of(events) == [smallest["cdai"]]


def test_a_duplicate_counts_as_recorded_first() -> None:
    later = FIRST | {"recorded_at": "2026-01-02T12:00:00+00:00"}
    for events in both_orders(FIRST, later):
        assert current_records(events, TODAY) == [FIRST]


@pytest.mark.parametrize("changed", [{"patient_id": "W12-0002"}, {"site_id": "site-b"}, {"event_id": "w"}])
def test_what_is_another_record(changed: dict[str, str]) -> None:
    assert cdai_of([FIRST, CORRECTED | changed]) == [190, 200]


def test_a_record_that_changes_its_type_stands_twice() -> None:
    assert len(current_records([FIRST, adverse_event(0, "v", version=2)], TODAY)) == 2


@pytest.mark.parametrize(("offset", "counts"), [(99, True), (100, True), (101, False)])
def test_events_after_today_are_ignored(offset: int, counts: bool) -> None:
    assert bool(current_records([visit(offset, cdai=200)], TODAY)) is counts


def test_a_correction_may_move_a_record_past_today() -> None:
    assert cdai_of([FIRST, visit(101, "v", version=2, cdai=190)]) == []


def patient(*events: dict[str, Any]) -> dict[str, Any]:
    (row,) = twin.outcomes(list(events), TODAY)["patients"]
    return row


@pytest.mark.parametrize(
    ("consents", "last_dose_on"),
    [
        pytest.param([consent("withdrawn", 50)], on(50), id="withdrawn"),
        pytest.param([consent("withdrawn", 49)], None, id="withdrawn the day before"),
        pytest.param([consent("withdrawn", 40), consent("given", 45)], on(50), id="given again"),
        pytest.param([consent("withdrawn", 40), consent("given", 39)], None, id="the later counts"),
        pytest.param(
            [consent("withdrawn", 40, "b"), consent("given", 40, "a")], None, id="the greater id counts"
        ),
        pytest.param(
            [consent("withdrawn", 40, "a"), consent("given", 40, "b")], on(50), id="the greater id gives"
        ),
        pytest.param([consent("withdrawn", 101)], on(50), id="not yet"),
    ],
)
def test_consent(consents: list[dict[str, Any]], last_dose_on: Any) -> None:
    for events in ([start(), stop(50), *consents], [*reversed(consents), stop(50), start()]):
        assert patient(*events)["last_dose_on"] == last_dose_on


@pytest.mark.parametrize("offset", [0, 101])
def test_erasure_leaves_nothing(offset: int) -> None:
    events = [
        enrolment(),
        start(),
        visit(0, cdai=300),
        adverse_event(5, serious=True),
        consent("erase", offset),
    ]
    assert not any(twin.outcomes(events, TODAY).values())
    assert not any(twin.safety(events, TODAY).values())


def test_two_enrolments() -> None:
    events = [
        enrolment(-10, "b", sex="male"),
        enrolment(-20, "z", sex="female"),
        enrolment(-20, "a", sex="other"),
    ]
    assert patient(*events)["sex"] == "other"


@pytest.mark.parametrize(
    ("events", "site_id"),
    [
        ([enrolment(site_id="site-c"), start(site_id="site-b"), visit(-50, cdai=200)], "site-c"),
        ([start(site_id="site-b"), visit(-50, cdai=200)], "site-b"),
        ([visit(5, site_id="site-d", cdai=200), visit(6, site_id="site-a", cdai=200)], "site-d"),
        ([visit(5, "x", site_id="site-d", cdai=200), visit(5, "y", site_id="site-b", cdai=200)], "site-b"),
    ],
)
def test_site(events: list[dict[str, Any]], site_id: str) -> None:
    assert patient(*events)["site_id"] == site_id


@pytest.mark.parametrize(
    ("treatments", "first_dose_on", "first_dose_at"),
    [
        ([start(3), start(0)], on(0), None),
        ([start(-5, drug="infliximab"), start(0)], on(0), None),
        ([start(0, event_id="a", at="08:30:00"), start(0, event_id="b", at="08:00:00")], on(0), "08:00:00"),
        ([start(0, event_id="a", at="08:30:00"), start(0, event_id="b")], on(0), "None"),
        ([start(-5, drug="infliximab")], None, None),
        ([treatment("resume", 0)], None, None),
    ],
)
def test_first_dose(treatments: list[dict[str, Any]], first_dose_on: Any, first_dose_at: str | None) -> None:
    row = patient(*treatments)
    assert row["first_dose_on"] == first_dose_on
    assert str(row["first_dose_at"]) == str(first_dose_at)


@pytest.mark.parametrize(
    ("later", "last_dose_on"),
    [
        ([], None),
        ([stop(40)], on(40)),
        ([stop(40), stop(60)], on(60)),
        ([stop(40), start(50)], None),
        ([stop(40), treatment("resume", 50)], None),
        ([stop(40), treatment("resume", 40)], None),
        ([stop(40), treatment("dose_change", 50)], on(40)),
        ([stop(40), start(50), stop(60)], on(60)),
        ([stop(40, drug="infliximab")], None),
        ([stop(-5)], None),
        ([stop(101)], None),
    ],
)
def test_last_dose(later: list[dict[str, Any]], last_dose_on: Any) -> None:
    assert patient(start(), *later)["last_dose_on"] == last_dose_on

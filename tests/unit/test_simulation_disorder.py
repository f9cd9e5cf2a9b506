"""Disorder changes how records arrive, never what they come to."""

import json
from itertools import pairwise
from typing import Any

import pytest

from schemas import parse_event
from services.simulation.disorder import Shares, disorder
from services.simulation.fu2025 import generate

Event = dict[str, Any]


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return generate()


@pytest.fixture(scope="module")
def stream(events: list[Event]) -> list[Event]:
    return disorder(events, 1)


def content(event: Event) -> str:
    return json.dumps({name: value for name, value in event.items() if name != "recorded_at"}, sort_keys=True)


def record(event: Event) -> tuple[str, str]:
    return event["site_id"], event["event_id"]


def final_state(events: list[Event]) -> dict[tuple[str, str], Event]:
    """Highest version, of equal ones the earliest recorded; withdrawn records are gone."""
    best: dict[tuple[str, str], Event] = {}
    for event in events:
        known = best.get(record(event), event)
        if (event["version"], known["recorded_at"]) >= (known["version"], event["recorded_at"]):
            best[record(event)] = event
    return {key: event for key, event in best.items() if not event.get("retracted")}


@pytest.mark.parametrize("seed", range(5))
def test_the_final_state_is_the_same(events: list[Event], seed: int) -> None:
    assert final_state(disorder(events, seed)) == final_state(events) == {record(e): e for e in events}


def test_same_seed_same_stream(events: list[Event]) -> None:
    assert disorder(events, 3) == disorder(events, 3)
    assert disorder(events, 3) != disorder(events, 4)


def test_every_arrival_is_valid(events: list[Event]) -> None:
    for event in disorder(events, 5, Shares(duplicates=0.2, corrections=0.5, retractions=0.3)):
        parse_event(event)


def test_no_version_comes_with_two_contents(stream: list[Event]) -> None:
    versions: dict[tuple[tuple[str, str], int], str] = {}
    for event in stream:
        assert versions.setdefault((record(event), event["version"]), content(event)) == content(event)


def test_every_kind_of_disorder_occurs(stream: list[Event]) -> None:
    seen: dict[tuple[str, str], Event] = {}
    kinds = set()
    for event in stream:
        earlier = seen.get(record(event))
        if earlier is None:
            if event.get("retracted"):
                kinds.add("retraction before its record")
        elif earlier["version"] == event["version"]:
            kinds.add("exact duplicate" if earlier == event else "duplicate but for recorded_at")
        elif event["version"] > earlier["version"]:
            kinds.add("retraction" if event.get("retracted") else "correction")
        else:
            kinds.add("correction before the error")
        seen[record(event)] = event
    assert kinds == {
        "exact duplicate",
        "duplicate but for recorded_at",
        "correction",
        "correction before the error",
        "retraction",
        "retraction before its record",
    }


def test_records_arrive_late(stream: list[Event]) -> None:
    order = [event["recorded_at"] for event in stream]
    behind = sum(a > b for a, b in pairwise(order))
    assert behind > len(order) / 10


def test_without_any_share_only_recorded_corrections_are_added(events: list[Event]) -> None:
    quiet = Shares(late=0, duplicates=0, corrections=0, retractions=0, overtaken=0)
    small = [event for event in events if 1 < event["version"] < 1_000_000]
    expected = len(events) + sum(event["version"] - 1 for event in small)
    assert len(disorder(events, 1, quiet)) == expected

"""The synthetic registry: exact, repeatable, valid, and the same in the end whatever the disorder."""

from collections import Counter, defaultdict
from datetime import date
from typing import Any

import orjson
import pytest

from schemas import parse_event
from services.simulation import registry
from services.simulation.registry import RegistryPlan, stream_registry

UNTIL = date(2026, 6, 30)
Event = dict[str, Any]


def plan(patients: int = 200, events: int = 4000, seed: int = 1, **shares: float) -> RegistryPlan:
    return RegistryPlan(patients=patients, sites=5, events=events, seed=seed, until=UNTIL, **shares)


def draw(the_plan: RegistryPlan) -> list[Event]:
    return [orjson.loads(line) for line in stream_registry(the_plan)]


DISORDER = {"late": 0.1, "duplicates": 0.04, "corrections": 0.06, "retractions": 0.01}


@pytest.fixture(scope="module")
def disordered() -> list[Event]:
    return draw(plan(**DISORDER))


@pytest.mark.parametrize(
    ("patients", "events", "shares"),
    [
        (1, 2, {}),
        (7, 101, {}),
        (13, 997, DISORDER),
        (50, 200, {"duplicates": 0.3, "corrections": 0.1}),
        (3, 1000, {"retractions": 0.2}),
    ],
)
def test_exactly_as_many_events_as_asked_for(patients: int, events: int, shares: dict[str, float]) -> None:
    drawn = draw(plan(patients, events, **shares))
    assert len(drawn) == events
    assert len({event["patient_id"] for event in drawn}) == patients


def test_too_few_events_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two records for each patient"):
        plan(100, 199)


def test_every_event_is_valid(disordered: list[Event]) -> None:
    for event in disordered:
        parse_event(event)


def test_the_same_plan_gives_the_same_lines() -> None:
    assert list(stream_registry(plan(**DISORDER))) == list(stream_registry(plan(**DISORDER)))
    assert list(stream_registry(plan(seed=2))) != list(stream_registry(plan(seed=1)))


def test_memory_for_fewer_events_gives_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(stream_registry(plan(**DISORDER)))
    monkeypatch.setattr(registry, "_LEAST_BATCH", 40)
    assert list(stream_registry(plan(**DISORDER))) == whole


def test_disorder_has_the_asked_size(disordered: list[Event]) -> None:
    """4000 events: 160 duplicates, 240 corrections, 40 mistakes; a mistake is two events."""
    versions = defaultdict(set)
    for event in disordered:
        versions[event["event_id"]].add(event["version"])
    withdrawn = {event["event_id"] for event in disordered if event.get("retracted")}
    assert len(disordered) - sum(map(len, versions.values())) == 160
    assert sum(max(v) - 1 for record, v in versions.items() if record not in withdrawn) == 240
    assert len(withdrawn) == 40
    assert len(versions) - len(withdrawn) == 4000 - 160 - 240 - 2 * 40


def test_versions_are_complete_and_agree(disordered: list[Event]) -> None:
    """No version comes with two contents, none is missing below the highest."""
    contents: dict[tuple[str, int], Event] = {}
    for event in disordered:
        content = {name: value for name, value in event.items() if name != "recorded_at"}
        key = (event["event_id"], event["version"])
        assert contents.setdefault(key, content) == content
    highest = Counter[str]()
    for record, version in contents:
        highest[record] = max(highest[record], version)
    assert sum(highest.values()) == len(contents)


def test_corrections_sometimes_arrive_first(disordered: list[Event]) -> None:
    seen: dict[str, int] = {}
    overtaken = 0
    for event in disordered:
        overtaken += event["version"] < seen.get(event["event_id"], 0)
        seen[event["event_id"]] = max(event["version"], seen.get(event["event_id"], 0))
    assert overtaken > 5


def test_nothing_is_recorded_before_it_happened_or_after_the_end() -> None:
    for event in draw(plan()):
        happened = max(value for name, value in event.items() if name.endswith("_on"))
        assert happened <= event["recorded_at"][:10] <= UNTIL.isoformat()


def test_some_patients_have_not_reached_week_12() -> None:
    starts = [
        date.fromisoformat(event["effective_on"])
        for event in draw(plan())
        if event["event_type"] == "treatment" and event["action"] == "start"
    ]
    not_reached = sum((UNTIL - start).days < 98 for start in starts)
    assert len(starts) == 200
    assert 10 <= not_reached <= 30  # 98 of 1095 days of recruitment: 18 of 200


def test_all_kinds_of_events_sites_and_drugs_occur(disordered: list[Event]) -> None:
    kinds = Counter(event["event_type"] for event in disordered)
    assert set(kinds) == {"enrolment", "treatment", "visit", "lab", "adverse_event", "consent"}
    assert {event["site_id"] for event in disordered} == {"S01", "S02", "S03", "S04", "S05"}
    starts = Counter(event.get("drug") for event in disordered if event.get("action") == "start")
    assert starts["upadacitinib"] > starts.total() / 2
    assert {"risankizumab", "vedolizumab", "ustekinumab"} < set(starts)

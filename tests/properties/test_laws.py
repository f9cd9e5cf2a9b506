"""State is a function of the set of events: order, copies, batches, rebuilds and the calendar change nothing."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import OUTCOMES, SAFETY, contents, emptied, kafka_records, load, open_store, rows, temporary_path
from strategies import KNOWN_DAYS, Case, batches, cases, disorder
from twin.builders import consent, on
from twin.records import known_events

from schemas import parse_event
from services.runtime.cut import Cut
from services.stream import store as store_module
from services.stream.definition import StoreDefinition
from services.stream.files import compute_stores
from services.stream.settling import settle

FEW = settings(max_examples=8)
"""A law that is broken shows in few examples; `--hypothesis-profile=explore` leaves more room elsewhere."""

BOTH = pytest.mark.parametrize("definition", [OUTCOMES, SAFETY], ids=["outcomes", "safety"])


@BOTH
@FEW
@given(case=cases(), data=st.data())
def test_any_order_any_copies_any_batches(
    definition: StoreDefinition, case: Case, data: st.DataObject
) -> None:
    at_once = contents(load(emptied(definition, case.today), [case.events]))
    arrivals = data.draw(batches(data.draw(disorder(case.events))))
    # a copy recorded later is no new state; its own recording time may be the earliest and is part of the set
    store = load(emptied(definition, case.today), [*arrivals, case.events])
    again = contents(load(emptied(definition, case.today), [[e for batch in arrivals for e in batch]]))
    assert contents(store) == again
    if all(event in case.events for batch in arrivals for event in batch):
        assert again == at_once


@BOTH
@FEW
@given(case=cases(), data=st.data())
def test_correct_then_retract_leaves_what_was_there(
    definition: StoreDefinition, case: Case, data: st.DataObject
) -> None:
    common = ("event_type", "site_id", "patient_id", "recorded_at")
    template = data.draw(st.sampled_from([e for e in case.events if not e.get("retracted")]))
    passing = {**template, "event_id": "passing", "version": 1, "retracted": False}
    gone = {
        **{name: template[name] for name in common},
        "event_id": "passing",
        "version": 9,
        "retracted": True,
    }
    expected = contents(load(emptied(definition, case.today), [case.events]))
    order = data.draw(st.permutations([*case.events, passing, {**passing, "version": 3}, gone]))
    found = contents(load(emptied(definition, case.today), data.draw(batches(order))))
    for name in definition.compared.keys() - {"alerts", "data_quality"}:
        assert found[name] == expected[name], name


@BOTH
@FEW
@given(case=cases(), data=st.data())
def test_an_erased_patient_leaves_no_trace_whenever_it_is_asked_for(
    definition: StoreDefinition, case: Case, data: st.DataObject
) -> None:
    patient_id = data.draw(st.sampled_from(sorted({event["patient_id"] for event in case.events})))
    asked = consent("erase", data.draw(st.sampled_from([0, 84, 300])), patient_id=patient_id)
    never = [event for event in case.events if event["patient_id"] != patient_id]
    expected = contents(load(emptied(definition, case.today), [never]))
    arrivals = data.draw(batches(data.draw(disorder([*case.events, asked, *case.events]))))
    if all(event in [*case.events, asked] for batch in arrivals for event in batch):
        assert contents(load(emptied(definition, case.today), arrivals)) == expected


@BOTH
@FEW
@given(case=cases(), data=st.data())
def test_every_way_of_deriving_a_batch_gives_the_same(
    definition: StoreDefinition, case: Case, data: st.DataObject
) -> None:
    """Small batches run on plans; larger ones replace the rows of few patients, and compare those of many."""
    arrivals = data.draw(batches(data.draw(disorder(case.events))))
    on_plans = contents(load(emptied(definition, case.today), arrivals))
    ready = emptied(definition, case.today)
    ready.make_ready()
    assert contents(load(ready, arrivals)) == on_plans
    for few in (store_module.FEW_PATIENTS, 0):
        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(store_module, "SMALL_BATCH", 0)
            changed.setattr(store_module, "FEW_PATIENTS", few)
            assert contents(load(emptied(definition, case.today), arrivals)) == on_plans


@BOTH
@FEW
@given(case=cases(), data=st.data())
def test_a_rebuild_changes_nothing(definition: StoreDefinition, case: Case, data: st.DataObject) -> None:
    store = load(emptied(definition, case.today), data.draw(batches(case.events)))
    live = contents(store)
    store.rebuild()
    assert contents(store) == live


@BOTH
@FEW
@given(case=cases(), steps=st.lists(st.integers(-60, 60), min_size=1, max_size=4))
def test_the_calendar_may_take_any_way(definition: StoreDefinition, case: Case, steps: list[int]) -> None:
    there = contents(load(emptied(definition, case.today), [case.events]))
    store = load(emptied(definition, case.today + timedelta(days=sum(steps))), [case.events])
    for step in steps:
        store.set_today(store.today - timedelta(days=step))
    assert store.today == case.today
    assert contents(store) == there


@BOTH
@FEW
@given(case=cases(), days=st.integers(0, 200))
def test_as_of_a_date_is_what_that_day_shows(definition: StoreDefinition, case: Case, days: int) -> None:
    earlier = case.today - timedelta(days=days)
    store = load(emptied(definition, earlier), [case.events])
    then = {name: _sorted(rows(store, f"FROM {name}")) for name in definition.dated}
    store = load(emptied(definition, case.today), [case.events])
    for name in definition.dated:
        assert _sorted(rows(store, f"FROM {name}_at(DATE '{earlier}')")) == then[name], name


@BOTH
@settings(max_examples=5)
@given(case=cases(), known_at=st.sampled_from(KNOWN_DAYS), data=st.data())
def test_known_on_a_date_is_what_its_versions_give(
    definition: StoreDefinition, case: Case, known_at: date, data: st.DataObject
) -> None:
    store = load(emptied(definition, case.today), [known_events(case.events, known_at)])
    then = {name: _sorted(rows(store, f"FROM {name}")) for name in definition.dated}
    store = load(emptied(definition, on(400)), data.draw(batches(data.draw(disorder(case.events)))))
    for name in definition.dated:
        cut = Cut(case.today, known_at)
        assert _sorted(rows(store, f"FROM {cut.source(name)}")) == then[name], name


def _sorted(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in found), key=repr)


@BOTH
@FEW
@given(case=cases(), data=st.data())
def test_compute_gives_the_same_tables(definition: StoreDefinition, case: Case, data: st.DataObject) -> None:
    arrivals = data.draw(disorder(case.events))
    live = contents(load(emptied(definition, case.today), [arrivals]))
    path = temporary_path("events").with_suffix(".jsonl")
    path.write_text("".join(json.dumps(event) + "\n" for event in arrivals), encoding="utf-8")
    store = emptied(definition, case.today)
    loaded = compute_stores([path], [store])
    assert (loaded.events, loaded.rejects) == (len(arrivals), [])
    assert contents(store) == live


@FEW
@given(case=cases(), data=st.data())
def test_tables_that_settle_follow_from_the_events(case: Case, data: st.DataObject) -> None:
    found = []
    for arrivals in ([case.events], data.draw(batches(data.draw(disorder(case.events))))):
        store = load(emptied(OUTCOMES, case.today), arrivals)
        settle(store)
        found.append([rows(store, f"FROM {table.name} ORDER BY ALL") for table in OUTCOMES.settled])
    assert found[0] == found[1]


def test_a_snapshot_is_the_store(tmp_path: Path) -> None:
    path = Path("examples/fu2025/stream.jsonl")
    store = open_store(OUTCOMES, date(2025, 3, 1))
    compute_stores([path], [store])
    store.snapshot(tmp_path / "outcomes.duckdb")
    expected = contents(store)
    store.close()
    copy = open_store(OUTCOMES, date(2025, 3, 1), tmp_path / "outcomes.duckdb")
    assert contents(copy) == expected
    copy.close()


def test_kafka_records_are_what_ingest_writes() -> None:
    event = {"event_type": "consent", "site_id": "S|1", "event_id": "e%", "patient_id": "W12-0001",
             "recorded_at": "2026-01-01T12:00:00Z", "effective_on": "2024-01-01", "status": "given"}  # fmt: skip
    (records,) = kafka_records([event]).values()
    key = (records[0].key or b"").decode()
    assert key.startswith("W12-0001|S%7C1|e%25|1|")
    assert parse_event(records[0].value or b"").event_id == "e%"

"""Small batches run on prepared plans: what a plan was made from must not show in what it gives."""

from datetime import date
from typing import Any

import pytest
from stores import OUTCOMES, contents, kafka_records, load, open_store, rows

from services.stream import store as module
from services.stream.decode import decode_records
from services.stream.scratch import Scratch

TODAY = date(2025, 1, 1)
COMMON = {"site_id": "S01", "recorded_at": "2024-12-01T12:00:00Z"}


def patient(number: int) -> list[dict[str, Any]]:
    common = {**COMMON, "patient_id": f"W12-{number:04}"}
    visit = {"event_type": "visit", **common}
    return [
        {**visit, "event_id": f"{number}-12", "visited_on": "2024-03-25", "cdai": 120},
        {"event_type": "lab", **common, "event_id": f"{number}-crp", "collected_on": "2024-01-01", "analyte": "crp",
         "value": 12, "unit": "mg/L"},
        {**visit, "event_id": f"{number}-0", "visited_on": "2023-12-30", "cdai": 300},
        {"event_type": "treatment", **common, "event_id": f"{number}-start", "drug": "upadacitinib",
         "action": "start", "effective_on": "2024-01-01"},
    ]  # fmt: skip


def test_event_types_that_come_later_than_the_plans_are_seen() -> None:
    """Plans made while the store held visits only must find the treatments that follow."""
    one_by_one = load(open_store(OUTCOMES, TODAY), [[event] for event in patient(1)])
    at_once = load(open_store(OUTCOMES, TODAY), [patient(1)])
    assert contents(one_by_one) == contents(at_once)
    assert rows(one_by_one, "SELECT n FROM cohort_rates WHERE endpoint = 'clinical_remission' AND n = 1")
    one_by_one.close()
    at_once.close()


def test_small_and_large_batches_may_alternate() -> None:
    mixed = open_store(OUTCOMES, TODAY)
    large = [event for number in range(2, 150) for event in patient(number)]
    assert len(large) > module.SMALL_BATCH
    load(mixed, [[event] for event in patient(1)])
    load(mixed, [large])
    load(mixed, [[event] for event in patient(200)])
    mixed.set_today(date(2024, 3, 1))
    load(mixed, [[event] for event in patient(201)])
    mixed.set_today(TODAY)
    expected = load(open_store(OUTCOMES, TODAY), [[*large, *patient(1), *patient(200), *patient(201)]])
    assert contents(mixed) == contents(expected)
    mixed.close()
    expected.close()


def test_small_batches_leave_nothing_in_memory() -> None:
    """What a commit finds in temporary tables it copies, and what is deleted later is read past ever after."""
    store = load(open_store(OUTCOMES, TODAY), [[event] for event in patient(1)])
    temporary = "SELECT table_name, estimated_size FROM duckdb_tables() WHERE database_name = 'temp'"
    sizes = dict(store.execute(temporary))
    assert {"staged", "earlier", "current_records", "treated"} <= sizes.keys()
    assert {name: size for name, size in sizes.items() if size} == {}
    store.close()


def test_a_store_made_ready_plans_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, expected = (load(open_store(OUTCOMES, TODAY), [patient(3)]) for _ in range(2))
    ready.rebuild()
    ready.make_ready()
    monkeypatch.setattr(Scratch, "forget_plans", lambda _: pytest.fail("plans were forgotten"))
    planned = set(ready._scratch._plans)
    for store in (ready, expected):
        load(store, [[event] for event in patient(1)])
    assert planned >= {"fill_judged", "renewed_results", "keep_lab", "clear_staged", "clear_forgotten"}
    assert ready._scratch._plans == planned
    assert contents(ready) == contents(expected)
    ready.close()
    expected.close()


def test_a_small_batch_follows_a_rebuild_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last part of a rebuild looked at must not be all that the next batch sees."""
    monkeypatch.setattr(module, "REBUILD_EVENTS", 3)
    rebuilt = load(open_store(OUTCOMES, TODAY), [patient(1)])
    rebuilt.rebuild()
    load(rebuilt, [[event] for event in patient(2)])
    expected = load(open_store(OUTCOMES, TODAY), [[*patient(1), *patient(2)]])
    assert contents(rebuilt) == contents(expected)
    rebuilt.close()
    expected.close()


def test_staged_batches_show_once_committed() -> None:
    staged = open_store(OUTCOMES, TODAY)
    for number in (1, 2):
        staged.stage(decode_records(kafka_records(patient(number)), OUTCOMES.extract))
    assert staged.execute("SELECT count(*) FROM store.events") == [(0,)]
    applied = staged.commit()
    assert (applied.records, applied.applied, applied.patients) == (8, 8, 2)
    expected = load(open_store(OUTCOMES, TODAY), [patient(1), patient(2)])
    assert contents(staged) == contents(expected)
    staged.close()
    expected.close()


def test_what_was_discarded_is_gone() -> None:
    store = open_store(OUTCOMES, TODAY)
    store.stage(decode_records(kafka_records(patient(1)), OUTCOMES.extract))
    store.discard()
    assert store.commit().records == 0
    load(store, [patient(2)])
    assert store.execute("SELECT count(*) FROM store.patients") == [(1,)]
    store.close()


def test_what_could_not_be_committed_stays_staged(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(OUTCOMES, TODAY)
    store.stage(decode_records(kafka_records(patient(1)), OUTCOMES.extract))
    with monkeypatch.context() as broken:
        broken.setattr(store, "_note_offsets", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.commit()
    assert store.execute("SELECT count(*) FROM store.events") == [(0,)]
    assert store.commit().applied == 4
    assert store.execute("SELECT count(*) FROM store.patients") == [(1,)]
    store.close()


def test_what_other_work_committed_is_told_by_the_next_commit() -> None:
    """The calendar commits what is staged; who staged it must still learn what became of it."""
    store = open_store(OUTCOMES, date(2024, 3, 1))
    store.stage(decode_records(kafka_records(patient(1)), OUTCOMES.extract))
    store.set_today(TODAY)
    assert store.execute("SELECT count(*) FROM store.events") == [(4,)]
    store.stage(decode_records(kafka_records(patient(2)), OUTCOMES.extract))
    applied = store.commit()
    assert (applied.records, applied.applied, applied.patients) == (8, 8, 2)
    assert store.commit().records == 0
    store.close()

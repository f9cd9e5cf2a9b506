"""What the topic of outcomes is told, also where a crash left it open what it was told before."""

from datetime import date
from typing import Any

from stores import OUTCOMES, emptied, load

from services.outcomes.outbox import OutcomesOutbox
from services.stream.publisher import Message
from services.stream.store import EventStore

PATIENT = {"site_id": "S01", "patient_id": "S01-0001", "recorded_at": "2024-06-01T09:00:00Z"}
START = PATIENT | {
    "event_type": "treatment",
    "event_id": "t",
    "drug": "upadacitinib",
    "action": "start",
    "effective_on": "2024-01-10",
}
VISIT = PATIENT | {"event_type": "visit", "event_id": "v", "visited_on": "2024-01-09", "cdai": 300}
OUTBOX = OutcomesOutbox()


def waiting(store: EventStore) -> list[Message]:
    """What would be sent now."""
    return [message for message in OUTBOX.pending(store) if message.topic]


def publish(store: EventStore) -> None:
    OUTBOX.done(store, OUTBOX.pending(store))


def store_with(*events: dict[str, Any]) -> EventStore:
    store = load(emptied(OUTCOMES, date(2025, 3, 1)), [events])
    store.execute("DELETE FROM store.published")
    OUTBOX.begin(store)
    return store


def test_rows_that_did_not_change_are_not_told_again() -> None:
    store = store_with(START, VISIT)
    assert len(waiting(store)) == 1
    publish(store)
    load(store, [[VISIT | {"version": 2, "recorded_at": "2024-06-02T09:00:00Z"}]])
    assert waiting(store) == []


def test_rows_that_turned_back_after_a_crash_are_told_again() -> None:
    store = store_with(START, VISIT)
    publish(store)
    load(store, [[VISIT | {"version": 2, "cdai": 120}]])
    assert len(waiting(store)) == 1  # sent, and the process dies before it knows
    OUTBOX.begin(store)
    load(store, [[VISIT | {"version": 3}]])
    assert len(waiting(store)) == 1


def test_a_patient_without_rows_is_removed_even_where_nobody_knows_whether_the_topic_has_it() -> None:
    store = store_with(START, VISIT)
    assert len(waiting(store)) == 1  # sent, and the process dies before it knows
    OUTBOX.begin(store)
    for table in ("patients", "treated", "results"):
        store.execute(f"DELETE FROM store.{table}")
    assert [message.value for message in waiting(store)] == [None]

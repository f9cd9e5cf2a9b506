"""The live path must give, for any events in any order and batching, what the slow plain twin gives."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import twin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import ALL, CONTRARY, OUTCOMES, SAFETY, emptied, load, rows
from strategies import KNOWN_DAYS, Case, batches, cases, disorder
from twin.builders import on
from twin.history import history_rows
from twin.protocols import CONTRARY as OTHERWISE
from twin.protocols import FU2025, STRIDE2, U_EXCEED
from twin.records import known_events

from services.runtime.cut import Cut

Row = dict[str, Any]
BIG = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def same(value: Any) -> Any:
    """Numbers comparable between floats, decimals and fractions: to nine digits."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Fraction | Decimal | float | int):
        return f"{float(value):.9g}"
    if isinstance(value, list | tuple):
        return tuple(map(same, value))
    return value


def comparable(found: Iterable[Row], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The named columns of each row, in a stable order."""
    return sorted((tuple(same(row[column]) for column in columns) for row in found), key=repr)


def assert_tables_equal(store: Any, expected: dict[str, list[Row]]) -> None:
    for table, wanted in expected.items():
        found = rows(store, f"SELECT * FROM {table}")
        assert len(found) == len(wanted), (table, len(found), len(wanted))
        if wanted:
            columns = sorted(wanted[0])
            assert set(columns) <= set(found[0]), table
            assert comparable(found, columns) == comparable(wanted, columns), table


def test_an_event_blamed_on_a_drug_outside_its_days_counts_in_no_rate() -> None:
    common = {"site_id": "S01", "patient_id": "W12-0001", "recorded_at": "2026-01-01T12:00:00Z"}
    start = {"event_type": "treatment", "action": "start", **common}
    events = [
        {**start, "event_id": "a", "drug": "infliximab", "effective_on": "2023-11-22"},
        {**start, "event_id": "b", "drug": "upadacitinib", "effective_on": "2024-01-01"},
        {**common, "event_type": "adverse_event", "event_id": "c", "term": "headache", "onset_on": "2023-12-31",
         "grade": 1, "serious": False, "drug": "upadacitinib"},
    ]  # fmt: skip
    store = load(emptied(SAFETY, date(2024, 6, 1)), [events])
    assert rows(store, "SELECT DISTINCT events FROM incidence WHERE drug = 'upadacitinib'") == [{"events": 0}]
    assert rows(store, "SELECT treatment_emergent FROM adverse_events") == [{"treatment_emergent": True}]


@given(case=cases(), data=st.data())
@BIG
def test_outcomes(case: Case, data: st.DataObject) -> None:
    arrivals = data.draw(batches(data.draw(disorder(case.events))))
    store = load(emptied(OUTCOMES, case.today, (*ALL, CONTRARY)), arrivals)
    assert_tables_equal(store, twin.outcomes(case.events, case.today, (FU2025, U_EXCEED, STRIDE2, OTHERWISE)))


@given(case=cases(), known_at=st.sampled_from(KNOWN_DAYS))
@settings(BIG, max_examples=15)
def test_outcomes_known_on_a_day(case: Case, known_at: date) -> None:
    store = load(emptied(OUTCOMES, on(400)), [case.events])
    cut = Cut(case.today, known_at)
    for table, wanted in twin.outcomes(known_events(case.events, known_at), case.today).items():
        columns = sorted(wanted[0]) if wanted else []
        found = rows(store, f"FROM {cut.source(table)}")
        assert comparable(found, columns) == comparable(wanted, columns), table


@given(case=cases(max_patients=1), data=st.data())
@settings(BIG, max_examples=15)
def test_history(case: Case, data: st.DataObject) -> None:
    """Order, copies and batches change nothing of it either."""
    store = load(emptied(OUTCOMES, on(400)), data.draw(batches(data.draw(disorder(case.events)))))
    found = rows(store, f"FROM outcome_history('W12-0001', DATE '{case.today}')")
    columns = ("known_from", "protocol", "timepoint", "endpoint", "status", "observed", "nri", "locf")
    wanted = history_rows(case.events, "W12-0001", case.today)
    told = [dict.fromkeys(columns) | row for row in wanted]
    assert comparable(_class_changes(found, columns), columns) == comparable(
        _class_changes(told, columns), columns
    )


def _class_changes(history: Iterable[Row], columns: Sequence[str]) -> list[Row]:
    """Of each outcome the states in which these columns changed: how a value came about is not looked at."""
    before: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    kept = []
    for row in sorted(history, key=lambda row: row["known_from"]):
        place, state = tuple(row[c] for c in columns[1:4]), tuple(row[c] for c in columns[4:])
        if before.get(place) != state:
            kept.append(row)
        before[place] = state
    return kept


@given(case=cases(), data=st.data())
@BIG
def test_safety(case: Case, data: st.DataObject) -> None:
    arrivals = data.draw(batches(data.draw(disorder(case.events))))
    store = load(emptied(SAFETY, case.today), arrivals)
    assert_tables_equal(store, twin.safety(case.events, case.today))

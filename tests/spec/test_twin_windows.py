"""Windows, states and missing values: twin and store against the tables that clinicians read (R4)."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
import twin
from rule_tables import windows as tables
from rule_tables.windows import patient, withdrawn
from stores import OUTCOMES, emptied, load, rows
from twin.builders import on, start, visit
from twin.protocols import BASELINE, CLINICAL, ENDOSCOPY, TIMEPOINTS

CLOSED = on(400)
Row = dict[str, Any]
Place = tuple[str, str]
"""A timepoint and an endpoint."""
REMISSION = ("week_12", "clinical_remission")


def by_twin(events: list[Row], place: Place, today: date = CLOSED) -> Row:
    found = twin.outcomes(events, today)["patient_outcomes"]
    return next(r for r in found if (r["timepoint"], r["endpoint"]) == place)


def by_store(cases: Sequence[tuple[list[Row], Place, date]]) -> list[Row]:
    """The row of each case, each a patient of one store, and each asked as of its own day."""
    events = [event | {"patient_id": f"W12-{n:04}"} for n, (case, *_) in enumerate(cases) for event in case]
    store = load(emptied(OUTCOMES, CLOSED), [events])
    days = {today for *_, today in cases}
    told = {day: rows(store, f"FROM patient_outcomes_at(DATE '{day}')") for day in days}
    found = {
        (day, row["patient_id"], row["timepoint"], row["endpoint"]): row for day in days for row in told[day]
    }
    return [found[today, f"W12-{n:04}", *place] for n, (_, place, today) in enumerate(cases)]


def hold(
    cases: Sequence[tuple[list[Row], Place, date]], columns: Sequence[str], expected: Sequence[Any]
) -> None:
    """Twin and store say of each case what its table says."""
    for (events, place, today), stored, wanted in zip(cases, by_store(cases), expected, strict=True):
        for told in (by_twin(events, place, today), stored):
            assert tuple(told[column] for column in columns) == tuple(wanted), (events, wanted)


def values(table: Any) -> list[Any]:
    return [case.values for case in table.cases]


def test_the_windows_of_the_twin_are_those_of_the_table() -> None:
    found = [
        (t.name, t.target, t.windows.get(CLINICAL), t.windows.get(ENDOSCOPY)) for t in (BASELINE, *TIMEPOINTS)
    ]
    assert found == values(tables.TIMEPOINTS)


@pytest.mark.parametrize(("kind", "fields", "endpoint"), [
    (2, {"cdai": 120}, "clinical_remission"),
    (3, {"ses_cd": 0}, "mucosal_healing"),
])  # fmt: skip
def test_the_ends_of_every_window(kind: int, fields: Row, endpoint: str) -> None:
    cases, expected = [], []
    for row in values(tables.TIMEPOINTS):
        if row[kind] is not None:
            first, last = row[kind]
            for offset, inside in ((first - 1, False), (first, True), (last, True), (last + 1, False)):
                cases.append((patient(visit(offset, **fields)), (row[0], endpoint), CLOSED))
                expected.append((on(offset) if inside else None,))
    hold(cases, ["value_on"], expected)


def test_which_of_several_values_counts() -> None:
    cases, expected = [], []
    for visits, winner in values(tables.CHOICE):
        for order in (visits, visits[::-1]):
            cases.append((patient(*order), REMISSION, CLOSED))
            expected.append(([] if winner is None else [f"{winner['site_id']}/{winner['event_id']}"],))
    hold(cases, ["event_ids"], expected)


def test_baseline_is_the_last_value() -> None:
    events = patient(visit(-20, cdai=250), visit(-3, cdai=300))
    hold([(events, REMISSION, CLOSED)], ["baseline_on"], [(on(-3),)])


def test_the_day_of_the_first_dose() -> None:
    cases, expected = [], []
    for value_at, dose_at, counts in values(tables.DAY_0):
        events = [start(at=dose_at), visit(0, at=value_at, cdai=300)]
        cases.append((events, REMISSION, CLOSED))
        expected.append((on(0) if counts else None,))
    hold(cases, ["baseline_on"], expected)


def test_states_of_a_clinical_endpoint() -> None:
    cases, expected = [], []
    for today, offset, *told in values(tables.STATES):
        value = [] if offset is None else [visit(offset, cdai=120)]
        cases.append((patient(visit(-7, cdai=300), *value), REMISSION, on(today)))
        expected.append(told)
    hold(cases, ["status", "observed", "nri"], expected)


def test_states_of_an_endoscopic_endpoint() -> None:
    place = ("week_12", "endoscopic_response")
    told = values(tables.ENDOSCOPIC_STATES)
    cases = [(patient(visit(-7, ses_cd=10)), place, on(today)) for today, _ in told]
    hold(cases, ["status"], [(status,) for _, status in told])


def test_missing_values_and_other_treatment() -> None:
    cases, expected = [], []
    for cdais, (_, intercurrent), *told in values(tables.ESTIMANDS):
        visits = [visit(offset, cdai=cdai) for offset, cdai in {-7: 300, **cdais}.items()]
        cases.append((patient(*visits, *intercurrent), REMISSION, CLOSED))
        expected.append(told)
    hold(cases, ["observed", "nri", "locf"], expected)


def test_who_counts() -> None:
    cases, expected = [], []
    for baseline, endpoint, *told in values(tables.WHO_COUNTS):
        before = [visit(-7, **baseline)] if baseline else []
        cases.append(
            (
                patient(*before, visit(84, cdai=100, ses_cd=1, ulcers_present=False)),
                ("week_12", endpoint),
                CLOSED,
            )
        )
        expected.append(told)
    hold(cases, ["population", "reason"], expected)


def test_consent_withdrawn() -> None:
    cases, expected = [], []
    for offset, *told in values(tables.CONSENT):
        events = patient(visit(-7, cdai=300), visit(84, cdai=120), withdrawn(offset))
        cases.append((events, REMISSION, CLOSED))
        expected.append(told)
    hold(cases, ["status", "reason"], expected)


def test_delayed_response() -> None:
    cases, expected = [], []
    for week_12, week_24, *told in values(tables.DELAYED):
        seen = [(-7, {"cdai": 300} | tables.NOT_BETTER), (84, week_12), (168, week_24)]
        visits = [visit(offset, **fields) for offset, fields in seen if fields is not None]
        cases.append((patient(*visits), ("week_24", "delayed_response"), CLOSED))
        expected.append(told)
    hold(cases, ["observed", "reason"], expected)

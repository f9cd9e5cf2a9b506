"""Endpoint variants at their limits (`rule_tables`), steroids, delayed response, carried values, trial-like entry."""

from datetime import date
from typing import Any

import pytest
import twin
from rule_tables.endpoints import TABLES
from rule_tables.steroids import BASELINE_USERS, COLUMNS
from rule_tables.steroids import CASES as STEROIDS
from stores import ALL, OUTCOMES, emptied, load, rows
from twin.builders import enrolment, on, start, visit
from twin.protocols import FU2025, STRIDE2, U_EXCEED, Rules

CLOSED = date(2025, 6, 1)
WEEK_12 = "FROM patient_outcomes WHERE timepoint = 'week_12' AND protocol = 'fu2025'"
PROTOCOLS = {rules.name: rules for rules in (FU2025, U_EXCEED, STRIDE2)}
CASES = [(table, before, after, answers) for table in TABLES for before, after, *answers in table.cases]


def observed(events: list[Any], rules: Rules = FU2025, timepoint: str = "week_12") -> dict[str, bool | None]:
    found = twin.outcomes(events, CLOSED, (rules,))["patient_outcomes"]
    return {row["endpoint"]: row["observed"] for row in found if row["timepoint"] == timepoint}


def case(before: Any, after: Any) -> list[Any]:
    visits = [visit(offset, **seen) for offset, seen in ((-7, before), (84, after)) if seen is not None]
    return [enrolment(), start(), *visits]


@pytest.fixture(scope="module")
def stored() -> dict[Any, bool | None]:
    """What a store says about all cases, each a patient's."""
    events = [
        {**event, "patient_id": f"W12-{number:04}"}
        for number, (_, before, after, _) in enumerate(CASES)
        for event in case(before, after)
    ]
    found = rows(
        load(emptied(OUTCOMES, CLOSED, ALL), [events]), "FROM patient_outcomes WHERE timepoint = 'week_12'"
    )
    return {(row["patient_id"], row["protocol"], row["endpoint"]): row["observed"] for row in found}


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{case[0].rule}-{n}" for n, case in enumerate(CASES)]
)
def test_the_tables(stored: dict[Any, bool | None], number: int) -> None:
    table, before, after, answers = CASES[number]
    expected = dict(zip(table.endpoints, answers, strict=True))
    assert expected.items() <= observed(case(before, after), PROTOCOLS[table.protocol]).items()
    assert expected == {name: stored[f"W12-{number:04}", table.protocol, name] for name in expected}


@pytest.fixture(scope="module")
def steroid_rows() -> list[dict[str, Any]]:
    """What a store says about all cases, each a patient's."""
    events = [
        {**event, "patient_id": f"W12-{number:04}"}
        for number, (_, case, *_) in enumerate(STEROIDS)
        for event in case
    ]
    return rows(load(emptied(OUTCOMES, CLOSED, ALL), [events]), WEEK_12)


@pytest.mark.parametrize("number", range(len(STEROIDS)), ids=[words for words, *_ in STEROIDS])
def test_steroid_free_remission(steroid_rows: list[dict[str, Any]], number: int) -> None:
    _, events, *answers, counts = STEROIDS[number]
    by_twin = [r for r in twin.outcomes(events, CLOSED)["patient_outcomes"] if r["timepoint"] == "week_12"]
    by_store = [r for r in steroid_rows if r["patient_id"] == f"W12-{number:04}"]
    for told in (by_twin, by_store):
        found = {row["endpoint"]: row for row in told}
        assert [found[name]["observed"] for name in COLUMNS] == answers
        user = found[BASELINE_USERS]
        assert user["observed"] is answers[0]
        assert user["population"] is (counts is True)
        assert (
            user["reason"]
            == {
                True: "value_unknown" if answers[0] is None else None,
                False: "baseline_no_steroid",
                None: "baseline_unknown",
            }[counts]
        )


@pytest.mark.parametrize(
    ("stools", "segments", "population"),
    [
        (4, {"ileum": (2, 2, 2, 3)}, True),
        (3.9, {"ileum": (2, 2, 2, 0)}, False),  # neither stools nor pain
        (4, {"ileum": (2, 2, 0, 3)}, True),  # isolated ileal: 4 without narrowing
        (4, {"ileum": (2, 1, 0, 3)}, False),
        (4, {"rectum": (2, 2, 1, 3)}, False),  # 5 elsewhere
        (4, {"rectum": (2, 2, 2, 0)}, True),
    ],
)
def test_trial_like(stools: float, segments: dict[str, Any], population: bool) -> None:
    items = ("ulcer_size", "ulcerated_surface", "affected_surface", "narrowing")
    scored = {name: dict(zip(items, scores, strict=True)) for name, scores in segments.items()}
    before = {
        "cdai": 300,
        "pro2": {"stool_frequency": stools, "abdominal_pain": 1},
        "ses_cd_segments": scored,
    }
    found = twin.outcomes(case(before, {"cdai": 120}), on(365), (U_EXCEED,))["patient_outcomes"]
    (row,) = [
        r for r in found if (r["timepoint"], r["endpoint"]) == ("week_12", "trial_like_clinical_remission")
    ]
    assert row["population"] is population

"""Findings about records, and extended induction: twin and store against the tables that clinicians read."""

from typing import Any

import pytest
import twin
from rule_tables.findings import EXTENDED, EXTENDED_ON, FOUND
from stores import OUTCOMES, emptied, load, rows
from twin.builders import on

from services.outcomes.findings import FINDINGS

CLOSED = on(365)


def _store(cases: list[Any], today: Any, table: str) -> list[dict[str, Any]]:
    """What one store says of all cases, each a patient's with records of its own."""
    events = [
        {**event, "patient_id": f"W12-{number:04}", "event_id": f"{number}-{event['event_id']}"}
        for number, case in enumerate(cases)
        for event in case
    ]
    return rows(load(emptied(OUTCOMES, today), [events]), f"FROM {table}")


@pytest.fixture(scope="module")
def findings() -> list[dict[str, Any]]:
    return _store([events for _, events, _, _ in FOUND], CLOSED, "data_quality")


@pytest.mark.parametrize("number", range(len(FOUND)), ids=[words for words, *_ in FOUND])
def test_what_is_found(findings: list[dict[str, Any]], number: int) -> None:
    _, events, expected, _ = FOUND[number]
    assert sorted(row["rule"] for row in twin.outcomes(events, CLOSED)["data_quality"]) == sorted(expected)
    found = [row for row in findings if row["patient_id"] == f"W12-{number:04}"]
    assert sorted(row["rule"] for row in found) == sorted(expected)
    assert all(row["detail"].startswith(FINDINGS[row["rule"]]) for row in found)


def test_every_finding_has_a_case(findings: list[dict[str, Any]]) -> None:
    assert {row["rule"] for row in findings} == FINDINGS.keys()


def test_a_finding_says_how_long_the_drug_was_interrupted(findings: list[dict[str, Any]]) -> None:
    told = {row["detail"].rsplit(": ")[-1] for row in findings if row["rule"] == "treatment_interrupted"}
    assert told == {"7 days", "not resumed"}


@pytest.fixture(scope="module")
def extended() -> list[dict[str, Any]]:
    return _store([events for _, events, _ in EXTENDED], EXTENDED_ON, "extended_inductions")


@pytest.mark.parametrize("number", range(len(EXTENDED)), ids=[words for words, *_ in EXTENDED])
def test_extended_induction(extended: list[dict[str, Any]], number: int) -> None:
    _, events, expected = EXTENDED[number]
    stored = [row for row in extended if row["patient_id"] == f"W12-{number:04}"]
    for found in (twin.outcomes(events, EXTENDED_ON)["extended_inductions"], stored):
        told = [(row["extended_from"], row["extended_until"], row["days"], row["dose_mg"]) for row in found]
        if expected is None:
            assert told == []
        else:
            first, last, days, dose = expected
            assert told == [(on(first), None if last is None else on(last), days, dose)]

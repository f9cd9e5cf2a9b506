"""Limits, censored results and normalisation: twin and store against the tables that clinicians read (R3)."""

from fractions import Fraction
from typing import Any

import pytest
import twin
from rule_tables import biomarkers as tables
from rule_tables.biomarkers import result_text
from stores import OUTCOMES, emptied, load, rows
from twin.biomarkers import is_normal, miller_limit, result, upper_limit
from twin.builders import enrolment, lab, on, start

CLOSED = on(365)
LIMIT = 10
Row = dict[str, Any]


def biomarkers_of(labs: list[Row]) -> list[Row]:
    """What a store says of results, each of a patient of its own, a woman of 34."""
    events = []
    for number, event in enumerate(labs):
        who = {"patient_id": f"W12-{number:04}"}
        events += [enrolment(**who), start(**who), event | who]
    return rows(load(emptied(OUTCOMES, CLOSED), [events]), "FROM biomarkers ORDER BY patient_id")


@pytest.mark.parametrize(("text", "inclusive", "strict"), tables.CENSORED.params())
def test_normal_with_limit_10(text: str, inclusive: bool | None, strict: bool | None) -> None:
    comparator, value = result_text(text)
    assert is_normal(value, comparator, LIMIT, strict=False) is inclusive
    assert is_normal(value, comparator, LIMIT, strict=True) is strict


def test_normal_with_limit_10_in_a_store() -> None:
    cases = [case.values for case in tables.CENSORED.cases]
    store = emptied(OUTCOMES, CLOSED)
    for column, inclusive in ((1, "true"), (2, "false")):
        for values in cases:
            comparator, value = result_text(values[0])
            stated = "NULL" if comparator is None else f"'{comparator}'"
            sql = f"SELECT is_normal({value}::DECIMAL(18, 9), {stated}, 10::DECIMAL(18, 9), {inclusive}) AS normal"
            assert rows(store, sql) == [{"normal": values[column]}], values


def test_an_unknown_limit_leaves_it_unknown() -> None:
    assert is_normal(1, None, None, strict=False) is None


@pytest.mark.parametrize(("analyte", "value", "normal"), tables.RESULTS.params())
def test_results_with_default_limits(analyte: str, value: float | str, normal: bool | None) -> None:
    event = lab(analyte, 0, value)
    measured = result(event)
    limit = upper_limit(event, measured, None, None)
    assert is_normal(measured.value, measured.comparator, limit, strict=analyte == "fcal") is normal


def test_results_with_default_limits_in_a_store() -> None:
    cases = [case.values for case in tables.RESULTS.cases]
    found = biomarkers_of([lab(analyte, 0, value) for analyte, value, _ in cases])
    assert [row["elevated"] for row in found] == [
        None if normal is None else not normal for *_, normal in cases
    ]


@pytest.mark.parametrize(("sex", "age", "limit"), tables.MILLER.params())
def test_esr_limit_by_age_and_sex(sex: str | None, age: int | None, limit: str | None) -> None:
    expected = None if limit is None else Fraction(limit)
    assert miller_limit(sex, None if age is None else 2024 - age, 2024) == expected


def _limited(analyte: str, ref_high: float | None) -> Row:
    return lab(analyte, 0, 1, **({} if ref_high is None else {"ref_high": ref_high}))


@pytest.mark.parametrize(("analyte", "unit", "ref_high", "limit"), tables.LIMITS.params())
def test_where_a_limit_comes_from(analyte: str, unit: str, ref_high: float | None, limit: str) -> None:
    event = _limited(analyte, ref_high)
    assert upper_limit(event, result(event), "female", 1990) == Fraction(limit)


def test_where_a_limit_comes_from_in_a_store() -> None:
    cases = [case.values for case in tables.LIMITS.cases]
    found = biomarkers_of([_limited(analyte, ref_high) for analyte, _, ref_high, _ in cases])
    assert [(row["upper_limit"], row["unit"]) for row in found] == [(float(c[3]), c[1]) for c in cases]


def test_the_limit_is_converted_with_the_value() -> None:
    event = lab("crp", 0, 1.2, unit="mg/dL", ref_high=0.8)
    assert upper_limit(event, result(event), None, None) == 8
    assert result(event).value == 12


@pytest.mark.parametrize(
    ("baseline", "week_12", "status", "normalised", "counts", "reason"), tables.NORMALISATION.params()
)
def test_normalisation(
    baseline: Any, week_12: Any, status: str, normalised: bool | None, counts: bool, reason: str | None
) -> None:
    labs = [
        lab("crp", offset, value) for offset, value in ((-7, baseline), (84, week_12)) if value is not None
    ]
    events = [enrolment(), start(), *labs]
    wanted = "timepoint = 'week_12' AND endpoint = 'crp_normalisation'"
    stored = rows(load(emptied(OUTCOMES, CLOSED), [events]), f"FROM patient_outcomes WHERE {wanted}")
    told = [
        row
        for row in twin.outcomes(events, CLOSED)["patient_outcomes"]
        if (row["timepoint"], row["endpoint"]) == ("week_12", "crp_normalisation")
    ]
    for (row,) in (told, stored):
        assert (row["status"], row["observed"]) == (status, normalised)
        assert (row["population"], row["reason"]) == (counts, reason)

"""Limits and censored results: R3.1, R3.3, R3.4."""

from fractions import Fraction

import pytest
from twin.biomarkers import is_normal, miller_limit, result, upper_limit
from twin.builders import lab

LIMIT = 10


@pytest.mark.parametrize(
    ("comparator", "value", "inclusive", "strict"),
    [
        (None, 9, True, True),
        (None, 10, True, False),
        (None, 11, False, False),
        ("<", 9, True, True),
        ("<", 10, True, True),
        ("<", 11, None, None),
        ("<=", 9, True, True),
        ("<=", 10, True, None),
        ("<=", 11, None, None),
        (">", 9, None, None),
        (">", 10, False, False),
        (">", 11, False, False),
        (">=", 9, None, None),
        (">=", 10, None, False),
        (">=", 11, False, False),
    ],
)
def test_normal_with_limit_10(
    comparator: str | None, value: int, inclusive: bool | None, strict: bool | None
) -> None:
    assert is_normal(value, comparator, LIMIT, strict=False) is inclusive
    assert is_normal(value, comparator, LIMIT, strict=True) is strict


def test_an_unknown_limit_leaves_it_unknown() -> None:
    assert is_normal(1, None, None, strict=False) is None


@pytest.mark.parametrize(
    ("analyte", "value", "normal"),
    [
        ("crp", "<5", True),
        ("crp", "<10", None),
        ("crp", 5, True),
        ("crp", 5.1, False),
        ("fcal", ">1800", False),
        ("fcal", ">200", None),
        ("fcal", 249.9, True),
        ("fcal", 250, False),
    ],
)
def test_examples_with_default_limits(analyte: str, value: float | str, normal: bool | None) -> None:
    event = lab(analyte, 0, value)
    measured = result(event)
    limit = upper_limit(event, measured, None, None)
    assert is_normal(measured.value, measured.comparator, limit, strict=analyte == "fcal") is normal


@pytest.mark.parametrize(
    ("sex", "age", "limit"),
    [("male", 61, "30.5"), ("female", 30, "20"), ("female", 45, "27.5"), (None, 45, None)],
)
def test_esr_limit_by_age_and_sex(sex: str | None, age: int, limit: str | None) -> None:
    expected = None if limit is None else Fraction(limit)
    assert miller_limit(sex, 2024 - age, 2024) == expected


def test_esr_limit_needs_the_year_of_birth() -> None:
    assert miller_limit("female", None, 2024) is None


@pytest.mark.parametrize(
    ("analyte", "ref_high", "limit"),
    [
        ("crp", 8, 8),
        ("crp", None, 5),
        ("esr", 12, 12),
        ("esr", None, 22),
        ("fcal", 50, 250),
        ("fcal", None, 250),
    ],
)
def test_where_a_limit_comes_from(analyte: str, ref_high: float | None, limit: float) -> None:
    fields = {} if ref_high is None else {"ref_high": ref_high}
    event = lab(analyte, 0, 1, **fields)
    assert upper_limit(event, result(event), "female", 1990) == limit


def test_the_limit_is_converted_with_the_value() -> None:
    event = lab("crp", 0, 1.2, unit="mg/dL", ref_high=0.8)
    assert upper_limit(event, result(event), None, None) == 8
    assert result(event).value == 12

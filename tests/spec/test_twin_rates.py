"""Cohort rates: R4.8, R7.3 and the denominators of the contract's section 7."""

from datetime import date
from typing import Any

import pytest
import twin
from twin.builders import enrolment, on, start, visit
from twin.rates import clopper_pearson, wilson


@pytest.mark.parametrize(
    ("n", "denominator", "low", "high"), [(33, 77, 32.4, 54.0), (0, 18, 0.0, 17.6), (18, 18, 82.4, 100.0)]
)
def test_wilson(n: int, denominator: int, low: float, high: float) -> None:
    limits = wilson(n, denominator)
    assert [round(100 * limit, 1) for limit in limits] == [low, high]


@pytest.mark.parametrize(
    ("n", "denominator", "low", "high"),
    [
        (33, 77, 31.6, 54.6), (0, 18, 0.0, 18.5), (18, 18, 81.5, 100.0),  # R7.3
        (41, 77, 41.5, 64.7), (9, 18, 26.0, 74.0), (7, 18, 17.3, 64.3), (5, 18, 9.7, 53.5), (37, 59, 49.1, 75.0),
        (39, 55, 57.1, 82.4), (8, 27, 13.8, 50.2), (32, 94, 24.6, 44.5),  # section 8: exact limits of Fu 2025
    ],
)  # fmt: skip
def test_clopper_pearson(n: int, denominator: int, low: float, high: float) -> None:
    limits = clopper_pearson(n, denominator)
    assert [round(100 * limit, 1) for limit in limits] == [low, high]


def person(
    number: int, site_id: str, baseline: dict[str, Any], week_12: dict[str, Any]
) -> list[dict[str, Any]]:
    who = {"patient_id": f"W12-{number:04}", "site_id": site_id}
    visits = [visit(offset, **values, **who) for offset, values in ((-7, baseline), (84, week_12)) if values]
    return [enrolment(**who), start(**who), *visits]


COHORT = [
    *person(1, "site-a", {"cdai": 300, "ses_cd": 10}, {"cdai": 120, "ses_cd": 4}),
    *person(2, "site-a", {"cdai": 300, "ses_cd": 10}, {"cdai": 200}),
    *person(3, "site-b", {"cdai": 300, "ses_cd": 2}, {"ses_cd": 0}),
    *person(4, "site-b", {"cdai": 149}, {"cdai": 100}),
]


def rate(endpoint: str, estimand: str, today: date, site_id: str | None = None) -> tuple[Any, ...]:
    (row,) = [
        r
        for r in twin.outcomes(COHORT, today)["cohort_rates"]
        if (r["timepoint"], r["endpoint"], r["estimand"], r["site_id"])
        == ("week_12", endpoint, estimand, site_id)
    ]
    return row["n"], row["denominator"], row["pending"]


@pytest.mark.parametrize(
    ("endpoint", "estimand", "today", "site_id", "expected"),
    [
        ("clinical_remission", "observed", 98, None, (1, 2, 0)),
        ("clinical_remission", "nri", 98, None, (1, 3, 0)),
        ("clinical_remission", "observed", 98, "site-b", (0, 0, 0)),
        ("clinical_remission", "nri", 98, "site-b", (0, 1, 0)),
        ("clinical_remission", "observed", 97, None, (0, 0, 3)),
        ("clinical_remission", "nri", 97, None, (0, 0, 3)),
        ("endoscopic_response", "observed", 98, None, (1, 1, 2)),  # in the window, not yet due
        ("endoscopic_response", "nri", 98, None, (0, 0, 2)),
        ("endoscopic_response", "observed", 126, None, (1, 1, 0)),
        ("endoscopic_response", "nri", 126, None, (1, 2, 0)),
        ("mucosal_healing", "nri", 126, None, (0, 2, 0)),  # the third has too little disease at baseline
    ],
)
def test_denominators(
    endpoint: str, estimand: str, today: int, site_id: str | None, expected: tuple[int, int, int]
) -> None:
    assert rate(endpoint, estimand, on(today), site_id) == expected


@pytest.mark.parametrize(
    ("endpoint", "estimand", "today", "worst", "best"),
    [
        ("clinical_remission", "observed", 97, 0, 1),  # all three are open
        ("clinical_remission", "observed", 98, 1 / 2, 1 / 2),
        ("clinical_remission", "nri", 98, 1 / 3, 1 / 3),
        ("endoscopic_response", "observed", 125, 0, 1),  # seen, but another value may still take its place
        ("endoscopic_response", "observed", 126, 1, 1),
        ("endoscopic_response", "nri", 126, 1 / 2, 1 / 2),
    ],
)
def test_where_a_rate_can_still_go(
    endpoint: str, estimand: str, today: int, worst: float, best: float
) -> None:
    (row,) = [
        r
        for r in twin.outcomes(COHORT, on(today))["cohort_rates"]
        if (r["timepoint"], r["endpoint"], r["estimand"], r["site_id"])
        == ("week_12", endpoint, estimand, None)
    ]
    assert (row["worst_case"], row["best_case"]) == (worst, best)


def test_a_rate_of_nobody_is_undefined() -> None:
    rows = twin.outcomes(COHORT, on(97))["cohort_rates"]
    (row,) = [
        r
        for r in rows
        if (r["timepoint"], r["endpoint"], r["estimand"], r["site_id"])
        == ("week_12", "clinical_response", "nri", None)
    ]
    assert (row["rate"], row["ci_low"], row["ci_high"]) == (None, None, None)

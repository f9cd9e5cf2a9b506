"""Cohort rates: R4.8, R7.3 and the denominators of the contract's section 7."""

from datetime import date
from typing import Any

import pytest
import twin
from rule_tables import statistics as tables
from rule_tables.statistics import COHORT
from stores import OUTCOMES, emptied, load, rows
from twin.builders import on
from twin.rates import clopper_pearson, wilson


@pytest.mark.parametrize(("n", "denominator", "by_wilson", "exact"), tables.LIMITS.params())
def test_limits(n: int, denominator: int, by_wilson: Any, exact: Any) -> None:
    assert tuple(round(100 * limit, 1) for limit in clopper_pearson(n, denominator)) == exact
    if by_wilson is not None:
        assert tuple(round(100 * limit, 1) for limit in wilson(n, denominator)) == by_wilson


def rate(endpoint: str, estimand: str, today: date, site_id: str | None = None) -> tuple[Any, ...]:
    (row,) = [
        r
        for r in twin.outcomes(COHORT, today)["cohort_rates"]
        if (r["timepoint"], r["endpoint"], r["estimand"], r["site_id"])
        == ("week_12", endpoint, estimand, site_id)
    ]
    return row["n"], row["denominator"], row["pending"]


@pytest.mark.parametrize(
    ("endpoint", "estimand", "today", "site_id", "n", "denominator", "pending"), tables.RATES.params()
)
def test_denominators(
    endpoint: str, estimand: str, today: int, site_id: str | None, n: int, denominator: int, pending: int
) -> None:
    assert rate(endpoint, estimand, on(today), site_id) == (n, denominator, pending)


def test_denominators_in_a_store() -> None:
    store = load(emptied(OUTCOMES, on(365)), [COHORT])
    for endpoint, estimand, today, site_id, *expected in (case.values for case in tables.RATES.cases):
        wanted = f"timepoint = 'week_12' AND endpoint = '{endpoint}' AND estimand = '{estimand}'"
        centre = "site_id IS NULL" if site_id is None else f"site_id = '{site_id}'"
        (row,) = rows(store, f"FROM cohort_rates_at(DATE '{on(today)}') WHERE {wanted} AND {centre}")
        assert [row["n"], row["denominator"], row["pending"]] == expected


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

"""Proportions over patients with their 95 % limits: `cohort_rates` (R4.8, R7.3; contract, section 7)."""

from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from math import comb
from typing import Any

Z = Decimal("1.959963984540054")  # the normal distribution's 97.5 % point
BY_THE_WINDOW = (
    "endoscopic_",
    "mucosal_",
    "ulcer_free",
    "stride2_healing",
    "crp_",
    "esr_",
    "fcal_",
    "trial_like_",
)
"""Endpoints that count as soon as their value is there; the clinical ones once they are due."""
DUE = ("final", "missed")
NOT_YET_DUE = ("not_due", "open", "provisional")


def wilson(n: int, denominator: int) -> tuple[float, float]:
    """The 95 % Wilson limits of a proportion, 0 to 1."""
    total, p = Decimal(denominator), Decimal(n) / denominator
    centre = p + Z * Z / (2 * total)
    half = Z * (p * (1 - p) / total + Z * Z / (4 * total * total)).sqrt()
    scale = 1 + Z * Z / total
    low = Decimal(0) if n == 0 else (centre - half) / scale
    high = Decimal(1) if n == denominator else (centre + half) / scale
    return float(low), float(high)


@cache
def clopper_pearson(n: int, denominator: int) -> tuple[float, float]:
    """The exact 95 % limits: the shares at which so many, or so few, would be seen in 2.5 % of samples."""
    return _lowest(n, denominator), 1 - _lowest(denominator - n, denominator)


def _lowest(n: int, denominator: int) -> float:
    """The share p with P(X >= n) = 2.5 %, X binomial, by halving; 0 for n = 0."""
    low, high = 0.0, 1.0 if n else 0.0
    for _ in range(60):
        p = (low + high) / 2
        at_least = sum(
            comb(denominator, k) * p**k * (1 - p) ** (denominator - k) for k in range(n, denominator + 1)
        )
        low, high = (p, high) if at_least < 0.025 else (low, p)
    return low


def _observed(row: dict[str, Any]) -> bool | None:
    """The observed result where it may be counted: clinical endpoints only once due."""
    clinical = not row["endpoint"].startswith(BY_THE_WINDOW)
    counts = row["population"] and (row["status"] in DUE or not clinical)
    return row["observed"] if counts else None


def _nri(row: dict[str, Any]) -> bool | None:
    return row["nri"] if row["population"] and row["status"] in DUE else None


def _locf(row: dict[str, Any]) -> bool | None:
    return row["locf"] if row["population"] and row["status"] in DUE else None


ESTIMANDS = {"observed": _observed, "nri": _nri, "locf": _locf}


def cohort_rows(outcomes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per protocol, timepoint, endpoint, drug, site (None: all) and estimand."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in outcomes:
        if row["drug"] is None:
            continue
        for site_id in (None, row["site_id"]):
            key = (row["protocol"], row["timepoint"], row["endpoint"], row["drug"], site_id)
            groups.setdefault(key, []).append(row)
    return [
        {
            **dict(zip(("protocol", "timepoint", "endpoint", "drug", "site_id"), key, strict=True)),
            "estimand": estimand,
            **_rate([result for row in rows if (result := counted(row)) is not None]),
            **_range(
                [result for row in rows if row["status"] in DUE and (result := counted(row)) is not None],
                sum(row["population"] and row["status"] in NOT_YET_DUE for row in rows),
            ),
        }
        for key, rows in groups.items()
        for estimand, counted in ESTIMANDS.items()
    ]


def _rate(results: list[bool]) -> dict[str, Any]:
    n, denominator = sum(results), len(results)
    ci_low, ci_high = wilson(n, denominator) if denominator else (None, None)
    exact = clopper_pearson(n, denominator) if denominator else (None, None)
    return {
        "n": n,
        "denominator": denominator,
        "rate": n / denominator if denominator else None,
        "ci_low": ci_low,
        "ci_high": ci_high,
        "ci_exact_low": exact[0],
        "ci_exact_high": exact[1],
    }


def _range(settled: list[bool], pending: int) -> dict[str, Any]:
    """Between which rates the one of all who are in the population will come out, if nobody drops out."""
    worst, best = settled + [False] * pending, settled + [True] * pending
    return {
        "pending": pending,
        "worst_case": sum(worst) / len(worst) if worst else None,
        "best_case": sum(best) / len(best) if best else None,
    }

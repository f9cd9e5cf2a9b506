"""Proportions over patients with Wilson intervals: `cohort_rates` (R4.8, R7.3; contract, section 7)."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

Z = Decimal("1.959963984540054")  # the normal distribution's 97.5 % point
CLINICAL_ENDPOINTS = ("clinical_response", "clinical_remission")
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


def _observed(row: dict[str, Any]) -> bool | None:
    """The observed result where it may be counted: clinical endpoints only once due."""
    clinical = row["endpoint"] in CLINICAL_ENDPOINTS
    counts = row["population"] and (row["status"] in DUE or not clinical)
    return row["observed"] if counts else None


def _nri(row: dict[str, Any]) -> bool | None:
    return row["nri"] if row["population"] and row["status"] in DUE else None


ESTIMANDS = {"observed": _observed, "nri": _nri}


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
            "pending": sum(row["population"] and row["status"] in NOT_YET_DUE for row in rows),
        }
        for key, rows in groups.items()
        for estimand, counted in ESTIMANDS.items()
    ]


def _rate(results: list[bool]) -> dict[str, Any]:
    n, denominator = sum(results), len(results)
    ci_low, ci_high = wilson(n, denominator) if denominator else (None, None)
    return {
        "n": n,
        "denominator": denominator,
        "rate": n / denominator if denominator else None,
        "ci_low": ci_low,
        "ci_high": ci_high,
    }

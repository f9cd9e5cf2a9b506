"""From patients to odds ratios: which model is fitted to whom, and what is said of it (R7.1, R7.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, isfinite

import numpy as np
from numpy.typing import NDArray

from services.statistics.logistic import Estimate, Floats, Model, NoFit, Patterns

UNITS: Mapping[str, tuple[float, str]] = {
    "baseline_cdai": (10, "10 points"),
    "baseline_ses_cd": (1, "1 point"),
    "baseline_crp": (10, "10 mg/L"),
    "baseline_fcal": (100, "100 ug/g"),
    "age": (10, "10 years"),
    "male_sex": (1, "male against female"),
    "disease_duration": (5, "5 years"),
    "prior_biologics": (1, "1 drug"),
    "perianal_disease": (1, "yes against no"),
    "complicated_behaviour": (1, "B2 or B3 against B1"),
    "colonic_disease": (1, "L2 or L3 against L1 or L4"),
}
"""Predictor -> the difference that its odds ratio is for, as a number and in words."""

EVENTS_FOR_ML = 10
"""Events, and patients without, for each predictor, below which Firth's method is used (R7.2)."""
EVENTS_FOR_ANY = 5
"""Below this a model of several predictors is not fitted at all: with 18 endoscopies, one at a time (R7.1)."""
DIGITS = 9
"""Significant digits kept: what lies beyond comes from the order of additions."""


@dataclass(frozen=True)
class Cases:
    """The patients who count for one endpoint, in any order: their outcome and what was known of them.

    `outcome` is 1, 0 or NaN where it is unknown; `known` holds an array per predictor, NaN where it is unknown.
    """

    protocol: str
    timepoint: str
    endpoint: str
    outcome: Floats
    known: Mapping[str, Floats]


@dataclass(frozen=True)
class Predictor:
    """A row of `predictors`. Numbers that cannot be estimated are null.

    `dropped`: patients who count for the endpoint and are not in the model, for want of an outcome or a predictor;
    `missing`: those of them of whom this predictor is unknown.
    """

    protocol: str
    timepoint: str
    endpoint: str
    predictor: str
    model: str
    unit: str
    odds_ratio: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    n: int
    events: int
    missing: int
    dropped: int
    mean: float | None
    method: str | None
    separation: bool


def analyse(cases: Cases, univariable: Sequence[str], multivariable: Sequence[str]) -> list[Predictor]:
    """One row for each predictor by itself, then for those taken together."""
    rows = [row for name in univariable for row in _model(cases, "univariable", [name])]
    if len(multivariable) > 1:
        rows += _model(cases, "multivariable", multivariable)
    return rows


def _model(cases: Cases, model: str, names: Sequence[str]) -> list[Predictor]:
    """One row for each predictor of one model, over the patients of whom all of it is known."""
    x = np.column_stack([cases.known[name] / UNITS[name][0] for name in names])
    complete: NDArray[np.bool_] = ~np.isnan(x).any(axis=1) & ~np.isnan(cases.outcome)
    n, events = int(complete.sum()), int((cases.outcome[complete] == 1).sum())
    method, separation, estimates = None, False, None
    if min(events, n - events) >= (EVENTS_FOR_ANY * len(names) if len(names) > 1 else 1):
        method, separation, estimates = _fit(x[complete], cases.outcome[complete] == 1)
    return [
        Predictor(
            cases.protocol, cases.timepoint, cases.endpoint, name, model, UNITS[name][1],
            *_figures(estimates[number] if estimates else None),
            n=n, events=events,
            missing=int(np.isnan(x[:, number]).sum()), dropped=len(x) - n,
            mean=_rounded(float(np.sort(x[complete, number]).mean()) * UNITS[name][0]) if n else None,
            method=method if estimates else None, separation=separation,
        )
        for number, name in enumerate(names)
    ]  # fmt: skip


def _fit(x: Floats, outcome: NDArray[np.bool_]) -> tuple[str, bool, list[Estimate] | None]:
    """Method, whether the data are separated, and estimates; None where the data determine none."""
    data = Patterns.of(x, outcome)
    rarer = min(outcome.sum(), (~outcome).sum())
    try:
        separation = Model(data, firth=False).is_separated()
        method = "firth" if separation or rarer < EVENTS_FOR_ML * x.shape[1] else "ml"
        return method, separation, Model(data, firth=method == "firth").estimates()
    except NoFit:
        return "", False, None


def _figures(estimate: Estimate | None) -> tuple[float | None, float | None, float | None, float | None]:
    """Odds ratio, its limits and p; a limit that lies beyond all numbers is null."""
    if estimate is None:
        return None, None, None, None
    ratio, low, high = (_odds(value) for value in (estimate.coefficient, estimate.low, estimate.high))
    return ratio, low, high, _rounded(estimate.p_value)


def _odds(coefficient: float) -> float | None:
    return _rounded(exp(coefficient)) if isfinite(coefficient) and abs(coefficient) < 700 else None


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(("protocol", "timepoint", "endpoint", "predictor", "model", "unit"), "VARCHAR"),
    **dict.fromkeys(("odds_ratio", "ci_low", "ci_high", "p_value"), "DOUBLE"),
    **dict.fromkeys(("n", "events", "missing", "dropped"), "BIGINT"),
    "mean": "DOUBLE",
    "method": "VARCHAR",
    "separation": "BOOLEAN",
}
"""The table `predictors`, in the order of `Predictor`."""


def as_row(predictor: Predictor) -> dict[str, object]:
    """Column -> value."""
    return asdict(predictor)

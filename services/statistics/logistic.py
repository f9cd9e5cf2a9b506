"""Logistic regression by maximum likelihood and by Firth's penalised likelihood, with profile-likelihood intervals.

Data are patterns: rows of `x` that share their values of all predictors, with how many of how many had the event. So a
large registry costs as much as its distinct values. Sources: Firth 1993, Heinze and Schemper 2002 (clinical R7.2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, inf, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHI_SQUARED_95 = 3.841458820694124
"""The 95 % point of the chi-squared distribution with one degree of freedom."""
LARGEST_STEP = 3.0
TOLERANCE = 1e-11
"""A fit has converged when no linear predictor moves by more, relative to its size."""
FIT_STEPS = 300
NEWTON_STEPS = 40
"""Newton's method reaches a maximum that exists in far fewer; where none does, it goes on and on."""
LIMIT_STEPS = 100
FURTHEST = 1e4
"""Standard errors away from the estimate, beyond which a limit counts as infinite."""


class NoFit(Exception):
    """The data determine no model: no events, or nothing but events, or a predictor that the others determine."""


@dataclass(frozen=True)
class Patterns:
    """`x`: a row per pattern, a column per predictor; `events` of `trials` in each."""

    x: Floats
    events: Floats
    trials: Floats

    @classmethod
    def of(cls, x: Floats, outcome: NDArray[np.bool_]) -> "Patterns":
        """Patterns of single observations, in a fixed order whatever the order of the observations."""
        patterns, which = np.unique(x, axis=0, return_inverse=True)
        which = which.reshape(-1)
        size = len(patterns)
        return cls(
            patterns,
            np.bincount(which, outcome, minlength=size).astype(np.float64),
            np.bincount(which, minlength=size).astype(np.float64),
        )


@dataclass(frozen=True)
class Estimate:
    """Of one predictor: the log odds ratio per unit, its 95 % limits (perhaps infinite) and the p-value."""

    coefficient: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class _Fit:
    coefficients: Floats
    likelihood: float
    covariance: Floats


class Model:
    """A logistic model with an intercept. Predictors are centred and scaled inside, which changes no estimate."""

    def __init__(self, data: Patterns, *, firth: bool) -> None:
        """Raises NoFit where the data determine no model."""
        if not 0 < data.events.sum() < data.trials.sum():
            raise NoFit
        self._firth = firth
        self._events, self._trials = data.events, data.trials
        weights = data.trials / data.trials.sum()
        centred = data.x - weights @ data.x
        self._scale = np.sqrt(weights @ centred**2)
        if not np.all(self._scale > 1e-9 * (1 + np.abs(data.x).max(axis=0, initial=0))):
            raise NoFit
        self._x = np.column_stack([np.ones(len(data.x)), centred / self._scale])
        if np.linalg.matrix_rank(self._x * np.sqrt(data.trials)[:, None], tol=1e-7) < self._x.shape[1]:
            raise NoFit

    def is_separated(self) -> bool:
        """Whether some combination of predictors tells events from the rest, so that no maximum likelihood exists."""
        try:
            self._climb(self._start(), None, firth=False, steps=NEWTON_STEPS)
        except NoFit:
            return True
        return False

    def estimates(self) -> list[Estimate]:
        """One for each predictor, by profile likelihood. Raises NoFit where there is no finite maximum."""
        best = self._climb(self._start(), None, firth=self._firth, steps=FIT_STEPS)
        return [self._estimate(best, number) for number in range(1, self._x.shape[1])]

    def _estimate(self, best: _Fit, number: int) -> Estimate:
        def drop(value: float) -> float:
            """Twice what the likelihood loses with the coefficient held at `value`."""
            start = best.coefficients.copy()
            start[number] = value
            held = self._climb(start, number, firth=self._firth, steps=FIT_STEPS)
            return max(0.0, 2 * (best.likelihood - held.likelihood))

        at = float(best.coefficients[number])
        step = sqrt(best.covariance[number, number])
        low, high = (_limit(drop, at, sign * step) for sign in (-1.0, 1.0))
        scale = float(self._scale[number - 1])
        return Estimate(at / scale, low / scale, high / scale, erfc(sqrt(drop(0.0) / 2)))

    def _start(self) -> Floats:
        coefficients = np.zeros(self._x.shape[1])
        share = self._events.sum() / self._trials.sum()
        coefficients[0] = log(share / (1 - share))
        return coefficients

    def _climb(self, coefficients: Floats, held: int | None, *, firth: bool, steps: int) -> _Fit:
        """The maximum of the (penalised) likelihood, with one coefficient held at its value if told so.

        The penalty is that of the whole model also where a coefficient is held: a likelihood ratio compares models
        under one penalty.
        """
        free = [number for number in range(len(coefficients)) if number != held]
        likelihood, score, information = self._at(coefficients, firth)
        for _ in range(steps):
            step = np.zeros_like(coefficients)
            step[free] = _solve(information[np.ix_(free, free)], score[free])
            largest = float(np.abs(step).max(initial=0.0))
            if largest > LARGEST_STEP:
                step *= LARGEST_STEP / largest
            if np.abs(self._x @ step).max() <= TOLERANCE * (1 + np.abs(self._x @ coefficients).max()):
                return _Fit(coefficients, likelihood, _inverse(information))
            for _ in range(30):  # halve until the likelihood does not fall
                tried = coefficients + step
                found = self._at(tried, firth)
                if found[0] >= likelihood - 1e-12 * (1 + abs(likelihood)):
                    break
                step /= 2
            coefficients = tried
            likelihood, score, information = found
        raise NoFit

    def _at(self, coefficients: Floats, firth: bool) -> tuple[float, Floats, Floats]:
        """Log likelihood, score and information."""
        eta = self._x @ coefficients
        p = 1 / (1 + np.exp(-np.clip(eta, -700, 700)))
        q = 1 / (1 + np.exp(np.clip(eta, -700, 700)))
        failures = self._trials - self._events
        likelihood = -float(self._events @ np.logaddexp(0, -eta) + failures @ np.logaddexp(0, eta))
        weights = self._trials * p * q
        information = self._x.T @ (weights[:, None] * self._x)
        residual = self._events * q - failures * p
        if firth:
            sign, log_determinant = np.linalg.slogdet(information)
            likelihood = likelihood + float(log_determinant) / 2 if sign > 0 else -inf
            if isfinite(likelihood):
                hats = weights * np.einsum("ij,jk,ik->i", self._x, _inverse(information), self._x)
                residual = residual + hats * (0.5 - p)
        return likelihood, self._x.T @ residual, information


def _limit(drop: Callable[[float], float], at: float, step: float) -> float:
    """Where the profile has dropped by the 95 % point, beyond `at` in the direction of `step`.

    The root of the drop is nearly straight, so that false position (Illinois) takes a few steps.
    """
    goal = sqrt(CHI_SQUARED_95)
    inner, gap_inner = at, -goal
    outer = at + 2 * step
    while (gap_outer := sqrt(drop(outer)) - goal) < 0:
        if abs(outer - at) > FURTHEST * abs(step):
            return inf if step > 0 else -inf
        inner, gap_inner = outer, gap_outer
        outer = at + 2 * (outer - at)
    for _ in range(LIMIT_STEPS):
        tried = outer - gap_outer * (outer - inner) / (gap_outer - gap_inner)
        gap = sqrt(drop(tried)) - goal
        if abs(gap) < 1e-10 or abs(outer - inner) < 1e-13 * (1 + abs(tried)):
            return tried
        if gap * gap_outer < 0:
            inner, gap_inner = outer, gap_outer
        else:
            gap_inner /= 2
        outer, gap_outer = tried, gap
    return outer


def _solve(matrix: Floats, vector: Floats) -> Floats:
    try:
        found = np.asarray(np.linalg.solve(matrix, vector), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise NoFit from None
    if not np.all(np.isfinite(found)):
        raise NoFit
    return found


def _inverse(matrix: Floats) -> Floats:
    return _solve(matrix, np.eye(len(matrix)))

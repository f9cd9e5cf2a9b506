"""Logistic regression beside published figures, another implementation, and its own symmetries (R7.2)."""

from collections.abc import Sequence
from math import exp, log, nan

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rule_tables.statistics import REGRESSION, REMISSION_BY_CDAI
from scipy.optimize import linprog
from scipy.stats import chi2
from statsmodels.discrete.discrete_model import Logit
from statsmodels.tools import add_constant

from services.statistics.logistic import Estimate, Model, NoFit, Patterns


def patterns(x: Sequence[Sequence[float]] | Sequence[float], outcome: Sequence[int]) -> Patterns:
    columns = np.array(x, dtype=np.float64).reshape(len(outcome), -1)
    return Patterns.of(columns, np.array(outcome, dtype=bool))


def odds(estimate: Estimate) -> tuple[float, float, float]:
    return exp(estimate.coefficient), exp(estimate.low), exp(estimate.high)


@pytest.mark.parametrize(("data", "per", "method", "ratio", "limits"), REGRESSION.params())
def test_the_data_of_the_rule(
    data: dict[int, int], per: int, method: str, ratio: float | None, limits: tuple[float, float] | None
) -> None:
    model = Model(patterns([score / per for score in data], list(data.values())), firth=method == "Firth")
    if ratio is None:
        assert model.is_separated()
        with pytest.raises(NoFit):
            model.estimates()
        return
    (slope,) = model.estimates()
    found = tuple(round(value, 3) for value in odds(slope))
    assert found[0] == ratio
    assert limits in (None, found[1:])


def test_the_slopes_of_the_rule() -> None:
    data = patterns([(cdai - 250) / 10 for cdai in REMISSION_BY_CDAI], list(REMISSION_BY_CDAI.values()))
    slopes = [Model(data, firth=firth).estimates()[0].coefficient for firth in (False, True)]
    assert [round(slope, 4) for slope in slopes] == [-0.3504, -0.2739]


def test_an_empty_cell() -> None:
    """3 of 5 exposed, 0 of 10 others: ln 29.4, and logistf's limits."""
    (exposure,) = Model(patterns([1] * 5 + [0] * 10, [1, 1, 1] + [0] * 12), firth=True).estimates()
    assert exposure.coefficient == pytest.approx(log(29.4), abs=1e-9)
    assert (exposure.low, exposure.high) == pytest.approx((0.6744, 8.4118), abs=5e-5)


@pytest.mark.parametrize(
    "table", [(3, 2, 0, 10), (1, 9, 9, 1), (4, 4, 4, 4), (0, 7, 3, 30), (50, 10, 20, 40)]
)
def test_firth_of_two_groups_adds_one_half_to_each_cell(table: tuple[int, int, int, int]) -> None:
    a, b, c, d = table
    data = patterns([1] * (a + b) + [0] * (c + d), [1] * a + [0] * b + [1] * c + [0] * d)
    (group,) = Model(data, firth=True).estimates()
    assert group.coefficient == pytest.approx(log((a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5))), abs=1e-9)


# -- another implementation --------------------------------------------------------------------------------------


def drawn(n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(7)
    x = np.column_stack(
        [chance.normal(0, 1, n).round(2), chance.integers(-3, 4, n), chance.integers(0, 2, n)]
    )
    return x, chance.random(n) < 1 / (1 + np.exp(x[:, 0] + x[:, 1] / 3 - x[:, 2]))


def test_several_predictors_agree_with_another_implementation() -> None:
    x, outcome = drawn()
    fit = Logit(outcome.astype(float), add_constant(x)).fit(disp=0, tol=1e-12)
    found = Model(Patterns.of(x, outcome), firth=False).estimates()
    assert [e.coefficient for e in found] == pytest.approx(fit.params[1:], abs=1e-7)
    for number, estimate in enumerate(found):
        without = Logit(outcome.astype(float), add_constant(np.delete(x, number, axis=1))).fit(
            disp=0, tol=1e-12
        )
        assert estimate.p_value == pytest.approx(chi2.sf(2 * (fit.llf - without.llf), 1), rel=1e-6)
        for limit in (estimate.low, estimate.high):  # there the likelihood has dropped by 3.84 / 2
            offset = limit * x[:, number]
            held = Logit(
                outcome.astype(float), add_constant(np.delete(x, number, axis=1)), offset=offset
            ).fit(disp=0, tol=1e-12)
            assert 2 * (fit.llf - held.llf) == pytest.approx(3.841458820694124, abs=1e-6)


@st.composite
def small_data(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    columns = draw(st.integers(1, 2))
    row = st.tuples(*[st.integers(0, 4)] * columns, st.booleans())
    rows = draw(st.lists(row, min_size=4, max_size=14))
    x = np.array([r[:-1] for r in rows], dtype=np.float64)
    return x, np.array([r[-1] for r in rows])


@given(small_data())
def test_separation_is_found_exactly_where_a_plane_separates(data: tuple[np.ndarray, np.ndarray]) -> None:
    x, outcome = data
    try:
        model = Model(Patterns.of(x, outcome), firth=False)
    except NoFit:
        assume(False)
    signed = np.where(outcome, 1.0, -1.0)[:, None] * add_constant(x, has_constant="add")
    most = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(x)), bounds=(-1, 1))
    assert model.is_separated() == (-most.fun > 1e-7)


# -- symmetries --------------------------------------------------------------------------------------------------


@given(small_data(), st.randoms(use_true_random=False))
def test_firths_estimate_exists_and_does_not_depend_on_order_units_or_which_outcome_is_counted(
    data: tuple[np.ndarray, np.ndarray], shuffle: object
) -> None:
    x, outcome = data
    try:
        found = Model(Patterns.of(x, outcome), firth=True).estimates()
    except NoFit:
        assume(False)
    order = list(range(len(x)))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    assert Model(Patterns.of(x[order], outcome[order]), firth=True).estimates() == found
    mirrored = Model(Patterns.of(x, ~outcome), firth=True).estimates()
    scaled = Model(Patterns.of(x / 10 + 3, outcome), firth=True).estimates()
    for here, there, tenfold in zip(found, mirrored, scaled, strict=True):
        assert here.low <= here.coefficient <= here.high
        assert (here.p_value < 0.05) == (here.low > 0 or here.high < 0)
        assert there.coefficient == pytest.approx(-here.coefficient, abs=1e-7)
        assert there.p_value == pytest.approx(here.p_value, abs=1e-7)
        assert tenfold.coefficient == pytest.approx(10 * here.coefficient, abs=1e-6)


@pytest.mark.parametrize(
    ("x", "outcome"),
    [
        ([1, 2, 3], [0, 0, 0]),
        ([1, 2, 3], [1, 1, 1]),
        ([2, 2, 2], [0, 1, 0]),
        ([[1, 2], [2, 4], [3, 6], [4, 8]], [0, 1, 0, 1]),
    ],
    ids=["no events", "nothing but events", "no variation", "one twice the other"],
)
def test_what_determines_no_model_is_refused(x: list[float], outcome: list[int]) -> None:
    with pytest.raises(NoFit):
        Model(patterns(x, outcome), firth=True).estimates()


def test_patterns_count_equal_rows_once() -> None:
    data = patterns([2, 1, 2, 2], [1, 0, 0, 1])
    assert (data.x.tolist(), data.events.tolist(), data.trials.tolist()) == ([[1], [2]], [0, 2], [1, 3])


def test_many_patients_cost_as_much_as_their_distinct_values() -> None:
    once, outcome = [(cdai - 250) / 10 for cdai in REMISSION_BY_CDAI], list(REMISSION_BY_CDAI.values())
    many = Model(patterns(once * 2_000, outcome * 2_000), firth=False)
    (slope,) = many.estimates()
    assert slope.coefficient == pytest.approx(-0.3504, abs=5e-5)
    assert slope.high - slope.low < 0.02
    assert nan not in (slope.low, slope.high)

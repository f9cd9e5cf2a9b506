"""Limits of proportions, as the store's SQL macros compute them, beside exact references and their own properties."""

from collections.abc import Iterator, Sequence
from math import comb
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy.stats import beta, binom

SQL = Path("services/outcomes/sql")
Z = {0.025: 1.959963984540054, 0.001: 3.090232306167813}


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        for name in ("macros", "limits"):
            con.execute((SQL / f"{name}.sql").read_text(encoding="utf-8"))
        yield con


def columns(con: duckdb.DuckDBPyConnection, sql: str, pairs: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """`sql` over a table `pairs (n, of)`, as arrays in order."""
    pairs_ = {"n": np.array([n for n, _ in pairs]), "of": np.array([of for _, of in pairs])}
    con.register("arrived", pairs_)
    con.execute("CREATE OR REPLACE TEMP TABLE pairs AS SELECT row_number() OVER () AS i, * FROM arrived")
    return con.execute(f"SELECT * EXCLUDE (i) FROM ({sql}) ORDER BY i").fetchnumpy()


EXACT = "SELECT i, exact.low, exact.high FROM (SELECT *, exact_limits(n, of) AS exact FROM pairs)"


def test_exact_limits_of_every_count_up_to_150(con: duckdb.DuckDBPyConnection) -> None:
    assert_exact(con, [(n, of) for of in range(1, 151) for n in range(of + 1)])


def test_exact_limits_of_large_registries(con: duckdb.DuckDBPyConnection) -> None:
    edges = [0, 1, 2, 3, 4, 5, 10, 20, 50]
    assert_exact(
        con,
        [
            (n, of)
            for of in (151, 333, 1_000, 4_567, 20_000, 99_991, 100_000)
            for n in (*edges, *(round(of * share / 40) for share in range(1, 40)), *(of - n for n in edges))
        ],
    )


def assert_exact(con: duckdb.DuckDBPyConnection, pairs: list[tuple[int, int]]) -> None:
    found = columns(con, EXACT, pairs)
    n, of = (np.array(numbers) for numbers in zip(*pairs, strict=True))
    low = np.where(n == 0, 0, beta.ppf(0.025, np.maximum(n, 1), of - n + 1))
    high = np.where(n == of, 1, beta.ppf(0.975, n + 1, np.maximum(of - n, 1)))
    assert np.abs(found["low"] - low).max() < 1e-9
    assert np.abs(found["high"] - high).max() < 1e-9


def test_exact_limits_without_a_denominator_do_not_exist(con: duckdb.DuckDBPyConnection) -> None:
    assert con.execute("SELECT exact_limits(0, 0), wilson_low(0, 0)").fetchall() == [(None, None)]


def test_limits_of_failures_mirror_those_of_successes(con: duckdb.DuckDBPyConnection) -> None:
    pairs = [(n, 30) for n in range(31)]
    found = columns(con, EXACT, pairs)
    assert found["low"] == pytest.approx(1 - found["high"][::-1], abs=1e-15)
    assert np.all(np.diff(found["low"]) > 0)
    assert np.all(np.diff(found["high"]) > 0)


@pytest.mark.parametrize("of", [1, 2, 5, 10, 30, 77])
def test_exact_limits_hold_the_truth_at_least_95_times_of_100(
    con: duckdb.DuckDBPyConnection, of: int
) -> None:
    found = columns(con, EXACT, [(n, of) for n in range(of + 1)])
    n = np.arange(of + 1)
    for p in np.linspace(0.003, 0.997, 143):
        covered = binom.pmf(n, of, p)[(found["low"] <= p) & (p <= found["high"])].sum()
        assert covered >= 0.95 - 1e-12


# -- funnel ------------------------------------------------------------------------------------------------------

FUNNEL = "SELECT i, f.* FROM (SELECT *, funnel_limits(n, of) AS f FROM pairs)"
"""Here `of` is the target."""


def test_control_limits_by_hand(con: duckdb.DuckDBPyConnection) -> None:
    # 10 patients, target one half: P(X <= 1) = 11/1024 = 0.0107, P(X <= 2) = 56/1024 = 0.0547;
    # 2.5 % lies (25.6 - 11)/45 of the way from 1 to 2, and 0.1 % (1.024 - 1)/10 of the way from 0 to 1
    (row,) = con.execute("SELECT unnest(funnel_limits(10, 0.5::DOUBLE))").fetchall()
    low_95, low_998 = (1 + (25.6 - 11) / 45) / 10, (0.024 / 10) / 10
    assert row == pytest.approx((low_95, 1 - low_95, low_998, 1 - low_998), abs=1e-12)


@pytest.mark.parametrize(("target", "limits"), [(0.0, (0, 0, 0, 0)), (1.0, (1, 1, 1, 1))])
def test_control_limits_around_nobody_and_everybody(
    con: duckdb.DuckDBPyConnection, target: float, limits: tuple[int, ...]
) -> None:
    assert con.execute(f"SELECT unnest(funnel_limits(7, {target}::DOUBLE))").fetchall() == [limits]


@pytest.mark.parametrize("target", [0.01, 0.1, 0.35, 0.5, 0.8, 0.99])
def test_a_count_is_outside_exactly_where_its_tail_is_too_thin(
    con: duckdb.DuckDBPyConnection, target: float
) -> None:
    sizes = [1, 2, 3, 5, 8, 20, 55, 200]
    found = columns(con, FUNNEL, [(size, target) for size in sizes])
    for i, size in enumerate(sizes):
        terms = [comb(size, k) * target**k * (1 - target) ** (size - k) for k in range(size + 1)]
        for k in range(size + 1):
            for tail, name in ((0.025, "95"), (0.001, "998")):
                assert (k / size < found[f"low_{name}"][i] - 1e-12) == (sum(terms[: k + 1]) < tail)
                assert (k / size > found[f"high_{name}"][i] + 1e-12) == (sum(terms[k:]) < tail)


def test_control_limits_are_interpolated_between_counts_for_large_centres_too(
    con: duckdb.DuckDBPyConnection,
) -> None:
    pairs = [(n, p) for n in (250, 3_000, 100_000) for p in (0.0004, 0.03, 0.351, 0.5, 0.77, 0.999)]
    found = columns(con, FUNNEL, pairs)
    for i, (n, p) in enumerate(pairs):
        for tail, name in ((0.025, "95"), (0.001, "998")):
            assert found[f"low_{name}"][i] == pytest.approx(interpolated(n, p, tail), abs=1e-9)
            assert found[f"high_{name}"][i] == pytest.approx(1 - interpolated(n, 1 - p, tail), abs=1e-9)


def interpolated(n: int, p: float, tail: float) -> float:
    """Spiegelhalter's limit below: r - (F(r) - tail) / (F(r) - F(r - 1)), r the smallest with F(r) >= tail."""
    r = next(k for k in range(max(0, int(n * p - 6 * (n * p) ** 0.5)), n + 1) if binom.cdf(k, n, p) >= tail)
    at, before = binom.cdf(r, n, p), binom.cdf(r - 1, n, p)
    return float(max(0.0, r - (at - tail) / (at - before)) / n)

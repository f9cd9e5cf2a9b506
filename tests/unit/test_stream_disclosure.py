"""What may be shown of figures made of few patients."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.stream.disclosure import Figures

FIGURES = Figures(group=("endpoint",), cells=("n", ("denominator", "n")), hidden=("n", "denominator"))


def table(*centres: tuple[int, int]) -> list[dict[str, Any]]:
    """A pooled row and its centres, from (successes, failures) of each."""
    good, bad = (sum(cells) for cells in zip(*centres, strict=True))
    rows = [(None, good, bad), *((f"S{i:02}", *cells) for i, cells in enumerate(centres, 1))]
    return [{"endpoint": "e", "site_id": site, "n": n, "denominator": n + m} for site, n, m in rows]


def hidden(rows: list[dict[str, Any]]) -> list[str]:
    assert all((row["n"] is None) == (row["denominator"] is None) == row.get("masked", False) for row in rows)
    return [row["site_id"] or "all" for row in rows if row["n"] is None]


@pytest.mark.parametrize(
    ("centres", "gone"),
    [
        ([(9, 9), (5, 5)], []),
        ([(9, 9), (0, 5)], []),  # nobody is no small cell
        ([(9, 9), (4, 9)], ["S01", "S02"]),  # one alone is the sum less the other
        ([(9, 9), (9, 4)], ["S01", "S02"]),
        ([(9, 9), (4, 9), (7, 7)], ["S02", "S03"]),  # the next smallest
        ([(9, 9), (4, 9), (3, 9)], ["S02", "S03"]),  # together 7: enough
        ([(9, 9), (2, 9), (2, 9), (8, 8)], ["S02", "S03", "S04"]),  # together 4: one more
        ([(9, 9), (4, 9), (0, 7)], ["S01", "S02", "S03"]),  # the next smallest adds nobody to the small cell
        ([(0, 9), (3, 9)], ["all", "S02"]),  # the sum itself is small
        ([(1, 1)], ["all", "S01"]),
    ],
)
def test_for_sharing(centres: list[tuple[int, int]], gone: list[str]) -> None:
    assert hidden(FIGURES.for_sharing(table(*centres))) == gone


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=6))
def test_no_small_cell_can_be_worked_out_from_what_is_shared(centres: list[tuple[int, int]]) -> None:
    rows = table(*centres)
    pooled, *shown = FIGURES.for_sharing(rows)
    for row in (pooled, *shown):
        assert row["n"] is None or not {row["n"], row["denominator"] - row["n"]} & {1, 2, 3, 4}
    if pooled["n"] is not None:
        left = pooled["n"] - sum(row["n"] or 0 for row in shown)
        failed = pooled["denominator"] - pooled["n"]
        failed_left = failed - sum(row["denominator"] - row["n"] for row in shown if row["n"] is not None)
        assert not {left, failed_left} & {1, 2, 3, 4}


def test_each_group_is_judged_by_itself() -> None:
    rows = [*table((9, 9), (1, 9)), *({**row, "endpoint": "f"} for row in table((9, 9), (9, 9)))]
    found = FIGURES.for_sharing(rows)
    assert hidden(found[:3]) == ["S01", "S02"]
    assert hidden(found[3:]) == []


def test_a_centre_sees_its_own_small_cells() -> None:
    rows = [row for row in table((2, 3), (20, 20)) if row["site_id"] in (None, "S01")]
    assert hidden(FIGURES.for_centres(rows)) == []

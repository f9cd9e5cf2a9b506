"""Figures of the cohort: rates, changes from baseline and funnel plots, each as far as a caller may see it."""

import asyncio
from datetime import date
from functools import partial

from services.runtime.tokens import Caller
from services.stream.cache import PerDay
from services.stream.disclosure import Figures
from services.stream.http import Row, visible
from services.stream.node import Node

RATES = Figures(
    group=("protocol", "timepoint", "endpoint", "drug", "estimand"),
    cells=("n", ("denominator", "n"), "pending"),
    hidden=(
        *("n", "denominator", "rate", "ci_low", "ci_high", "ci_exact_low", "ci_exact_high", "pending"),
        *("worst_case", "best_case"),
    ),
)
CHANGES = Figures(
    group=("protocol", "timepoint", "parameter", "drug"),
    cells=("n",),
    hidden=(
        "n",
        *(f"{of}_{point}" for of in ("baseline", "value", "change") for point in ("q1", "median", "q3")),
    ),
)
OF_CENTRE = ("n", "denominator", "rate")
OF_TARGET = ("target", "low_95", "high_95", "low_998", "high_998", "flag", "dispersion")
"""What in a funnel says something of the centre, and what of all centres together."""

ORDER = "ORDER BY protocol, timepoint, {of}"


class CohortReader:
    """Asks the store for figures, at most once a commit. Days are None for today.

    `shared`: fit to be passed on, small cells hidden in every centre's rows and so that nothing gives them away.
    Callers bound to centres get the pooled rows and their own; small cells of the pooled ones are always hidden.
    """

    def __init__(self, node: Node, slow: asyncio.Semaphore) -> None:
        """`slow`: held by whoever reads every event."""
        self._node = node
        self._slow = slow
        of_endpoint = "endpoint, drug, site_id NULLS FIRST, estimand DESC"
        of_parameter = "parameter, drug, site_id NULLS FIRST"
        self._rates = PerDay(node, partial(self._read, "cohort_rates", of_endpoint), ahead=True)
        self._changes = PerDay(node, partial(self._read, "cohort_changes", of_parameter))
        self._funnel = PerDay(node, partial(self._read, "cohort_funnel", of_endpoint))

    async def rates(self, caller: Caller, day: date | None, *, shared: bool = False) -> list[Row]:
        """`cohort_rates`."""
        return _fit(await self._rates.get(day), RATES, caller, shared)

    async def changes(self, caller: Caller, day: date | None, *, shared: bool = False) -> list[Row]:
        """`cohort_changes`."""
        return _fit(await self._changes.get(day), CHANGES, caller, shared)

    async def funnel(self, caller: Caller, day: date | None, *, shared: bool = False) -> list[Row]:
        """`cohort_funnel`, without what `rates` would not show of the same centre or of all."""
        rows = visible(await self._funnel.get(day), caller)
        hidden = {
            _place(row) for row in await self.rates(caller, day, shared=shared) if row.get("masked", False)
        }
        return [_less(row, hidden) for row in rows]

    async def _read(self, name: str, of: str, day: date | None) -> list[Row]:
        order = ORDER.format(of=of)
        if day is None:
            return await self._node.read(f"SELECT * FROM {name} {order}")
        async with self._slow:
            return await self._node.read(f"SELECT * FROM {name}_at(DATE '{day}') {order}")


def _fit(rows: list[Row], figures: Figures, caller: Caller, shared: bool) -> list[Row]:
    if shared:
        rows = figures.for_sharing(rows)
    if caller.sites is None:
        return rows
    seen = visible(rows, caller)
    return seen if shared else figures.for_centres(seen)


def _place(row: Row) -> tuple[object, ...]:
    return *(row[name] for name in RATES.group), row["site_id"]


def _less(row: Row, hidden: set[tuple[object, ...]]) -> Row:
    """A row of the funnel without what its centre's rate, or the pooled one, does not show."""
    place = _place(row)
    names = [
        *(OF_CENTRE if place in hidden else ()),
        *(OF_TARGET if {place, (*place[:-1], None)} & hidden else ()),
    ]
    return {**row, **dict.fromkeys(names), "masked": True} if names else row

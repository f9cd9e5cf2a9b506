"""Figures of the cohort: rates, changes from baseline and funnel plots, each as far as a caller may see it."""

import asyncio
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

from schemas.protocol import load_protocol
from schemas.protocol_model import BASELINE
from services.outcomes.exact_limits import ExactLimits
from services.runtime.cut import Cut, source_at
from services.runtime.tokens import Caller
from services.stream.cache import PerCut
from services.stream.disclosure import Figures
from services.stream.http import Row, Rows, visible
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
        *("n", "censored"),
        *(f"{of}_{point}" for of in ("baseline", "value", "change") for point in ("q1", "median", "q3")),
    ),
)
OF_CENTRE = ("n", "denominator", "rate")
OF_TARGET = ("target", "low_95", "high_95", "low_998", "high_998", "flag", "dispersion")
"""What in a funnel says something of the centre, and what of all centres together."""

OF_ENDPOINT = "endpoint, drug, site_id NULLS FIRST, estimand DESC"
ORDERS = {
    "cohort_counts": OF_ENDPOINT,
    "cohort_changes": "parameter, drug, site_id NULLS FIRST",
    "cohort_funnel": OF_ENDPOINT,
}


class Part(NamedTuple):
    """Which rows are read: of one timepoint or all, of one endpoint or all. A part costs a part of the whole."""

    timepoint: str | None = None
    endpoint: str | None = None


WHOLE = Part()
NOTHING = Part("", "")
"""All timepoints and endpoints that no protocol has share one empty answer."""


class CohortReader:
    """Asks the store for figures, at most once a commit. A cut of None is today's.

    `shared`: fit to be passed on, small cells hidden in every centre's rows and so that nothing gives them away.
    Callers bound to centres get the pooled rows and their own; small cells of the pooled ones are always hidden.
    """

    def __init__(self, node: Node, slow: asyncio.Semaphore) -> None:
        """`slow`: held by whoever reads every event."""
        self._node = node
        self._slow = slow
        protocols = [load_protocol(name) for name in node.settings.protocols]
        self._timepoints = {None, BASELINE, *(time for protocol in protocols for time in protocol.timepoint)}
        self._endpoints = {None, *(end.name for protocol in protocols for end in protocol.endpoints)}
        self._parts: dict[tuple[str, Part], PerCut[list[Row]]] = {}
        self._exact = ExactLimits(node)

    async def rates(
        self, caller: Caller, cut: Cut | None, part: Part = WHOLE, *, shared: bool = False
    ) -> list[Row]:
        """`cohort_rates`."""
        return _fit(await self._part("cohort_counts", part).get(cut), RATES, caller, shared)

    async def recent_rates(
        self, caller: Caller, cut: Cut | None, part: Part = WHOLE, *, shared: bool = False
    ) -> list[Row]:
        """`rates`, which of less than all may be a commit behind while data stream in (`PerCommit.recent`)."""
        return _fit(await self._part("cohort_counts", part).recent(cut), RATES, caller, shared)

    async def changes(
        self, caller: Caller, cut: Cut | None, part: Part = WHOLE, *, shared: bool = False
    ) -> list[Row]:
        """`cohort_changes`, which know no endpoints: a part is a timepoint."""
        return _fit(await self._part("cohort_changes", part).get(cut), CHANGES, caller, shared)

    async def funnel(
        self, caller: Caller, cut: Cut | None, part: Part = WHOLE, *, shared: bool = False
    ) -> list[Row]:
        """`cohort_funnel`, without what `rates` would not show of the same centre or of all."""
        rows = visible(await self._part("cohort_funnel", part).get(cut), caller)
        rates = await self.rates(caller, cut, part, shared=shared)
        hidden = {_place(row) for row in rates if row.get("masked", False)}
        return [_less(row, hidden) for row in rows]

    def _part(self, name: str, part: Part) -> PerCut[list[Row]]:
        known = part.timepoint in self._timepoints and part.endpoint in self._endpoints
        kept = (name, part if known else NOTHING)
        if kept not in self._parts:
            ahead = name == "cohort_counts" and kept[1] not in (WHOLE, NOTHING)
            self._parts[kept] = PerCut(self._node, partial(self._read, *kept), ahead=ahead)
        return self._parts[kept]

    async def _read(self, name: str, part: Part, cut: Cut | None) -> list[Row]:
        if part == NOTHING:
            return Rows()
        wanted = {column: value for column, value in part._asdict().items() if value is not None}
        where = " AND ".join(["true", *(f"{column} = ${column}" for column in wanted)])
        sql = (
            f"SELECT * FROM {source_at(name, cut)} WHERE {where} ORDER BY protocol, timepoint, {ORDERS[name]}"
        )
        async with self._slow if cut else nullcontext():
            rows = await self._node.read(sql, wanted)
        return Rows(await self._exact.added(rows) if name == "cohort_counts" else rows)


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

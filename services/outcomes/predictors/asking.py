"""Who may see which models, and those that are computed when asked for: of an earlier day, of one centre."""

import asyncio
from functools import partial

from services.outcomes.predictors.models import COLUMNS
from services.outcomes.predictors.reading import analyse_all, read_analyses
from services.runtime.cut import Cut
from services.runtime.tokens import Caller
from services.stream.disclosure import SMALLEST_CELL, Figures
from services.stream.http import Row
from services.stream.node import Node
from services.stream.settling import is_current, read

GROUP = ("protocol", "timepoint", "endpoint", "predictor", "model")
FIGURES = Figures(
    group=GROUP,
    cells=("events", ("n", "events")),
    hidden=[name for name in COLUMNS if name not in (*GROUP, "unit", "method")],
)
LEFT_OUT = ("missing", "dropped")


class PredictorReader:
    """Rows of `predictors` with a `site_id`: null over all centres, else of that centre's patients alone."""

    def __init__(self, node: Node, slow: asyncio.Semaphore) -> None:
        """`slow`: held by whoever reads every event."""
        self._node = node
        self._slow = slow

    async def rows(self, caller: Caller, cut: Cut | None, site_id: str | None) -> tuple[list[Row], bool]:
        """The rows, and whether they stand for the last commit.

        Over all centres, or of the centre asked for; callers bound to centres get theirs beside the pooled ones,
        which are hidden where a small cell stands behind them.
        """
        bound = caller.sites is not None
        own = [site_id] if site_id else sorted(caller.sites or ())
        found = [row for site in own if caller.may_see(site) for row in await self._computed(cut, site)]
        pooled, current = ([], True) if site_id and not bound else await self._pooled(cut)
        rows = [*pooled, *found]
        if bound:
            rows = [_without_few(row) for row in FIGURES.for_centres(rows)]
        return [row for row in rows if site_id is None or row["site_id"] == site_id], current

    async def _pooled(self, cut: Cut | None) -> tuple[list[Row], bool]:
        if cut:
            return await self._computed(cut, None), True
        return await self._node.in_reader(self._stored)

    def _stored(self) -> tuple[list[Row], bool]:
        cursor = self._node.store.cursor()
        try:
            names = ", ".join(COLUMNS)
            rows = cursor.execute(f"SELECT {names} FROM predictors ORDER BY rowid").fetchall()
            current = is_current(cursor, "predictors")
        finally:
            cursor.close()
        return [{"site_id": None, **dict(zip(COLUMNS, row, strict=True))} for row in rows], current

    async def _computed(self, cut: Cut | None, site_id: str | None) -> list[Row]:
        async with self._slow:
            reading = partial(read_analyses, cut=cut, site_id=site_id)
            _, analyses = await self._node.in_reader(read, self._node.store, reading)
            return [{"site_id": site_id, **row} for row in await asyncio.to_thread(analyse_all, analyses)]


def _without_few(row: Row) -> Row:
    """A pooled row without how many were left out, where that is few."""
    few = [name for name in LEFT_OUT if row["site_id"] is None and 0 < (row[name] or 0) < SMALLEST_CELL]
    return {**row, **dict.fromkeys(few)} if few else row

"""Exact limits of rates, remembered: they cost more than counting, and few of a cohort's counts change at a time."""

from collections.abc import Sequence

from services.stream.http import Row
from services.stream.node import Node

LIMITS = """
SELECT n, denominator, exact.low, exact.high
FROM (SELECT n, denominator, exact_limits(n, denominator) AS exact
    FROM (SELECT unnest($n) AS n, unnest($denominator) AS denominator))
"""
MOST = 100_000
"""Limits kept, some 30 MB; beyond it all are forgotten."""

Counts = tuple[int, int]


class ExactLimits:
    """Clopper-Pearson limits (R7.3) by n and denominator, computed by the store's own macro, each once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: dict[Counts, tuple[float | None, float | None]] = {}

    async def added(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of `cohort_counts` with `ci_exact_low` and `ci_exact_high`: rows of `cohort_rates`."""
        counts = [(row["n"], row["denominator"]) for row in rows]
        known = self._known
        if missing := set(counts) - known.keys():
            known = {**known, **await self._computed(sorted(missing))}
            self._known = known if len(known) <= MOST else {}
        return [
            {**row, "ci_exact_low": known[pair][0], "ci_exact_high": known[pair][1]}
            for row, pair in zip(rows, counts, strict=True)
        ]

    async def _computed(self, counts: Sequence[Counts]) -> dict[Counts, tuple[float | None, float | None]]:
        n, denominator = map(list, zip(*counts, strict=True))
        rows = await self._node.read(LIMITS, {"n": n, "denominator": denominator})
        return {(row["n"], row["denominator"]): (row["low"], row["high"]) for row in rows}

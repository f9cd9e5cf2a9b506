"""What centres have to do: windows that open, are open without a value, or close soon."""

import asyncio
import csv
import io
from collections.abc import Iterable
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.runtime.cut import Cut, source_at
from services.runtime.tokens import Caller
from services.stream.cache import PerCut
from services.stream.http import AsOf, Calendar, KnownAt, PatientReader, Row, answer, matching, visible
from services.stream.node import Node

WORKLIST = """
SELECT *, len(counted) > 0 AS counts FROM {source}
ORDER BY window_end, site_id, patient_id, protocol, timepoint, window_start
"""
COLUMNS = (
    *("site_id", "patient_id", "drug", "protocol", "timepoint", "state", "window_start", "window_end"),
    *("days_left", "missing", "counted"),
)
State = Literal["opens", "open", "closes"]


class WorklistReader:
    """Asks the store for `worklist`, at most once a commit. A cut of None is today's."""

    def __init__(self, node: Node, slow: asyncio.Semaphore) -> None:
        """`slow`: held by whoever takes long, so that the other threads are left to the others."""
        self._node = node
        self._slow = slow
        self._rows = PerCut(node, self._read)

    async def rows(self, caller: Caller, cut: Cut | None, **wanted: object) -> list[Row]:
        """The rows of the caller's centres that have every value wanted; what closes first stands first."""
        return matching(visible(await self._rows.get(cut), caller), wanted)

    async def _read(self, cut: Cut | None) -> list[Row]:
        async with self._slow:
            return await self._node.read(WORKLIST.format(source=source_at("worklist", cut)))


def worklist_routes(reader: WorklistReader, calendar: Calendar) -> APIRouter:
    """`GET /v1/worklist`."""
    router = APIRouter(prefix="/v1", tags=["outcomes"])

    @router.get(
        "/worklist",
        summary="Windows that open within 14 days, are open without a value, or close within 14 days",
        description="Rows of `worklist` in the caller's centres, what closes first above. `missing` names what has "
        "no value yet, `counted` what of it some outcome counts, because the patient's baseline qualifies.",
    )
    async def worklist(
        caller: PatientReader,
        site_id: str | None = None,
        protocol: str | None = None,
        timepoint: str | None = None,
        state: State | None = None,
        counts: Annotated[
            bool | None, Query(description="Only rows that some outcome counts; or only others.")
        ] = None,
        format: Literal["json", "csv"] = "json",
        as_of: AsOf = None,
        known_at: KnownAt = None,
    ) -> Response:
        cut = await calendar.cut(as_of, known_at)
        rows = await reader.rows(
            caller, cut, site_id=site_id, protocol=protocol, timepoint=timepoint, state=state, counts=counts
        )
        shown = await calendar.shown(cut)
        if format == "json":
            return answer(**shown, rows=rows)
        disposition = f'attachment; filename="worklist-{shown["as_of"]}.csv"'
        return Response(as_csv(rows), media_type="text/csv", headers={"Content-Disposition": disposition})

    return router


def as_csv(rows: Iterable[Row]) -> str:
    """The rows for a spreadsheet; several missing values stand in one cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    return ", ".join(value) if isinstance(value, list) else value

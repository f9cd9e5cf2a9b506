"""The HTTP side of figures of the cohort."""

from collections.abc import Awaitable
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from services.outcomes.cohort import Part
from services.outcomes.reading import OutcomesReader
from services.runtime.cut import Cut
from services.runtime.tokens import Caller
from services.stream.http import AsOf, KnownAt, RateReader, Row, Rows, answer, matching

Filters = dict[str, str | None]
Shared = Annotated[
    bool,
    Query(
        description="Fit to be passed on: figures of 1 to 4 patients are null, and so are those that "
        "would give them away as a difference."
    ),
]

BOUND = (
    "A caller bound to centres sees theirs and the pooled rows. Pooled figures are null, and the row says "
    "`masked`, where 1 to 4 patients stand behind one, in all centres or in all others than the caller's."
)

RECENT = (
    "While data stream in and the rates of one timepoint or endpoint are asked for again and again, an answer may be "
    "a quarter of a second behind the last commit; once `/v1/progress` says that something is in the store, it is in "
    "here too."
)


class _Ask(Protocol):
    """What a `CohortReader` answers."""

    def __call__(
        self, caller: Caller, cut: Cut | None, part: Part, /, *, shared: bool
    ) -> Awaitable[list[Row]]: ...


def _rate_filters(
    protocol: str | None = None,
    timepoint: str | None = None,
    endpoint: str | None = None,
    drug: str | None = None,
    site_id: str | None = None,
    estimand: str | None = None,
) -> Filters:
    return {
        "protocol": protocol,
        "timepoint": timepoint,
        "endpoint": endpoint,
        "drug": drug,
        "site_id": site_id,
        "estimand": estimand,
    }


def _change_filters(
    protocol: str | None = None,
    timepoint: str | None = None,
    parameter: str | None = None,
    drug: str | None = None,
    site_id: str | None = None,
) -> Filters:
    return {
        "protocol": protocol,
        "timepoint": timepoint,
        "parameter": parameter,
        "drug": drug,
        "site_id": site_id,
    }


RateFilters = Annotated[Filters, Depends(_rate_filters)]
ChangeFilters = Annotated[Filters, Depends(_change_filters)]


def cohort_routes(reader: OutcomesReader) -> APIRouter:
    """`GET /v1/cohort` and its companions."""
    router = APIRouter(prefix="/v1", tags=["outcomes"])
    calendar, cohort = reader.calendar, reader.cohort

    async def reply(ask: _Ask, caller: Caller, wanted: Filters, shared: bool, cut: Cut | None) -> Response:
        part = Part(**{name: value for name, value in wanted.items() if name in Part._fields})
        others = {name: value for name, value in wanted.items() if name not in Part._fields}
        rows = matching(await ask(caller, cut, part, shared=shared), others)
        return answer(**await calendar.shown(cut), rows=rows.json if isinstance(rows, Rows) else rows)

    @router.get(
        "/cohort", summary="Rows of cohort_rates; site_id null: all centres", description=f"{BOUND} {RECENT}"
    )
    async def rates(
        caller: RateReader,
        wanted: RateFilters,
        shared: Shared = False,
        as_of: AsOf = None,
        known_at: KnownAt = None,
    ) -> Response:
        return await reply(cohort.recent_rates, caller, wanted, shared, await calendar.cut(as_of, known_at))

    @router.get(
        "/cohort/changes",
        summary="Rows of cohort_changes: medians and quartiles of baseline, value and change",
        description=BOUND,
    )
    async def changes(
        caller: RateReader,
        wanted: ChangeFilters,
        shared: Shared = False,
        as_of: AsOf = None,
        known_at: KnownAt = None,
    ) -> Response:
        return await reply(cohort.changes, caller, wanted, shared, await calendar.cut(as_of, known_at))

    @router.get(
        "/cohort/funnel",
        summary="Rows of cohort_funnel: each centre's rate beside control limits around the pooled one",
        description="A caller bound to centres sees theirs; the pooled rate and its limits are null where "
        "`/v1/cohort` does not show them.",
    )
    async def funnel(
        caller: RateReader,
        wanted: RateFilters,
        shared: Shared = False,
        as_of: AsOf = None,
        known_at: KnownAt = None,
    ) -> Response:
        return await reply(cohort.funnel, caller, wanted, shared, await calendar.cut(as_of, known_at))

    return router

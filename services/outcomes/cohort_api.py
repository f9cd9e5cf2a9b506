"""The HTTP side of figures of the cohort."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from services.outcomes.reading import OutcomesReader
from services.runtime.tokens import Caller
from services.runtime.web import require
from services.stream.http import AsOf, answer, matching

RateReader = Annotated[Caller, Depends(require("read_rates"))]
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


def cohort_routes(reader: OutcomesReader) -> APIRouter:
    """`GET /v1/cohort` and its companions."""
    router = APIRouter(prefix="/v1", tags=["outcomes"])
    calendar, cohort = reader.calendar, reader.cohort

    @router.get("/cohort", summary="Rows of cohort_rates; site_id null: all centres", description=BOUND)
    async def rates(
        caller: RateReader,
        protocol: str | None = None,
        timepoint: str | None = None,
        endpoint: str | None = None,
        drug: str | None = None,
        site_id: str | None = None,
        estimand: str | None = None,
        shared: Shared = False,
        as_of: AsOf = None,
    ) -> Response:
        day = await calendar.past(as_of)
        wanted = {
            "protocol": protocol,
            "timepoint": timepoint,
            "endpoint": endpoint,
            "drug": drug,
            "site_id": site_id,
            "estimand": estimand,
        }
        rows = matching(await cohort.rates(caller, day, timepoint, shared=shared), wanted)
        return answer(as_of=day or await calendar.today(), rows=rows)

    @router.get(
        "/cohort/changes",
        summary="Rows of cohort_changes: medians and quartiles of baseline, value and change",
        description=BOUND,
    )
    async def changes(
        caller: RateReader,
        protocol: str | None = None,
        timepoint: str | None = None,
        parameter: str | None = None,
        drug: str | None = None,
        site_id: str | None = None,
        shared: Shared = False,
        as_of: AsOf = None,
    ) -> Response:
        day = await calendar.past(as_of)
        wanted = {
            "protocol": protocol,
            "timepoint": timepoint,
            "parameter": parameter,
            "drug": drug,
            "site_id": site_id,
        }
        rows = matching(await cohort.changes(caller, day, timepoint, shared=shared), wanted)
        return answer(as_of=day or await calendar.today(), rows=rows)

    @router.get(
        "/cohort/funnel",
        summary="Rows of cohort_funnel: each centre's rate beside control limits around the pooled one",
        description="A caller bound to centres sees theirs; the pooled rate and its limits are null where "
        "`/v1/cohort` does not show them.",
    )
    async def funnel(
        caller: RateReader,
        protocol: str | None = None,
        timepoint: str | None = None,
        endpoint: str | None = None,
        drug: str | None = None,
        site_id: str | None = None,
        estimand: str | None = None,
        shared: Shared = False,
        as_of: AsOf = None,
    ) -> Response:
        day = await calendar.past(as_of)
        wanted = {
            "protocol": protocol,
            "timepoint": timepoint,
            "endpoint": endpoint,
            "drug": drug,
            "site_id": site_id,
            "estimand": estimand,
        }
        rows = matching(await cohort.funnel(caller, day, timepoint, shared=shared), wanted)
        return answer(as_of=day or await calendar.today(), rows=rows)

    return router

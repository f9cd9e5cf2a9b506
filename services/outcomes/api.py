"""The HTTP side of outcomes: patients, outcomes, cohort rates and data quality."""

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from services.outcomes.cohort_api import cohort_routes
from services.outcomes.explain.document import Wanted
from services.outcomes.pages import add_outcomes_pages
from services.outcomes.predictors.api import predictor_routes
from services.outcomes.reading import OutcomesReader
from services.outcomes.worklist import worklist_routes
from services.query.api import query_routes
from services.runtime.tokens import TokenStore
from services.runtime.web import create_api
from services.stream.http import (
    After,
    AsOf,
    Commits,
    KnownAt,
    Limit,
    PatientReader,
    Snapshots,
    answer,
    answer_without_store,
    store_routes,
)
from services.stream.node import Node

WAITING = (
    "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM dead_letters WHERE NOT published) "
    "+ (SELECT count(*) FROM erasures WHERE NOT announced) + (SELECT count(*) FROM tombstones)"
)


def create_outcomes_api(node: Node, tokens: TokenStore) -> FastAPI:
    """The HTTP side of the outcomes service; nothing in it blocks the event loop."""
    commits = Commits(node)
    app = create_api(
        "outcomes",
        node.settings,
        node.metrics,
        tokens,
        node.ready,
        notes=lambda: {"changed_class": node.store.changed} if node.store.changed else {},
        lifespan=commits.followed,
    )
    answer_without_store(app)
    reader = OutcomesReader(node)
    app.include_router(_routes(reader))
    app.include_router(cohort_routes(reader))
    app.include_router(predictor_routes(reader.predictors, reader.calendar))
    app.include_router(worklist_routes(reader.worklist, reader.calendar))
    snapshots = Snapshots(node)
    app.include_router(store_routes(node, WAITING, snapshots))
    app.include_router(query_routes(node, reader.calendar, snapshots))
    add_outcomes_pages(app, node, reader, commits)
    return app


def _routes(reader: OutcomesReader) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["outcomes"])
    calendar = reader.calendar

    @router.get(
        "/patients/{patient_id:path}/explain",
        summary="Why a patient's outcomes are what they are",
        description="By protocol and timepoint: each value with its window, the record used and those passed over, "
        "as codes of `meanings`; each outcome with its rule, comparisons, and why it counts or not.",
    )
    async def explain(
        patient_id: str,
        caller: PatientReader,
        protocol: str | None = None,
        timepoint: str | None = None,
        endpoint: str | None = None,
        as_of: AsOf = None,
        known_at: KnownAt = None,
    ) -> Response:
        wanted = Wanted(protocol or None, timepoint or None, endpoint or None)
        cut = await calendar.cut(as_of, known_at)
        return answer(**await reader.explanation(caller, patient_id, cut, wanted))

    @router.get(
        "/patients/{patient_id:path}/history",
        summary="What was known of a patient's outcomes, moment by moment, and by which versions it changed",
        description="Rows of `outcome_history`: each state of each outcome, from when (`known_from`) until when it was "
        "known, by the `recorded_at` of versions; `caused_by` names those. Clinical time stands still at `as_of`: a "
        "value that was recorded late turns `missed` into `final`.",
    )
    async def history(
        patient_id: str,
        caller: PatientReader,
        protocol: str | None = None,
        timepoint: str | None = None,
        endpoint: str | None = None,
        as_of: AsOf = None,
    ) -> Response:
        cut = await calendar.cut(as_of)
        equal = {"protocol": protocol, "timepoint": timepoint, "endpoint": endpoint}
        rows = await reader.history(caller, patient_id, cut, equal)
        return answer(**await calendar.shown(cut), rows=rows)

    @router.get(
        "/patients/{patient_id:path}", summary="A patient: facts, outcomes with their reasons, biomarkers"
    )
    async def patient(
        patient_id: str, caller: PatientReader, as_of: AsOf = None, known_at: KnownAt = None
    ) -> Response:
        return answer(**await reader.patient(caller, patient_id, await calendar.cut(as_of, known_at)))

    @router.get("/outcomes", summary="Rows of patient_outcomes, page by page")
    async def outcomes(
        caller: PatientReader,
        site_id: str | None = None,
        timepoint: str | None = None,
        endpoint: str | None = None,
        protocol: str | None = None,
        status: str | None = None,
        reason: str | None = None,
        limit: Limit = 100,
        after: After = None,
        as_of: AsOf = None,
        known_at: KnownAt = None,
    ) -> Response:
        equal = {
            "site_id": site_id,
            "timepoint": timepoint,
            "endpoint": endpoint,
            "protocol": protocol,
            "status": status,
            "reason": reason,
        }
        cut = await calendar.cut(as_of, known_at)
        rows, following = await reader.outcomes(caller, cut, equal, limit, after)
        return answer(**await calendar.shown(cut), rows=rows, next=following)

    @router.get("/data-quality", summary="Findings about records, newest first, page by page")
    async def data_quality(
        caller: PatientReader,
        site_id: str | None = None,
        patient_id: str | None = None,
        rule: str | None = None,
        limit: Limit = 100,
        after: After = None,
    ) -> Response:
        equal = {"site_id": site_id, "patient_id": patient_id, "rule": rule}
        rows, following = await reader.findings(caller, equal, limit, after)
        return answer(rows=rows, next=following)

    return router

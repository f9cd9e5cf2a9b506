"""The HTTP side of safety: alerts as they arrive, what is done about them, events, incidence, timelines."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from services.runtime.tokens import Caller, TokenStore
from services.runtime.web import create_api, require
from services.safety.acting import LONGEST_NOTE, Desk, read_note
from services.safety.actions import Act, Actions
from services.safety.feed import AlertFeed
from services.safety.pages import add_safety_pages
from services.safety.reading import SafetyReader
from services.safety.streaming import Listening, json_events
from services.stream.http import (
    After,
    AsOf,
    Commits,
    KnownAt,
    Limit,
    PatientReader,
    RateReader,
    Snapshots,
    answer,
    answer_without_store,
    matching,
    store_routes,
)
from services.stream.node import Node

WAITING = (
    "SELECT (SELECT count(*) FROM alert_changes WHERE NOT published) + (SELECT count(*) FROM tombstones)"
)

State = Literal["open", "acknowledged", "closed", "withdrawn"]
Severity = Literal["critical", "high", "medium", "low"]
Watcher = Annotated[Caller, Depends(require("read_alerts"))]
Actor = Annotated[Caller, Depends(require("act_on_alerts"))]

NOTE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["note"],
                    "properties": {"note": {"type": "string", "minLength": 1, "maxLength": LONGEST_NOTE}},
                    "additionalProperties": False,
                }
            }
        },
    }
}


def create_safety_api(
    node: Node, tokens: TokenStore, actions: Actions, stop: asyncio.Event | None = None
) -> FastAPI:
    """The HTTP side of the safety service; nothing in it blocks the event loop.

    Event streams end within a second once `stop` is set; without it the server breaks them off at its own stop.
    """
    commits = Commits(node)
    app = create_api("safety", node.settings, node.metrics, tokens, node.ready, lifespan=commits.followed)
    answer_without_store(app)
    reader = SafetyReader(node)
    desk = Desk(reader, actions, node.metrics)
    listening = Listening(node, AlertFeed(node), stop or asyncio.Event())
    app.include_router(_alert_routes(reader, desk, listening))
    app.include_router(_other_routes(reader))
    app.include_router(store_routes(node, WAITING, Snapshots(node)))
    add_safety_pages(app, node, reader, desk, listening, commits)
    return app


def _alert_routes(reader: SafetyReader, desk: Desk, listening: Listening) -> APIRouter:
    router = APIRouter(prefix="/v1/alerts", tags=["alerts"])

    @router.get("", summary="Rows of alerts, newest first, page by page")
    async def alerts(
        caller: Watcher,
        state: Annotated[list[State] | None, Query(description="May be given several times.")] = None,
        severity: Severity | None = None,
        rule: str | None = None,
        site_id: str | None = None,
        patient_id: str | None = None,
        since: Annotated[datetime | None, Query(description="Raised at this time or later.")] = None,
        limit: Limit = 100,
        after: After = None,
    ) -> Response:
        equal = {"severity": severity, "rule": rule, "site_id": site_id, "patient_id": patient_id}
        rows, following = await reader.alerts(caller, equal, state or (), since, limit, after)
        return answer(rows=rows, next=following)

    @router.get(
        "/stream",
        summary="Alerts as they change: server-sent events, resumed by Last-Event-ID",
        description="Events: `alert` (the alert as it stands), `removed` (only its alert_id), `counts` (by severity "
        "and state) after each group of them, and `reset` where what was shown before is to be forgotten. Without "
        "Last-Event-ID, and in another epoch of the store, it begins with every alert open or acknowledged.",
        responses={200: {"content": {"text/event-stream": {}}}},
        response_class=EventSourceResponse,
    )
    async def stream(
        request: Request,
        caller: Watcher,
        last_event_id: Annotated[str | None, Header()] = None,
        after: Annotated[str | None, Query(description="Stands in for Last-Event-ID.")] = None,
    ) -> Response:
        return listening.respond(request, caller, last_event_id or after or "", json_events)

    def taking(act: Act) -> Callable[..., Any]:
        async def take(request: Request, alert_id: str, caller: Actor) -> Response:
            return answer(alert=await desk.act(caller, alert_id, act, await read_note(request)))

        return take

    router.post("/{alert_id}/acknowledge", summary="Say that you have seen to an alert", openapi_extra=NOTE)(
        taking("acknowledge")
    )
    router.post("/{alert_id}/close", summary="Say that an alert is done with", openapi_extra=NOTE)(
        taking("close")
    )
    return router


def _other_routes(reader: SafetyReader) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["safety"])
    calendar = reader.calendar

    @router.get(
        "/incidence",
        summary="Rows of incidence; site_id null: all centres",
        description="A caller bound to centres sees theirs and the pooled rows; in these, counts from 1 to 4 "
        "are null and the row says `masked`.",
    )
    async def incidence(
        caller: RateReader,
        drug: str | None = None,
        site_id: str | None = None,
        event_group: str | None = None,
        as_of: AsOf = None,
        known_at: KnownAt = None,
    ) -> Response:
        cut = await calendar.cut(as_of, known_at)
        wanted = {"drug": drug, "site_id": site_id, "event_group": event_group}
        rows = matching(await reader.incidence(caller, cut), wanted)
        return answer(**await calendar.shown(cut), rows=rows)

    @router.get("/adverse-events", summary="Rows of adverse_events, latest onset first, page by page")
    async def adverse_events(
        caller: PatientReader,
        site_id: str | None = None,
        patient_id: str | None = None,
        drug: str | None = None,
        serious: bool | None = None,
        treatment_emergent: bool | None = None,
        limit: Limit = 100,
        after: After = None,
    ) -> Response:
        equal = {
            "site_id": site_id,
            "patient_id": patient_id,
            "drug": drug,
            "serious": serious,
            "treatment_emergent": treatment_emergent,
        }
        rows, following = await reader.adverse_events(caller, equal, limit, after)
        return answer(rows=rows, next=following)

    @router.get("/lab-toxicities", summary="Rows of lab_toxicities, latest first, page by page")
    async def lab_toxicities(
        caller: PatientReader,
        site_id: str | None = None,
        patient_id: str | None = None,
        analyte: str | None = None,
        grade: Annotated[int | None, Query(ge=1, le=5)] = None,
        limit: Limit = 100,
        after: After = None,
    ) -> Response:
        equal = {"site_id": site_id, "patient_id": patient_id, "analyte": analyte, "grade": grade}
        rows, following = await reader.lab_toxicities(caller, equal, limit, after)
        return answer(rows=rows, next=following)

    @router.get(
        "/patients/{patient_id:path}/timeline", summary="What happened to a patient, in clinical time"
    )
    async def timeline(
        patient_id: str, caller: PatientReader, as_of: AsOf = None, known_at: KnownAt = None
    ) -> Response:
        return answer(**await reader.patient(caller, patient_id, await calendar.cut(as_of, known_at)))

    return router

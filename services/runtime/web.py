"""The HTTP conventions of every service: health, metrics, who may ask, and errors as problem+json."""

import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.metrics import CONTENT_TYPE, Metrics
from services.runtime.problems import MEDIA_TYPE, Problem
from services.runtime.sessions import Sessions
from services.runtime.settings import Settings
from services.runtime.tokens import Caller, Permission, TokenStore
from services.runtime.tracing import TRACEPARENT, Work, begin, current

log = logging.getLogger(__name__)

HTTP_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "format",
    413: "too_large",
    415: "media_type",
}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
DETAILS = {
    404: "There is nothing here, or it is not yours to see; /openapi.json lists what there is.",
    405: "This address does not take that method; the Allow header says which it takes.",
}


def create_api(
    service: str,
    settings: Settings,
    metrics: Metrics,
    tokens: TokenStore,
    ready: Callable[[], tuple[bool, dict[str, str]]],
    notes: Callable[[], Mapping[str, object]] = dict,
    **fastapi_options: Any,
) -> FastAPI:
    """A FastAPI application with what all services share.

    `ready` says whether the service can do its work, and the state of each part by name, `notes` what else
    `/health/ready` tells. `fastapi_options` (`lifespan`, `description`) go to FastAPI. On `app.state`: settings,
    metrics, tokens, sessions.
    """
    app = FastAPI(
        title=f"week12 {service}",
        version="1",
        docs_url=None,  # the interactive pages load scripts from outside
        redoc_url=None,
        **{"responses": {"default": _problem_schema()}, **fastapi_options},
    )
    app.state.settings, app.state.metrics, app.state.tokens = settings, metrics, tokens
    app.state.sessions = Sessions(tokens)
    app.add_middleware(_Requests, service=service, metrics=metrics)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)

    @app.get("/health/live", tags=["health"], summary="The process answers")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", tags=["health"], summary="The service can do its work; 503 while it cannot")
    async def is_ready() -> Response:
        good, parts = ready()
        body = {"status": "ready" if good else "not_ready", "parts": parts, **notes()}
        return JSONResponse(body, 200 if good else 503)

    @app.get("/metrics", tags=["health"], summary="Prometheus metrics")
    async def show_metrics() -> Response:
        _note_health(service, settings, metrics, ready()[1])
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return app


def require(permission: Permission) -> Callable[[Request], Awaitable[Caller]]:
    """A FastAPI dependency that gives the Caller, if a role of theirs carries the permission.

    Takes `Authorization: Bearer <secret>`, or the cookie of a page's login. Answers 401 `unauthenticated`
    without a good credential and 403 `role_forbidden` without the permission. A change asked for with the
    cookie must come from a page of this very address (against forged requests).
    """

    async def caller(request: Request) -> Caller:
        found = _authenticate(request)
        if not found.may(permission):
            _refused(request, "role_forbidden")
            raise Problem(403, "role_forbidden", f"Your roles do not carry the permission {permission}.")
        return found

    return caller


def _authenticate(request: Request) -> Caller:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    state = request.app.state
    if scheme.lower() == "bearer":
        caller = cast("TokenStore", state.tokens).authenticate(secret.strip())
    elif not scheme and (request.method in ("GET", "HEAD") or _from_own_page(request)):
        caller = cast("Sessions", state.sessions).caller(request)
    else:
        caller = None
    if caller is None:
        _refused(request, "unauthenticated")
        raise Problem(
            401,
            "unauthenticated",
            "Send a valid token as `Authorization: Bearer <token>`; `week12 token add` makes one.",
            headers={"WWW-Authenticate": 'Bearer realm="week12"'},
        )
    return caller


def _from_own_page(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def _refused(request: Request, reason: str) -> None:
    cast("Metrics", request.app.state.metrics).auth_failures_total.labels(reason).inc()


def _note_health(service: str, settings: Settings, metrics: Metrics, parts: dict[str, str]) -> None:
    """What is true of the moment, for whoever asks for metrics."""
    for part, state in parts.items():
        metrics.part_up.labels(service, part).set(state == "ok")
    with suppress(OSError):
        disk = shutil.disk_usage(settings.data_dir)
        metrics.disk_free_bytes.labels(service).set(disk.free)
        metrics.disk_size_bytes.labels(service).set(disk.total)


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTP_CODES.get(error.status_code, "error")
    detail = DETAILS.get(error.status_code, str(error.detail))
    return Problem(error.status_code, code, detail, headers=error.headers).response()


async def _on_invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"path": ".".join(str(part) for part in item["loc"]), "code": "type", "message": item["msg"]}
        for item in error.errors()
    ]
    return Problem(422, "type", "A parameter of the request cannot be used.", errors=errors).response()


class _Requests:
    """Times, traces and logs every request by its route's template, and turns what nobody caught into a plain 500."""

    def __init__(self, app: ASGIApp, service: str, metrics: Metrics) -> None:
        self.app = app
        self.service = service
        self.durations = metrics.http_request_duration_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        given = next((v for k, v in scope["headers"] if k == TRACEPARENT.encode()), b"")
        work = Work(begin(given.decode("latin-1")), {})
        token = current.set(work)

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"trace-id", work.trace.trace_id.encode()),
                ]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            return
        except Exception:
            log.exception("request failed")
            if status:  # the answer has begun: all that is left is to break it off
                raise
            problem = Problem(500, "internal", "Something went wrong here; it has been logged.")
            await problem.response()(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"
            labels = (self.service, route, method, str(status or 499))
            took = time.perf_counter() - started
            self.durations.labels(*labels).observe(took)
            _log_answer(route, method, status or 499, took, work)
            current.reset(token)


def _log_answer(route: str, method: str, status: int, seconds: float, work: Work) -> None:
    """One line for what changes something or met a fault; of what only reads, where debugging."""
    reads = method in ("GET", "HEAD", "OPTIONS") and status != 500
    facts = {"route": route, "method": method, "status": status, "seconds": round(seconds, 4)}
    log.log(logging.DEBUG if reads else logging.INFO, "answered", extra={**facts, **work.facts})


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    error = {"type": "object", "properties": {"path": text, "code": text, "message": text}}
    schema = {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            **dict.fromkeys(("type", "title", "code", "detail"), text),
            "status": {"type": "integer"},
            "errors": {"type": "array", "items": error},
        },
    }
    return {"description": "Problem details (RFC 9457)", "content": {MEDIA_TYPE: {"schema": schema}}}

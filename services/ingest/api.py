"""`POST /v1/events`: from a request to acknowledged records to receipts."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Annotated, Any

import limits
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from pydantic.json_schema import models_json_schema

from schemas import EVENT_MODELS, Event
from services.ingest.admission import Verdict, admit
from services.ingest.answers import answer
from services.ingest.body import JSON, LINES, MAX_REQUEST_BYTES, Form, media_type, read_body
from services.ingest.publisher import BrokerUnavailable, Publisher, RecordTooLarge
from services.ingest.records import Record, to_record
from services.ingest.window import Window, WindowFull
from services.runtime.clock import now
from services.runtime.metrics import Metrics, SiteLabels
from services.runtime.problems import Problem
from services.runtime.settings import Settings
from services.runtime.tokens import Caller, TokenStore
from services.runtime.tracing import current_headers, note
from services.runtime.web import create_api, require

READ_SECONDS = 60.0
SMALL_BYTES = 8 << 10
"""A body up to this is judged at once: a thread would take longer to wake up than that takes."""
RETRY_AFTER_BROKER = 2
RETRY_AFTER_WINDOW = 1
UNKNOWN_SITE = "unknown"


def create_ingest_api(
    settings: Settings,
    metrics: Metrics,
    tokens: TokenStore,
    publisher: Publisher,
    is_erased: Callable[[str], bool],
) -> FastAPI:
    """The HTTP side of ingest, on a publisher that may be a fake; `is_erased` answers for a `patient_id`."""

    def ready() -> tuple[bool, dict[str, str]]:
        return publisher.ready, {"kafka": "ok" if publisher.ready else "away"}

    app = create_api("ingest", settings, metrics, tokens, ready)
    app.include_router(_router(_Ingest(settings, metrics, publisher, is_erased)))
    _describe_events(app)
    return app


class _Ingest:
    """What a request goes through, in order; each step may raise a Problem."""

    def __init__(
        self, settings: Settings, metrics: Metrics, publisher: Publisher, is_erased: Callable[[str], bool]
    ) -> None:
        self.settings = settings
        self.is_erased = is_erased
        self.metrics = metrics
        self.publisher = publisher
        self.rate = _Rate(settings.ingest_rate)
        self.window = Window(settings.ingest_window_mib << 20)
        self.sites = SiteLabels()  # centres of which events were taken
        show_window(metrics, self.window)
        # Two, so that a small request does not wait behind a large one; more would only share the same core.
        self.threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="admission")

    async def take(self, request: Request, caller: Caller) -> Response:
        """Answer a request; whatever is refused before the body is read costs nothing."""
        kind = media_type(request.headers.get("content-type"))
        _check_headers(request)
        await self.rate.check(caller.name)
        if not self.publisher.ready:
            raise _no_broker()
        try:
            async with self.window.hold(_announced(request), self.settings.ingest_ack_seconds / 2):
                return await self._take(kind, await _read(request), current_headers(), caller)
        except WindowFull:
            raise Problem(
                503,
                "broker_unavailable",
                "Too much is waiting for Kafka: send the same again later.",
                headers={"Retry-After": str(RETRY_AFTER_WINDOW)},
            ) from None

    async def _take(
        self, kind: str, body: bytes, more_headers: Sequence[tuple[str, bytes]], caller: Caller
    ) -> Response:
        received = int(now().timestamp() * 1000)
        if len(body) <= SMALL_BYTES:
            form, verdicts, records = self._judge(kind, body, more_headers, caller)
        else:
            form, verdicts, records = await asyncio.get_running_loop().run_in_executor(
                self.threads, self._judge, kind, body, more_headers, caller
            )
        places = await self._publish(records, received) if records else {}
        note(places=places, **Counter[str](verdict.status for verdict in verdicts))
        _count(self.metrics, verdicts, received / 1000)
        _count_sites(self.metrics, verdicts, caller, self.sites)
        return answer(form, verdicts)

    def _judge(
        self, kind: str, body: bytes, more_headers: Sequence[tuple[str, bytes]], caller: Caller
    ) -> tuple[Form, list[Verdict], list[Record]]:
        form, items = read_body(kind, body)
        verdicts = admit(items, caller.may_see, self.is_erased)
        records = [
            to_record(
                verdict.event, verdict.content, verdict.item.value, self.settings.partitions, more_headers
            )
            for verdict in verdicts
            if verdict.event is not None and verdict.status == "accepted"
        ]
        return form, verdicts, records

    async def _publish(self, records: Sequence[Record], received: int) -> dict[str, str]:
        try:
            return await self.publisher.publish(records, received)
        except BrokerUnavailable:
            raise _no_broker() from None
        except RecordTooLarge:
            raise Problem(
                413, "too_large", "Kafka takes no record as large as one of these events."
            ) from None


class _Rate:
    """Requests per token, by a sliding window."""

    def __init__(self, rate: str) -> None:
        self._limit = limits.parse(rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def check(self, name: str) -> None:
        """Count a request of this token. Raises Problem 429 where it is one too many."""
        if await self._limiter.hit(self._limit, name):
            return
        wait = (await self._limiter.get_window_stats(self._limit, name)).reset_time - time.time()
        raise Problem(
            429,
            "rate",
            "This token has sent too many requests: put more events into each, or send more slowly.",
            headers={"Retry-After": str(max(1, round(wait)))},
        )


def _router(ingest: _Ingest) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["events"])

    @router.post(
        "/events",
        status_code=202,
        summary="Send events: one, a JSON array, or NDJSON",
        description="Answered once Kafka has every accepted event on all its replicas. Sending again what "
        "was sent before is always right.",
        responses=_RESPONSES,
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def post_events(request: Request, caller: Annotated[Caller, Depends(require("send"))]) -> Response:
        return await ingest.take(request, caller)

    return router


def _check_headers(request: Request) -> None:
    accepted = request.headers.get("accept", "*/*").lower()
    if not any(kind in accepted for kind in ("*/*", "application/*", JSON)):
        raise Problem(406, "format", f"The answer is {JSON} and nothing else.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "media_type", "Send the body as it is, without Content-Encoding.")


def _announced(request: Request) -> int:
    """The size of the body in bytes, or the most it may be where the sender does not say."""
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else MAX_REQUEST_BYTES
    if size > MAX_REQUEST_BYTES:
        raise _too_large()
    return size


async def _read(request: Request) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_REQUEST_BYTES:
                    raise _too_large()
                parts.append(part)
    except TimeoutError:
        raise Problem(408, "timeout", f"The body did not come within {READ_SECONDS:.0f} seconds.") from None
    return b"".join(parts)


def show_window(metrics: Metrics, window: Window) -> None:
    """Let Prometheus see how much of the window is in use."""
    metrics.ingest_window_bytes.labels("free").set_function(lambda: window.free)
    metrics.ingest_window_bytes.labels("used").set_function(lambda: window.capacity - window.free)


def _count(metrics: Metrics, verdicts: Sequence[Verdict], received: float) -> None:
    results = Counter((verdict.event_type, verdict.status) for verdict in verdicts)
    for (event_type, status), count in results.items():
        metrics.ingest_events_total.labels(event_type, status, "json").inc(count)
    codes = Counter(
        (verdict.event_type, code) for verdict in verdicts for code in {r.code for r in verdict.refusals}
    )
    for (event_type, code), count in codes.items():
        metrics.ingest_refusals_total.labels(event_type, code).inc(count)
    for verdict in verdicts:
        event = verdict.event
        if not event or verdict.status != "accepted":
            continue
        if (seconds := _lateness(event)) is not None:
            metrics.event_lateness_seconds.labels(event.event_type).observe(seconds)
        sent = max(0.0, received - event.recorded_at.timestamp())
        metrics.event_transmission_seconds.labels(event.event_type).observe(sent)


def _count_sites(metrics: Metrics, verdicts: Sequence[Verdict], caller: Caller, sites: SiteLabels) -> None:
    for site in {verdict.event.site_id for verdict in verdicts if verdict.event}:
        sites.label(site)
    refused = Counter(
        (_site_label(verdict, caller, sites), verdict.refusals[0].code)
        for verdict in verdicts
        if verdict.status == "refused"
    )
    for (site, code), count in refused.items():
        metrics.ingest_site_refusals_total.labels(site, code).inc(count)


def _site_label(verdict: Verdict, caller: Caller, sites: SiteLabels) -> str:
    """The centre of a refused event, as far as it can be believed: what was sent may say anything."""
    data = verdict.item.data
    claimed = data.get("site_id") if isinstance(data, dict) else None
    if isinstance(claimed, str) and (claimed in sites if caller.sites is None else claimed in caller.sites):
        return claimed
    if caller.sites is not None and len(caller.sites) == 1:
        return next(iter(caller.sites))
    return UNKNOWN_SITE


def _lateness(event: Event) -> float | None:
    """Seconds from the day of the event to `recorded_at`, at least 0; None where no day is stated."""
    day: date | None = getattr(event, event.dates[0]) if event.dates else None
    if day is None:
        return None
    return max(0.0, (event.recorded_at.date() - day).days * 86_400.0)


def _too_large() -> Problem:
    return Problem(413, "too_large", f"A request may be {MAX_REQUEST_BYTES >> 20} MiB: send it in parts.")


def _no_broker() -> Problem:
    return Problem(
        503,
        "broker_unavailable",
        "Kafka has not acknowledged, so the events may or may not be taken: send the same again.",
        headers={"Retry-After": str(RETRY_AFTER_BROKER)},
    )


_SCHEMA_REF = "#/components/schemas/{model}"
_EVENT = {"oneOf": [{"$ref": _SCHEMA_REF.format(model=model.__name__)} for model in EVENT_MODELS.values()]}
_REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        JSON: {"schema": {"oneOf": [_EVENT, {"type": "array", "items": _EVENT}]}},
        LINES[0]: {"schema": {"type": "string", "description": "One event a line."}},
    },
}
_RECEIPTS = {
    "type": "object",
    "properties": {
        "receipts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "index": {"type": "integer", "description": "Place in the array, from 0."},
                    "line": {"type": "integer", "description": "Line of the NDJSON, from 1."},
                    "event_id": {"type": "string"},
                    "version": {"type": "integer"},
                    "status": {"enum": ["accepted", "duplicate", "refused"]},
                    "warnings": {"type": "array", "items": {"type": "object"}},
                    "code": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object"}},
                },
            },
        }
    },
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {"description": "All taken", "content": {JSON: {"schema": _RECEIPTS}}},
    207: {"description": "Some refused; the others are in Kafka", "content": {JSON: {"schema": _RECEIPTS}}},
}


def _describe_events(app: FastAPI) -> None:
    """Add the events' schemas to the OpenAPI document: the route reads its body itself."""
    _, document = models_json_schema(
        [(model, "validation") for model in EVENT_MODELS.values()], ref_template=_SCHEMA_REF
    )
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        schema.setdefault("components", {}).setdefault("schemas", {}).update(document["$defs"])
        return schema

    app.openapi = openapi  # type: ignore[method-assign]

"""`POST /v1/query`: read-only SQL over both stores for analysts, on snapshots, in a process of its own."""

import asyncio
import logging
import shutil
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from services.query.bounded import Format, NotAnswered, Question, ask
from services.query.stores import STORES
from services.runtime.places import places
from services.runtime.problems import Problem
from services.runtime.tokens import Caller
from services.runtime.web import require
from services.stream.http import Calendar, Snapshots
from services.stream.node import Node

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Queries answered at the same time; the services beside them have work to do."""
REQUEST_BYTES = 128 * 1024
PEER_SECONDS = 60.0
MEDIA_TYPES: Mapping[Format, str] = {"json": "application/json", "csv": "text/csv; charset=utf-8"}


class Asked(BaseModel):
    """The body of a query."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    sql: str = Field(
        min_length=1, description="In DuckDB's dialect; it can read the two stores and nothing else."
    )
    as_of: str | None = Field(None, description="Plain names mean their rows on this day, YYYY-MM-DD.")
    known_at: str | None = Field(
        None, description="From versions recorded up to the end of this day (UTC), YYYY-MM-DD."
    )
    format: Format = "json"


def query_routes(node: Node, calendar: Calendar, snapshots: Snapshots) -> APIRouter:
    """The route; `snapshots` are those of the node's own store, the other's are asked of its service."""
    router = APIRouter(prefix="/v1", tags=["query"])
    settings = node.settings
    running = asyncio.Semaphore(AT_ONCE)
    shutil.rmtree(scratch_folder(settings.data_dir), ignore_errors=True)

    @router.post(
        "/query",
        summary="Read-only SQL over both stores",
        description="The tables of outcomes and safety stand under their names; one that both have means that of "
        "outcomes, `safety.` or `outcomes.` before it says which. JSON gives `columns`, `rows` as arrays, and in "
        "`stores` how old each snapshot is. Time and size of the answer are limited.",
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}
        },
    )
    async def query(request: Request, caller: Annotated[Caller, Depends(require("query"))]) -> Response:
        if caller.sites is not None:
            raise Problem(403, "site_forbidden", "A query reads all centres: take a token that acts for all.")
        asked = await _read(request)
        cut = await calendar.cut(asked.as_of, asked.known_at)
        if running.locked():
            raise _busy("Other queries are running")
        async with running:
            copies = await _copies(node, snapshots, request)
            question = Question(
                {name: path for name, (path, _) in copies.items()},
                asked.sql,
                asked.format,
                (str(cut.as_of), str(cut.known_at) if cut.known_at else None) if cut else None,
                {"stores": {name: {"made_at": made_at} for name, (_, made_at) in copies.items()}},
            )
            started = time.perf_counter()
            body = await _ask(node, question)
        log.info(
            "query answered",
            extra={
                "caller": caller.name,
                "bytes": len(body),
                "seconds": round(time.perf_counter() - started, 3),
            },
        )
        return Response(body, media_type=MEDIA_TYPES[asked.format])

    async def _ask(node: Node, question: Question) -> bytes:
        try:
            return await ask(
                question,
                scratch_folder(settings.data_dir),
                seconds=settings.query_seconds,
                most_bytes=settings.query_mib << 20,
            )
        except NotAnswered as why:
            absent = [name for name in STORES if name not in question.paths]
            raise _problem(why, absent, settings.query_seconds, settings.query_mib) from None

    return router


def scratch_folder(data_dir: Path) -> Path:
    """Where queries keep what does not fit into memory; what a killed service left there goes at the next start."""
    return data_dir / "query"


async def _copies(node: Node, snapshots: Snapshots, request: Request) -> dict[str, tuple[Path, str]]:
    """Store -> (file, time it shows); without a store whose service does not answer."""
    own = await snapshots.newest()
    found = {node.name: (Path(own["path"]), _utc(own["made_at"]))}
    for place in places(node.settings):
        if place.service in STORES and place.service != node.name:
            peer = await _peer(place.url, request)
            if peer:
                found[place.service] = peer
    return {name: found[name] for name in STORES if name in found}


async def _peer(url: str, request: Request) -> tuple[Path, str] | None:
    """The snapshot of the other store, asked for as the caller."""
    given = {name: request.headers[name] for name in ("authorization", "cookie") if name in request.headers}
    try:
        async with httpx.AsyncClient(timeout=PEER_SECONDS, trust_env=False) as client:
            answer = await client.post(f"{url}/v1/snapshot", headers={**given, "origin": url})
            body = answer.raise_for_status().json()
            return _if_here(Path(body["path"])), body["made_at"]
    except (httpx.HTTPError, ValueError, KeyError):
        log.warning("the other service gave no snapshot: its tables are missing")
        return None


def _if_here(path: Path) -> Path:
    """The path, where it is one of this machine. Raises ValueError."""
    if not path.exists():
        raise ValueError("a snapshot on another machine")
    return path


def _utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def _read(request: Request) -> Asked:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > REQUEST_BYTES:
            raise Problem(413, "too_large", f"A query may be {REQUEST_BYTES >> 10} KiB.")
        parts.append(part)
    try:
        return Asked.model_validate_json(b"".join(parts))
    except ValidationError as error:
        errors = [
            {"path": ".".join(map(str, item["loc"])), "code": "type", "message": item["msg"]}
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        raise Problem(422, "type", "The body of the query cannot be used.", errors=errors) from None


def _problem(why: NotAnswered, absent: list[str], seconds: int, mib: int) -> Problem:
    if why.reason == "store":
        return _busy("A snapshot was just replaced")
    note = "".join(f" ({name} is not running: its tables are missing.)" for name in absent)
    return {
        "sql": Problem(422, "sql", f"{why.detail}{note}"),
        "time": Problem(
            422,
            "time_limit",
            f"It took longer than {seconds} s: read less, or ask `week12 query` on the machine.",
        ),
        "size": Problem(422, "size_limit", f"The answer is larger than {mib} MiB: count, or add LIMIT."),
        "memory": Problem(
            422, "memory_limit", "It needs more memory than a query may have: read less at a time."
        ),
        "ended": Problem(422, "memory_limit", "It ended without an answer: read less at a time."),
    }[why.reason]


def _busy(what: str) -> Problem:
    return Problem(503, "store_busy", f"{what}: ask again in some seconds.", headers={"Retry-After": "5"})


_SCHEMA: dict[str, Any] = Asked.model_json_schema()

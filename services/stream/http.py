"""What the HTTP sides of outcomes and safety share: answers, days, pages of rows, progress and snapshots."""

import asyncio
import hashlib
import logging
import os
import re
import time
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any

import duckdb
import orjson
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from starlette.responses import Response

from services.runtime.clock import now
from services.runtime.cut import Cut
from services.runtime.problems import Problem
from services.runtime.tokens import Caller
from services.runtime.web import require
from services.stream.cache import PerCommit
from services.stream.node import Node
from services.stream.store import why_not

log = logging.getLogger(__name__)

Row = dict[str, Any]

SNAPSHOT_SECONDS = 5.0
"""A snapshot younger than this is good enough for everybody (contract, section 7)."""
MOST_ROWS = 1_000

PROCESS = uuid.uuid4().hex
"""Tells this run of the service from others, whose commits are counted anew."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PARTIAL = re.compile(r"\d{4}(-\d{2})?")


# -- answers -----------------------------------------------------------------------------------------------


def answer(**body: Any) -> Response:
    """A JSON object: days and times in ISO 8601 (times are UTC), decimals as numbers."""
    return Response(to_json(body), media_type="application/json")


class Rows(list[Row]):
    """Rows that are asked for again and again: written as JSON once."""

    @cached_property
    def json(self) -> orjson.Fragment:
        """All of them, for `answer`."""
        return orjson.Fragment(to_json(list(self)))


def to_json(value: Any) -> bytes:
    """What `answer` writes, for any value made of rows."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z)


def _plain(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError


def answer_without_store(app: FastAPI) -> None:
    """Let whoever asks while the store cannot be read, or has no memory left for it, come again: 503 `store_busy`."""
    for error in (duckdb.IOException, duckdb.OutOfMemoryException):
        app.add_exception_handler(error, _no_store)


async def _no_store(_: Request, error: Exception) -> Response:
    log.error("the store cannot be read (%s)", why_not(error))
    detail = "The store cannot be read at the moment; /health/ready says more. Try again."
    return Problem(503, "store_busy", detail, headers={"Retry-After": "5"}).response()


def not_here(what: str) -> Problem:
    """The one answer for what does not exist and for what the caller may not see."""
    return Problem(404, "not_found", f"There is no such {what}, or it is not yours to see.")


def refused(path: str, code: str, message: str) -> Problem:
    """A 422 that names one parameter or field."""
    error = {"path": path, "code": code, "message": message}
    return Problem(422, code, f"{path}: {message}.", errors=[error])


# -- days --------------------------------------------------------------------------------------------------


def parse_day(text: str | None, path: str = "as_of") -> date | None:
    """A calendar day written YYYY-MM-DD; None for nothing. Raises Problem 422."""
    if not text:
        return None
    if _PARTIAL.fullmatch(text):
        raise refused(path, "date_partial", "give the whole day, as YYYY-MM-DD")
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise refused(path, "type", "is not a day of the calendar written as YYYY-MM-DD")


class Calendar:
    """Turns `as_of` and `known_at` of a request into the data cut to derive for."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._today = PerCommit(node, self._read)

    async def today(self) -> date:
        """The day that the tables are as of."""
        return await self._today.get()

    async def _read(self) -> date:
        day: date = (await self._node.read("SELECT today FROM clock"))[0]["today"]
        return day

    async def cut(self, as_of: str | None, known_at: str | None = None) -> Cut | None:
        """The cut asked for, or None where the tables as of today answer.

        Raises Problem 422 for what is not a day, and for an `as_of` to come: nobody knows its events.
        """
        day, known = parse_day(as_of), parse_day(known_at, "known_at")
        if day is None and known is None:
            return None
        today = await self.today()
        if day and day > today:
            raise refused("as_of", "date_future", f"lies after the day that the tables are as of, {today}")
        return None if (day or today) == today and known is None else Cut(day or today, known)

    async def shown(self, cut: Cut | None) -> dict[str, date]:
        """What an answer at `cut` says about itself: `as_of`, and `known_at` where it was asked for."""
        cut = cut or Cut(await self.today())
        known = {"known_at": cut.known_at} if cut.known_at else {}
        return {"as_of": cut.as_of, **known}


PatientReader = Annotated[Caller, Depends(require("read_patients"))]
RateReader = Annotated[Caller, Depends(require("read_rates"))]

AsOf = Annotated[
    str | None,
    Query(
        description="Everything as it stood on this day, YYYY-MM-DD; default: today.",
        json_schema_extra={"format": "date"},
    ),
]
KnownAt = Annotated[
    str | None,
    Query(
        description="From versions that centres had recorded by the end of this day (UTC), YYYY-MM-DD; default: all.",
        json_schema_extra={"format": "date"},
    ),
]


# -- conditions and pages of rows ----------------------------------------------------------------------------


class Where:
    """The conditions of a query and their named parameters."""

    def __init__(
        self, equal: Mapping[str, object] | None = None, sites: frozenset[str] | None = None
    ) -> None:
        """`equal`: column -> value wanted, None for any. `sites`: the caller's centres, None for all."""
        self._conditions: list[str] = []
        self.parameters: dict[str, object] = {}
        for column, value in (equal or {}).items():
            if value is not None:
                self.add(f"{column} = ${column}", **{column: value})
        if sites is not None:
            self.add("site_id = ANY($sites)", sites=sorted(sites))

    def add(self, condition: str, **parameters: object) -> "Where":
        """One more condition, with the parameters it names."""
        self._conditions.append(condition)
        self.parameters |= parameters
        return self

    def __str__(self) -> str:
        return " AND ".join(self._conditions) or "true"


@dataclass(frozen=True)
class Order:
    """A total order of rows by which a client walks through them page by page, whatever arrives meanwhile."""

    columns: Mapping[str, str]
    """Column -> SQL type, outermost first; together they tell every two rows apart."""
    descending: bool = False

    def select(self, source: str, where: Where, limit: int, after: str | None) -> str:
        """SQL of the rows behind the cursor `after`, one more than `limit` so that `page` sees whether there are more.

        Adds to the parameters of `where`. Raises Problem 422 for a cursor that this order never gave.
        """
        if after:
            values = self._decode(after)
            names = [f"after_{number}" for number in range(len(values))]
            row = ", ".join(f"${n}::{t}" for n, t in zip(names, self.columns.values(), strict=True))
            sign = "<" if self.descending else ">"
            where.add(
                f"row({', '.join(self.columns)}) {sign} row({row})", **dict(zip(names, values, strict=True))
            )
        direction = "DESC" if self.descending else "ASC"
        order = ", ".join(f"{column} {direction}" for column in self.columns)
        return f"SELECT * FROM {source} WHERE {where} ORDER BY {order} LIMIT {limit + 1}"

    def page(self, rows: list[Row], limit: int) -> tuple[list[Row], str | None]:
        """The rows of the page, and the cursor of the next where there is one."""
        if len(rows) <= limit:
            return rows, None
        return rows[:limit], self._encode(rows[limit - 1])

    def _encode(self, row: Row) -> str:
        values = [str(row[column]) for column in self.columns]
        return urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")

    def _decode(self, cursor: str) -> list[str]:
        try:
            values = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if len(values) == len(self.columns) and all(isinstance(value, str) for value in values):
                return [_checked(v, t) for v, t in zip(values, self.columns.values(), strict=True)]
        except (ValueError, TypeError):
            pass
        raise refused("after", "type", "is not the `next` of an earlier answer")


def _checked(value: str, sql_type: str) -> str:
    if sql_type == "TIMESTAMP":
        datetime.fromisoformat(value)
    elif sql_type == "DATE":
        date.fromisoformat(value)
    return value


Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows at most.")]
After = Annotated[str | None, Query(description="The `next` of the answer before.", max_length=2_000)]


def visible(rows: Iterable[Row], caller: Caller) -> list[Row]:
    """Pooled rows, and those of the caller's centres."""
    return [row for row in rows if row["site_id"] is None or caller.may_see(row["site_id"])]


def matching(rows: list[Row], wanted: Mapping[str, object]) -> list[Row]:
    """The rows that have every value wanted; None wants nothing."""
    equal = [(name, value) for name, value in wanted.items() if value is not None]
    if not equal:
        return rows
    return [row for row in rows if all(row[name] == value for name, value in equal)]


# -- commits -------------------------------------------------------------------------------------------------


class Commits:
    """When the store last committed, by this process's clock; None before the first commit since its start."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.at: datetime | None = None

    @asynccontextmanager
    async def followed(self, _: FastAPI) -> AsyncIterator[None]:
        """The lifespan of an API: keeps `at` current."""
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()

    async def _follow(self) -> None:
        seen = self._node.committed.count
        while True:
            count = await self._node.committed.wait(seen, 3600)
            if count > seen:
                self.at = now()
            seen = count


def page_version(node: Node, caller: Caller) -> str:
    """An ETag that changes with all that a page shows beside its address: commits, troubles, who looks."""
    sites = "all" if caller.sites is None else ",".join(sorted(caller.sites))
    parts = (PROCESS, node.committed.count, node.behind, *node.parts.values(), caller.name, sites)
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:20]}"'


# -- progress and snapshots ----------------------------------------------------------------------------------


class Snapshots:
    """Copies of the live store for other processes, which must never open the live file."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._path = (node.settings.data_dir / "snapshots" / f"{node.name}.duckdb").resolve()
        self._making = asyncio.Lock()

    async def newest(self) -> dict[str, Any]:
        """A snapshot at most 5 seconds old: its path, when it was begun, and the Kafka offsets it stands for.

        Raises Problem 503 where it cannot be written.
        """
        async with self._making:
            try:
                if self._age() >= SNAPSHOT_SECONDS:
                    await self._node.in_reader(self._make)
                return await self._node.in_reader(self._describe)
            except (duckdb.Error, OSError):
                raise Problem(
                    503,
                    "store_busy",
                    "The snapshot could not be written: make room on the disk of WEEK12_DATA_DIR, then try again.",
                    headers={"Retry-After": "5"},
                ) from None

    def _age(self) -> float:
        try:
            return time.time() - self._path.stat().st_mtime
        except FileNotFoundError:
            return SNAPSHOT_SECONDS

    def _make(self) -> None:
        begun = time.time()
        self._node.store.snapshot(self._path)
        os.utime(
            self._path, (begun, begun)
        )  # its age counts from what it shows, not from when it was written

    def _describe(self) -> dict[str, Any]:
        with duckdb.connect(str(self._path), read_only=True) as snapshot:
            rows = snapshot.execute(
                "SELECT topic, partition, next_offset FROM offsets ORDER BY ALL"
            ).fetchall()
        return {
            "path": str(self._path),
            "offsets": _by_topic(rows),
            "made_at": datetime.fromtimestamp(self._path.stat().st_mtime, UTC),
        }


def store_routes(node: Node, waiting: str, snapshots: Snapshots) -> APIRouter:
    """`GET /v1/progress` and `POST /v1/snapshot`. `waiting`: SQL that counts what has yet to be published."""
    router = APIRouter(prefix="/v1", tags=["store"])
    state = (
        "SELECT today, (SELECT list(row(topic, partition, next_offset) ORDER BY topic, partition) FROM offsets) "
        f"AS offsets, ({waiting}) AS waiting FROM clock"
    )

    @router.get("/progress", summary="How far the store is: counts only, for everybody")
    async def progress() -> Response:
        found = (await node.read(state))[0]
        for catch_up in node.ahead:  # who is told that something is in the store finds it in every answer
            await catch_up()
        return answer(
            service=node.name,
            offsets=_by_topic(found["offsets"] or []),
            waiting_to_publish=found["waiting"],
            today=found["today"],
        )

    @router.post(
        "/snapshot", summary="A copy of the store, at most 5 seconds old, for other processes to read"
    )
    async def snapshot(_: Annotated[Caller, Depends(require("operate"))]) -> Response:
        return answer(**await snapshots.newest())

    return router


def _by_topic(rows: Iterable[Sequence[Any]]) -> dict[str, dict[str, int]]:
    topics: dict[str, dict[str, int]] = {}
    for topic, partition, offset in rows:
        topics.setdefault(topic, {})[str(partition)] = offset
    return topics

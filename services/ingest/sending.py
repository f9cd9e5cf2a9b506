"""A client of ingest: a few requests at a time, patient with a service that is busy or away."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import orjson

from schemas import Refusal
from services.ingest.body import LINES
from services.ingest.files import Chunk, Line, Reject
from services.runtime.errors import OperatorError

FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
AGAIN = {408, 429, 500, 502, 503, 504}
"""Answers after which the same request is sent again: nothing is lost or counted twice by that."""


class Sender:
    """Sends chunks and keeps count of what became of their lines.

    `give_up_after` seconds without any answer that takes events end it. `waiting` is told in a few words why
    it waits, and None when it goes on; `done` gets every chunk with the rejects ingest added to it.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        in_flight: int,
        give_up_after: float,
        waiting: Callable[[str | None], None],
        done: Callable[[Chunk, Sequence[Reject]], None],
    ) -> None:
        self.statuses: Counter[str] = Counter()
        self.warnings: Counter[str] = Counter()
        self._client = client
        self._in_flight = in_flight
        self._give_up_after = give_up_after
        self._waiting = waiting
        self._done = done
        self._last_taken = time.monotonic()

    async def send(self, chunks: AsyncIterator[Chunk]) -> None:
        """Send every chunk; returns when all are acknowledged.

        Raises OperatorError where ingest refuses the sender, or has taken nothing for too long.
        """
        room = asyncio.Semaphore(self._in_flight)

        async def send_one(chunk: Chunk) -> None:
            try:
                await self._send(chunk)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as tasks:
                async for chunk in chunks:
                    await room.acquire()
                    tasks.create_task(send_one(chunk))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _send(self, chunk: Chunk) -> None:
        rejects = await self._deliver(chunk.lines) if chunk.lines else []
        self.statuses.update("refused" for _ in chunk.rejects)
        self._done(chunk, [*chunk.rejects, *rejects])

    async def _deliver(self, lines: Sequence[Line]) -> list[Reject]:
        """The lines that ingest refused."""
        response = await self._post(b"\n".join(line.text for line in lines))
        problem = _json(response)
        if "receipts" in problem:
            return self._count(lines, problem["receipts"])
        if response.status_code != 413:
            raise OperatorError(_why(response.status_code, problem, self._client.base_url))
        if len(lines) == 1:
            self.statuses["refused"] += 1
            return [Reject(lines[0], (Refusal("", "too_large", "is larger than Kafka takes"),))]
        middle = len(lines) // 2
        return await self._deliver(lines[:middle]) + await self._deliver(lines[middle:])

    async def _post(self, body: bytes) -> httpx.Response:
        wait = FIRST_WAIT
        while True:
            asked = 0.0
            try:
                response = await self._client.post(
                    "/v1/events", content=body, headers={"Content-Type": LINES[0]}
                )
            except httpx.TransportError as error:
                reason = f"{self._client.base_url} does not answer ({type(error).__name__})"
            else:
                if response.status_code not in AGAIN:
                    self._last_taken = time.monotonic()
                    self._waiting(None)
                    return response
                reason = f"ingest says {response.status_code} {_json(response).get('code', '')}".rstrip()
                asked = _retry_after(response)
            pause = max(asked, wait * random.uniform(0.5, 1))  # noqa: S311
            if time.monotonic() + pause > self._last_taken + self._give_up_after:
                raise OperatorError(
                    f"{reason}, for {self._give_up_after:.0f} s now; when it is back, send the same again: "
                    "what was taken before does no harm"
                )
            self._waiting(reason)
            await asyncio.sleep(pause)
            wait = min(wait * 2, LONGEST_WAIT)

    def _count(self, lines: Sequence[Line], receipts: Sequence[dict[str, Any]]) -> list[Reject]:
        rejects = []
        for line, receipt in zip(lines, receipts, strict=True):
            self.statuses[receipt["status"]] += 1
            if receipt["status"] == "refused":
                errors = (Refusal(e["path"], e["code"], e["message"]) for e in receipt["errors"])
                rejects.append(Reject(line, tuple(errors)))
            else:
                self.warnings.update(warning["code"] for warning in receipt["warnings"])
        return rejects


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        data = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return data if isinstance(data, dict) else {}


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else 0.0


def _why(status: int, problem: dict[str, Any], url: httpx.URL) -> str:
    if status == 401:
        return "ingest does not know this token: give one that `week12 token add` made for it"
    if status == 404 or not problem:
        return f"{url} answers {status}, not as ingest does: check --url"
    return f"ingest refuses the request ({status} {problem.get('code')}): {problem.get('detail')}"

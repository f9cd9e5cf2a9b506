"""Who watches the services from outside, each in a process of its own; clocks are the machine's monotonic one."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import httpx
import orjson

MARKED_SITE = "B01"
"""The centre of the patients who are looked for in the answers; the registry's are S01 to S20."""
READY_SECONDS = 30
PATIENCE_SECONDS = 60
"""How long what was accepted last may take to be seen."""


class Asked(NamedTuple):
    """One answer: when it was there, how long it took, and how many responders of the marked centre it counts."""

    answered: float
    seconds: float
    responders: int


class Observer:
    """Runs an observing function in a process until `finish`, which returns what it saw."""

    def __init__(self, function: Callable[..., None], *arguments: object) -> None:
        context = get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=function, args=(other, *arguments), daemon=True)

    def __enter__(self) -> "Observer":
        self._process.start()
        if not self._pipe.poll(READY_SECONDS):
            raise SystemExit("an observer did not come up")
        self._pipe.recv()
        return self

    def finish(self, expected: int = 0) -> Any:
        """Let it watch until it has seen so many, for a minute at most; what it saw."""
        self._pipe.send(expected)
        if not self._pipe.poll(PATIENCE_SECONDS + READY_SECONDS):
            raise SystemExit("an observer did not answer")
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit("an observer gave up") from None

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def listen(pipe: Connection, url: str, secret: str) -> None:
    """Patient -> when an alert of theirs first came over the event stream."""
    seen: dict[str, float] = {}

    async def follow() -> None:
        headers = {"Authorization": f"Bearer {secret}"}
        async with (
            httpx.AsyncClient(base_url=url, headers=headers, timeout=None) as client,
            client.stream("GET", "/v1/alerts/stream") as response,
        ):
            response.raise_for_status()
            async for line in response.aiter_lines():
                at = time.monotonic()
                if line.startswith("event: counts") and not told.is_set():
                    told.set()  # what was there before has been told; from here on it is news
                if line.startswith("data: ") and MARKED_SITE in line:
                    alert = orjson.loads(line[6:])
                    if alert.get("site_id") == MARKED_SITE:
                        seen.setdefault(alert["patient_id"], at)
                        news.set()

    async def run() -> None:
        following = asyncio.create_task(follow())
        await told.wait()
        pipe.send("ready")
        expected = await asyncio.to_thread(pipe.recv)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(seen) < expected:
                    news.clear()
                    await news.wait()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        pipe.send(seen)

    told, news = asyncio.Event(), asyncio.Event()
    asyncio.run(run())


def ask(pipe: Connection, url: str, secret: str, path: str, rate: float) -> None:
    """An `Asked` for every question, `rate` times a second."""
    asked: list[Asked] = []
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        client.get(path).raise_for_status()
        pipe.send("ready")
        expected, begun, deadline = -1, time.monotonic(), float("inf")
        while expected < 0 or (asked[-1].responders < expected and time.monotonic() < deadline):
            pause = max(0.0, begun + len(asked) / rate - time.monotonic())
            if expected >= 0:
                time.sleep(pause)
            elif pipe.poll(pause):
                expected, deadline = pipe.recv(), time.monotonic() + PATIENCE_SECONDS
            started = time.monotonic()
            response = client.get(path)
            answered = time.monotonic()
            response.raise_for_status()
            asked.append(Asked(answered, answered - started, _responders(response.content)))
    pipe.send(asked)


def _responders(content: bytes) -> int:
    for row in orjson.loads(content).get("rows", ()):
        wanted = (row["site_id"], row["timepoint"], row["endpoint"], row["estimand"])
        if wanted == (MARKED_SITE, "week_12", "clinical_response", "observed"):
            return int(row["n"])
    return 0

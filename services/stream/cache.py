"""Answers computed once a commit, however many ask for them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

from services.runtime.cut import Cut
from services.stream.node import Node

T = TypeVar("T")

WANTED_SECONDS = 2.0
"""How long after a question the next commits are followed without being asked."""
RECENT_SECONDS = 0.25
"""How long after its computation a value is still `recent`, whatever was committed since."""
DATED_ANSWERS = 16
"""Other cuts whose answers are kept until the next commit."""


class PerCommit(Generic[T]):
    """A value computed from the store at most once a commit, and never older than the last commit.

    Who asks while it is being computed waits for that computation, and for one more where it began before
    the last commit. With `ahead`, each commit starts the computation by itself while people keep asking:
    most then find the answer ready, instead of one of them paying for it.
    """

    def __init__(self, node: Node, compute: Callable[[], Awaitable[T]], *, ahead: bool = False) -> None:
        self._node = node
        self._compute = compute
        self._ahead = ahead
        self._value: T
        self._at = -1
        self._running: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._asked = 0.0
        self._computed = 0.0
        if ahead:
            node.ahead.append(self.catch_up)

    async def get(self) -> T:
        """The value as of a commit not older than the last one before this call.

        Raises what the computation raises; the next call tries again.
        """
        self._asked = time.monotonic()
        await self._reach(self._node.committed.count)
        if self._ahead and self._following is None:
            self._following = asyncio.create_task(self._follow())
        return self._value

    async def recent(self) -> T:
        """The value, which while each commit is followed may be that of a commit shortly before the last one.

        Nobody waits then for a computation under way: under a steady stream there is always one.
        """
        if self._following is None or time.monotonic() - self._computed > RECENT_SECONDS:
            return await self.get()
        self._asked = time.monotonic()
        return self._value

    async def catch_up(self) -> None:
        """Wait until what `recent` gives is not older than the last commit that could be read before this call."""
        if self._following is not None:
            await self._node.write(lambda: None)  # a commit can be read a moment before it is noted
            await self._reach(self._node.committed.count)

    async def _reach(self, commit: int) -> None:
        while self._at < commit:
            if self._running is None:
                self._running = asyncio.create_task(self._run())
            await asyncio.shield(self._running)  # who goes away must not take the others' answer along

    async def _run(self) -> None:
        try:
            at = self._node.committed.count
            self._value = await self._compute()
            self._at, self._computed = at, time.monotonic()
        finally:
            self._running = None

    async def _follow(self) -> None:
        with suppress(Exception):  # who asks next meets the same failure, and is told
            while time.monotonic() - self._asked < WANTED_SECONDS:
                await self._reach(await self._node.committed.wait(self._at, WANTED_SECONDS))
        self._following = None


class PerCut(Generic[T]):
    """A value for each data cut asked for, None for today's, each computed at most once a commit."""

    def __init__(
        self, node: Node, compute: Callable[[Cut | None], Awaitable[T]], *, ahead: bool = False
    ) -> None:
        """`ahead`: today's is computed at each commit while people keep asking, as in `PerCommit`."""
        self._node = node
        self._compute = compute
        self._ahead = ahead
        self._cuts: dict[Cut | None, PerCommit[T]] = {}

    async def get(self, cut: Cut | None) -> T:
        """The value at that cut, as of a commit not older than the last one before this call."""
        return await self._at(cut).get()

    async def recent(self, cut: Cut | None) -> T:
        """The value at that cut, as `PerCommit.recent`."""
        return await self._at(cut).recent()

    def _at(self, cut: Cut | None) -> PerCommit[T]:
        if cut not in self._cuts:
            if len(self._cuts) > DATED_ANSWERS:
                del self._cuts[next(kept for kept in self._cuts if kept is not None)]
            self._cuts[cut] = PerCommit(
                self._node, partial(self._compute, cut), ahead=self._ahead and cut is None
            )
        return self._cuts[cut]

"""Answers computed once a commit, however many ask for them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from services.stream.node import Node

T = TypeVar("T")

WANTED_SECONDS = 2.0
"""How long after a question the next commits are followed without being asked."""


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

    async def get(self) -> T:
        """The value as of a commit not older than the last one before this call.

        Raises what the computation raises; the next call tries again.
        """
        self._asked = time.monotonic()
        await self._reach(self._node.committed.count)
        if self._ahead and self._following is None:
            self._following = asyncio.create_task(self._follow())
        return self._value

    async def _reach(self, commit: int) -> None:
        while self._at < commit:
            if self._running is None:
                self._running = asyncio.create_task(self._run())
            await asyncio.shield(self._running)  # who goes away must not take the others' answer along

    async def _run(self) -> None:
        try:
            at = self._node.committed.count
            self._value = await self._compute()
            self._at = at
        finally:
            self._running = None

    async def _follow(self) -> None:
        with suppress(Exception):  # who asks next meets the same failure, and is told
            while time.monotonic() - self._asked < WANTED_SECONDS:
                await self._reach(await self._node.committed.wait(self._at, WANTED_SECONDS))
        self._following = None

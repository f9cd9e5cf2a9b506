"""How much may be on its way at once: what pushes back on callers instead of growing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class WindowFull(Exception):
    """There was no room within the time allowed."""


class Window:
    """Room for `capacity` units, handed out first come, first served."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.free = capacity
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, wanted: int, patience: float) -> AsyncIterator[None]:
        """Hold room for a while; more than there is altogether means all of it.

        Raises WindowFull after `patience` seconds of waiting.
        """
        units = min(wanted, self.capacity)
        try:
            async with asyncio.timeout(patience), self._turn:
                while self.free < units:
                    self._freed.clear()
                    await self._freed.wait()
                self.free -= units
        except TimeoutError:
            raise WindowFull from None
        try:
            yield
        finally:
            self.free += units
            self._freed.set()

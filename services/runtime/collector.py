"""Python's cycle collector, told what kind of program this is."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

COLLECT_SECONDS = 10.0


def relax_collector() -> None:
    """Never look again at what lives since the start, and collect cycles only when asked to.

    A batch of events makes hundreds of thousands of objects and hardly a cycle: with the defaults a quarter
    of the time goes into looking for some. Call once everything is imported; what runs for long then needs
    `keep_collecting`.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


async def keep_collecting() -> None:
    """Collect every few seconds, until cancelled: errors and requests do leave cycles."""
    while True:
        await asyncio.sleep(COLLECT_SECONDS)
        gc.collect()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect nothing meanwhile: for a command that works through a file and ends."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

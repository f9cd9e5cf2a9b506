"""What the C libraries do with freed memory: give it back, instead of keeping some for each thread."""

import ctypes
from contextlib import suppress

import pyarrow as pa

_M_ARENA_MAX = -8  # glibc's malloc.h
_ARENAS = 2


def tame_allocators() -> None:
    """Let all threads share few arenas, and Arrow use them too. Call before threads start.

    A service decodes in one thread and writes in another; each would keep the most it ever needed.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):  # another C library has no such switch, and no such habit
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)

"""What the C libraries do with freed memory: give it back, instead of keeping some for each thread."""

import ctypes
from contextlib import suppress

import pyarrow as pa

MALLOC_TUNABLES = "glibc.malloc.tcache_count=1000"
"""For the variable GLIBC_TUNABLES of a service's process, which is read at its start alone.

A small DuckDB transaction allocates tens of thousands of small objects and frees them together; with glibc's own
7 of each size kept ready, a fifth of its time goes into finding room again.
"""

_M_ARENA_MAX = -8  # glibc's malloc.h
_ARENAS = 2


def tame_allocators() -> None:
    """Let all threads share few arenas, and Arrow use them too. Call before threads start.

    A service decodes in one thread and writes in another; each would keep the most it ever needed.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):  # another C library has no such switch, and no such habit
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)

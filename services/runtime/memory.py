"""What the C libraries do with freed memory: give it back, instead of keeping some for each thread."""

import ctypes
import ctypes.util
from collections.abc import Mapping
from contextlib import suppress

import pyarrow as pa

JEMALLOC = {"LD_PRELOAD": "libjemalloc.so.2", "MALLOC_CONF": "narenas:2,background_thread:true"}
GLIBC = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=1000"}
"""With glibc's own 7 objects of each size kept ready, a fifth of a small transaction goes into finding room again."""


def allocator_variables() -> Mapping[str, str]:
    """Variables of a service's process, read at its start alone: the better allocator for C that this machine has.

    A small DuckDB transaction allocates tens of thousands of small objects and frees them together. jemalloc is good
    at that.
    """
    return JEMALLOC if ctypes.util.find_library("jemalloc") == JEMALLOC["LD_PRELOAD"] else GLIBC


# glibc's malloc.h
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_ARENAS = 2
_LARGE_BYTES = 128 * 1024


def tame_allocators() -> None:
    """Let all threads share few arenas, and Arrow use them too, but for what is large. Call before threads start.

    A service decodes in one thread and writes in another; each would keep the most it ever needed. Large pieces (the
    columns of a batch, messages) go back to the system when they are freed; left to itself, glibc soon takes up
    to 32 MB for small.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):  # another C library has no such switch, and no such habit
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)

"""What Prometheus shows of a store, read from it now and then, and never in the way of the stream."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import duckdb

from services.runtime.verified import read_verified
from services.stream.node import Node

log = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0
REST = 20
"""Reading rests so many times as long as it took: at most a twentieth of a core, however large the store is."""


class Gauges(Protocol):
    """The gauges of one service's tables."""

    async def refresh(self) -> None:
        """Set them from the store."""
        ...


class GaugeKeeper:
    """Keeps the gauges of a running service current: after commits, and not during a backlog."""

    def __init__(self, node: Node, make: Callable[[Node], Gauges] | None) -> None:
        self._node = node
        self._tables = make(node) if make else None
        self._seen = -1
        self._rested = 0.0  # when tables may be read again

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                self.look_at_files()
                await self._refresh_tables()
            except (duckdb.Error, OSError) as error:
                log.warning("gauges could not be read (%s): trying again", type(error).__name__)
            await asyncio.sleep(REFRESH_SECONDS)

    async def _refresh_tables(self) -> None:
        count, started = self._node.committed.count, time.perf_counter()
        if self._tables and count > self._seen and not self._node.behind and started > self._rested:
            await self._tables.refresh()
            self._seen, ended = count, time.perf_counter()
            self._rested = ended + (ended - started) * REST

    def look_at_files(self) -> None:
        """The size of the store, and what `week12 verify` found."""
        node, metrics = self._node, self._node.metrics
        path = node.store.path
        size = sum(map(_size, (path, path.with_name(f"{path.name}.wal"))))
        metrics.store_size_bytes.labels(node.name).set(size)
        verified = read_verified(node.settings.data_dir).get(node.name)
        if verified is None:
            return
        metrics.verify_differences.labels(node.name).set(verified.differences)
        metrics.verify_last_run_timestamp_seconds.labels(node.name).set(verified.ran_at)
        if verified.succeeded_at is not None:
            metrics.verify_last_success_timestamp_seconds.labels(node.name).set(verified.succeeded_at)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

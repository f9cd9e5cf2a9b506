"""Tables that take more than SQL: computed when data have settled, beside the stream and never in its way.

The store is read in a reading thread, the computation has a thread of its own, and the writing thread gets the rows
alone. The table `settled` says which batch each table stands for.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from mode import Service

from services.stream.definition import Cursor, Settled
from services.stream.node import Node
from services.stream.store import EventStore

T = TypeVar("T")

log = logging.getLogger(__name__)

QUIET_SECONDS = 5.0
"""Without a commit for so long, data have settled."""
PATIENCE_SECONDS = 300.0
"""Where data never settle, tables are computed so long after the first change nevertheless."""
IDLE_SECONDS = 60.0
RETRY_SECONDS = 30.0

CREATION = "CREATE OR REPLACE TABLE settled (name VARCHAR PRIMARY KEY, batch BIGINT)"
BATCH = "SELECT batch FROM clock"


def settle(store: EventStore) -> None:
    """Compute every such table of a store at rest, in the calling thread, which must be the writing one."""
    for table in store.definition.settled:
        batch, found = read(store, table.read)
        write(store, table, table.compute(found), batch)


def read(store: EventStore, reading: Callable[[Cursor], T]) -> tuple[int, T]:
    """The batch that the store is at, and what is read of that one state however long it takes."""
    cursor = store.cursor()
    try:
        cursor.execute("BEGIN")
        batch: int = cursor.execute(BATCH).fetchall()[0][0]
        found = reading(cursor)
        cursor.execute("COMMIT")
    finally:
        cursor.close()
    return batch, found


def write(store: EventStore, table: Settled, rows: Sequence[Mapping[str, object]], batch: int) -> None:
    """Replace the table's rows. In the writing thread."""
    shape = orjson.dumps([dict(table.columns)]).decode()
    store.execute_together(
        [
            (f"DELETE FROM store.{table.name}", None),
            (
                f"INSERT INTO store.{table.name} BY NAME SELECT unnest(from_json($rows, '{shape}'), recursive := true)",
                {"rows": orjson.dumps(list(rows)).decode()},
            ),
            (
                "INSERT OR REPLACE INTO store.settled VALUES ($name, $batch)",
                {"name": table.name, "batch": batch},
            ),
        ]
    )


class Settling(Service):  # type: ignore[misc]
    """Keeps the tables current in a running service."""

    def __init__(self, node: Node, **options: Any) -> None:
        super().__init__(**options)
        self.node = node

    @Service.task  # type: ignore[untyped-decorator]
    async def _keep_current(self) -> None:
        seen, batch = -1, -1
        while not self.should_stop:
            count = await self.node.committed.wait(seen, IDLE_SECONDS)
            if count <= seen:
                continue
            await self._let_settle()
            seen = self.node.committed.count
            try:
                batch = await self._compute(batch)
            except Exception as error:  # whatever it is, the stream goes on without these tables
                log.error("tables could not be computed (%s): trying again", type(error).__name__)
                seen = -1
                await self.sleep(RETRY_SECONDS)

    async def _let_settle(self) -> None:
        """Wait for a quiet moment, though not for ever; during a backlog for its end."""
        latest = time.monotonic() + PATIENCE_SECONDS
        quiet = False
        while not self.should_stop and not (quiet or (time.monotonic() > latest and not self.node.behind)):
            before = self.node.committed.count
            await self.sleep(QUIET_SECONDS)
            quiet = self.node.committed.count == before and not self.node.behind

    async def _compute(self, before: int) -> int:
        """Compute every table that stands for an earlier batch; returns the batch that they stand for now."""
        node, batch = self.node, before
        if (await node.read(BATCH))[0]["batch"] == before:
            return before  # the last commit was this one's own
        for table in node.store.definition.settled:
            started = time.perf_counter()
            batch, found = await node.in_background(read, node.store, table.read)
            rows = await asyncio.to_thread(table.compute, found)
            await node.write(write, node.store, table, rows, batch)
            log.info("computed %s: %d rows in %.1f s", table.name, len(rows), time.perf_counter() - started)
        node.committed.beat()
        return batch


def is_current(cursor: Cursor, name: str) -> bool:
    """Whether a table stands for the last batch."""
    found = cursor.execute(
        "SELECT 1 FROM settled, clock WHERE name = ? AND settled.batch = clock.batch", [name]
    )
    return bool(found.fetchall())

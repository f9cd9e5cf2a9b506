"""What the parts of one processing service share: its store and the threads that may touch it, and its state."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import duckdb

from services.runtime.interpreter import step_back
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings
from services.stream.batch import Applied
from services.stream.store import EventStore, StoreError, why_not
from services.stream.traces import Traces

P = ParamSpec("P")
T = TypeVar("T")

READERS = 3


class Pulse:
    """Wakes whoever waits, each time something was committed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.count = 0

    def beat(self) -> None:
        """Wake all who wait now."""
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seen: int, seconds: float) -> int:
        """Return the count once it is beyond `seen`, or after so many seconds."""
        if self.count <= seen:
            try:
                async with asyncio.timeout(seconds):
                    await self._event.wait()
            except TimeoutError:
                pass
        return self.count


@dataclass(frozen=True)
class Patience:
    """How many times `WEEK12_LINGER_MS` a record waits for others to share its transaction, `usual` or by its topic."""

    usual: int = 1
    topics: Mapping[str, int] = field(default_factory=dict)

    def of(self, topics: Iterable[str]) -> int:
        """Of records of these topics together: the least."""
        return min(self.topics.get(topic, self.usual) for topic in topics)

    @property
    def least(self) -> int:
        """Of any record."""
        return min([self.usual, *self.topics.values()])


class Node:
    """One service's store with its one writing thread and a few reading ones.

    `parts` says how each part is doing, for `/health/ready`; `behind` is true while a backlog is worked off.
    """

    def __init__(
        self,
        settings: Settings,
        store: EventStore,
        metrics: Metrics,
        patience: Patience = Patience(),
    ) -> None:
        self.settings = settings
        self.store = store
        self.metrics = metrics
        self.committed = Pulse()
        self.parts = {"kafka": "starting", "store": "ok"}
        self.behind = False
        self.patience = patience
        self.last: Applied | None = None
        self.tell: Callable[[Applied], None] = lambda _: None
        self.traces = Traces()
        self.ahead: list[Callable[[], Awaitable[None]]] = []
        """Waits until an answer that is computed ahead holds the last commit."""
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="decoder")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="background", initializer=step_back)

    @property
    def name(self) -> str:
        """The service's name."""
        return self.store.definition.name

    def ready(self) -> tuple[bool, dict[str, str]]:
        """Whether the service can do its work, and the state of its parts."""
        return all(state == "ok" for state in self.parts.values()), dict(self.parts)

    def note(self, applied: Applied) -> None:
        """Let everybody know of a commit."""
        self.last = applied
        self.committed.beat()
        self.tell(applied)

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the one thread that may write; calls never overlap.

        Where DuckDB fails, the store is made usable again before the error goes on, and `parts` says what is wrong
        until something commits.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, lambda: self._write(function, *args, **kwargs))

    def _write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except duckdb.Error as error:
            self.parts["store"] = why_not(error)
            with suppress(duckdb.Error, StoreError):  # the next failure tries again
                self.store.mend(self.alone)
            raise

    async def prove_store(self) -> None:
        """Where something could not be committed, see whether it can now. Raises duckdb.Error while it cannot."""
        if self.parts["store"] != "ok":
            await self.write(self.store.prove_writable)
            self.parts["store"] = "ok"

    async def in_decoder(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in the thread that turns records into columns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._decoder, lambda: function(*args, **kwargs))

    async def read(
        self, sql: str, parameters: Sequence[object] | dict[str, object] | None = None
    ) -> list[dict[str, Any]]:
        """Rows of a query as dicts, on a cursor of its own, read to the end."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.query, sql, parameters)

    def query(
        self, sql: str, parameters: Sequence[object] | dict[str, object] | None = None
    ) -> list[dict[str, Any]]:
        """What `read` does, for work that is in a reading thread already."""
        cursor = self.store.cursor()
        try:
            found = cursor.execute(sql, parameters)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        finally:
            cursor.close()

    async def in_reader(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something slow that only reads, off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: function(*args, **kwargs))

    async def in_background(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that only reads, and that nobody waits for, in the thread that lets all others go first."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._background, lambda: function(*args, **kwargs))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within, no reading thread works; for the writing thread, and short."""
        threads = [*[self._readers] * READERS, self._background]
        free, stopped = threading.Event(), threading.Barrier(len(threads) + 1)

        def hold() -> None:
            stopped.wait()
            free.wait()

        for thread in threads:
            thread.submit(hold)
        stopped.wait()  # what is being read is read to its end
        try:
            yield
        finally:
            free.set()

    def close(self) -> None:
        """Let the threads finish and close the store."""
        self._decoder.shutdown()
        self._writer.shutdown()
        self._readers.shutdown()
        self._background.shutdown()
        self.store.close()

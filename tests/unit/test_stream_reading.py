"""The parts below the reading APIs: answers computed once a commit, small cells, cursors."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.runtime.problems import Problem
from services.stream.cache import PerCommit
from services.stream.disclosure import mask_small_cells
from services.stream.http import Order, Where
from services.stream.node import Pulse


class FakeNode:
    """As much of a node as a cache needs."""

    def __init__(self) -> None:
        self.committed = Pulse()
        self.ahead: list[Callable[[], Awaitable[None]]] = []


class Slow:
    """A computation that says what was committed when it began, once it is let go on."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.begun: list[int] = []
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        at = self.node.committed.count
        self.begun.append(at)
        await self.go_on.wait()
        if self.error:
            raise self.error
        return at


@pytest.fixture
async def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def slow(node: FakeNode) -> Slow:
    return Slow(node)


async def until_begun(slow: Slow, times: int) -> None:
    async with asyncio.timeout(5):
        while len(slow.begun) < times:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_all_who_ask_share_one_computation(node: FakeNode, slow: Slow) -> None:
    cached = PerCommit(node, slow)  # type: ignore[arg-type]
    asking = [asyncio.create_task(cached.get()) for _ in range(50)]
    await until_begun(slow, 1)
    slow.go_on.set()
    assert await asyncio.gather(*asking) == [0] * 50
    assert await cached.get() == 0
    assert slow.begun == [0]


async def test_an_answer_is_never_older_than_the_last_commit_before_the_question(
    node: FakeNode, slow: Slow
) -> None:
    cached = PerCommit(node, slow)  # type: ignore[arg-type]
    early = asyncio.create_task(cached.get())
    await until_begun(slow, 1)
    node.committed.beat()
    late = asyncio.create_task(cached.get())  # its answer must show the commit: the running one may not
    await asyncio.sleep(0)
    slow.go_on.set()
    assert (await early, await late) == (0, 1)
    assert slow.begun == [0, 1]


async def test_who_goes_away_takes_nobodys_answer_along(node: FakeNode, slow: Slow) -> None:
    cached = PerCommit(node, slow)  # type: ignore[arg-type]
    leaving, staying = (asyncio.create_task(cached.get()) for _ in range(2))
    await until_begun(slow, 1)
    leaving.cancel()
    slow.go_on.set()
    assert await staying == 0
    assert slow.begun == [0]


async def test_a_failure_reaches_who_asked_and_the_next_question_tries_again(
    node: FakeNode, slow: Slow
) -> None:
    cached = PerCommit(node, slow)  # type: ignore[arg-type]
    slow.go_on.set()
    slow.error = OSError("disk")
    for answer in await asyncio.gather(cached.get(), cached.get(), return_exceptions=True):
        assert isinstance(answer, OSError)
    slow.error = None
    assert await cached.get() == 0


async def test_ahead_of_time_each_commit_is_computed_while_people_ask(
    node: FakeNode, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.stream.cache.WANTED_SECONDS", 0.5)
    cached = PerCommit(node, slow, ahead=True)  # type: ignore[arg-type]
    slow.go_on.set()
    await cached.get()
    node.committed.beat()
    await until_begun(slow, 2)  # nobody asked again
    async with asyncio.timeout(5):  # for so long that it leaves off
        while cached._following:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    node.committed.beat()
    await asyncio.sleep(0)
    assert slow.begun == [0, 1]
    assert await cached.get() == 2


@pytest.mark.parametrize(
    ("n", "total", "shown"),
    [(0, 20, (0, 20)), (1, 20, (None, 20)), (4, 20, (None, 20)), (5, 20, (5, 20)), (0, 4, (None, None)),
     (3, 3, (None, None)), (0, 5, (0, 5)), (5, 5, (5, 5)), (0, 0, (0, 0))],
)  # fmt: skip
def test_small_cells_are_masked(n: int, total: int, shown: tuple[int | None, int | None]) -> None:
    row = {"site_id": None, "n": n, "denominator": total, "rate": n / total if total else None}
    (masked,) = mask_small_cells([row], "n", "denominator", ["rate"])
    assert (masked["n"], masked["denominator"]) == shown
    assert masked.get("masked", False) == (shown != (n, total))
    assert (masked["rate"] is None) == (shown != (n, total) or not total)
    own = row | {"site_id": "S01"}
    assert mask_small_cells([own], "n", "denominator", ["rate"]) == [own]


ORDER = Order({"at": "TIMESTAMP", "name": "VARCHAR"}, descending=True)


def test_a_cursor_leads_behind_the_last_row_of_a_page() -> None:
    rows = [{"at": "2025-01-01 00:00:00", "name": name} for name in "dcba"]
    page, cursor = ORDER.page(rows[:3], 2)
    assert page == rows[:2]
    assert cursor
    where = Where({"site_id": "S01", "drug": None}, frozenset({"S01"}))
    sql = ORDER.select("alerts", where, 2, cursor)
    assert "row(at, name) < row($after_0::TIMESTAMP, $after_1::VARCHAR)" in sql
    assert sql.endswith("ORDER BY at DESC, name DESC LIMIT 3")
    assert where.parameters == {
        "site_id": "S01", "sites": ["S01"], "after_0": "2025-01-01 00:00:00", "after_1": "c",
    }  # fmt: skip
    assert ORDER.page(rows[2:], 2) == (rows[2:], None)


@pytest.mark.parametrize("cursor", ["?", "bnVsbA", "WyJub3QgYSB0aW1lIiwieCJd", "WyIyMDI1LTAxLTAxIl0"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Problem, match="after"):
        ORDER.select("alerts", Where(), 2, cursor)

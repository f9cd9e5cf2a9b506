"""The window bounds what is on its way, first come, first served."""

import asyncio

import pytest

from services.ingest.window import Window, WindowFull


async def test_room_is_given_back() -> None:
    window = Window(10)
    async with window.hold(7, 1), window.hold(3, 1):
        assert window.free == 0
    assert window.free == 10


async def test_one_that_asks_for_more_than_all_gets_all() -> None:
    window = Window(10)
    async with window.hold(1000, 1):
        assert window.free == 0
    assert window.free == 10


@pytest.mark.parametrize(("wanted", "fits"), [(2, True), (3, True), (4, False)])
async def test_what_does_not_fit_waits_and_is_then_told(wanted: int, fits: bool) -> None:
    window = Window(10)
    async with window.hold(7, 1):
        if fits:
            async with window.hold(wanted, 0.05):
                pass
        else:
            with pytest.raises(WindowFull):
                async with window.hold(wanted, 0.05):
                    pass
    assert window.free == 10


async def test_a_waiting_one_goes_on_as_soon_as_there_is_room() -> None:
    window, order = Window(10), []

    async def work(name: str, wanted: int) -> None:
        async with window.hold(wanted, 5):
            order.append(name)
            await asyncio.sleep(0)

    async with window.hold(10, 1):
        tasks = [asyncio.create_task(work(name, wanted)) for name, wanted in (("a", 9), ("b", 1), ("c", 5))]
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c"]
    assert window.free == 10


async def test_a_cancelled_holder_gives_its_room_back() -> None:
    window, holding = Window(10), asyncio.Event()

    async def hold_for_ever() -> None:
        async with window.hold(10, 1):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold_for_ever())
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert window.free == 10

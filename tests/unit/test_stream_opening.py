"""A service whose store has yet to become one of this version answers that it is not ready, and how far it is."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.broker.process import free_port
from services.local import supervisor as module
from services.local.supervisor import Supervisor
from services.outcomes.definition import OUTCOMES
from services.runtime.errors import OperatorError
from services.runtime.metrics import Metrics
from services.runtime.places import BRINGING_UP
from services.runtime.settings import Settings, load_settings
from services.stream import opening
from services.stream.opening import open_while_answering


class SlowOpening:
    """Opens nothing until told, as if 700 records were read again meanwhile."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.error: OperatorError | None = None

    def __call__(self, *_: Any) -> str:
        tell: Callable[[int], None] = _[3]
        tell(700)
        assert self.may_end.wait(30)
        if self.error:
            raise self.error
        return "the store"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowOpening:
    slow = SlowOpening()
    monkeypatch.setattr(opening, "open_service_store", slow)
    monkeypatch.setattr(opening, "QUICK_SECONDS", 0.0)
    return slow


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, outcomes_port=free_port())


async def opened(settings: Settings) -> Any:
    port, metrics = settings.outcomes_port, Metrics("outcomes")
    return await open_while_answering(settings, OUTCOMES, port, metrics, asyncio.Event())


async def first_answer(client: httpx.AsyncClient, path: str) -> httpx.Response:
    async with asyncio.timeout(20):
        while True:
            try:
                return await client.get(path)
            except httpx.ConnectError:
                await asyncio.sleep(0.02)


async def test_it_answers_until_the_store_is_open(settings: Settings, slow: SlowOpening) -> None:
    url = f"http://127.0.0.1:{settings.outcomes_port}"
    async with asyncio.TaskGroup() as group, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        store = group.create_task(opened(settings))
        ready = await first_answer(client, "/health/ready")
        assert ready.status_code == 503
        assert ready.json()["parts"] == {"store": f"{BRINGING_UP}, 700 records read again"}
        assert (await client.get("/health/live")).status_code == 200
        for path in ("/", "/v1/cohort", "/v1/patients/P-1/explain"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_busy")
            assert answer.headers["Retry-After"] == "5"
        slow.may_end.set()
        assert await store == "the store"
        with pytest.raises(httpx.TransportError):  # the port is free for the service itself
            await client.get("/health/live")


async def test_why_it_could_not_be_opened_comes_through(settings: Settings, slow: SlowOpening) -> None:
    slow.error = OperatorError("Kafka is away")
    slow.may_end.set()
    with pytest.raises(OperatorError, match="Kafka is away"):
        await opened(settings)


class Waiting:
    """A child that brings its store up for so many looks, and is ready then or never."""

    def __init__(self, looks: int, state: str) -> None:
        self.looks, self.state, self.running, self.log = looks, state, True, "outcomes.log"
        self.place = type("Place", (), {"service": "outcomes"})

    def ready(self, _: object) -> bool:
        self.looks -= 1
        return self.looks < 0

    def unready_parts(self, _: object) -> str:
        return self.state


@pytest.mark.parametrize(("state", "waits"), [(f"store: {BRINGING_UP}", True), ("kafka: away", False)])
def test_whoever_starts_it_waits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, state: str, waits: bool
) -> None:
    monkeypatch.setattr(module, "READY_SECONDS", -1.0)
    said: list[str] = []
    supervisor = Supervisor(settings, None, said.append, {})
    supervisor.children = [Waiting(3, state)]  # type: ignore[list-item]
    if waits:
        supervisor.wait_until_ready()
        assert said == [f"outcomes is not ready yet: {state}"] * 3
    else:
        with pytest.raises(OperatorError, match=r"not ready within .*kafka: away"):
            supervisor.wait_until_ready()

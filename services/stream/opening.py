"""Opening a service's store, which may first have to become one of this version; meanwhile the service says so."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import duckdb
from fastapi import FastAPI, Response

from schemas.protocol import Protocol, ProtocolError, load_protocol
from services.runtime.clock import today
from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.runtime.metrics import Metrics
from services.runtime.places import BRINGING_UP
from services.runtime.problems import Problem
from services.runtime.serve import serve
from services.runtime.settings import Settings
from services.runtime.tokens import TokenStore
from services.runtime.web import METHODS, create_api
from services.stream.definition import StoreDefinition, by_place
from services.stream.migration import ReadAgain
from services.stream.replay import read_again
from services.stream.store import EventStore, why_not

log = logging.getLogger(__name__)

TELL_SECONDS = 5.0
QUICK_SECONDS = 5.0
"""What takes no longer is not worth an answer of its own."""


async def open_while_answering(
    settings: Settings, definition: StoreDefinition, port: int, metrics: Metrics, stop: asyncio.Event
) -> EventStore:
    """The service's store; whoever asks the service before it is open hears that it will be.

    Raises OperatorError as `open_service_store` does.
    """
    records = 0

    def tell(count: int) -> None:
        nonlocal records
        records = count

    def state() -> str:
        return f"{BRINGING_UP}, {records} records read again" if records else BRINGING_UP

    opening = asyncio.create_task(
        asyncio.to_thread(open_service_store, settings, definition, stop.is_set, tell)
    )
    await asyncio.wait({opening}, timeout=QUICK_SECONDS)
    if not opening.done():
        opened = asyncio.Event()
        opening.add_done_callback(lambda _: opened.set())
        try:
            await serve(_waiting_api(settings, definition.name, metrics, state), settings.host, port, opened)
        except OperatorError:
            stop.set()  # so that the thread ends too
            raise
    return await opening


def _waiting_api(settings: Settings, name: str, metrics: Metrics, state: Callable[[], str]) -> FastAPI:
    tokens = TokenStore(settings.tokens_path)
    app = create_api(name, settings, metrics, tokens, lambda: (False, {"store": state()}))

    @app.api_route("/{path:path}", methods=sorted(METHODS), include_in_schema=False)
    async def come_again(path: str) -> Response:
        detail = f"The store is {BRINGING_UP}; /health/ready says how far it is."
        raise Problem(503, "store_busy", detail, headers={"Retry-After": "5"})

    return app


def open_service_store(
    settings: Settings,
    definition: StoreDefinition,
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[int], None] = lambda _: None,
) -> EventStore:
    """The service's store in the data folder, as of today, brought up to this version.

    `tell` hears how many records were read again from Kafka, where that has to be. Raises OperatorError where the store
    cannot be used, or where `stopping` meanwhile.
    """
    try:
        protocols = [load_protocol(name) for name in settings.protocols]
    except ProtocolError as error:
        raise OperatorError(str(error)) from None
    path = settings.data_dir / f"{definition.name}.duckdb"
    erasure_key = ErasureKey.read(settings.erasure_key_path)
    opening = partial(EventStore, path, definition, protocols, today=today(settings), erasure_key=erasure_key)
    try:
        try:
            store = opening()
        except ReadAgain:
            changed = _read_again(settings, definition, protocols, path, stopping, tell)
            store = opening()
            store.changed = changed
    except duckdb.Error as error:
        raise OperatorError(
            f"{path} cannot be used ({why_not(error)}): see that its disk has room, and start again; "
            "if that is not it, move the file aside, and it is rebuilt from Kafka"
        ) from None
    _remove_copies(settings, definition.name)
    return store


def _read_again(
    settings: Settings,
    definition: StoreDefinition,
    protocols: Sequence[Protocol],
    path: Path,
    stopping: Callable[[], bool],
    tell: Callable[[int], None],
) -> list[dict[str, object]]:
    name = definition.name
    log.warning("reading all events again from Kafka before anybody is answered", extra={"store": name})
    count, told_at = 0, time.monotonic()

    def advance(records: int) -> None:
        nonlocal count, told_at
        if stopping():
            raise OperatorError(f"{name} was stopped while it read Kafka again; the next start begins anew")
        count += records
        tell(count)
        if time.monotonic() - told_at > TELL_SECONDS:
            told_at = time.monotonic()
            log.info("reading again", extra={"store": name, "records": count})

    changed = read_again(settings, definition, protocols, path, advance)
    told = {"store": name, "records": count, "changed_class": by_place(changed)}
    log.info("read again from Kafka", extra=told)
    return changed


def _remove_copies(settings: Settings, name: str) -> None:
    """What an earlier run left for readers may still show patients who were erased since."""
    for path in (settings.data_dir / "snapshots").glob(f"{name}.*"):
        path.unlink(missing_ok=True)

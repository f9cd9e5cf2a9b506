"""One processing service, put together: a store, a Faust app around it, and HTTP beside it.

The Faust app carries lifecycle, timers and the low-rate topics as agents. It is built anew whenever Kafka
was away at its start or it crashed, because a stopped app cannot be started again; HTTP stays up meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from pathlib import Path
from typing import Any

import duckdb
import faust
from fastapi import FastAPI
from yarl import URL

from services.broker import BrokerProblem, TopicProblem
from services.broker.topics import ensure_topics
from services.runtime.clock import today
from services.runtime.errors import OperatorError
from services.runtime.metrics import Metrics
from services.runtime.serve import serve
from services.runtime.settings import Settings
from services.runtime.tokens import TokenStore
from services.stream.batch import Applied
from services.stream.definition import StoreDefinition
from services.stream.gauges import GaugeKeeper, Gauges
from services.stream.measures import prepare_counters
from services.stream.node import Node, Patience
from services.stream.opening import open_while_answering
from services.stream.processor import Processor
from services.stream.publisher import Outbox, Publisher
from services.stream.settling import Settling
from services.stream.store import why_not

log = logging.getLogger(__name__)

STOP_SECONDS = 8.0
RETRY_SECONDS = 1.0
CALENDAR_SECONDS = 20.0
SCRUB_SECONDS = 5.0


@dataclass(frozen=True)
class Design:
    """What distinguishes one processing service from another."""

    definition: StoreDefinition
    port: Callable[[Settings], int]
    api: Callable[[Node, TokenStore, "FaustHolder"], FastAPI]
    outboxes: Sequence[Outbox]
    agents: Callable[[faust.App, Node], None] | None = None
    patience: Patience = field(default_factory=Patience)
    gauges: Callable[[Node], Gauges] | None = None
    tell: Callable[[Metrics, Applied], None] | None = None  # counts the store's news of a commit


@dataclass
class FaustHolder:
    """The Faust app of the moment; None while Kafka is away."""

    app: faust.App | None = None
    fatal: BaseException | None = None
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


async def run(settings: Settings, design: Design, stop: asyncio.Event) -> None:
    """Run until `stop`. Raises OperatorError for what the operator must put right."""
    metrics = Metrics(design.definition.name)
    store = await open_while_answering(settings, design.definition, design.port(settings), metrics, stop)
    node = Node(settings, store, metrics, design.patience)
    prepare_counters(metrics, node.name)
    if design.tell:
        node.tell = partial(design.tell, metrics)
    gauges = GaugeKeeper(node, design.gauges)
    holder = FaustHolder()
    api = design.api(node, TokenStore(settings.tokens_path), holder)
    streaming = asyncio.create_task(_keep_streaming(settings, design, node, holder, stop))
    keeping = asyncio.create_task(gauges.run())
    streaming.add_done_callback(lambda _: stop.set())
    try:
        await serve(api, settings.host, design.port(settings), stop)
    finally:
        stop.set()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(streaming), STOP_SECONDS + 2)
        node.close()
    if streaming.done():
        streaming.result()


async def _keep_streaming(
    settings: Settings, design: Design, node: Node, holder: FaustHolder, stop: asyncio.Event
) -> None:
    while not stop.is_set():
        try:
            await asyncio.to_thread(_make_topics, settings)
        except TopicProblem as problem:
            raise OperatorError(str(problem)) from None
        except BrokerProblem:
            node.parts["kafka"] = "away"
            log.warning("Kafka is away: trying again")
            await _sleep_unless(stop, RETRY_SECONDS)
            continue
        await _stream_once(settings, design, node, holder, stop)


async def _stream_once(
    settings: Settings, design: Design, node: Node, holder: FaustHolder, stop: asyncio.Event
) -> None:
    app = build_faust_app(settings, design, node)
    holder.app = app
    try:
        await app.start()
        while not (stop.is_set() or app.should_stop or app.crashed):
            await _sleep_unless(stop, 0.2)
        if app.crash_reason is not None:
            if isinstance(app.crash_reason, OperatorError):
                raise app.crash_reason
            log.error("streaming crashed (%s): starting it again", type(app.crash_reason).__name__)
            await _sleep_unless(stop, RETRY_SECONDS)
    except OperatorError:
        raise
    except Exception as error:
        node.parts["kafka"] = "away"
        log.warning("streaming did not start (%s): trying again", type(error).__name__)
        await _sleep_unless(stop, RETRY_SECONDS)
    finally:
        holder.app = None
        with suppress(Exception):
            # Never waits for ever: whatever is not committed is read again (the store's offsets win).
            await asyncio.wait_for(app.stop(), STOP_SECONDS)


def build_faust_app(settings: Settings, design: Design, node: Node) -> faust.App:
    """The Faust app of a service: the batch processor, the publisher, timers and agents."""
    name = design.definition.name
    app = faust.App(
        # A new store reads the low-rate topics from their start: its group is its own.
        f"week12-{name}-{node.store.epoch[:8]}",
        broker=[URL(f"kafka://{server}") for server in settings.kafka_bootstrap_servers.split(",")],
        broker_credentials=_credentials(settings),
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_heartbeat_interval=settings.session_timeout_ms / 1000 / 5,
        broker_request_timeout=max(40.0, settings.session_timeout_ms / 1000 * 2),
        consumer_auto_offset_reset="earliest",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
        datadir=str(_faust_folder(settings, name)),
        autodiscover=False,
    )
    app.producer_only = design.agents is None  # else it would subscribe to nothing, and crash
    app.service(type("PullBatches", (Processor,), {"__init__": _bound(Processor, node)}))
    if design.definition.settled:
        app.service(type("SettleTables", (Settling,), {"__init__": _bound(Settling, node)}))
    app.service(type("PublishOutboxes", (Publisher,), {"__init__": _bound(Publisher, node, design.outboxes)}))

    @app.timer(interval=CALENDAR_SECONDS)  # type: ignore[untyped-decorator]
    @_tried_again
    async def follow_the_calendar() -> None:
        """Windows close by the calendar, not by an event."""
        applied = await node.write(node.store.set_today, today(settings))
        if applied.batch:
            node.note(applied)

    @app.timer(interval=SCRUB_SECONDS)  # type: ignore[untyped-decorator]
    @_tried_again
    async def scrub_the_file() -> None:
        """Erased patients leave the bytes of the file too."""
        if not node.behind:
            await node.write(node.store.scrub, node.alone)
            await node.write(node.store.keep_topics_moving, time.time(), settings.partitions)

    if design.agents:
        design.agents(app, node)
    return app


def _tried_again(work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A timer's work, which the next tick tries again where the store or its disk fails."""

    @wraps(work)
    async def attempt() -> None:
        try:
            await work()
        except (duckdb.Error, OSError) as error:
            log.error("%s failed (%s): trying again", work.__name__, why_not(error))

    return attempt


def _bound(base: type, *parts: Any) -> Callable[..., None]:
    """An initialiser that Faust can call: it makes services from classes."""

    def init(self: Any, **options: Any) -> None:
        base.__init__(self, *parts, **options)  # type: ignore[misc]

    return init


def _credentials(settings: Settings) -> Any:
    context = settings.ssl_context()
    if settings.kafka_security_protocol.startswith("SASL") and settings.kafka_sasl_password is not None:
        return faust.SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password.get_secret_value(),
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context else None


def _faust_folder(settings: Settings, name: str) -> Path:
    folder = settings.data_dir / "faust" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _make_topics(settings: Settings) -> None:
    ensure_topics(
        {**settings.kafka_python_options(), "bootstrap_timeout_ms": 2_000},
        partitions=settings.partitions,
        replication=settings.replication_factor,
        min_insync=settings.min_insync_replicas,
        dead_letter_days=settings.dead_letter_days,
    )


async def _sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)

"""The ingest service: its parts put together, and run until stopped."""

import asyncio
from functools import partial

from schemas.topics import EVENT_TOPICS
from services.broker import BrokerProblem
from services.broker.topics import ensure_topics
from services.ingest.api import create_ingest_api
from services.ingest.erased import ErasedPatients
from services.ingest.publisher import KafkaPublisher
from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.runtime.metrics import Metrics
from services.runtime.serve import serve
from services.runtime.settings import Settings
from services.runtime.tokens import TokenStore


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. A broker that is away is waited for, and events get 503 meanwhile.

    Raises OperatorError where the port is taken, the tokens file cannot be read, or a topic exists with
    settings that are not the contract's.
    """
    metrics, tokens = Metrics("ingest"), TokenStore(settings.tokens_path)
    for topic in EVENT_TOPICS.values():
        metrics.kafka_produce_errors_total.labels(
            topic
        )  # begins at 0: else its first increase would not show
    publisher = KafkaPublisher(settings, metrics, partial(_make_topics, settings))
    erased = ErasedPatients(ErasureKey.read(settings.erasure_key_path))
    app = create_ingest_api(settings, metrics, tokens, publisher, erased.knows)
    publishing = asyncio.create_task(publisher.run())
    following = asyncio.create_task(erased.follow(settings))
    publishing.add_done_callback(lambda _: stop.set())
    try:
        await serve(app, settings.host, settings.ingest_port, stop)
        if publishing.done():
            publishing.result()
    except BrokerProblem as problem:
        raise OperatorError(str(problem)) from None
    finally:
        publishing.cancel()
        following.cancel()
        await asyncio.gather(publishing, following, return_exceptions=True)


def _make_topics(settings: Settings) -> None:
    ensure_topics(
        {**settings.kafka_python_options(), "bootstrap_timeout_ms": 2_000},
        partitions=settings.partitions,
        replication=settings.replication_factor,
        min_insync=settings.min_insync_replicas,
        dead_letter_days=settings.dead_letter_days,
    )

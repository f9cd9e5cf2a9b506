"""Publication: what a transaction left in an outbox goes to its topic, again and again until acknowledged.

It follows the commit and never precedes it, so that a topic cannot show what the tables do not; and since the
outbox is part of the transaction, a crash cannot make a topic miss what the tables show.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from mode import Service

from schemas.topics import DEAD_LETTERS
from services.stream.erasure import letter_key
from services.stream.node import Node
from services.stream.store import EventStore
from services.stream.traces import letter_place

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
RETRY_SECONDS = 1.0
PAUSE_SECONDS = 0.2
"""Commits that follow each other so closely share a publication."""
REST, LONGEST_PAUSE_SECONDS = 4, 1.0
"""So many times as long as a round took, where others commit meanwhile: it competes with what is stored and asked."""
FULL_ROUND = 40
"""An outbox that gives so many messages at once may hold more; few enough that others hardly feel a round."""
BACKLOG_PATIENCE_SECONDS = 5.0
"""While a backlog is worked off, publication waits up to this long: only the newest state matters."""


@dataclass(frozen=True)
class Message:
    """A record to publish; `mark` is what the outbox needs to cross it off. Without a topic: nothing new to say."""

    topic: str
    key: bytes
    value: bytes | None
    mark: Any
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None
    about: bytes = b""  # the patient or dead letter whose trace it goes on with; by default the key says


class Outbox(Protocol):
    """A table of things to publish."""

    def begin(self, store: EventStore) -> None:
        """Called before a producer's first message: what the one before sent may be in the topic, or not.

        Runs in the writing thread.
        """

    def pending(self, store: EventStore) -> list[Message]:
        """The next messages, at most some thousand; reads only. Runs in the background."""

    def done(self, store: EventStore, messages: Sequence[Message]) -> None:
        """Cross off acknowledged messages that have not changed since. Runs in the writing thread."""


class Publisher(Service):  # type: ignore[misc]
    """Empties outboxes into Kafka, with acks=all."""

    def __init__(self, node: Node, outboxes: Sequence[Outbox], **options: Any) -> None:
        super().__init__(**options)
        self.node = node
        self.outboxes = outboxes

    @Service.task  # type: ignore[untyped-decorator]
    async def _publish(self) -> None:
        while not self.should_stop:
            try:
                await self._publish_until_broken()
            except (KafkaError, OSError, duckdb.Error) as error:
                log.warning("publication stopped (%s): trying again", type(error).__name__)
                await self.sleep(RETRY_SECONDS)

    async def _publish_until_broken(self) -> None:
        # Not idempotent: consumers of a compacted topic take the newest, and copies do no harm.
        producer = AIOKafkaProducer(
            **self.node.settings.aiokafka_options(),
            acks="all",
            enable_idempotence=False,
            linger_ms=5,
            max_request_size=8 * 1024 * 1024,
        )
        try:
            await producer.start()
            for outbox in self.outboxes:
                await self.node.write(outbox.begin, self.node.store)
            seen = -1
            while not self.should_stop:
                commits, started = self.node.committed.count, time.perf_counter()
                rounds = [await self._empty(producer, outbox) for outbox in self.outboxes]
                took, more = time.perf_counter() - started, max(rounds) >= FULL_ROUND
                if more and self.node.committed.count == commits:
                    continue  # nobody else is at work
                await self.sleep(max(PAUSE_SECONDS, min(took * REST, LONGEST_PAUSE_SECONDS)))
                if not more:
                    seen = await self.node.committed.wait(seen, IDLE_SECONDS)
                await self._let_backlog_pass()
        finally:
            await producer.stop()

    async def _empty(self, producer: AIOKafkaProducer, outbox: Outbox) -> int:
        node = self.node
        messages = await node.in_background(outbox.pending, node.store)
        started = time.perf_counter()
        sent = [
            await producer.send(
                m.topic,
                key=m.key,
                value=m.value,
                headers=[*m.headers, *node.traces.headers(m.about or m.key)],
                partition=m.partition,
            )
            for m in messages
            if m.topic
        ]
        for future in sent:
            await future
        if messages:
            await node.write(outbox.done, node.store, messages)
            seconds = node.metrics.kafka_produce_duration_seconds.labels(messages[0].topic)
            seconds.observe(time.perf_counter() - started)
        return len(messages)

    async def _let_backlog_pass(self) -> None:
        waited = 0.0
        while self.node.behind and waited < BACKLOG_PATIENCE_SECONDS and not self.should_stop:
            await self.sleep(0.2)
            waited += 0.2


class DeadLetters:
    """Records that could not be used, to the dead-letter topic, with their reason and origin in headers."""

    def begin(self, store: EventStore) -> None:
        """Nothing: a letter stands here until it is acknowledged."""

    def pending(self, store: EventStore) -> list[Message]:
        """The oldest letters not yet published."""
        cursor = store.cursor()
        try:
            rows = cursor.execute(
                'SELECT topic, partition, "offset", key, value, code, path, message, received_at_ms '
                "FROM dead_letters WHERE NOT published ORDER BY ALL LIMIT 500"
            ).fetchall()
        finally:
            cursor.close()
        return [self._message(store.definition.name, row) for row in rows]

    @staticmethod
    def _message(service: str, row: tuple[Any, ...]) -> Message:
        topic, partition, offset, key, value, code, path, reason, received_at_ms = row
        headers = {
            "error": reason,
            "error-code": code,
            "error-path": path,
            "source": service,
            "received_at": str(received_at_ms),
            "origin-topic": topic,
            "origin-partition": str(partition),
            "origin-offset": str(offset),
            "attempt": "1",
        }
        return Message(
            DEAD_LETTERS,
            letter_key(topic, partition, offset, key),
            value,
            (topic, partition, offset),
            [(name, text.encode()) for name, text in headers.items()],
            about=letter_place(topic, partition, offset),
        )

    def done(self, store: EventStore, messages: Sequence[Message]) -> None:
        """Of letters that are in the topic only the key stays: with it an erasure finds them."""
        statement = (
            "UPDATE store.dead_letters SET published = true, value = NULL "
            'WHERE topic = ? AND partition = ? AND "offset" = ?'
        )
        store.execute_together([(statement, message.mark) for message in messages])

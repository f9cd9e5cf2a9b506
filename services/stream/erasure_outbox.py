"""What an erasure tells Kafka: the mark first, and once that is acknowledged a tombstone for every key."""

from collections.abc import Sequence

from schemas.topics import ERASURES
from services.stream.erasure import announcement
from services.stream.publisher import Message
from services.stream.store import EventStore

AT_ONCE = 1_000


class ErasureOutbox:
    """Marks yet to be announced, and keys yet to be sent with null."""

    def begin(self, store: EventStore) -> None:
        """Nothing: what stands here is sent until it is acknowledged, and copies do no harm."""

    def pending(self, store: EventStore) -> list[Message]:
        """The next marks; tombstones only while no mark waits: without either the log would forget the erasure."""
        if not store.knows_erasures:
            return []
        cursor = store.cursor()
        try:
            marks = cursor.execute(
                f"SELECT mark, partition FROM erasures WHERE NOT announced LIMIT {AT_ONCE}"
            ).fetchall()
            if marks:
                value = announcement(store.erasure_key)
                return [
                    Message(ERASURES, mark.encode(), value, mark, partition=partition)
                    for mark, partition in marks
                ]
            keys = cursor.execute(
                f"SELECT topic, partition, key FROM tombstones ORDER BY ALL LIMIT {AT_ONCE}"
            ).fetchall()
        finally:
            cursor.close()
        return [
            Message(topic, key, None, (topic, partition, key), partition=partition)
            for topic, partition, key in keys
        ]

    def done(self, store: EventStore, messages: Sequence[Message]) -> None:
        """What is in the topics need not stand here."""
        marks = [message.mark for message in messages if message.topic == ERASURES]
        keys = [message.mark for message in messages if message.topic != ERASURES]
        statements: list[tuple[str, object]] = [
            (
                "DELETE FROM store.tombstones WHERE topic = ? AND partition IS NOT DISTINCT FROM ? AND key = ?",
                key,
            )
            for key in keys
        ]
        if marks:
            statements.append(
                (
                    "UPDATE store.erasures SET announced = true WHERE mark IN (SELECT unnest($marks))",
                    {"marks": marks},
                )
            )
        store.execute_together(statements)

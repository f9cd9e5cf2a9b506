"""How long a processor waits for more records before it works on those that came."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.stream.node import Patience
from services.stream.processor import Polled, Processor

LAB, AE = "registry.labs.v1", "registry.adverse-events.v1"
HALF_AN_HOUR = 1_800_000
URGENT, ALIKE = Patience(5, {AE: 0}), Patience()


class FakeConsumer:
    """Gives each poll the records of the next script line, one a topic named; then nothing."""

    def __init__(self, *script: Sequence[str]) -> None:
        self._script = list(script)
        self.polls = 0

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        assert max_records > 0
        self.polls += 1
        topics = self._script.pop(0) if self._script else ()
        return {TopicPartition(topic, 0): [SimpleNamespace(offset=self.polls)] for topic in topics}

    def highwater(self, _: TopicPartition) -> int:
        return 0


async def polled(
    consumer: FakeConsumer,
    patience: Patience = ALIKE,
    *,
    linger_ms: int = 0,
    most: int = 1_000,
    storing: Sequence[tuple[Any, int]] = (),
) -> Polled:
    settings = SimpleNamespace(linger_ms=linger_ms, batch_max_records=most)
    node = SimpleNamespace(settings=settings, patience=patience, behind=False)
    return await Processor(node)._poll(consumer, storing)  # type: ignore[arg-type]


def offsets(found: Polled) -> dict[str, list[int]]:
    return {topic: [record.offset for record in records] for (topic, _), records in found.items()}


async def test_an_urgent_record_does_not_wait_for_others() -> None:
    consumer = FakeConsumer([AE], [LAB])
    assert offsets(await polled(consumer, URGENT, linger_ms=HALF_AN_HOUR)) == {AE: [1]}


async def test_others_wait_until_an_urgent_one_comes() -> None:
    consumer = FakeConsumer([LAB], [], [LAB], [AE, LAB], [LAB])
    found = await polled(consumer, URGENT, linger_ms=HALF_AN_HOUR)
    assert offsets(found) == {LAB: [1, 3, 4], AE: [4]}


async def test_others_wait_no_longer_than_the_linger_allows() -> None:
    consumer = FakeConsumer([LAB], [LAB])
    found = await polled(consumer, URGENT, linger_ms=1)  # five times as long where something is urgent
    assert offsets(found) == {LAB: [1, 2]}


@pytest.mark.parametrize(("linger_ms", "polls"), [(0, 1), (1, 2)])
async def test_where_nothing_is_urgent_one_wait_is_enough(linger_ms: int, polls: int) -> None:
    consumer = FakeConsumer([LAB], [LAB], [LAB])
    found = await polled(consumer, linger_ms=linger_ms)
    assert consumer.polls == polls
    assert offsets(found) == {LAB: list(range(1, polls + 1))}


async def test_what_arrives_during_a_transaction_shares_the_next() -> None:
    """The consumer asks Kafka for no more until what it has was taken."""
    consumer = FakeConsumer([LAB], [AE], [LAB])
    under_way = SimpleNamespace(done=lambda: consumer.polls >= 3)
    assert offsets(await polled(consumer, storing=[(under_way, 10)])) == {LAB: [1, 3], AE: [2]}


async def test_a_full_batch_does_not_wait() -> None:
    consumer = FakeConsumer([LAB], [LAB])
    assert offsets(await polled(consumer, linger_ms=HALF_AN_HOUR, most=1)) == {LAB: [1]}


async def test_nothing_is_worked_on_where_nothing_came() -> None:
    assert await polled(FakeConsumer([]), linger_ms=HALF_AN_HOUR) == {}

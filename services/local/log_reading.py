"""Everything that topics hold now, for commands: read once, from the first record that is left to the end."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.broker import BrokerProblem
from services.broker.topics import end_offsets
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings

SILENCE_SECONDS = 5.0
"""What compaction or retention took from the end of a partition is not waited for longer."""

Record: TypeAlias = ConsumerRecord
Take = Callable[[Sequence[Record]], None]


def read_topics(settings: Settings, topics: Collection[str], take: Take) -> None:
    """Give all records of the topics to `take`, in order of offsets within each partition.

    Raises OperatorError where Kafka does not let itself be read or has no such topic.
    """
    try:
        ends = end_offsets(settings.kafka_python_options(), topics)
        asyncio.run(
            _read(settings, {TopicPartition(*place): end for place, end in ends.items() if end}, take)
        )
    except BrokerProblem as problem:
        raise OperatorError(str(problem)) from None
    except KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.kafka_bootstrap_servers} does not let itself be read ({type(error).__name__}): "
            "check KAFKA_BOOTSTRAP_SERVERS and that it is up"
        ) from None


async def _read(settings: Settings, ends: dict[TopicPartition, int], take: Take) -> None:
    if not ends:
        return
    consumer = AIOKafkaConsumer(
        **settings.aiokafka_options(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
    )
    try:
        await consumer.start()
        consumer.assign(list(ends))
        await consumer.seek_to_beginning()
        heard = time.monotonic()
        while ends and time.monotonic() - heard < SILENCE_SECONDS:
            polled = await consumer.getmany(timeout_ms=200, max_records=20_000)
            for partition, records in polled.items():
                heard = time.monotonic()
                if wanted := [record for record in records if record.offset < ends.get(partition, 0)]:
                    take(wanted)
            for partition in list(ends):
                if await consumer.position(partition) >= ends[partition]:
                    del ends[partition]
                    consumer.pause(partition)
    finally:
        await consumer.stop()

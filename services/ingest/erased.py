"""Whom the registry has erased, as its topic says: what is sent about them is refused."""

import asyncio
import logging
import threading

from kafka import KafkaConsumer, TopicPartition

from schemas.topics import ERASURES
from services.broker.clients import connect
from services.runtime.erasure_key import ErasureKey
from services.runtime.settings import Settings

log = logging.getLogger(__name__)

POLL_MS = 1_000
RETRY_SECONDS = 1.0
CLOSE_MS = 1_000


class ErasedPatients:
    """The marks of erased patients, in memory: read from the beginning, and then as they come.

    Until they are read, what is sent about an erased patient is taken, and dropped by the processors.
    """

    def __init__(self, key: ErasureKey) -> None:
        self._key = key
        self._marks: set[str] = set()

    def knows(self, patient_id: str) -> bool:
        """Whether the patient was erased."""
        return bool(self._marks) and self._key.mark(patient_id) in self._marks

    def learn(self, mark: bytes | None) -> None:
        """Take the key of a record of the topic."""
        if mark:
            self._marks.add(mark.decode(errors="replace"))

    async def follow(self, settings: Settings) -> None:
        """Read the topic until cancelled; a broker that is away is waited for."""
        stop = threading.Event()
        reading = asyncio.get_running_loop().run_in_executor(None, self._follow, settings, stop)
        try:
            await asyncio.shield(reading)
        finally:
            stop.set()
            await reading

    def _follow(self, settings: Settings, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._read(settings, stop)
            except Exception as error:  # whatever it is, a thread that ended would miss every later erasure
                log.warning("erasures cannot be read (%s): trying again", type(error).__name__)
            stop.wait(RETRY_SECONDS)

    def _read(self, settings: Settings, stop: threading.Event) -> None:
        options = {
            **settings.kafka_python_options(),
            "fetch_max_wait_ms": settings.fetch_max_wait_ms,
            "group_id": None,
            "enable_auto_commit": False,
            "allow_auto_create_topics": False,
            "bootstrap_timeout_ms": 2_000,
        }
        consumer = connect(KafkaConsumer, options)
        try:
            if len(consumer.partitions_for_topic(ERASURES) or ()) != settings.partitions:
                return  # it is being made
            partitions = [TopicPartition(ERASURES, number) for number in range(settings.partitions)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            while not stop.is_set():
                for records in consumer.poll(timeout_ms=POLL_MS).values():
                    for record in records:
                        self.learn(record.key)
        finally:
            consumer.close(timeout_ms=CLOSE_MS)

"""The outcomes service as it is, with a clock on what it reads and commits; a child of `pipeline` and `memory`.

    python -m benchmarks.worker RECORDS

Prints one line of JSON when so many records are committed, goes on serving, and stops when its input closes,
so that it never outlives who started it.
"""

import asyncio
import json
import sys
import threading
import time
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer

from benchmarks.kafka import Reached
from services.outcomes.service import DESIGN
from services.runtime.collector import relax_collector
from services.runtime.interpreter import hand_over_sooner, leave_out_pandas
from services.runtime.logs import configure_logs
from services.runtime.memory import tame_allocators
from services.runtime.settings import Settings, load_settings
from services.stream import opening, processor, service
from services.stream.batch import Applied
from services.stream.store import EventStore


class Clock:
    """From asking for the first records to the commit of the last."""

    total = 0
    seen = 0
    batches = 0
    started = 0.0
    spent = 0.0


class ClockedConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Notes when the first records were asked for."""

    async def getmany(self, *partitions: Any, **options: Any) -> Any:
        asked, spent = time.perf_counter(), time.process_time()
        polled = await super().getmany(*partitions, **options)
        if polled and not Clock.started:
            Clock.started, Clock.spent = asked, spent
        return polled


class ClockedStore(EventStore):
    """Says so when the last record is committed."""

    def commit(self) -> Applied:
        applied = super().commit()
        before, Clock.seen = Clock.seen, Clock.seen + applied.records
        Clock.batches += 1
        if before < Clock.total <= Clock.seen:
            took, spent = time.perf_counter() - Clock.started, time.process_time() - Clock.spent
            print(json.dumps(vars(Reached(took, Clock.batches, spent))), flush=True)
        return applied


async def _run(settings: Settings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, daemon=True).start()
    relax_collector()
    hand_over_sooner()
    await service.run(settings, DESIGN, stop)


def main() -> None:
    """Run until the input closes."""
    Clock.total = int(sys.argv[1])
    vars(processor)["AIOKafkaConsumer"] = ClockedConsumer
    vars(opening)["EventStore"] = ClockedStore
    tame_allocators()
    leave_out_pandas()
    settings = load_settings()
    configure_logs("outcomes", settings.log_level)
    uvloop.run(_run(settings))


if __name__ == "__main__":
    main()

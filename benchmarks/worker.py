"""The outcomes service as it is, with a clock on its processor; a child of `pipeline` and `memory`.

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
from services.runtime.logs import configure_logs
from services.runtime.settings import load_settings
from services.stream import service
from services.stream.processor import Polled, Processor
from services.stream.store import Applied, Batch


class Clocked(Processor):
    """Notes when it asked for the first records, and when the last were committed."""

    total = 0
    seen = 0
    batches = 0
    started = 0.0
    spent = 0.0

    async def _poll(self, consumer: AIOKafkaConsumer) -> Polled:
        asked, spent = time.perf_counter(), time.process_time()
        polled = await super()._poll(consumer)
        if polled and not self.started:
            self.started, self.spent = asked, spent
        return polled

    def _measure(self, polled: Polled, batch: Batch, applied: Applied, seconds: float) -> None:
        """Called after every commit."""
        super()._measure(polled, batch, applied, seconds)
        self.batches += 1
        before, self.seen = self.seen, self.seen + batch.records
        if before < self.total <= self.seen:
            took = time.perf_counter() - self.started
            print(json.dumps(vars(Reached(took, self.batches, time.process_time() - self.spent))), flush=True)


async def _run(settings: Any) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, daemon=True).start()
    relax_collector()
    await service.run(settings, DESIGN, stop)


def main() -> None:
    """Run until the input closes."""
    Clocked.total = int(sys.argv[1])
    vars(service)["Processor"] = Clocked
    settings = load_settings()
    configure_logs("outcomes", settings.log_level)
    uvloop.run(_run(settings))


if __name__ == "__main__":
    main()

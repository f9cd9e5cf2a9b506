"""Structured logs: one JSON object a line on standard error, without patient data.

What could carry a patient's values is kept out at the root: a request is logged by its route's template (paths hold
patient ids), an event by where its record stands in Kafka (an `event_id` may be made of the number that a centre gave
its patient), and an exception is logged as its type and where it happened, never with its message, since
parsers and databases quote the value they stumbled over.
"""

import logging
import sys
import traceback
from types import TracebackType
from typing import TypeAlias

from pythonjsonlogger.json import JsonFormatter

from services.runtime.tracing import current

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

# Libraries whose messages are chatter: what matters of theirs the services say themselves. kafka-python's
# DEBUG holds whole records, so nothing below WARNING is ever let through.
QUIET = {
    "aiokafka": logging.CRITICAL,
    "kafka": logging.CRITICAL,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "asyncio": logging.WARNING,
    "httpx": logging.WARNING,
    "uvicorn": logging.WARNING,
}
FRAMES = 12
"""Innermost stack frames that are logged."""


class _Formatter(JsonFormatter):
    def formatException(self, ei: ExcInfo) -> str:
        kind, _, trace = ei
        if kind is None:
            return ""
        frames = traceback.extract_tb(trace)
        where = " < ".join(
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames[-FRAMES:])
        )
        return f"{kind.__module__}.{kind.__qualname__} at {where}"


def _add_trace(record: logging.LogRecord) -> bool:
    """Say for which request a line was written."""
    if (work := current.get()) is not None:
        record.trace_id, record.span_id = work.trace.trace_id, work.trace.span_id
    return True


def configure_logs(service: str, level: str = "INFO") -> None:
    """Send every logger of this process to standard error as JSON lines, labelled with the service."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(
            "{levelname}{name}{message}",
            style="{",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="at",
            static_fields={"service": service},
        )
    )
    handler.addFilter(_add_trace)
    logging.raiseExceptions = False  # the module's own complaints show the exception being logged
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(logging.WARNING if level == "DEBUG" else quiet)
    logging.getLogger("uvicorn.access").setLevel(logging.CRITICAL)

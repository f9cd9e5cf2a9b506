"""W3C trace context: one id that follows an event from the request through Kafka to the commits of every service.

A request that brings a `traceparent` goes on with its trace, any other begins one. The id stands in the answer's header
`trace-id`, in every log line written meanwhile, in the records' headers, and in the log lines of their commits. It
says nothing about a patient: it is random, and what is not of that form is not passed on.
"""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

TRACEPARENT = "traceparent"
_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NONE = ("0" * 32, "0" * 16)  # the standard's words for no trace and no span
_SAMPLED = "01"


@dataclass(frozen=True)
class Trace:
    """Where in which trace something happens; ids are lower-case hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: str = _SAMPLED

    @property
    def header(self) -> str:
        """The value of a `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def child(self) -> "Trace":
        """A further span of the same trace."""
        return Trace(self.trace_id, secrets.token_hex(8), self.flags)


@dataclass
class Work:
    """What is being done for one request: its trace, and facts for its line in the log."""

    trace: Trace
    facts: dict[str, Any]


current: ContextVar[Work | None] = ContextVar("current", default=None)
"""The request being worked on, in its task."""


def parse(header: str) -> Trace | None:
    """The trace that a `traceparent` header names; None where it is none."""
    found = _FORM.fullmatch(header)
    if found is None or found[1] == _NONE[0] or found[2] == _NONE[1]:
        return None
    return Trace(*found.groups())


def begin(header: str) -> Trace:
    """A span of the trace that a request's header names, or of a new one."""
    given = parse(header)
    return given.child() if given else Trace(secrets.token_hex(16), secrets.token_hex(8))


def current_headers() -> list[tuple[str, bytes]]:
    """Headers of a record that the request at hand causes."""
    work = current.get()
    return [(TRACEPARENT, work.trace.header.encode())] if work else []


def note(**facts: Any) -> None:
    """Add facts to the log line of the request at hand: counts, codes and places, never a value that was sent."""
    if (work := current.get()) is not None:
        work.facts.update(facts)

"""Traces of records on their way into the store: for the log of commits, and for what is published because of them.

Kept in memory and for the newest patients alone: a service that starts anew publishes without them.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from services.runtime.tracing import TRACEPARENT, parse
from services.stream.batch import DeadLetter
from services.stream.decode import Record

MOST_KEPT = 10_000
"""Patients and dead letters whose newest trace is kept."""
MOST_LOGGED = 200
"""Traces that the log names of one commit; a backlog may hold any number."""
_TRACE_ID = re.compile(rb"00-([0-9a-f]{32})-")


@dataclass(frozen=True)
class Traced:
    """A record that came with a trace: its place, what it is about, and the header."""

    offset: int
    patient: bytes
    header: bytes


def traced(records: Iterable[Record]) -> tuple[Traced, ...]:
    """Those of some records that came with a trace."""
    return tuple(
        Traced(record.offset, _patient(record.key or b""), header)
        for record in records
        if (header := _header(record))
    )


def trace_headers(records: Sequence[Record]) -> frozenset[bytes]:
    """The different traces of some records, cheaply."""
    ends = {headers[-1] for record in records if (headers := getattr(record, "headers", ()))}
    if all(name == TRACEPARENT for name, _ in ends):
        return frozenset(value for _, value in ends)
    return frozenset(header for record in records if (header := _header(record)))


def trace_ids(headers: Iterable[bytes]) -> list[str]:
    """The ids, in order; what is no trace, since anybody can write a header, is left out."""
    found = {match[1].decode() for header in headers if (match := _TRACE_ID.match(header))}
    return sorted(found)


def _header(record: Record) -> bytes:
    headers: Sequence[tuple[str, bytes]] = getattr(record, "headers", ())
    if headers and headers[-1][0] == TRACEPARENT:  # where ingest puts it
        return headers[-1][1]
    return next((value for name, value in headers if name == TRACEPARENT), b"")


def _patient(key: bytes) -> bytes:
    patient = key.partition(b"|")[0]
    return unquote_to_bytes(patient) if b"%" in patient else patient


class Traces:
    """The newest trace of each patient and dead letter, for the headers of what is published about them."""

    def __init__(self) -> None:
        self._newest: OrderedDict[bytes, bytes] = OrderedDict()

    def note(
        self, arrived: Iterable[tuple[str, int, Sequence[Traced]]], letters: Sequence[DeadLetter]
    ) -> None:
        """Remember what a commit took in: (topic, partition, records)."""
        refused = {(letter.topic, letter.partition, letter.offset) for letter in letters}
        for topic, partition, records in arrived:
            for record in records:
                self._keep(record.patient, record.header)
                if (topic, partition, record.offset) in refused:
                    self._keep(letter_place(topic, partition, record.offset), record.header)

    def headers(self, about: bytes) -> list[tuple[str, bytes]]:
        """Headers for a message about a patient or dead letter: the same trace, a span of its own."""
        trace = parse(self._newest.get(about, b"").decode(errors="replace"))
        return [(TRACEPARENT, trace.child().header.encode())] if trace else []

    def _keep(self, about: bytes, header: bytes) -> None:
        self._newest.pop(about, None)
        self._newest[about] = header
        if len(self._newest) > MOST_KEPT:
            self._newest.popitem(last=False)


def letter_place(topic: str, partition: int, offset: int) -> bytes:
    """What names a dead letter here: where its record stood."""
    return f"{topic}:{partition}:{offset}".encode()


def commit_facts(arrived: Iterable[tuple[str, int, int, int]], headers: Iterable[bytes]) -> dict[str, Any]:
    """For the log: the places of the records, (topic, partition, first and last offset), and their traces."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for topic, partition, first, last in arrived:
        earlier = spans.get((topic, partition), (first, last))
        spans[topic, partition] = min(earlier[0], first), max(earlier[1], last)
    ids = trace_ids(headers)
    left_out = {"traces_left_out": len(ids) - MOST_LOGGED} if len(ids) > MOST_LOGGED else {}
    places = {f"{topic}/{partition}": f"{a}-{b}" for (topic, partition), (a, b) in spans.items()}
    return {"places": places, "trace_ids": ids[:MOST_LOGGED], **left_out}

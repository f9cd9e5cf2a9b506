"""Traces of records: what of a header is believed, what the log of a commit names, what is published with it."""

from dataclasses import dataclass

import pytest

from services.runtime.tracing import begin, parse
from services.stream.batch import DeadLetter
from services.stream.traces import (
    MOST_KEPT,
    MOST_LOGGED,
    Traces,
    commit_facts,
    letter_place,
    trace_headers,
    trace_ids,
    traced,
)

ID = "0af7651916cd43dd8448eb211c80319c"
HEADER = f"00-{ID}-b7ad6b7169203331-01"


@dataclass(frozen=True)
class Arrived:
    """A Kafka record with headers."""

    key: bytes | None = b"P%7C1|S01|e|1|00000000"
    headers: tuple[tuple[str, bytes], ...] = (("ce_id", b"x"), ("traceparent", HEADER.encode()))
    offset: int = 7
    topic: str = "t"
    partition: int = 3
    timestamp: int = 0
    value: bytes | None = b""


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Maria",
        f"00-{ID}-b7ad6b7169203331",
        f"00-{ID.upper()}-b7ad6b7169203331-01",
        f"01-{ID}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{ID}-{'0' * 16}-01",
        f"{HEADER}\n",
    ],
)
def test_what_is_no_trace_begins_a_new_one(header: str) -> None:
    assert parse(header) is None
    trace = begin(header)
    assert parse(trace.header) == trace
    assert trace.trace_id != ID


def test_a_trace_is_gone_on_with_in_a_span_of_its_own() -> None:
    trace = begin(HEADER)
    assert trace.trace_id == ID
    assert trace.span_id != "b7ad6b7169203331"
    assert trace.flags == "01"
    assert begin(HEADER.replace("-01", "-00")).flags == "00"


def test_records_with_a_trace_are_noted_with_their_patient() -> None:
    last, first, none = (
        Arrived(),
        Arrived(headers=(("traceparent", b"x"), ("ce_id", b"y"))),
        Arrived(headers=()),
    )
    found = traced([last, first, none, Arrived(key=None)])
    assert [(record.patient, record.header) for record in found] == [
        (b"P|1", HEADER.encode()), (b"P|1", b"x"), (b"", HEADER.encode()),
    ]  # fmt: skip
    assert trace_headers([last, last, none]) == {HEADER.encode()}


def test_the_log_of_a_commit_names_traces_and_places_and_nothing_else() -> None:
    anybodys = [b"Quxmarillo", b"", b"00-Quxmarillo", HEADER.encode()]
    assert trace_ids(anybodys) == [ID]
    facts = commit_facts([("a", 0, 5, 9), ("a", 0, 10, 12), ("b", 1, 3, 3)], anybodys)
    assert facts == {"places": {"a/0": "5-12", "b/1": "3-3"}, "trace_ids": [ID]}


def test_of_many_traces_the_log_says_how_many_it_leaves_out() -> None:
    headers = [f"00-{number:032x}-{1:016x}-01".encode() for number in range(1, MOST_LOGGED + 4)]
    facts = commit_facts([], headers)
    assert (len(facts["trace_ids"]), facts["traces_left_out"]) == (MOST_LOGGED, 3)


def test_messages_about_a_patient_or_a_dead_letter_go_on_with_the_newest_trace() -> None:
    traces = Traces()
    other = HEADER.replace(ID, "1" * 32)
    letter = DeadLetter("t", 3, 7, b"", b"", "type", "", "", 0)
    traces.note(
        [("t", 3, traced([Arrived(headers=(("traceparent", other.encode()),)), Arrived()]))], [letter]
    )
    for about in (b"P|1", letter_place("t", 3, 7)):
        [(name, header)] = traces.headers(about)
        assert name == "traceparent"
        assert header.decode().split("-")[1] == ID
        assert header.decode() != HEADER
    assert traces.headers(b"somebody else") == []
    assert traces.headers(letter_place("t", 3, 8)) == []


def test_a_header_that_is_no_trace_is_not_published() -> None:
    traces = Traces()
    traces.note([("t", 3, traced([Arrived(headers=(("traceparent", b"\xffMaria"),))]))], [])
    assert traces.headers(b"P|1") == []


def test_only_the_newest_are_kept() -> None:
    traces = Traces()
    for number in range(MOST_KEPT + 1):
        traces.note([("t", 3, traced([Arrived(key=b"P%d|" % number)]))], [])
    assert traces.headers(b"P0") == []
    assert traces.headers(b"P1") != []

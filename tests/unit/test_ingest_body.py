"""One event, an array or lines: how a request's body is cut into items."""

import pytest

from services.ingest.body import MAX_EVENTS, Form, media_type, read_body
from services.runtime.problems import Problem

JSON, NDJSON = "application/json", "application/x-ndjson"


def test_one_event_travels_as_it_was_received() -> None:
    body = b'{ "a" : 1.50 }\n'
    form, (item,) = read_body(JSON, body)
    assert (form, item.value, item.data) == (Form.ONE, body, {"a": 1.5})


def test_an_array_is_serialised_anew_per_event() -> None:
    form, items = read_body(JSON, b'[ {"a": 1.5, "b": "\xc3\xa9"}, 3 ]')
    assert form is Form.ARRAY
    assert [(item.position, item.value) for item in items] == [(0, '{"a":1.5,"b":"é"}'.encode()), (1, b"3")]


def test_lines_keep_their_numbers_and_bytes_and_blank_ones_do_not_count() -> None:
    form, items = read_body(NDJSON, b'{"a": 1}\r\n\n  \n{"b":2}  \n')
    assert form is Form.LINES
    assert [(item.position, item.value) for item in items] == [(1, b'{"a": 1}'), (4, b'{"b":2}')]


@pytest.mark.parametrize("kind", [JSON, NDJSON])
def test_a_byte_order_mark_is_not_part_of_the_event(kind: str) -> None:
    assert [item.value for item in read_body(kind, b'\xef\xbb\xbf{"a":1}')[1]] == [b'{"a":1}']


def test_no_events_are_no_error() -> None:
    assert read_body(JSON, b"[]") == (Form.ARRAY, [])
    assert read_body(NDJSON, b"\n\n") == (Form.LINES, [])


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a":NaN}', b'{"a":\xff}', b"{'a':1}", b'{"a":1}{"b":2}', b"[1,]"]
)
def test_what_is_not_json_in_utf_8_is_malformed(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read_body(JSON, body)
    assert (caught.value.status, caught.value.code) == (400, "json_malformed")


def test_every_broken_line_is_numbered() -> None:
    with pytest.raises(Problem) as caught:
        read_body(NDJSON, b'{"a":1}\n{"a"\n\n\xff\n{"a":2}')
    assert (caught.value.status, caught.value.code) == (400, "json_malformed")
    assert [error["path"] for error in caught.value.errors] == ["line 2", "line 4"]
    assert "line 2, 4;" in caught.value.detail


def test_only_the_first_of_many_broken_lines_are_named() -> None:
    with pytest.raises(Problem) as caught:
        read_body(NDJSON, b"{\n" * 1000)
    assert len(caught.value.errors) == 20
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    ("count", "fits"), [(MAX_EVENTS - 1, True), (MAX_EVENTS, True), (MAX_EVENTS + 1, False)]
)
@pytest.mark.parametrize("kind", [JSON, NDJSON])
def test_the_number_of_events_is_limited(kind: str, count: int, fits: bool) -> None:
    body = b"[" + b",".join([b"1"] * count) + b"]" if kind == JSON else b"1\n" * count
    if fits:
        assert len(read_body(kind, body)[1]) == count
        return
    with pytest.raises(Problem) as caught:
        read_body(kind, body)
    assert (caught.value.status, caught.value.code) == (413, "too_large")


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("application/json", JSON),
        ("Application/JSON; charset=UTF-8", JSON),
        ('application/json;charset="utf-8"', JSON),
        ("application/x-ndjson", NDJSON),
        ("application/ndjson", "application/ndjson"),
    ],
)
def test_accepted_media_types(header: str, kind: str) -> None:
    assert media_type(header) == kind


@pytest.mark.parametrize(
    "header",
    [None, "", "text/plain", "text/csv", "application/json; charset=latin-1", "application/fhir+json"],
)
def test_any_other_media_type_is_415_and_says_what_is_taken(header: str | None) -> None:
    with pytest.raises(Problem) as caught:
        media_type(header)
    assert (caught.value.status, caught.value.code) == (415, "media_type")
    assert NDJSON in caught.value.detail

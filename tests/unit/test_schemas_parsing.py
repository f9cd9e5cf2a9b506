"""Batches of JSON values: one bad value never harms, hides or joins its neighbours."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from schemas import Event, EventRefused, EventType, parse_batch, parse_event


def lab(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "event_type": "lab",
        "site_id": "S01",
        "event_id": f"S01:lab:{number}",
        "patient_id": "S01-0017",
        "recorded_at": "2025-03-31T14:05:00Z",
        "collected_on": "2025-03-31",
        "analyte": "crp",
        "value": 3.2,
        "unit": "mg/L",
        **fields,
    }


def value(number: int = 1, **fields: Any) -> bytes:
    return json.dumps(lab(number, **fields)).encode()


def outcomes(values: Sequence[bytes]) -> list[str]:
    """The record number of each accepted value, the codes of each refused one."""
    return [
        ",".join(error.code for error in result.errors)
        if isinstance(result, EventRefused)
        else result.event_id.removeprefix("S01:lab:")
        for result in parse_batch(EventType.LAB, values)
    ]


def test_empty_batch() -> None:
    assert parse_batch(EventType.LAB, []) == []


def test_order_is_kept_around_bad_values() -> None:
    values = [value(1), value(2, value=-1), value(3), b"{", value(5), value(6, unit=None), value(7)]
    assert outcomes(values) == ["1", "implausible", "3", "json_malformed", "5", "missing", "7"]


@pytest.mark.parametrize(
    "pieces",
    [
        [b'1},{"a":2'],
        [value(2) + b"," + value(3)],
        [value(2) + b"\n," + value(3)],
        [value(2) + b"," + value(3), b""],
        [value(2) + b"," + value(3), b'{"event_type":"lab"', b'"site_id":"S01"}'],
        [value(2) + b"\n," + value(3), value(4)[:-1], value(5)[1:]],
        [value(2)[:40], value(3)[40:]],
        [b"[" + value(2) + b"]"],
        [b'{"unit":"mg}', b'{/L"}', value(2) + b"," + value(3)],
        [b"]", b"["],
        [b"null"],
        [b"", b" ", b"\n"],
    ],
    ids=range(12),
)
def test_values_cannot_borrow_from_their_neighbours(pieces: list[bytes]) -> None:
    found = outcomes([value(1), *pieces, value(9)])
    assert (found[0], found[-1]) == ("1", "9")
    assert all(not outcome.isdigit() for outcome in found[1:-1] if outcome != "4")


def test_a_value_that_is_two_objects_does_not_mislead_the_search_for_bad_ones() -> None:
    values = [value(0) + b"," + value(0), *map(value, range(1, 3000)), value(3000, value=-1), value(3001)]
    found = outcomes(values)
    assert [i for i, outcome in enumerate(found) if not outcome.isdigit()] == [0, 3000]
    assert found[-1] == "3001"


@pytest.mark.parametrize("bad", [b"{", b"{}", b"{},{}", b"", b"{\n}"])
def test_a_batch_of_nothing_but_bad_values(bad: bytes) -> None:
    assert not any(outcome.isdigit() for outcome in outcomes([bad] * 3000))


def test_white_space_around_a_value_is_no_fault() -> None:
    pretty = json.dumps(lab(3), indent=2).encode()
    assert outcomes([value(1), b"  " + value(2) + b"\r\n", pretty, value(4)]) == ["1", "2", "3", "4"]


def test_event_of_another_type_does_not_belong_to_the_batch() -> None:
    visit = {**lab(2), "event_type": "visit"}
    [_, refused] = parse_batch(EventType.LAB, [value(1), json.dumps(visit).encode()])
    assert isinstance(refused, EventRefused)
    assert ("event_type", "code_unknown") in [(error.path, error.code) for error in refused.errors]


def repeated(text: bytes, addition: bytes) -> bytes:
    return text[:-1] + addition + b"}"


@pytest.mark.parametrize(
    "addition", [b',"value":7', b', "value" : 7', b',"\\u0076alue":7', b',"value":3.2', b',"value"\n:\n7']
)
def test_a_field_named_twice_is_refused(addition: bytes) -> None:
    text = repeated(value(2), addition)
    with pytest.raises(EventRefused) as refused:
        parse_event(text)
    assert [error.code for error in refused.value.errors] == ["json_malformed"]
    assert outcomes([value(1), text, value(3)]) == ["1", "json_malformed", "3"]


def test_a_field_named_twice_inside_a_part_is_refused() -> None:
    visit = (
        b'{"event_type":"visit","site_id":"S01","event_id":"S01:v:1","patient_id":"S01-0017",'
        b'"recorded_at":"2025-03-31T14:05:00Z","visited_on":"2025-03-31",'
        b'"ses_cd_segments":{"ileum":{"narrowing":0},"rectum":{"narrowing":0%s}}}'
    )
    good, bad = visit % b"", visit % b',"narrowing":1'
    results = parse_batch(EventType.VISIT, [good, bad, good])
    assert [isinstance(result, Event) for result in results] == [True, False, True]


@pytest.mark.parametrize("text", [":", '":', "\\", ': "a":', "a : b"])
def test_colons_and_quotes_in_text_are_no_fields(text: str) -> None:
    values = [value(1), value(2, event_id=text), value(3)]
    assert all(isinstance(result, Event) for result in parse_batch(EventType.LAB, values))
    assert parse_event(values[1]).event_id == text


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"\xef\xbb\xbf{}", b"[" * 10_000, "\ud800", b'{"site_id":"\\ud800"}', b"{} {}"],
)
def test_what_is_not_json(data: bytes | str) -> None:
    with pytest.raises(EventRefused) as refused:
        parse_event(data)
    assert [(error.path, error.code) for error in refused.value.errors] == [("", "json_malformed")]


@pytest.mark.parametrize("data", [b"[]", b"null", b"1", b'"lab"'])
def test_what_is_json_but_no_object(data: bytes) -> None:
    with pytest.raises(EventRefused) as refused:
        parse_event(data)
    assert [(error.path, error.code) for error in refused.value.errors] == [("", "type")]


def test_a_mapping_is_read_like_its_json() -> None:
    assert parse_event(lab()) == parse_event(value()) == parse_event(value().decode())


@pytest.mark.parametrize("odd", [{1, 2}, b"x", object()])
def test_a_mapping_that_json_cannot_say_is_refused(odd: object) -> None:
    with pytest.raises(EventRefused) as refused:
        parse_event(lab(value=odd))
    assert [error.code for error in refused.value.errors] == ["json_malformed"]


def test_refusals_keep_no_input_alive() -> None:
    [refused] = parse_batch(EventType.LAB, [value(value=-1)])
    assert isinstance(refused, EventRefused)
    assert (refused.__traceback__, refused.__context__, refused.__cause__) == (None, None, None)

"""Canonical JSON, content hash and record keys, against values written by hand."""

import hashlib
import json
from typing import Any

import pytest

from schemas import RecordKey, canonical_json, content_hash, parse_event, parse_record_key, record_key

LAB = {
    "event_type": "lab",
    "site_id": "S01",
    "event_id": "S01:lab:1",
    "patient_id": "S01-0017",
    "recorded_at": "2025-03-31T14:05:00Z",
    "collected_on": "2025-03-31",
    "analyte": "crp",
    "value": 3.2,
    "unit": "µg/mL",
}
CANONICAL = (
    '{"analyte":"crp","collected_on":"2025-03-31","event_id":"S01:lab:1","event_type":"lab","patient_id":"S01-0017",'
    '"retracted":false,"site_id":"S01","unit":"µg/mL","value":3.2,"version":1,"visit_kind":"scheduled"}'
)


def canonical(**fields: Any) -> str:
    return canonical_json(parse_event({**LAB, **fields})).decode()


def test_canonical_json_written_by_hand() -> None:
    assert canonical() == CANONICAL


def test_content_hash_is_sha256_of_the_canonical_json() -> None:
    assert content_hash(parse_event(LAB)) == hashlib.sha256(CANONICAL.encode()).hexdigest()


@pytest.mark.parametrize(
    "fields",
    [
        {"recorded_at": "2025-04-01T09:00:00+02:00"},
        {"version": 1},
        {"retracted": False},
        {"visit_kind": "scheduled"},
        {"comparator": None, "ref_low": None},
    ],
)
def test_defaults_nulls_and_recording_time_are_no_content(fields: dict[str, Any]) -> None:
    assert canonical(**fields) == CANONICAL


@pytest.mark.parametrize("fields", [{"version": 2}, {"value": 3.3}, {"visit_kind": "retest"}, {"ref_low": 0}])
def test_what_differs_shows(fields: dict[str, Any]) -> None:
    assert canonical(**fields) != CANONICAL


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("10", "10"),
        ("10.0", "10"),
        ("1e1", "10"),
        ("0", "0"),
        ("-0.0", "0"),
        ("0.5", "0.5"),
        ("0.1e0", "0.1"),
        ("0.00001", "0.00001"),
        ("0.000001", "0.000001"),
        ("1e-7", "1e-7"),
        ("5e-324", "5e-324"),
        ("333.3333333333333", "333.3333333333333"),
    ],
)
def test_numbers_are_spelled_as_in_rfc_8785(number: str, text: str) -> None:
    event = json.dumps(LAB).replace('"value": 3.2', f'"value": {number}')
    assert f'"value":{text},' in canonical_json(parse_event(event)).decode()


def test_a_version_beyond_exact_doubles_is_text() -> None:
    assert '"version":9007199254740991,' in canonical(version=2**53 - 1)
    assert '"version":"9007199254740993",' in canonical(version=2**53 + 1)


def test_text_is_escaped_as_in_rfc_8785() -> None:
    assert '"event_id":"a\\"b\\\\c/é\u2028",' in canonical(event_id='a"b\\c/é\u2028')


def test_parts_are_canonical_too() -> None:
    visit = {
        **{name: LAB[name] for name in ("site_id", "event_id", "patient_id", "recorded_at")},
        "event_type": "visit",
        "visited_on": "2025-03-31",
        "visited_at": "09:40",
        "cdai_components": {
            "wellbeing": [1, 0.0, None, 2.5, 0, 0, 0],
            "complications": ["fever"],
            "weight_kg": 54.0,
        },
        "ses_cd_segments": {"rectum": None, "ileum": {"narrowing": 1.0, "ulcer_size": None}},
    }
    assert canonical_json(parse_event(visit)).decode() == (
        '{"cdai_components":{"complications":["fever"],"weight_kg":54,"wellbeing":[1,0,null,2.5,0,0,0]},'
        '"event_id":"S01:lab:1","event_type":"visit","patient_id":"S01-0017","retracted":false,'
        '"ses_cd_segments":{"ileum":{"narrowing":1}},"site_id":"S01","version":1,"visit_kind":"scheduled",'
        '"visited_at":"09:40:00","visited_on":"2025-03-31"}'
    )


def test_key_of_a_record_version() -> None:
    event = parse_event({**LAB, "patient_id": "7|8", "event_id": "100%|a"})
    key = record_key(event, "0123456789abcdef" * 4)
    assert key == "7%7C8|S01|100%25%7Ca|1|01234567"
    assert (
        parse_record_key(key)
        == parse_record_key(key.encode())
        == RecordKey("7|8", "S01", "100%|a", 1, "01234567")
    )


@pytest.mark.parametrize(
    "key",
    [
        "",
        "S01-0017",
        "S01-0017|S01|e|1",
        "S01-0017|S01|e|1|01234567|",
        "S01-0017|S01|e|0|01234567",
        "S01-0017|S01|e|01|01234567",
        "S01-0017|S01|e|x|01234567",
        "S01-0017|S01|e|1|0123456",
        "S01-0017|S01|e|1|ABCDEF01",
        "S01-0017|S01|50%|1|01234567",
        "S01-0017|S01|%41|1|01234567",
        "S01-0017|S01|%7c|1|01234567",
        b"\xff|S01|e|1|01234567",
    ],
)
def test_what_is_no_record_key(key: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (also UnicodeDecodeError)
        parse_record_key(key)

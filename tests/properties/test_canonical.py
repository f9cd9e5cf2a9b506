"""Laws of canonical JSON, record keys and batches, for events that Hypothesis makes up."""

import json
from datetime import date
from typing import Any

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import (
    Event,
    EventRefused,
    EventType,
    canonical_json,
    content_hash,
    parse_batch,
    parse_event,
    parse_record_key,
    record_key,
)

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=20
)
PSEUDONYMS = st.text("0123456789|%-", min_size=1, max_size=7)  # too short for a date of birth
DAYS = st.dates(min_value=date(2024, 1, 1), max_value=date(2025, 3, 1))
NUMBERS = st.integers(0, 600) | st.floats(0, 600)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


COMMON = {
    "site_id": TEXT,
    "event_id": TEXT,
    "version": st.integers(1, 2**63 - 1) | st.integers(1, 9),
    "patient_id": PSEUDONYMS,
    "recorded_at": st.just("2025-03-01T10:00:00Z"),
}
LABS = st.fixed_dictionaries(
    {
        **COMMON,
        "event_type": st.just("lab"),
        "collected_on": DAYS.map(str),
        "analyte": st.sampled_from(["crp", "1988-5", "fcal"]),
        "value": NUMBERS | st.integers(0, 600).map(lambda bound: f"<{bound}"),
        "unit": st.just("ug/mL"),
    },
    optional={"ref_high": maybe(NUMBERS), "visit_kind": st.sampled_from(["scheduled", "retest"])},
).map(lambda event: {**event, "unit": "ug/g" if event["analyte"] == "fcal" else event["unit"]})
SEGMENTS = st.fixed_dictionaries(
    {}, optional={name: maybe(st.integers(0, 2)) for name in ("ulcer_size", "narrowing")}
)
VISITS = st.fixed_dictionaries(
    {**COMMON, "event_type": st.just("visit"), "visited_on": DAYS.map(str), "cdai": NUMBERS},
    optional={
        "cdai_components": st.fixed_dictionaries(
            {},
            optional={
                "wellbeing": st.floats(0, 28) | st.lists(maybe(st.floats(0, 4)), min_size=7, max_size=7),
                "complications": st.lists(st.sampled_from(["fever", "arthritis"]), max_size=2),
                "antidiarrhoeal": st.booleans(),
            },
        ),
        "ses_cd_segments": st.fixed_dictionaries(
            {}, optional={name: maybe(SEGMENTS) for name in ("ileum", "rectum")}
        ),
    },
)
EVENTS = LABS | VISITS


def without_nulls(value: Any) -> Any:
    """The event as the contract counts it: nulls are absent (in lists they are days without an entry)."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return value


@given(EVENTS)
def test_canonical_json_is_rfc_8785_of_the_event_with_its_defaults(event: dict[str, Any]) -> None:
    defaults = {"version": 1, "retracted": False, "visit_kind": "scheduled"}
    content = {**defaults, **without_nulls(event)}
    del content["recorded_at"]
    if content["version"] > 2**53 - 1:
        content["version"] = str(content["version"])
    assert canonical_json(parse_event(event)) == rfc8785.dumps(content)


@given(EVENTS, st.randoms(use_true_random=False))
def test_order_of_fields_and_recording_time_change_nothing(event: dict[str, Any], random: Any) -> None:
    fields = list({**event, "recorded_at": "2025-04-02T00:00:00.5+05:30"}.items())
    random.shuffle(fields)
    assert canonical_json(parse_event(dict(fields))) == canonical_json(parse_event(event))


def as_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: as_floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    is_exact = type(value) is int and abs(value) < 2**53
    return float(value) if is_exact else value


@given(EVENTS)
def test_whole_numbers_count_alike_however_written(event: dict[str, Any]) -> None:
    assert content_hash(parse_event(as_floats(event))) == content_hash(parse_event(event))


@given(EVENTS)
def test_an_event_survives_its_canonical_json(event: dict[str, Any]) -> None:
    parsed = parse_event(event)
    content = json.loads(canonical_json(parsed))
    again = parse_event({**content, "version": int(content["version"]), "recorded_at": event["recorded_at"]})
    assert again == parsed


@given(EVENTS)
def test_key_round_trip(event: dict[str, Any]) -> None:
    parsed = parse_event(event)
    digest = content_hash(parsed)
    key = record_key(parsed, digest)
    assert key.count("|") == 4
    assert parse_record_key(key.encode()) == (
        parsed.patient_id,
        parsed.site_id,
        parsed.event_id,
        parsed.version,
        digest[:8],
    )


FRAGMENTS = [
    b"",
    b"{",
    b"}",
    b"null",
    b"[]",
    b'1},{"a":2',
    b"{},{}",
    b'"',
    b"\n",
    b"{\n}",
    b"},\n{",
    b"\xff",
    b"{}",
]


def spoilt(event: dict[str, Any]) -> list[bytes]:
    """Ways in which an event of one type can be wrong on the wire."""
    text = json.dumps(event).encode()
    return [
        text[:-1],
        text[1:],
        text + b"," + text,
        text[:-1] + b',"value":1,"value":2}',
        json.dumps({**event, "version": 0}).encode(),
        json.dumps({**event, "colour": "blue"}).encode(),
        json.dumps({**event, "value": -1}).encode(),
    ]


VALUES = st.lists(
    LABS.map(lambda event: json.dumps(event, ensure_ascii=False).encode())
    | LABS.map(lambda event: json.dumps(event, indent=1).encode())
    | LABS.flatmap(lambda event: st.sampled_from(spoilt(event)))
    | st.sampled_from(FRAGMENTS)
    | st.lists(st.sampled_from(FRAGMENTS), max_size=3).map(b"".join),
    max_size=12,
)


def alone(value: bytes) -> Event | tuple[object, ...]:
    try:
        return parse_event(value)
    except EventRefused as refused:
        return refused.errors


def is_typed(value: bytes) -> bool:
    return b'"event_type"' in value


@settings(max_examples=200)
@given(VALUES)
def test_a_batch_is_its_values_one_by_one(values: list[bytes]) -> None:
    results = parse_batch(EventType.LAB, values)
    found = [result.errors if isinstance(result, EventRefused) else result for result in results]
    for value, result in zip(values, found, strict=True):
        if is_typed(value):
            assert result == alone(value)
        else:  # without a type only the batch knows which fields are missing
            assert isinstance(result, tuple)
            assert isinstance(alone(value), tuple)

"""Every good example is accepted, every bad one refused for exactly the reasons it names."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas import EventRefused, EventType, parse_batch, parse_event
from schemas.refusals import CODES

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"


def examples(kind: str) -> list[Any]:
    paths = sorted(EXAMPLES.glob(f"*/{kind}/*.json"))
    return [pytest.param(path, id=f"{path.parts[-3]}-{path.stem}") for path in paths]


@pytest.mark.parametrize("path", examples("good"))
def test_good_example_is_accepted_alone_and_in_a_batch(path: Path) -> None:
    event = parse_event(path.read_bytes())
    assert event.event_type == path.parts[-3]
    assert parse_batch(event.event_type, [path.read_bytes()] * 2) == [event, event]


@pytest.mark.parametrize("path", examples("bad"))
def test_bad_example_is_refused_for_the_reasons_it_names(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    with pytest.raises(EventRefused) as refused:
        parse_event(example["event"])
    found = {(error.path, error.code) for error in refused.value.errors}
    assert found == {(expected["path"], expected["code"]) for expected in example["expected"]}
    assert all(error.code in CODES for error in refused.value.errors)


@pytest.mark.parametrize("path", examples("bad"))
def test_refusal_never_shows_a_personal_value(path: Path) -> None:
    event = json.loads(path.read_text(encoding="utf-8"))["event"]
    with pytest.raises(EventRefused) as refused:
        parse_event(event)
    cause = refused.value.__cause__ or refused.value.__context__
    assert cause is None, "an exception chained to the refusal would carry the input into logs"
    for personal in (event["patient_id"], event["event_id"], event["recorded_at"]):
        assert personal not in str(refused.value)


@pytest.mark.parametrize("event_type", EventType)
def test_each_event_type_has_examples_of_both_kinds(event_type: EventType) -> None:
    folder = EXAMPLES / event_type
    assert len(list(folder.glob("good/*.json"))) >= 5
    assert len(list(folder.glob("bad/*.json"))) >= 5


def test_every_refusal_code_of_a_well_formed_event_has_an_example() -> None:
    shown = {
        expected["code"]
        for path in EXAMPLES.glob("*/bad/*.json")
        for expected in json.loads(path.read_text(encoding="utf-8"))["expected"]
    }
    assert shown == set(CODES) - {"json_malformed"}

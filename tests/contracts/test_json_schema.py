"""The JSON Schema files are those of the models, and agree with them on the examples."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas import EVENT_MODELS, EventType
from schemas.generate import FOLDER, schema_path, schema_text

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"

CALCULATED_CODES = {"date_future", "unit_unknown"}
"""Refusals that no JSON Schema can express, and the bad examples refused by a calculation of another code."""
CALCULATED = {
    "adverse_event": {"aware_before_onset", "month_not_first", "resolved_before_onset"},
    "consent": {"before_1900", "impossible_date"},
    "enrolment": {"born_after_enrolment", "patient_birth_date", "patient_mail", "patient_name"},
    "lab": {
        "censored_above_limit",
        "comparators_disagree",
        "creatinine_just_below",
        "crp_in_nanomole",
        "crp_just_above",
        "crp_negative",
        "esr_two_hours",
        "haematocrit_wrong_unit",
        "haemoglobin_wrong_unit",
        "limit_in_other_unit",
        "limits_crossed",
        "lymphocytes_in_per_cent",
    },
    "treatment": set[str](),
    "visit": {"empty_pro2", "two_impassable"},
}


def schema(event_type: str) -> Any:
    return json.loads(schema_path(EventType(event_type)).read_text(encoding="utf-8"))


def validator(event_type: str) -> Draft202012Validator:
    return Draft202012Validator(schema(event_type))


@pytest.mark.parametrize("event_type", EventType)
def test_schema_file_is_current(event_type: EventType) -> None:
    found = schema_path(event_type).read_text(encoding="utf-8")
    assert found == schema_text(event_type), "run: python -m schemas.generate"


def test_there_is_one_schema_file_for_each_event_type() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.v1.schema.json" for name in EventType}


@pytest.mark.parametrize("event_type", EventType)
def test_schema_is_valid_itself(event_type: EventType) -> None:
    Draft202012Validator.check_schema(schema(event_type))


@pytest.mark.parametrize("event_type", EventType)
def test_every_field_is_described(event_type: EventType) -> None:
    root = schema(event_type)
    objects = [root, *root.get("$defs", {}).values()]
    fields: dict[str, Any] = {name: field for part in objects for name, field in part["properties"].items()}
    assert [name for name, field in fields.items() if not field.get("description")] == []
    assert set(EVENT_MODELS[event_type].model_fields) <= set(fields)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/good/*.json")), ids=lambda path: path.stem)
def test_good_example_follows_the_schema(path: Path) -> None:
    errors = validator(path.parts[-3]).iter_errors(json.loads(path.read_text(encoding="utf-8")))
    assert [error.message for error in errors] == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/bad/*.json")), ids=lambda path: path.stem)
def test_schema_refuses_the_bad_examples_that_need_no_calculation(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    event_type, codes = path.parts[-3], {expected["code"] for expected in example["expected"]}
    needs_calculation = codes <= CALCULATED_CODES or path.stem in CALCULATED[event_type]
    assert validator(event_type).is_valid(example["event"]) == needs_calculation

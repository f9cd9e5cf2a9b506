"""The data sets' definitions: what files can hold, what the SQL gives, and what the documents say."""

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from schemas.adverse_event import AdverseEvent
from schemas.analytes import ANALYTES
from schemas.enrolment import Enrolment
from schemas.protocol import PROTOCOLS_DIR, load_protocol
from services.export.definition import HERE, DataSet, Variable, load_data_sets, value_sets
from services.export.reference import DOCUMENT, START, listing

CODES = {name: {w: c for n, w, c, _ in value_sets() if n == name} for name in ("analyte", "endpoint")}
TERMS = {(name, word): term for name, word, _, term in value_sets()}


def words(model: Any, field: str) -> set[str]:
    """The words that a field of a model takes."""
    kinds = [model.model_fields[field].annotation, *get_args(model.model_fields[field].annotation)]
    return {word for kind in kinds for word in get_args(kind) if isinstance(word, str)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "NINELONGS"),
        ("name", "lower"),
        ("name", "1ST"),
        ("name", ""),
        ("label", "x" * 41),
        ("label", "Größe"),
        ("label", ""),
        ("type", "datetime"),
    ],
)
def test_a_definition_that_a_transport_file_cannot_hold_is_refused(field: str, value: str) -> None:
    good = {"name": "EIGHTLNG", "label": "x" * 40, "type": "text", "source": ""}
    Variable.model_validate(good)
    with pytest.raises(ValidationError):
        Variable.model_validate({**good, field: value})


@pytest.mark.parametrize("data_set", load_data_sets(), ids=lambda d: d.name)
def test_a_name_is_used_once_and_keys_are_variables(data_set: DataSet) -> None:
    names = [variable.name for variable in data_set.variables]
    assert len(set(names)) == len(names)
    assert set(data_set.keys) <= set(names)
    assert len(data_set.label) <= 40
    assert data_set.label.isascii()


def test_a_variable_that_two_data_sets_share_is_of_one_type() -> None:
    types: dict[str, str] = {}
    for data_set in load_data_sets():
        for variable in data_set.variables:
            own = (
                data_set.name if variable.name == "AVAL" else ""
            )  # 1 and 0 of outcomes, results of laboratories
            assert types.setdefault(own + variable.name, variable.type) == variable.type, variable.name


def test_every_word_of_the_events_has_a_term() -> None:
    for field in ("related", "action_taken", "outcome"):
        assert {word for name, word in TERMS if name == field} == words(AdverseEvent, field)
    assert {word for name, word in TERMS if name == "sex"} == words(Enrolment, "sex")


def test_every_analyte_and_every_endpoint_of_a_shipped_protocol_has_a_code_of_its_own() -> None:
    assert CODES["analyte"].keys() == ANALYTES.keys()
    for path in PROTOCOLS_DIR.glob("*.toml"):
        names = {getattr(endpoint, "name", endpoint) for endpoint in load_protocol(path.stem).endpoint}
        assert names <= CODES["endpoint"].keys(), path.stem
    for codes in CODES.values():
        assert len(set(codes.values())) == len(codes)
        assert all(code and len(code) <= 8 and code.isascii() for code in codes.values())


def test_the_document_lists_what_the_definitions_say() -> None:
    _, start, tables = DOCUMENT.read_text(encoding="utf-8").partition(START)
    assert start
    assert tables == listing(), "python -m services.export.reference writes the tables anew"


def test_every_rule_and_source_is_filled_in() -> None:
    for path in Path(HERE / "datasets").glob("*.toml"):
        for variable in tomllib.loads(path.read_text(encoding="utf-8"))["variables"]:
            assert variable["source"] or variable["rule"], (path.name, variable["name"])

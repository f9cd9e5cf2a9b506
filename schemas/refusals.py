"""Why an event is refused: a path, a code and a reason, never the value.

The codes are those of the HTTP error table; a refused value may be patient data, so it reaches neither the
reason nor the exception. Unknown field names are shown only when they look like field names.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

CODES: Mapping[str, str] = {
    "json_malformed": "not one JSON object in UTF-8, or a field named twice",
    "unknown_field": "a field that the contract does not have",
    "missing": "a required field is absent or null",
    "type": "the JSON type or the form of the text is wrong",
    "code_unknown": "not in the value set of the field",
    "unit_unknown": "the unit is not recognised",
    "unit_not_convertible": "the unit, or the code, does not lead to the analyte's canonical unit",
    "implausible": "outside the limits R1.10 and R3.6, or those of the field",
    "date_future": "more than one day after recorded_at",
    "date_partial": "a year or a month where a calendar date is needed",
    "identifier_suspected": "looks like a name, an e-mail address or a date of birth",
    "inconsistent": "contradicts another field of the same event",
}
"""Every refusal code of an event, with its meaning."""

WARNING_CODES: Mapping[str, str] = {
    "total_disagrees": "the total differs from its components by more than 1 point (R1.9)",
    "unit_mismatch": "the unit is not the one the LOINC code is for; converted by the unit (R3.5)",
    "death_not_serious": "grade 5 or a fatal outcome without the seriousness criterion death",
    "onset_partial": "the onset is known to the month or the year only; nothing is put in its place (R4.3)",
}
"""Codes of what is taken all the same, but flagged."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason against an event: `path` like `cdai_components.wellbeing[3]` ("" is the whole event)."""

    path: str
    code: str
    message: str


class EventRefused(Exception):
    """An event that may not travel; `errors` holds every reason found, at least one."""

    def __init__(self, errors: Iterable[Refusal]) -> None:
        self.errors: tuple[Refusal, ...] = tuple(errors)
        super().__init__("; ".join(f"{e.path or 'event'}: {e.message} ({e.code})" for e in self.errors))


Problem = tuple[tuple[str | int, ...], str, str]
"""What a model finds against itself: location, code, reason."""


def raise_problems(title: str, problems: Iterable[Problem]) -> None:
    """Raise all `problems` as one pydantic ValidationError, without any input."""
    raise ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(type=PydanticCustomError(code, message), loc=path, input=None)
            for path, code, message in problems
        ],
        hide_input=True,
    )


def refusals_of(error: ValidationError, fields: frozenset[str]) -> tuple[Refusal, ...]:
    """Translate pydantic's findings; `fields` are the field names of all models.

    Where a field allows several shapes, pydantic reports each shape that did not fit: a shape of the wrong
    type says nothing once another shape fitted by type, and is left out.
    """
    refusals: dict[tuple[str, str], Refusal] = {}
    shapes: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        if detail["type"] == "default_factory_not_called":
            continue  # a consequence of another finding
        refusal = _refusal(detail, fields)
        if _is_one_shape(detail, fields):
            shapes.setdefault(refusal.path, []).append(refusal.message.removeprefix("must be "))
        else:
            refusals.setdefault((refusal.path, refusal.code), refusal)
    for path, wanted in shapes.items():
        if not any(told == path or told.startswith((f"{path}[", f"{path}.")) for told, _ in refusals):
            refusals[path, "type"] = Refusal(path, "type", f"must be {' or '.join(wanted)}")
    return tuple(refusals.values())


_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_PERSONAL_FIELD = re.compile(
    r"(?i)(first|last|given|family|full|patient)?_?(name|surname)|initials|(date_of_)?birth(_?(date|day))?|dob|"
    r"e?_?mail(_address)?|(tele)?phone(_number)?|telecom|address|photo|mrn|hospital_number"
)
_PARTIAL_DATE = re.compile(
    r"[0-9]{4}(-([0-9]{2}|[A-Za-z?-]+)(-(00|[A-Za-z?-]+))?)?|[0-9]{4}-(00|-|[A-Za-z?]+)-[0-9]{2}"
)
DAY_REASON = "must be a calendar date, YYYY-MM-DD"

_WRONG_SHAPES = {
    "bool_type": "must be true or false",
    "date_type": DAY_REASON,
    "dict_type": "must be a JSON object",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "frozen_set_type": "must be a list",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_attributes_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "string_type": "must be text",
    "tuple_type": "must be a list",
}
_LIMITS = {
    "greater_than": "must be more than {}",
    "greater_than_equal": "must be at least {}",
    "less_than": "must be less than {}",
    "less_than_equal": "must be at most {}",
}
_LENGTHS = {
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
}


def _is_one_shape(detail: ErrorDetails, fields: frozenset[str]) -> bool:
    """Whether the finding is only that one of several shapes of a field did not fit: its location ends so."""
    last = detail["loc"][-1] if detail["loc"] else ""
    return detail["type"] in _WRONG_SHAPES and isinstance(last, str) and last not in fields


def _refusal(detail: ErrorDetails, fields: frozenset[str]) -> Refusal:
    kind, location = detail["type"], detail["loc"]
    context: dict[str, Any] = detail.get("ctx", {})
    path = _path(location, fields)
    if kind == "extra_forbidden":
        return _unknown_field(location, fields)
    if kind in CODES:
        if detail["msg"] == DAY_REASON and _is_partial_date(detail["input"]):
            return Refusal(path, "date_partial", f"{DAY_REASON}: a year or a month alone is not one")
        return Refusal(path, kind, "is required" if detail["msg"] == "Field required" else detail["msg"])
    if kind in _LIMITS:
        return Refusal(path, "implausible", _LIMITS[kind].format(*map(_shown, context.values())))
    if kind in _LENGTHS:
        return Refusal(path, "type", _LENGTHS[kind].format(**context))
    if kind == "literal_error":
        is_number = type(detail["input"]) in {int, float}
        return Refusal(path, "implausible" if is_number else "code_unknown", _one_of(context["expected"]))
    if kind == "union_tag_invalid":
        return Refusal("event_type", "code_unknown", _one_of(context["expected_tags"]))
    if kind == "union_tag_not_found":
        return Refusal("event_type", "missing", "is required")
    if kind == "int_parsing_size":
        return Refusal(path, "implausible", "is too large")
    if kind in {"json_invalid", "string_unicode"}:
        return Refusal(path, "json_malformed", "is not JSON in UTF-8")
    return Refusal(path, "type", _WRONG_SHAPES.get(kind, "has the wrong type"))


def _shown(limit: object) -> str:
    return f"{limit:.15g}" if isinstance(limit, float) else str(limit)


def _one_of(expected: str) -> str:
    return "must be one of " + _ENUM_MEMBER.sub(r"\1", expected)


_ENUM_MEMBER = re.compile(r"<[^<>]*: ('[a-z_]*')>")


def _is_partial_date(value: object) -> bool:
    return isinstance(value, str) and _PARTIAL_DATE.fullmatch(value) is not None


def _unknown_field(location: tuple[str | int, ...], fields: frozenset[str]) -> Refusal:
    name = str(location[-1])
    parent = _path(location[:-1], fields)
    shown = name if _FIELD_NAME.fullmatch(name) else "?"
    path = f"{parent}.{shown}" if parent else shown
    if _PERSONAL_FIELD.fullmatch(name):
        return Refusal(path, "identifier_suspected", "personal data must not be sent")
    return Refusal(path, "unknown_field", "is not a field of this event")


def _path(location: tuple[str | int, ...], fields: frozenset[str]) -> str:
    return "".join(_steps(location, fields)).removeprefix(".")


def _steps(location: tuple[str | int, ...], fields: frozenset[str]) -> Iterator[str]:
    for step in location:
        if isinstance(step, int):
            yield f"[{step}]"
        elif step in fields:
            yield f".{step}"

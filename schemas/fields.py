"""The kinds of values that events are made of.

Limits and forms are declared, so that pydantic checks them without calling back into Python. JSON text is
parsed by form first: pydantic alone would read the text "1700006400" as a date.
"""

from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal, cast

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema
from pydantic_core import core_schema as cs

from schemas.refusals import DAY_REASON

EARLIEST_DAY = date(1900, 1, 1)


class _Parsed:
    """JSON text of a given form, parsed into a date, time or date-time within limits."""

    def __init__(
        self, parsed: CoreSchema, limits: CoreSchema, form: str, reason: str, json_format: str | None = None
    ) -> None:
        self.form, self.limits = form, limits
        self.json_format = {"format": json_format} if json_format else {}
        text = cs.chain_schema([cs.str_schema(pattern=form, strict=True), parsed])
        self.text = cs.custom_error_schema(text, custom_error_type="type", custom_error_message=reason)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.json_or_python_schema(cs.chain_schema([self.text, self.limits]), self.limits)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": self.form} | self.json_format


Day = Annotated[
    date,
    _Parsed(
        cs.date_schema(strict=False),
        cs.date_schema(strict=True, ge=EARLIEST_DAY),
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        DAY_REASON,
        "date",
    ),
]
"""A calendar date, from 1900 on."""

ClockTime = Annotated[
    time,
    _Parsed(
        cs.time_schema(strict=False),
        cs.time_schema(strict=True, tz_constraint="naive"),
        r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?$",
        "must be a local time of day, HH:MM or HH:MM:SS",
    ),
]
"""A local time of day, without offset."""

Instant = Annotated[
    datetime,
    _Parsed(
        cs.datetime_schema(strict=False, tz_constraint="aware"),
        cs.datetime_schema(
            strict=True,
            tz_constraint="aware",
            ge=datetime(1970, 1, 1, tzinfo=UTC),
            lt=datetime(2200, 1, 1, tzinfo=UTC),
        ),
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
        "must be an RFC 3339 date-time with an offset, such as 2025-03-31T10:00:00+02:00",
        "date-time",
    ),
]
"""A moment with its offset, from 1970 to 2199 (so that every zone can show it)."""


class _Formed:
    """Text that matches `form`; the reason names no pattern, people read it."""

    def __init__(self, form: str, reason: str) -> None:
        self.form, self.reason = form, reason

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = cs.str_schema(pattern=self.form, strict=True)
        return cs.custom_error_schema(text, custom_error_type="type", custom_error_message=self.reason)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": self.form}


def _text(limit: int) -> _Formed:
    edge, inner = r"[^\x00-\x20\x7f]", r"[^\x00-\x1f\x7f]"
    return _Formed(
        rf"^{edge}({inner}{{0,{limit - 2}}}{edge})?$",
        f"must be text of 1 to {limit} characters, without control characters or spaces around it",
    )


Text64 = Annotated[str, _text(64)]
Text128 = Annotated[str, _text(128)]
Text512 = Annotated[str, _text(512)]
GenericName = Annotated[
    str, _Formed(r"^[a-z0-9]([a-z0-9 /+.()-]{0,98}[a-z0-9)])?$", "must be a generic name in lower case")
]
"""A drug by its generic name in lower case, such as `upadacitinib`."""


class Whole:
    """An integer from `low` to `high`; 10.0 is the integer 10, as in JSON Schema and RFC 8785."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        whole = cs.float_schema(multiple_of=1, strict=True, allow_inf_nan=False)
        whole_float = cs.custom_error_schema(
            whole, custom_error_type="type", custom_error_message="must be a whole number"
        )
        return cs.union_schema(
            [
                cs.int_schema(ge=self.low, le=self.high, strict=True),
                cs.chain_schema([whole_float, cs.int_schema(ge=self.low, le=self.high, strict=False)]),
            ],
            mode="left_to_right",
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class _Number:
    """A number before it is compared: Python takes false for 0."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.chain_schema([cs.float_schema(strict=True), handler(source)])

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(cast(cs.ChainSchema, schema)["steps"][1])


AbdominalMass = Annotated[Literal[0, 2, 5], _Number()]
"""Abdominal mass: 0 none, 2 questionable, 5 definite (R1.1)."""
Grade03 = Annotated[int, Whole(0, 3)]
Haematocrit = Annotated[float, Field(ge=10, le=70)]
"""Haematocrit in %, within R1.10."""

BodyWeight = Annotated[float, Field(ge=20, le=250)]
"""Body weight in kg, within R1.10."""

VisitKind = Literal["scheduled", "retest", "unscheduled"]

"""One laboratory result, as received; its one reading in canonical units is `canonical_result`."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from schemas.analytes import (
    CODE_TO_ANALYTE,
    RESULT_TEXT,
    Conversion,
    LabResult,
    NotConvertible,
    conversion,
    convert,
    read_result_text,
)
from schemas.event import Event, EventType
from schemas.fields import ClockTime, Day, VisitKind
from schemas.refusals import Problem, Refusal

_ResultText = Annotated[
    str, Field(max_length=32), WithJsonSchema({"type": "string", "maxLength": 32, "pattern": RESULT_TEXT})
]
_AnalyteCode = Annotated[
    str, Field(max_length=32), WithJsonSchema({"type": "string", "enum": list(CODE_TO_ANALYTE)})
]


class Lab(Event):
    """One result of one analyte. Value, unit and reference limits stay as received."""

    required = ("collected_on", "analyte", "value", "unit")
    dates = ("collected_on",)

    event_type: Literal[EventType.LAB]
    """Always `lab`."""
    collected_on: Day | None = None
    """Day of sampling."""
    collected_at: ClockTime | None = None
    """Local time of sampling."""
    analyte: _AnalyteCode | None = None
    """Short name or LOINC code of the closed list (R3.5)."""
    value: Annotated[float | _ResultText, Field(union_mode="left_to_right")] | None = None
    """The number in `unit`, or a censored result as text, such as `<5` (R3.4)."""
    comparator: Literal["<", "<=", ">", ">="] | None = None
    """Where `value` is the bound of a censored result."""
    unit: Annotated[str, Field(max_length=32)] | None = None
    """UCUM, or a spelling that laboratories use; it must convert to the analyte's canonical unit."""
    ref_low: float | None = None
    """The laboratory's lower reference limit, in `unit`."""
    ref_high: float | None = None
    """The laboratory's upper reference limit, in `unit`."""
    visit_kind: VisitKind = "scheduled"
    """Decides between samples of one day (R4.2)."""

    def _problems(self) -> Iterable[Problem]:
        values = self.__dict__
        analyte, unit, value = values["analyte"], values["unit"], values["value"]
        if analyte is None or unit is None:
            return ()
        try:
            way = conversion(analyte, unit)
        except NotConvertible as problem:
            return (((problem.field,), problem.code, problem.reason),)
        low, high = values["ref_low"], values["ref_high"]
        _, _, lowest, highest, _ = way
        if (
            type(value) is float
            and lowest <= value <= highest
            and low is None
            and (high is None or 0 <= high <= highest)
        ):
            return ()  # most results: nothing converted, no generator made
        return [*_value_problems(value, values["comparator"], way), *_limit_problems(low, high, way)]

    def warnings(self) -> tuple[Refusal, ...]:
        if self.analyte is None or self.unit is None or conversion(self.analyte, self.unit).matches_code:
            return ()
        return (
            Refusal("unit", "unit_mismatch", "is not the unit of this LOINC code; converted by the unit"),
        )


def _value_problems(value: float | str | None, comparator: str | None, way: Conversion) -> Iterator[Problem]:
    if isinstance(value, str):
        try:
            stated, value = read_result_text(value)
        except ValueError as error:
            yield ("value",), "type", str(error)
            return
        if comparator not in (None, stated):
            yield ("comparator",), "inconsistent", "differs from the one in value"
    if value is not None and not way.holds(value):
        row = way.analyte
        yield ("value",), "implausible", f"must be from {row.low} to {row.high} {row.unit}: check the unit"


def _limit_problems(low: float | None, high: float | None, way: Conversion) -> Iterator[Problem]:
    for name, limit in (("ref_low", low), ("ref_high", high)):
        if limit is not None and not 0 <= limit <= way.highest:
            yield (name,), "implausible", "must be a limit in the unit of the value"
    if low is not None and high is not None and low > high:
        yield ("ref_low",), "inconsistent", "is above ref_high"


def canonical_result(lab: Lab) -> LabResult:
    """The result in canonical units (R3.5): text resolved to comparator and number, limits converted with it.

    Raises ValueError for a retraction that carries no result.
    """
    if lab.analyte is None or lab.unit is None or lab.value is None:
        raise ValueError("a retraction without analyte, value and unit has no result")
    way = conversion(lab.analyte, lab.unit)
    value: float | str = lab.value
    comparator: str | None = lab.comparator
    if isinstance(value, str):
        comparator, value = read_result_text(value)
    return LabResult(
        way.analyte.name,
        convert(value, way.factor),
        comparator,
        way.analyte.unit,
        None if lab.ref_low is None else convert(lab.ref_low, way.factor),
        None if lab.ref_high is None else convert(lab.ref_high, way.factor),
    )

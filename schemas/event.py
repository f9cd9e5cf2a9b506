"""What every event has, whatever it reports (contract, section 2)."""

from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator

from schemas.fields import Instant, Text64, Text128, Whole
from schemas.pseudonyms import suspicion
from schemas.refusals import Problem, Refusal, raise_problems


class EventType(StrEnum):
    ENROLMENT = "enrolment"
    TREATMENT = "treatment"
    VISIT = "visit"
    LAB = "lab"
    ADVERSE_EVENT = "adverse_event"
    CONSENT = "consent"


class Part(BaseModel):
    """A JSON object of the contract: immutable, nothing unknown, no value repeated in errors."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    parts: ClassVar[tuple[str, ...]] = ()
    """The fields that hold such objects themselves."""

    def stated_fields(self) -> int:
        """How many fields the JSON text stated, those of its parts included."""
        count = len(self.__pydantic_fields_set__)
        for name in self.parts:
            part: Part | None = self.__dict__[name]
            if part is not None:
                count += part.stated_fields()
        return count


class Event(Part):
    """One version of a record of one site.

    A subclass names its `required` fields, which a retraction may leave out, and its clinical `dates`, none
    of which may lie more than a day after `recorded_at`.
    """

    required: ClassVar[tuple[str, ...]] = ()
    dates: ClassVar[tuple[str, ...]] = ()

    event_type: EventType
    """Which of the six events this is."""
    site_id: Text64
    """The centre."""
    event_id: Text128
    """The record's identity at its site; a correction repeats it."""
    version: Annotated[int, Whole(1, 2**63 - 1)] = 1
    """A correction carries a higher version; milliseconds since 1970 are fine."""
    retracted: bool = False
    """Whether this version withdraws the record."""
    patient_id: Text64
    """The patient's pseudonym, unique over all sites; never a name, a hospital number or a date of birth."""
    recorded_at: Instant
    """When the site recorded this version."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        # Runs for every event: plain loops over the instance's dictionary, nothing built before it is needed.
        values = self.__dict__
        problems: list[Problem] = []
        if reason := suspicion(values["patient_id"]):
            problems.append((("patient_id",), "identifier_suspected", reason))
        if not values["retracted"]:
            for name in self.required:
                if values[name] is None:
                    problems.append(((name,), "missing", "is required unless the record is retracted"))
        recorded_on = values["recorded_at"].date()
        for name in self.dates:
            day: date | None = values[name]
            if day is not None and day > recorded_on and (day - recorded_on).days > 1:
                problems.append(((name,), "date_future", "is more than one day after recorded_at"))
        problems.extend(self._problems())
        if problems:
            raise_problems(type(self).__name__, problems)
        return self

    def _problems(self) -> Iterable[Problem]:
        """What contradicts itself in this event; every date and required field may be None."""
        return ()

    def warnings(self) -> tuple[Refusal, ...]:
        """What is accepted, but to be flagged; codes of `WARNING_CODES`."""
        return ()

    @classmethod
    def schema_rules(cls) -> list[dict[str, Any]]:
        """Rules between fields of a version that stands (not retracted), as JSON Schema."""
        return [stated(*cls.required)]


def stated(*names: str) -> dict[str, Any]:
    """JSON Schema: the fields are there and not null."""
    return {"required": list(names), "properties": {name: {"not": {"type": "null"}} for name in names}}

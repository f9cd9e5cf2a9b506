"""The patient enters the registry."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.event import Event, EventType
from schemas.fields import BodyWeight, Day, GenericName, Whole
from schemas.refusals import Problem

ReferenceSex = Literal["female", "male"]


def _same_as_sex(values: dict[str, Any]) -> ReferenceSex | None:
    sex = values.get("sex")
    return sex if sex in ("female", "male") else None


class Enrolment(Event):
    """Who the patient is to the registry; one a patient."""

    required = ("enrolled_on", "diagnosis", "sex", "birth_year")
    dates = ("enrolled_on",)

    event_type: Literal[EventType.ENROLMENT]
    """Always `enrolment`."""
    enrolled_on: Day | None = None
    """Day of enrolment."""
    diagnosis: Literal["CD"] | None = None
    """Crohn's disease."""
    sex: Literal["female", "male", "other"] | None = None
    """Sex as recorded."""
    reference_sex: ReferenceSex | None = Field(default_factory=_same_as_sex)
    """Sex of the reference values in CDAI and ESR limits (R0.6); `sex` where that is female or male."""
    birth_year: Annotated[int, Whole(1900, 2199)] | None = None
    """Year of birth; the full date must not be sent."""
    height_cm: Annotated[float, Field(ge=100, le=230)] | None = None
    """Height in cm (R1.10)."""
    weight_kg: BodyWeight | None = None
    """Weight in kg (R1.10)."""
    disease_location: Literal["L1", "L2", "L3", "L4"] | None = None
    """Montreal location: ileal, colonic, ileocolonic, upper tract."""
    disease_behaviour: Literal["B1", "B2", "B3"] | None = None
    """Montreal behaviour: inflammatory, stricturing, penetrating."""
    perianal: bool | None = None
    """Perianal disease (Montreal p)."""
    disease_duration_years: Annotated[float, Field(ge=0, le=120)] | None = None
    """Years from diagnosis to enrolment."""
    prior_biologics: Annotated[tuple[GenericName, ...], Field(max_length=50)] | None = None
    """Biologics taken before, by generic name."""

    def _problems(self) -> Iterable[Problem]:
        if self.birth_year and self.enrolled_on and self.birth_year > self.enrolled_on.year:
            yield ("birth_year",), "inconsistent", "is after the year of enrolment"

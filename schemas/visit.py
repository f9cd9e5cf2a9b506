"""What was seen at a visit: activity scores and their components, endoscopy, steroids, weight."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from schemas.event import Event, EventType, Part, stated
from schemas.fields import (
    AbdominalMass,
    BodyWeight,
    ClockTime,
    Day,
    Grade03,
    Haematocrit,
    Text128,
    VisitKind,
    Whole,
)
from schemas.refusals import Problem, Refusal

_Stools = Annotated[float, Field(ge=0, le=60)]
_Pain = Annotated[float, Field(ge=0, le=3)]
_Wellbeing = Annotated[float, Field(ge=0, le=4)]

_Day = TypeVar("_Day")
SevenDays = tuple[_Day, _Day, _Day, _Day, _Day, _Day, _Day]
"""A diary week, the oldest day first."""

Complication = Literal[
    "arthritis", "iritis_uveitis", "skin_mouth", "anal_fistula_abscess", "other_fistula", "fever"
]


HbiComplication = Literal[
    "arthralgia",
    "uveitis",
    "erythema_nodosum",
    "aphthous_ulcers",
    "pyoderma_gangrenosum",
    "anal_fissure",
    "new_fistula",
    "abscess",
]


class CdaiComponents(Part):
    """The eight items of the CDAI (R1.1), each optional: what is missing makes the score unknown, not zero.

    The three diary items are sums over seven days, or the seven daily values before the visit with null for a
    missing day (R1.3).
    """

    liquid_stools: Annotated[float, Field(ge=0, le=420)] | SevenDays[_Stools | None] | None = None
    """Liquid or very soft stools: 7-day sum, or 7 daily counts."""
    abdominal_pain: Annotated[float, Field(ge=0, le=21)] | SevenDays[_Pain | None] | None = None
    """Abdominal pain, 0 none to 3 severe a day: 7-day sum, or 7 daily values."""
    wellbeing: Annotated[float, Field(ge=0, le=28)] | SevenDays[_Wellbeing | None] | None = None
    """General well-being, 0 well to 4 terrible a day: 7-day sum, or 7 daily values."""
    complications: Annotated[tuple[Complication, ...], Field(max_length=6)] | None = None
    """Complication categories present (R1.2); an empty list says that there are none."""
    antidiarrhoeal: bool | None = None
    """Diphenoxylate, an opiate or loperamide taken in the week."""
    abdominal_mass: AbdominalMass | None = None
    """0 none, 2 questionable, 5 definite."""
    haematocrit_pct: Haematocrit | None = None
    """Haematocrit in %."""
    weight_kg: BodyWeight | None = None
    """Body weight in kg."""
    standard_weight_kg: BodyWeight | None = None
    """Standard weight in kg, where the site does not want R1.5's."""


class HbiComponents(Part):
    """The five items of the HBI (R2.3), of the day before the visit; an item left out makes the score unknown."""

    wellbeing: Annotated[int, Whole(0, 4)] | None = None
    """General well-being: 0 very well, 1 slightly below par, 2 poor, 3 very poor, 4 terrible."""
    abdominal_pain: Grade03 | None = None
    """Abdominal pain: 0 none, 1 mild, 2 moderate, 3 severe."""
    liquid_stools: Annotated[int, Whole(0, 60)] | None = None
    """Liquid or very soft stools of the day."""
    abdominal_mass: Grade03 | None = None
    """0 none, 1 dubious, 2 definite, 3 definite and tender: another scale than the CDAI's."""
    complications: Annotated[tuple[HbiComplication, ...], Field(max_length=8)] | None = None
    """Complications present, one point each; an empty list says that there are none."""

    @property
    def total(self) -> int | None:
        """Sum of the items, 0 to 78; None when one is missing."""
        if self.complications is None:
            return None
        items = (self.wellbeing, self.abdominal_pain, self.liquid_stools, self.abdominal_mass)
        known = [item for item in items if item is not None]
        return sum(known) + len(set(self.complications)) if len(known) == len(items) else None


class Pro2(Part):
    """Patient-reported daily means (R2.1)."""

    stool_frequency: _Stools | None = None
    """Mean liquid or very soft stools a day."""
    abdominal_pain: _Pain | None = None
    """Mean daily abdominal pain, 0 to 3."""


class SesCdSegment(Part):
    """The four items of one explored segment (R2.6); an item left out makes the total unknown."""

    ulcer_size: Grade03 | None = None
    """0 none, 1 up to 0.5 cm, 2 up to 2 cm, 3 larger."""
    ulcerated_surface: Grade03 | None = None
    """0 none, 1 under 10 %, 2 to 30 %, 3 more."""
    affected_surface: Grade03 | None = None
    """0 none, 1 under 50 %, 2 to 75 %, 3 more."""
    narrowing: Grade03 | None = None
    """0 none, 1 single passable, 2 multiple passable, 3 not passable."""

    @property
    def total(self) -> int | None:
        """Sum of the four items, 0 to 12; None when one is missing."""
        items = (self.ulcer_size, self.ulcerated_surface, self.affected_surface, self.narrowing)
        known = [item for item in items if item is not None]
        return sum(known) if len(known) == len(items) else None


class SesCdSegments(Part):
    """SES-CD by segment; null or absent means not explored, never 0 (R2.6)."""

    parts = ("ileum", "right_colon", "transverse_colon", "left_colon", "rectum")

    ileum: SesCdSegment | None = None
    """Terminal ileum."""
    right_colon: SesCdSegment | None = None
    """Right colon."""
    transverse_colon: SesCdSegment | None = None
    """Transverse colon."""
    left_colon: SesCdSegment | None = None
    """Left colon with sigmoid."""
    rectum: SesCdSegment | None = None
    """Rectum."""

    def explored(self) -> list[SesCdSegment]:
        """The explored segments, from the ileum down."""
        segments = (self.ileum, self.right_colon, self.transverse_colon, self.left_colon, self.rectum)
        return [segment for segment in segments if segment is not None]

    @property
    def total(self) -> int | None:
        """Sum over explored segments, 0 to 56; None when an item is missing or nothing was explored."""
        totals = [segment.total for segment in self.explored()]
        known = [total for total in totals if total is not None]
        return sum(known) if known and len(known) == len(totals) else None


_CLINICAL = (
    "cdai",
    "cdai_components",
    "hbi",
    "hbi_components",
    "pro2",
    "ses_cd",
    "ses_cd_segments",
    "ulcers_present",
    "corticosteroid",
    "weight_kg",
)
_clinical_values = itemgetter(*_CLINICAL)
_NOTHING = (None,) * len(_CLINICAL)


def _disagree(sent: int, total: int | None) -> bool:
    return total is not None and abs(sent - total) > 1


class Visit(Event):
    """One visit; at least one clinical field is there."""

    required = ("visited_on",)
    dates = ("visited_on",)
    parts = ("cdai_components", "hbi_components", "pro2", "ses_cd_segments")

    event_type: Literal[EventType.VISIT]
    """Always `visit`."""
    visited_on: Day | None = None
    """Day of the visit."""
    visited_at: ClockTime | None = None
    """Local time of the visit."""
    visit_kind: VisitKind = "scheduled"
    """Decides between visits of one day (R4.2)."""
    visit_name: Text128 | None = None
    """The site's label; never used for windowing."""
    cdai: Annotated[float, Field(ge=-178, le=1663)] | None = None
    """Reported CDAI total; the limits are what R1.1 gives within R1.10."""
    cdai_components: CdaiComponents | None = None
    """The items of the CDAI; where complete they replace the total (R1.9)."""
    hbi: Annotated[int, Whole(0, 78)] | None = None
    """Reported Harvey-Bradshaw index (R2.3)."""
    hbi_components: HbiComponents | None = None
    """The items of the HBI; where complete they replace the total."""
    pro2: Pro2 | None = None
    """Stool frequency and abdominal pain, daily means."""
    ses_cd: Annotated[int, Whole(0, 56)] | None = None
    """Reported SES-CD total."""
    ses_cd_segments: SesCdSegments | None = None
    """SES-CD by segment; where complete it replaces the total."""
    ulcers_present: bool | None = None
    """Whether the endoscopist saw ulcers."""
    corticosteroid: bool | None = None
    """Whether the patient took a systemic corticosteroid on that day."""
    weight_kg: BodyWeight | None = None
    """Weight in kg (R1.10)."""

    def _problems(self) -> Iterator[Problem]:
        values = self.__dict__
        if _clinical_values(values) == _NOTHING and not self.retracted:
            yield (), "missing", "needs at least one clinical field"
        segments: SesCdSegments | None = values["ses_cd_segments"]
        if segments is not None and [s.narrowing for s in segments.explored()].count(3) > 1:
            yield ("ses_cd_segments",), "implausible", "must have narrowing 3 at most once (R2.6)"
        pro2: Pro2 | None = values["pro2"]
        if pro2 is not None and pro2.stool_frequency is None and pro2.abdominal_pain is None:
            yield ("pro2",), "missing", "needs stool_frequency or abdominal_pain"

    def warnings(self) -> tuple[Refusal, ...]:
        return tuple(
            Refusal(
                name, "total_disagrees", f"differs from the {items} by more than 1 point; they count (R1.9)"
            )
            for name, sent, parts, items in (
                ("hbi", self.hbi, self.hbi_components, "components"),
                ("ses_cd", self.ses_cd, self.ses_cd_segments, "segments"),
            )
            if sent is not None and parts is not None and _disagree(sent, parts.total)
        )

    @classmethod
    def schema_rules(cls) -> list[dict[str, Any]]:
        return [*super().schema_rules(), {"anyOf": [stated(name) for name in _CLINICAL]}]

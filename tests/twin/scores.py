"""CDAI, stools and pain, and SES-CD of one visit (R1.1 to R1.9, R2.1, R2.6)."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from twin.numbers import Number, exact, half_up
from twin.protocols import FU2025, Rules
from twin.records import Event

REFERENCE_HAEMATOCRIT = {"male": 47, "female": 42}
STANDARD_WEIGHT = {"male": Fraction("22.1"), "female": Fraction("20.8")}  # kg per square metre of height
ITEMS = ("ulcer_size", "ulcerated_surface", "affected_surface", "narrowing")

Segments = dict[str, dict[str, int]]


def week_sum(item: Number | list[Number | None] | None) -> Fraction | None:
    """A 7-day sum, from itself or from a diary with at least four valid days (R1.3)."""
    if not isinstance(item, list):
        return None if item is None else exact(item)
    valid = [exact(value) for value in item if value is not None]
    return sum(valid, Fraction()) / len(valid) * 7 if len(valid) >= 4 else None


def daily_mean(item: Number | list[Number | None] | None) -> Fraction | None:
    """The mean of a day, by the same days (R2.1)."""
    total = week_sum(item)
    return None if total is None else total / 7


def complaints(visit: Event) -> tuple[Fraction | None, Fraction | None]:
    """Stool frequency and abdominal pain a day: as sent, else from the CDAI's seven days (contract, section 7)."""
    sent, diary = visit.get("pro2") or {}, visit.get("cdai_components") or {}
    stools, pain = sent.get("stool_frequency"), sent.get("abdominal_pain")
    return (
        daily_mean(diary.get("liquid_stools")) if stools is None else exact(stools),
        daily_mean(diary.get("abdominal_pain")) if pain is None else exact(pain),
    )


@dataclass(frozen=True)
class Body:
    """What the CDAI needs of the patient: sex, height, and the visit's haematocrit and weight (R1.8)."""

    sex: str | None
    height_cm: Number | None
    haematocrit: Number | None
    weight: Number | None


def computed_cdai(components: dict[str, Any], body: Body, rules: Rules = FU2025) -> Fraction | None:
    """The CDAI from its components (R1.1), unless one of them is missing."""
    component = components.get
    needed: tuple[Any, ...] = (
        week_sum(component("liquid_stools")),
        week_sum(component("abdominal_pain")),
        week_sum(component("wellbeing")),
        component("complications"),
        component("antidiarrhoeal"),
        component("abdominal_mass"),
        body.haematocrit,
        body.weight,
        body.sex,
    )
    if any(value is None for value in needed):
        return None
    stools, pain, wellbeing, complications, antidiarrhoeal, mass, haematocrit, weight, sex = needed
    standard = standard_weight(component("standard_weight_kg"), sex, body.height_cm)
    if standard is None:
        return None
    below_reference = REFERENCE_HAEMATOCRIT[sex] - exact(haematocrit)
    if rules.hct_mode == "clip":
        below_reference = max(Fraction(0), below_reference)
    below_standard = max(Fraction(-10), 100 * (1 - exact(weight) / standard))
    if rules.component_rounding:
        below_reference, below_standard = half_up(below_reference), half_up(below_standard)
    total: Fraction = (
        2 * stools
        + 5 * pain
        + 7 * wellbeing
        + Fraction(20 * len(set(complications)))
        + 30 * bool(antidiarrhoeal)
        + 10 * exact(mass)
        + 6 * below_reference
        + below_standard
    )
    return total


def standard_weight(given: Number | None, sex: str, height_cm: Number | None) -> Fraction | None:
    """The weight B is measured from, in kg (R1.5)."""
    if given is not None:
        return exact(given)
    return None if height_cm is None else (exact(height_cm) / 100) ** 2 * STANDARD_WEIGHT[sex]


def cdai(visit: Event, body: Body, rules: Rules = FU2025) -> Fraction | None:
    """The CDAI of a visit: computed where possible, else the reported total (R1.9)."""
    components = visit.get("cdai_components")
    total = None if components is None else computed_cdai(components, body, rules)
    if total is not None:
        return total
    reported = visit.get("cdai")
    return None if reported is None else exact(reported)


def hbi_of_components(visit: Event) -> Fraction | None:
    """The HBI from its five items, each complication once (R2.3); None where one is missing."""
    given = visit.get("hbi_components") or {}
    items = [given.get(name) for name in ("wellbeing", "abdominal_pain", "liquid_stools", "abdominal_mass")]
    complications = given.get("complications")
    if complications is None or None in items:
        return None
    return sum((exact(item) for item in items), Fraction(len(set(complications))))


def hbi(visit: Event) -> Fraction | None:
    """The HBI of a visit: from complete components, else as reported."""
    total, reported = hbi_of_components(visit), visit.get("hbi")
    return total if total is not None or reported is None else exact(reported)


@dataclass(frozen=True)
class Endoscopy:
    """A SES-CD: its total and, unless the site sent a total only, the explored segments."""

    total: Fraction
    segments: Segments | None
    ulcers_seen: bool | None = None
    """What the endoscopist said, for where there are no items."""

    @property
    def highest_item(self) -> int | None:
        """The highest single item."""
        return self._highest(ITEMS)

    @property
    def ulceration(self) -> int | None:
        """The highest ulcer item; without items 1 or 0 as the endoscopist saw ulcers, and 0 where the total is 0."""
        if self.segments is not None:
            return self._highest(("ulcer_size", "ulcerated_surface"))
        if self.total == 0:
            return 0
        return None if self.ulcers_seen is None else int(self.ulcers_seen)

    @property
    def ulcerated_surface(self) -> int | None:
        """The highest item of that name; without items what `ulceration` says."""
        return self.ulceration if self.segments is None else self._highest(("ulcerated_surface",))

    @property
    def without_narrowing(self) -> Fraction | None:
        """The total of the other three items (R2.8)."""
        if self.segments is None:
            return None
        return self.total - sum(items["narrowing"] for items in self.segments.values())

    @property
    def isolated_ileal(self) -> bool | None:
        """Whether the ileum alone of the explored segments scores."""
        if self.segments is None:
            return None
        scoring = {name for name, items in self.segments.items() if segment_score(items) > 0}
        return scoring == {"ileum"}

    def _highest(self, names: tuple[str, ...]) -> int | None:
        if self.segments is None:
            return None
        return max(items[item] for items in self.segments.values() for item in names)


def endoscopy(visit: Event) -> Endoscopy | None:
    """The SES-CD of a visit; None where there is none or an explored segment lacks an item."""
    given = visit.get("ses_cd_segments") or {}
    segments = {name: items for name, items in given.items() if items is not None}
    if segments:
        if any(items.get(item) is None for items in segments.values() for item in ITEMS):
            return None
        return Endoscopy(sum((segment_score(s) for s in segments.values()), Fraction()), segments)
    total = visit.get("ses_cd")
    return None if total is None else Endoscopy(exact(total), None, visit.get("ulcers_present"))


def segment_score(items: dict[str, int]) -> Fraction:
    """Sum of a segment's four items."""
    return sum((exact(items[item]) for item in ITEMS), Fraction())

"""CDAI and SES-CD of one visit (R1.1 to R1.9, R2.6)."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from twin.numbers import Number, exact, stored
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


def computed_cdai(
    components: dict[str, Any], visit_weight_kg: Number | None, sex: str | None, height_cm: Number | None
) -> Fraction | None:
    """The CDAI from its components (R1.1), unless one of them is missing."""
    component = components.get
    weight = component("weight_kg")
    needed: tuple[Any, ...] = (
        week_sum(component("liquid_stools")),
        week_sum(component("abdominal_pain")),
        week_sum(component("wellbeing")),
        component("complications"),
        component("antidiarrhoeal"),
        component("abdominal_mass"),
        component("haematocrit_pct"),
        visit_weight_kg if weight is None else weight,
        sex,
    )
    if any(value is None for value in needed):
        return None
    stools, pain, wellbeing, complications, antidiarrhoeal, mass, haematocrit, weight, sex = needed
    standard = standard_weight(component("standard_weight_kg"), sex, height_cm)
    if standard is None:
        return None
    below_reference = max(Fraction(0), REFERENCE_HAEMATOCRIT[sex] - exact(haematocrit))  # hct_mode clip
    below_standard = max(Fraction(-10), 100 * (1 - exact(weight) / standard))
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


def cdai(visit: Event, sex: str | None, height_cm: Number | None) -> Decimal | None:
    """The CDAI of a visit: computed where possible, else the reported total (R1.9)."""
    components = visit.get("cdai_components")
    total = None
    if components is not None:
        total = computed_cdai(components, visit.get("weight_kg"), sex, height_cm)
    if total is None:
        total = visit.get("cdai")
    return None if total is None else stored(total)


@dataclass(frozen=True)
class Endoscopy:
    """A SES-CD: its total and, unless the site sent a total only, the explored segments."""

    total: Fraction
    segments: Segments | None


def endoscopy(visit: Event) -> Endoscopy | None:
    """The SES-CD of a visit; None where there is none or an explored segment lacks an item."""
    given = visit.get("ses_cd_segments") or {}
    segments = {name: items for name, items in given.items() if items is not None}
    if segments:
        if any(items.get(item) is None for items in segments.values() for item in ITEMS):
            return None
        return Endoscopy(sum((segment_score(s) for s in segments.values()), Fraction()), segments)
    total = visit.get("ses_cd")
    return None if total is None else Endoscopy(exact(total), None)


def segment_score(items: dict[str, int]) -> Fraction:
    """Sum of a segment's four items."""
    return sum((exact(items[item]) for item in ITEMS), Fraction())

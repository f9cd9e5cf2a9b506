"""The part of the CDAI that belongs to one visit (R1.1 to R1.3, R1.6).

The haematocrit and weight terms need the patient's sex and height, which another record holds: they are
added in `sql/measurements.sql`.
"""

from collections.abc import Sequence

from schemas import Visit

WEIGHTS = {
    "liquid_stools": 2,
    "abdominal_pain": 5,
    "wellbeing": 7,
    "complications": 20,
    "antidiarrhoeal": 30,
    "abdominal_mass": 10,
}
"""R1.1."""

VALID_DAYS = 4
"""R1.3: a diary item needs this many of the 7 days."""


def compute_weekly_sum(days: float | Sequence[float | None] | None) -> float | None:
    """The 7-day sum of a diary item: as given, or mean x 7 of at least 4 valid days (R1.3), else None."""
    if days is None or isinstance(days, int | float):
        return days
    valid = [day for day in days if day is not None]
    return sum(valid) * 7 / len(valid) if len(valid) >= VALID_DAYS else None


def compute_cdai_points(visit: Visit) -> float | None:
    """CDAI points of the diary, complications, antidiarrhoeal and mass; None unless all are known."""
    given = visit.cdai_components
    if (
        given is None
        or given.complications is None
        or given.antidiarrhoeal is None
        or given.abdominal_mass is None
    ):
        return None
    stools = compute_weekly_sum(given.liquid_stools)
    pain = compute_weekly_sum(given.abdominal_pain)
    wellbeing = compute_weekly_sum(given.wellbeing)
    if stools is None or pain is None or wellbeing is None:
        return None
    return (
        WEIGHTS["liquid_stools"] * stools
        + WEIGHTS["abdominal_pain"] * pain
        + WEIGHTS["wellbeing"] * wellbeing
        + WEIGHTS["complications"] * len(set(given.complications))  # R1.2: each category once
        + WEIGHTS["antidiarrhoeal"] * given.antidiarrhoeal
        + WEIGHTS["abdominal_mass"] * given.abdominal_mass
    )

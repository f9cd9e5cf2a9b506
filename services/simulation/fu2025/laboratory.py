"""Laboratory results of one patient: the three markers as planned, and safety values without a finding."""

from typing import Final

from services.simulation.chance import bell
from services.simulation.fu2025.person import Person, Visit
from services.simulation.fu2025.plan import Decoy, Marker
from services.simulation.laboratory import ASSAYS

MARKERS: Final = ("crp", "esr", "fcal")
_PANELS: Final = {
    "lymphocytes": (0, 2, 4, 8, 12, 16, 24),
    "haemoglobin": (0, 2, 4, 8, 12, 16, 24),
    "neutrophils": (0, 4, 12, 24),
    "alt": (0, 4, 12, 24),
    "ck": (0, 12),
    "creatinine": (0, 12),
    "cholesterol_total": (0, 12),
}
"""The weeks at which each is measured."""
_CALPROTECTIN_WEEKS: Final = (0, 12, 24)
_RANGES: Final = {
    "lymphocytes": (1.8, 0.32, 1.18, 3.0),
    "neutrophils": (4.4, 1.0, 2.1, 6.2),
    "haemoglobin": (116, 8, 102, 146),
    "alt": (19, 7, 6, 38),
    "ck": (92, 34, 28, 185),
    "creatinine": (64, 11, 44, 104),
    "cholesterol_total": (4.1, 0.6, 2.6, 5.1),
}
"""Mean, spread, lowest, highest in canonical units; all but haemoglobin within the reference range."""


def write_labs(person: Person, visit: Visit) -> None:
    """The samples of one visit."""
    for marker in MARKERS:
        value = _marker_value(person, marker, visit)
        if value is not None:
            person.record_lab(marker, visit.day, value)
    for analyte, weeks in _PANELS.items():
        if visit.week in weeks:
            person.record_lab(analyte, visit.day, safety_value(person, analyte, visit.day))


def write_decoy_lab(person: Person) -> None:
    """A CRP as near to week 12 as the one that counts, earlier, and saying the opposite (R4.2)."""
    planned = person.plan.crp
    if person.plan.decoy is Decoy.TIE_LATER_COUNTS and planned in (Marker.NORMALISED, Marker.RAISED):
        person.record_lab("crp", 80, _draw_marker(person, "crp", normal=planned is Marker.RAISED))


def safety_value(person: Person, analyte: str, day: int) -> float:
    """A value without a finding, unless an adverse event that shows in it lasts on that day."""
    for complaint, onset in person.complaints:
        lasting = onset <= day < onset + (complaint.lasts or 10_000)
        if complaint.analyte == analyte and complaint.level is not None and lasting:
            return complaint.level
    mean, spread, low, high = _RANGES[analyte]
    if analyte == "haemoglobin" and person.reference_sex == "male":
        mean, low = mean + 12, low + 8
    return bell(person.rng, mean, spread, low, high)


def _marker_value(person: Person, marker: str, visit: Visit) -> float | None:
    """As planned at baseline and week 12, on the way there in between."""
    planned: Marker = getattr(person.plan, marker)
    if planned is Marker.NOT_MEASURED or (marker == "fcal" and visit.week not in _CALPROTECTIN_WEEKS):
        return None
    if planned is Marker.NO_BASELINE and visit.week == 0:
        return None
    if planned is Marker.RAISED_THEN_MISSING and visit.week == 12:
        return None
    if person.plan.at_limit == marker and visit.week == 12:
        return _limit(person, marker)
    normal = planned is Marker.NORMAL or (planned is Marker.NORMALISED and visit.week >= 8)
    return _draw_marker(person, marker, normal=normal)


def _limit(person: Person, marker: str) -> float:
    """In canonical units: the centre's, else R3.1's and R3.3's."""
    if marker == "fcal":
        return 250
    sent = ASSAYS[person.plan.site_id][marker].upper_limit(person.reference_sex)
    if sent is not None:
        return sent
    if marker == "crp":
        return 5
    return (person.age if person.reference_sex == "male" else person.age + 10) / 2


def _draw_marker(person: Person, marker: str, *, normal: bool) -> float:
    """A value clearly on one side of the limit; raised ones are lower in those who will remit."""
    rng, limit, milder = person.rng, _limit(person, marker), 0.8 if person.plan.remission else 1.0
    match marker:
        case "fcal":
            return bell(rng, 110, 60, 15, 235) if normal else bell(rng, 950, 620, 290, 2400)
        case "crp":
            return bell(rng, 2.2, 1.4, 0.2, 4.6) if normal else bell(rng, 30 * milder, 15, limit + 2, 95)
    return bell(rng, 7, 3, 2, limit - 1) if normal else bell(rng, 46 * milder, 13, limit + 4, 98)

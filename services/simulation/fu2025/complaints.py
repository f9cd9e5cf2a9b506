"""Adverse events of the study cohort: who has which, and the laboratory values that agree with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.simulation.chance import seeded
from services.simulation.fu2025.plan import Absence, Clinical, PatientPlan


@dataclass(frozen=True)
class Complaint:
    """One adverse event. Days are offsets from the first dose; without `day` it is drawn.

    `after_stop` counts from the last dose instead. `analyte` and `level` (canonical unit) are the laboratory
    value found while it lasts. `lasts` in days; None: not resolved.
    """

    term: str
    grade: int = 1
    day: int | None = None
    after_stop: int | None = None
    lasts: int | None = 21
    seriousness: tuple[str, ...] = ()
    related: str = "possible"
    expected: bool | None = True
    action: str = "none"
    analyte: str | None = None
    level: float | None = None
    month_only: bool = False

    @property
    def pauses(self) -> bool:
        """Whether treatment was interrupted for it."""
        return self.action == "interrupted"


def _lymphopenia(grade: int, level: float) -> Complaint:
    return Complaint(
        "Lymphopenia",
        grade,
        lasts=28,
        related="related",
        action="interrupted" if grade >= 3 else "none",
        analyte="lymphocytes",
        level=level,
    )


_ACNE: Final = Complaint("Acne", lasts=None, related="related")
_COLD: Final = Complaint("Upper respiratory tract infection", 2, lasts=9)
_LIVER: Final = Complaint("Alanine aminotransferase increased", analyte="alt", level=74, related="related")
_MUSCLE: Final = Complaint("Blood creatine phosphokinase increased", 2, analyte="ck", level=610)
_ANAEMIA: Final = Complaint("Anaemia", 2, analyte="haemoglobin", level=91, related="unlikely", lasts=40)
_ZOSTER: Final = Complaint("Herpes zoster", 2, related="related", action="interrupted", lasts=18)
_PNEUMONIA: Final = Complaint("Pneumonia", 3, seriousness=("hospitalisation",), action="withdrawn", lasts=16)

_ENDS_TREATMENT: Final = (
    _PNEUMONIA,
    replace(_LIVER, grade=3, level=236, action="withdrawn", lasts=35),
    replace(_ZOSTER, grade=3, action="withdrawn", lasts=24),
)
_AFTER_STOPPING: Final = (replace(_COLD, after_stop=30), replace(_COLD, after_stop=31))
"""Day 30 after the last dose still counts, day 31 does not (R6.6)."""
_BEFORE_TREATMENT: Final = Complaint("Headache", day=-9, lasts=3, related="unrelated", expected=None)
_OTHERS: Final[tuple[tuple[Complaint, ...], ...]] = (
    (_lymphopenia(1, 1.02), replace(_ACNE, day=38)),
    (_lymphopenia(1, 0.97),),
    (_lymphopenia(1, 0.88), Complaint("Nausea", lasts=6)),
    (_lymphopenia(1, 0.82),),
    (_lymphopenia(2, 0.76), _COLD),
    (_lymphopenia(2, 0.71),),
    (_lymphopenia(2, 0.66),),
    (_lymphopenia(2, 0.62), Complaint("Folliculitis", lasts=14)),
    (_lymphopenia(2, 0.57),),
    (_lymphopenia(2, 0.69),),
    (_lymphopenia(3, 0.45),),
    (_lymphopenia(3, 0.36), replace(_ZOSTER, day=61, action="none")),
    (_ACNE,),
    (_ACNE, Complaint("Dizziness", lasts=4, related="unlikely")),
    (_ACNE,),
    (replace(_ACNE, day=0),),
    (replace(_ACNE, month_only=True),),
    (_COLD,),
    (_COLD,),
    (_COLD, Complaint("Oral herpes", lasts=8)),
    (_LIVER,),
    (_LIVER,),
    (_ANAEMIA,),
    (_ANAEMIA,),
    (_MUSCLE,),
    (_MUSCLE,),
    (_ZOSTER,),
    (replace(_COLD, term="Influenza", day=57),),
)
_SERIOUS_DISEASE: Final = (
    Complaint("Intestinal obstruction", 3, seriousness=("hospitalisation",), related="unlikely", lasts=12),
    Complaint("Perianal abscess", 2, seriousness=("hospitalisation",), action="interrupted", lasts=20),
)
"""Second events, for patients who did not respond."""


def assign_complaints(patients: Sequence[PatientPlan], seed: int) -> dict[int, tuple[Complaint, ...]]:
    """Adverse events by patient number: 32 patients with one on treatment, and two outside it."""
    rng = seeded("complaints", seed)
    stopped = [p.number for p in patients if p.absence is Absence.STOPPED_ADVERSE_EVENT]
    failed = [p.number for p in patients if p.absence is Absence.STOPPED_NO_EFFECT]
    stayed = [p.number for p in patients if p.absence is None]
    rng.shuffle(stayed)
    assigned: dict[int, tuple[Complaint, ...]] = {
        **{number: (one,) for number, one in zip(stopped, _ENDS_TREATMENT, strict=True)},
        **{number: (one,) for number, one in zip(failed, _AFTER_STOPPING, strict=False)},
        **dict(zip(stayed, _OTHERS, strict=False)),
        stayed[len(_OTHERS)]: (_BEFORE_TREATMENT,),
    }
    active = {p.number for p in patients if p.clinical is Clinical.NEITHER}
    with_one = [number for number in stayed[: len(_OTHERS)] if number in active]
    for number, complaint in zip(with_one, _SERIOUS_DISEASE, strict=False):
        assigned[number] += (complaint,)
    return assigned

"""Stool frequency and abdominal pain of one visit, daily means, and their weighted sum PRO2 (R2.1)."""

from collections.abc import Sequence
from typing import NamedTuple

from schemas import Visit
from services.outcomes.cdai import compute_weekly_sum


class Complaints(NamedTuple):
    """Daily means; None where unknown."""

    stool_frequency: float | None
    abdominal_pain: float | None

    @property
    def pro2(self) -> float | None:
        """2 x stool frequency + 5 x abdominal pain (R2.1c)."""
        if self.stool_frequency is None or self.abdominal_pain is None:
            return None
        return 2 * self.stool_frequency + 5 * self.abdominal_pain


def compute_complaints(visit: Visit) -> Complaints:
    """The means as sent, else of the CDAI's seven days (contract: each item on its own)."""
    sent, diary = visit.pro2, visit.cdai_components
    stools = sent.stool_frequency if sent else None
    pain = sent.abdominal_pain if sent else None
    if diary is not None:
        stools = _mean(diary.liquid_stools) if stools is None else stools
        pain = _mean(diary.abdominal_pain) if pain is None else pain
    return Complaints(stools, pain)


def _mean(days: float | Sequence[float | None] | None) -> float | None:
    """The mean of a day from a 7-day sum or a diary of at least 4 valid days (R1.3)."""
    total = compute_weekly_sum(days)
    return None if total is None else total / 7

"""CTCAE v5.0 grades of laboratory results (R5.1): what one record says by itself.

So far lymphocytes; the other tests of R5.1 are further rows of `LOW`, or need a baseline.
"""

from typing import NamedTuple

from schemas import LabResult


class Low(NamedTuple):
    """Upper bounds of grades 2, 3 and 4 in canonical units; a value on a bound has the milder grade."""

    grade_2: float
    grade_3: float
    grade_4: float


LOW = {"lymphocytes": Low(0.8, 0.5, 0.2)}
"""Tests graded by being too low: 10*9/L."""

TERMS = {"lymphocytes": ("lymphopenia", "lymphocyte count decreased")}
"""How an adverse event report words the same finding."""


def grade_lab(result: LabResult) -> int | None:
    """CTCAE grade 0 to 4, or None where the test is not graded or the grade cannot be known.

    Grade 1 needs the laboratory's lower limit; the numeric grades 2 to 4 do not. A censored result (`<0.2`,
    `>1.5`) has a grade only if every value it stands for has the same (R3.4).
    """
    bounds = LOW.get(result.analyte)
    if bounds is None:
        return None
    value, lower_limit = result.value, result.ref_low
    match result.comparator:
        case None:
            return _grade_low(value, bounds, lower_limit)
        case "<":
            return 4 if value <= bounds.grade_4 else None
        case "<=":
            return 4 if value < bounds.grade_4 else None
        case _:  # beyond the lower limit everything is grade 0; below it the grades differ
            return 0 if lower_limit is not None and value >= max(lower_limit, bounds.grade_2) else None


def _grade_low(value: float, bounds: Low, lower_limit: float | None) -> int | None:
    if value < bounds.grade_4:
        return 4
    if value < bounds.grade_3:
        return 3
    if value < bounds.grade_2:
        return 2
    if lower_limit is None:
        return None
    return 1 if value < lower_limit else 0

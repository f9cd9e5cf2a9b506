"""CTCAE v5.0 grades of lymphopenia from laboratory results (R5.1, R3.4)."""

from fractions import Fraction

from twin.numbers import Number, exact

BELOW = ((4, Fraction("0.2")), (3, Fraction("0.5")), (2, Fraction("0.8")))  # 10*9/L, strictly below


def lymphopenia_grade(value: Number, comparator: str | None, lower_limit: Number | None) -> int | None:
    """Grade 0 to 4 of a count in 10*9/L, None where it cannot be known.

    A censored count is graded only if every count it may stand for has the same grade.
    """
    v = exact(value)
    low = None if lower_limit is None else exact(lower_limit)
    if comparator is None:
        return _grade(v, low)
    # The grade falls in steps as the count rises, so the two ends of the range tell; just inside an
    # open end means nearer to it than any step that lies beyond it.
    steps = [limit for _, limit in BELOW] + ([] if low is None else [low])
    beyond = max([v, *steps]) + 1
    gap = min([abs(v - step) for step in steps if step != v], default=Fraction(1)) / 2
    ends = {
        "<": (Fraction(0), v - min(gap, v / 2)),
        "<=": (Fraction(0), v),
        ">": (v + gap, beyond),
        ">=": (v, beyond),
    }[comparator]
    first, last = (_grade(end, low) for end in ends)
    return first if first == last else None


def _grade(count: Fraction, lower_limit: Fraction | None) -> int | None:
    for grade, limit in BELOW:
        if count < limit:
            return grade
    if lower_limit is None:
        return None
    return 1 if count < lower_limit else 0

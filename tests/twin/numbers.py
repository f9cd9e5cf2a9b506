"""Exact numbers: what arrives as a JSON number becomes a fraction, what leaves has nine decimals."""

import math
from decimal import Decimal
from fractions import Fraction

Number = int | float | Decimal | Fraction


def exact(number: Number) -> Fraction:
    """The number as it was written: 0.1 is one tenth."""
    return number if isinstance(number, Fraction) else Fraction(str(number))


def stored(number: Number) -> Decimal:
    """The number as a DECIMAL(18,9) keeps it, half to even."""
    return Decimal(round(exact(number) * 10**9)).scaleb(-9)


def half_up(number: Fraction) -> Fraction:
    """The nearest whole number, a half upwards."""
    return Fraction(math.floor(number + Fraction(1, 2)))


def all_of(*verdicts: bool | None) -> bool | None:
    """Three-valued and: one false decides, else one unknown leaves it unknown (R0.2)."""
    if False in verdicts:
        return False
    return None if None in verdicts else True


def any_of(*verdicts: bool | None) -> bool | None:
    """Three-valued or: one true decides, else one unknown leaves it unknown (R0.2)."""
    if True in verdicts:
        return True
    return None if None in verdicts else False

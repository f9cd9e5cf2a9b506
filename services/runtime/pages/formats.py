"""How values look on a page: the same everywhere, and a dash where there is none."""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

NONE = "–"
THIN_SPACE = "\u202f"


def percent(share: float | None, digits: int = 2) -> str:
    """A share of 0..1 in per cent, without the sign."""
    return NONE if share is None else f"{100 * share:.{digits}f}"


def count(number: int | None) -> str:
    """A count, its thousands apart."""
    return NONE if number is None else f"{number:,}".replace(",", THIN_SPACE)


def decimal(number: float | Decimal | None, digits: int = 2) -> str:
    """A number with a fixed number of decimals."""
    return NONE if number is None else f"{number:,.{digits}f}".replace(",", THIN_SPACE)


def plain(number: float | Decimal | None) -> str:
    """A number with no more decimals than it needs, and at most three."""
    if number is None:
        return NONE
    text = f"{Decimal(str(number)):.3f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def day(value: date | None) -> str:
    """2025-03-31"""
    return NONE if value is None else value.isoformat()


def moment(value: datetime | None) -> str:
    """2025-03-31 14:05 (UTC, as the store keeps it)"""
    return NONE if value is None else value.strftime("%Y-%m-%d %H:%M")


def clock(value: datetime | None) -> str:
    """14:05:09 (UTC)"""
    return NONE if value is None else value.strftime("%H:%M:%S")


def words(name: str | None) -> str:
    """A code as words: `grade_3_plus` is `grade 3 plus`."""
    return NONE if name is None else name.replace("_", " ")


def title(name: str | None) -> str:
    """Words with a capital at their start."""
    text = words(name)
    return text[:1].upper() + text[1:]


def pairs(values: Iterable[str]) -> list[tuple[str, str]]:
    """Values as options of a choice that say what they are."""
    return [(value, value) for value in values]


FILTERS = {f.__name__: f for f in (percent, count, decimal, plain, day, moment, clock, words, title, pairs)}

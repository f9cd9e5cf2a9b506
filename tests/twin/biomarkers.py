"""CRP, ESR and calprotectin: their limits and what is normal, censored results included (R3.1 to R3.4)."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from schemas import Lab, canonical_result, parse_event
from twin.numbers import Number, exact, stored
from twin.protocols import FU2025, Rules
from twin.records import Event, clinical_date


@dataclass(frozen=True)
class Result:
    """A laboratory result in canonical units; a censored one is a bound with its comparator."""

    analyte: str
    value: Decimal
    comparator: str | None
    ref_low: Decimal | None
    ref_high: Decimal | None


def result(lab: Event) -> Result:
    """The result of a lab event in canonical units (R3.5)."""
    parsed = parse_event(lab)
    assert isinstance(parsed, Lab)
    canonical = canonical_result(parsed)
    low, high = canonical.ref_low, canonical.ref_high
    return Result(
        str(canonical.analyte),
        stored(canonical.value),
        canonical.comparator,
        None if low is None else stored(low),
        None if high is None else stored(high),
    )


def miller_limit(sex: str | None, birth_year: int | None, year: int) -> Fraction | None:
    """Upper limit of the ESR in mm/h by age and sex (R3.3)."""
    if sex is None or birth_year is None:
        return None
    age = year - birth_year
    return Fraction(age if sex == "male" else age + 10, 2)


def upper_limit(
    lab: Event, measured: Result, sex: str | None, birth_year: int | None, rules: Rules = FU2025
) -> Fraction | None:
    """The limit a result is judged by: mg/L, mm/h or ug/g; None where it is unknown."""
    if measured.analyte == "fcal":
        return rules.fcal_limit
    if measured.ref_high is not None:
        return exact(measured.ref_high)
    if measured.analyte == "crp":
        return Fraction(5)
    return miller_limit(sex, birth_year, clinical_date(lab).year)


def is_normal(value: Number, comparator: str | None, limit: Number | None, *, strict: bool) -> bool | None:
    """Whether a result is normal: at most the limit, or below it where `strict` (R3.4)."""
    if limit is None:
        return None
    v, limit = exact(value), exact(limit)
    match comparator:
        case None:
            return v < limit if strict else v <= limit
        case "<":
            return True if v <= limit else None
        case "<=":
            return True if (v < limit if strict else v <= limit) else None
        case ">":
            return False if v >= limit else None
        case ">=":
            return False if (v >= limit if strict else v > limit) else None
    raise ValueError(f"no such comparator: {comparator!r}")

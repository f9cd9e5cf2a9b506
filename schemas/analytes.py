"""The closed list of laboratory analytes: codes, units, factors and plausible ranges (R3.5, R3.6).

Laboratory events keep value and unit as received; `canonical_result` is their one reading in canonical units.
Nothing is guessed: a unit or a code outside these tables is refused.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class Analyte:
    """One row of R3.5.

    `unit` is canonical; `factors` leads each accepted UCUM unit to it by multiplication. `codes` gives for
    each LOINC code the units it is for (empty: any accepted one). `low` and `high` are R3.6's in `unit`.
    """

    name: str
    unit: str
    factors: Mapping[str, float]
    codes: Mapping[str, frozenset[str]]
    low: float
    high: float


_COUNT = {"10*9/L": 1.0, "10*3/uL": 1.0, "10*6/L": 0.001, "/uL": 0.001}
_ENZYME = {"U/L": 1.0, "[IU]/L": 1.0, "ukat/L": 60.0}
_CHOLESTEROL = {"mmol/L": 1.0, "mg/dL": 1 / 38.67}

_ANY: frozenset[str] = frozenset()
_MOLAR_UNITS = frozenset({"umol/L", "mmol/L"})


def _codes(
    plain: str, molar: str = "", factors: Mapping[str, float] | None = None
) -> dict[str, frozenset[str]]:
    """`plain` codes are for the units of `factors` that are not molar, `molar` codes for the molar ones."""
    units = frozenset(factors or ())
    mass = units - _MOLAR_UNITS if molar else _ANY
    return dict.fromkeys(plain.split(), mass) | dict.fromkeys(molar.split(), units & _MOLAR_UNITS)


def _row(
    name: str,
    unit: str,
    factors: Mapping[str, float],
    limits: tuple[float, float],
    codes: str,
    molar: str = "",
) -> Analyte:
    return Analyte(name, unit, factors, _codes(codes, molar, factors), *limits)


_FRACTION_CODES = dict.fromkeys(("71833-8", "71829-6"), frozenset({"L/L", "1"}))
_HAEMATOCRIT = Analyte(
    "haematocrit",
    "%",
    {"%": 1.0, "L/L": 100.0, "1": 100.0},
    _codes("4544-3 20570-8 4545-0 31100-1 48703-3") | _FRACTION_CODES,
    10,
    70,
)

# R3.6 has none for albumin, ALP, GGT and the lipids: theirs are wide, and within a store's DECIMAL(18,9).
ANALYTES: Final[Mapping[str, Analyte]] = {
    row.name: row
    for row in (
        _row("crp", "mg/L", {"mg/L": 1.0, "ug/mL": 1.0, "mg/dL": 10.0}, (0, 600), "1988-5 30522-7"),
        _row("esr", "mm/h", {"mm/h": 1.0}, (0, 200), "4537-7 30341-2 82477-1"),
        _row("fcal", "ug/g", {"ug/g": 1.0, "mg/kg": 1.0, "ng/mg": 1.0}, (0, 60_000), "38445-3"),
        _row(
            "albumin",
            "g/L",
            {"g/L": 1.0, "g/dL": 10.0, "umol/L": 0.0665},
            (0, 150),
            "1751-7 61151-7 61152-5 2862-1",
            molar="54347-0",
        ),
        _row(
            "haemoglobin",
            "g/L",
            {"g/L": 1.0, "g/dL": 10.0, "mmol/L": 16.114},
            (20, 250),
            "718-7 20509-6 30350-3",
            molar="59260-0",
        ),
        _HAEMATOCRIT,
        _row("wbc", "10*9/L", _COUNT, (0, 200), "6690-2 26464-8 804-5"),
        _row("lymphocytes", "10*9/L", _COUNT, (0, 100), "731-0 26474-7 732-8 30364-4"),
        _row("neutrophils", "10*9/L", _COUNT, (0, 100), "751-8 26499-4 753-4 30451-9"),
        _row("platelets", "10*9/L", _COUNT, (0, 3000), "777-3 26515-7 778-1"),
        _row("alt", "U/L", _ENZYME, (0, 20_000), "1742-6 1743-4 1744-2 76625-3"),
        _row("ast", "U/L", _ENZYME, (0, 20_000), "1920-8 30239-8 88112-8"),
        _row("alp", "U/L", _ENZYME, (0, 20_000), "6768-6"),
        _row("ggt", "U/L", _ENZYME, (0, 20_000), "2324-2"),
        _row("bilirubin", "umol/L", {"umol/L": 1.0, "mg/dL": 17.104}, (0, 1000), "1975-2", molar="14631-6"),
        _row(
            "creatinine",
            "umol/L",
            {"umol/L": 1.0, "mg/dL": 88.4},
            (5, 3000),
            "2160-0 38483-4",
            molar="14682-9 77140-2",
        ),
        _row("ck", "U/L", {"U/L": 1.0, "[IU]/L": 1.0, "ukat/L": 60.0}, (0, 500_000), "2157-6"),
        _row("cholesterol_total", "mmol/L", _CHOLESTEROL, (0, 200), "2093-3", molar="14647-2"),
        _row(
            "ldl",
            "mmol/L",
            _CHOLESTEROL,
            (0, 200),
            "13457-7 2089-1 18262-6",
            molar="22748-8 39469-2 69419-0",
        ),
        _row("hdl", "mmol/L", _CHOLESTEROL, (0, 200), "2085-9", molar="14646-4"),
        _row(
            "triglycerides",
            "mmol/L",
            {"mmol/L": 1.0, "mg/dL": 1 / 88.57},
            (0, 200),
            "2571-8 3043-7",
            molar="14927-8",
        ),
    )
}
"""Every analyte by its short name."""

REFUSED_CODES: Final[Mapping[str, str]] = {
    "736-9": "is lymphocytes in per cent, not a count: send the absolute count",
    "770-8": "is neutrophils in per cent, not a count: send the absolute count",
    "26511-6": "is neutrophils in per cent, not a count: send the absolute count",
    "18184-2": "is the sedimentation rate over two hours: send the one-hour rate",
    "50756-6": "is CK as mass, not activity: send the activity in U/L",
}
"""LOINC codes that are known, and do not lead to a canonical result (R3.5)."""

CODE_TO_ANALYTE: Final[Mapping[str, Analyte]] = {
    **ANALYTES,
    **{code: analyte for analyte in ANALYTES.values() for code in analyte.codes},
}
"""Every accepted `analyte` of a lab event, short name or LOINC code."""

# Spellings that laboratories use; strict UCUM would read some of them otherwise (its G/L is gauss per litre).
_POWERS = {"9": "10*9/L", "6": "10*6/L", "3": "10*3/uL"}
_POWER = re.compile(r"[xX]?\s?10(?:[*^]|\*\*|[eE])([369])/(L|uL)")
_LITRE = re.compile(r"(?<=[/dmu])l\b")
_SPELLINGS: Final[Mapping[str, str]] = {
    "G/L": "10*9/L",
    "Gpt/L": "10*9/L",
    "K/uL": "10*3/uL",
    "cells/uL": "/uL",
    "mm/hr": "mm/h",
    "mcg/g": "ug/g",
    "mcg/mL": "ug/mL",
    "mcmol/L": "umol/L",
    "IU/L": "[IU]/L",
    "iU/L": "[IU]/L",
    "µkat/L": "ukat/L",
}
_KNOWN_UNITS: Final = frozenset(unit for analyte in ANALYTES.values() for unit in analyte.factors) | {
    "nmol/L",
    "pmol/L",
    "mol/L",
    "mm/(2.h)",
    "ng/mL",
    "pg/mL",
    "ug/L",
    "ug/dL",
    "kg/L",
    "g/g",
    "mg/g",
    "mmol/mol",
    "nkat/L",
    "kat/L",
    "10*12/L",
    "mg/mmol",
    "s",
    "min",
    "h",
    "kg",
    "g",
    "mg",
}


@lru_cache(maxsize=4096)
def ucum_unit(unit: str) -> str:
    """`unit` in the spelling of the tables: aliases, both micro signs, `l` for litre, powers of ten."""
    spelled = _LITRE.sub("L", unit.strip().replace("µ", "u").replace("μ", "u"))
    power = _POWER.fullmatch(spelled)
    if power is None:
        return _SPELLINGS.get(spelled, spelled)
    canonical = _POWERS[power[1]]
    return canonical if canonical.endswith("/" + power[2]) else f"10*{power[1]}/{power[2]}"


class Conversion(NamedTuple):
    """How a code's results in one unit become canonical.

    `lowest` and `highest` are the plausible limits in that unit; `matches_code` tells whether it is the unit
    that the LOINC code means.
    """

    analyte: Analyte
    factor: float
    lowest: float
    highest: float
    matches_code: bool

    def holds(self, value: float) -> bool:
        """Whether `value` is plausible (R3.6): within the limits once converted, and these included."""
        return self.analyte.low <= convert(value, self.factor) <= self.analyte.high


class NotConvertible(ValueError):
    """A code or unit that leads nowhere: `field` (`analyte` or `unit`), refusal `code` and `reason`."""

    def __init__(self, field: str, code: str, reason: str) -> None:
        self.field, self.code, self.reason = field, code, reason
        super().__init__(f"{field} {reason}")


@lru_cache(maxsize=4096)
def conversion(code: str, unit: str) -> Conversion:
    """The way from `unit` to the canonical unit of the analyte `code` (short name or LOINC).

    Raises NotConvertible, with the refusal code `code_unknown`, `unit_unknown` or `unit_not_convertible`.
    """
    analyte = CODE_TO_ANALYTE.get(code)
    if analyte is None:
        if code in REFUSED_CODES:
            raise NotConvertible("analyte", "unit_not_convertible", REFUSED_CODES[code])
        raise NotConvertible(
            "analyte", "code_unknown", "is neither a short name nor a LOINC code of the registry"
        )
    spelled = ucum_unit(unit)
    factor = analyte.factors.get(spelled)
    if factor is not None:
        wanted = analyte.codes.get(code, _ANY)
        lowest, highest = analyte.low / factor, analyte.high / factor
        return Conversion(analyte, factor, lowest, highest, not wanted or spelled in wanted)
    accepted = ", ".join(analyte.factors)
    if spelled in _KNOWN_UNITS:
        raise NotConvertible(
            "unit", "unit_not_convertible", f"does not convert to {analyte.unit}: send {accepted}"
        )
    raise NotConvertible("unit", "unit_unknown", f"is not recognised for {analyte.name}: send {accepted}")


class LabResult(NamedTuple):
    """A result in canonical units (R3.5), numbers rounded to 9 decimals; `comparator` None means equal."""

    analyte: str
    value: float
    comparator: str | None
    unit: str
    ref_low: float | None
    ref_high: float | None


def convert(value: float, factor: float) -> float:
    """`value` times `factor`, rounded to the 9 decimals that the stores keep."""
    return round(value * factor, 9)


RESULT_TEXT: Final = r"^\s*([<>＜＞][=＝]?|[≤≥])\s*[0-9０-９]+([.．][0-9０-９]+)?\s*$"
"""The text forms of R3.4: a comparator and a number, such as `<5`, `≤ 5`, `＜５` or `> 1800`."""

_RESULT = re.compile(r"\s*(<=|>=|[<>≤≥])\s*([0-9]+(?:\.[0-9]+)?)\s*")
_COMPARATORS = {"≤": "<=", "≥": ">="}


@lru_cache(maxsize=4096)
def read_result_text(text: str) -> tuple[str, float]:
    """Comparator and bound of a censored result (R3.4). Raises ValueError for text of another form."""
    match = _RESULT.fullmatch(unicodedata.normalize("NFKC", text))
    if match is None:
        raise ValueError("must be a number, or text with a comparator such as <5")
    return _COMPARATORS.get(match[1], match[1]), float(match[2])

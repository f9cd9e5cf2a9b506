"""How each centre reports the same measurement: code, unit, reference limits, censoring."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.simulation.records import RawEvent

BY_SEX = Mapping[str, float]


@dataclass(frozen=True)
class Assay:
    """One analyte at one centre: `factor` turns the canonical unit (R3.5) into `unit`, limits
    and measuring range are canonical."""

    analyte: str
    unit: str
    factor: float = 1
    decimals: int = 1
    low: float | BY_SEX | None = None
    high: float | BY_SEX | None = None
    quantified_from: float | None = None
    quantified_to: float | None = None

    def report(self, value: float, sex: str) -> RawEvent:
        """The fields of a lab event for a canonical `value`; beyond the measuring range as `<5`, `>1800`."""
        return {
            "analyte": self.analyte,
            "value": self._shown(value),
            "unit": self.unit,
            "ref_low": self._limit(self.low, sex),
            "ref_high": self._limit(self.high, sex),
        }

    def upper_limit(self, sex: str) -> float | None:
        """The centre's upper reference limit in canonical units, where it sends one."""
        return None if self.high is None else _of_sex(self.high, sex)

    def _shown(self, value: float) -> float | str:
        if self.quantified_from is not None and value < self.quantified_from:
            return f"<{self._in_unit(self.quantified_from):g}"
        if self.quantified_to is not None and value > self.quantified_to:
            return f">{self._in_unit(self.quantified_to):g}"
        return self._in_unit(value)

    def _in_unit(self, value: float) -> float:
        return round(value * self.factor, self.decimals or None)

    def _limit(self, limit: float | BY_SEX | None, sex: str) -> float | None:
        return None if limit is None else self._in_unit(_of_sex(limit, sex))


def _of_sex(limit: float | BY_SEX, sex: str) -> float:
    return limit if isinstance(limit, int | float) else limit[sex]


_ESR_LIMIT: Final = {"male": 15, "female": 20}
_HB_LOW: Final = {"male": 130, "female": 115}
_HB_HIGH: Final = {"male": 175, "female": 150}

ASSAYS: Final[Mapping[str, Mapping[str, Assay]]] = {
    "S01": {
        "crp": Assay("crp", "mg/L", high=5, quantified_from=0.5),
        "esr": Assay("esr", "mm/h", decimals=0, high=_ESR_LIMIT),
        "fcal": Assay("fcal", "ug/g", decimals=0, quantified_from=30, quantified_to=1800),
        "lymphocytes": Assay("lymphocytes", "10*9/L", decimals=2, low=1.1, high=3.2),
        "neutrophils": Assay("neutrophils", "10*9/L", decimals=2, low=1.8, high=6.3),
        "haemoglobin": Assay("haemoglobin", "g/L", decimals=0, low=_HB_LOW, high=_HB_HIGH),
        "alt": Assay("alt", "U/L", decimals=0, high=40),
        "ck": Assay("ck", "U/L", decimals=0, high=200),
        "creatinine": Assay("creatinine", "umol/L", decimals=0, low=41, high=111),
        "cholesterol_total": Assay("cholesterol_total", "mmol/L", decimals=2, high=5.2),
    },
    "S02": {
        "crp": Assay("1988-5", "mg/L", high=8),
        "esr": Assay("4537-7", "mm/h", decimals=0),
        "fcal": Assay("38445-3", "mg/kg", decimals=0, quantified_to=1800),
        "lymphocytes": Assay("731-0", "10*3/uL", decimals=2, low=1.1, high=3.2),
        "neutrophils": Assay("751-8", "10*3/uL", decimals=2, low=1.8, high=6.3),
        "haemoglobin": Assay("718-7", "g/dL", factor=0.1, low=_HB_LOW, high=_HB_HIGH),
        "alt": Assay("1742-6", "U/L", decimals=0, high=40),
        "ck": Assay("2157-6", "U/L", decimals=0, high=200),
        "creatinine": Assay("14682-9", "umol/L", decimals=0, low=41, high=111),
        "cholesterol_total": Assay("14647-2", "mmol/L", decimals=2, high=5.2),
    },
    "S03": {
        "crp": Assay("crp", "mg/dL", factor=0.1, decimals=2, high=5, quantified_from=3),
        "esr": Assay("esr", "mm/h", decimals=0, high=_ESR_LIMIT),
        "fcal": Assay("fcal", "ug/g", decimals=0, quantified_from=30),
        "lymphocytes": Assay("lymphocytes", "/uL", factor=1000, decimals=0, low=1.1, high=3.2),
        "neutrophils": Assay("neutrophils", "/uL", factor=1000, decimals=0, low=1.8, high=6.3),
        "haemoglobin": Assay("haemoglobin", "g/dL", factor=0.1, low=_HB_LOW, high=_HB_HIGH),
        "alt": Assay("alt", "U/L", decimals=0, high=40),
        "ck": Assay("ck", "U/L", decimals=0, high=200),
        "creatinine": Assay("creatinine", "mg/dL", factor=1 / 88.4, decimals=2, low=41, high=111),
        "cholesterol_total": Assay("cholesterol_total", "mg/dL", factor=38.67, decimals=0, high=5.2),
    },
    "S04": {
        "crp": Assay("crp", "ug/mL", quantified_from=5),
        "esr": Assay("esr", "mm/h", decimals=0),
        "fcal": Assay("fcal", "ng/mg", decimals=0, quantified_to=1800),
        "lymphocytes": Assay("lymphocytes", "10*6/L", factor=1000, decimals=0, low=1.1, high=3.2),
        "neutrophils": Assay("neutrophils", "10*6/L", factor=1000, decimals=0, low=1.8, high=6.3),
        "haemoglobin": Assay("haemoglobin", "g/L", decimals=0, low=_HB_LOW, high=_HB_HIGH),
        "alt": Assay("alt", "U/L", decimals=0, high=40),
        "ck": Assay("ck", "U/L", decimals=0, high=200),
        "creatinine": Assay("creatinine", "umol/L", decimals=0, low=41, high=111),
        "cholesterol_total": Assay("cholesterol_total", "mmol/L", decimals=2, high=5.2),
    },
}
"""Four centres, four habits: units, codes, reference limits sent or not, measuring ranges."""

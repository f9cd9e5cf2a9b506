"""R3.5 and R3.6 as tables: codes, units, factors, censored results and plausible limits."""

import json
from typing import Any

import pytest

from schemas import EventRefused, Lab, LabResult, canonical_result, event_warnings, parse_event
from schemas.analytes import (
    ANALYTES,
    CODE_TO_ANALYTE,
    NotConvertible,
    conversion,
    read_result_text,
    ucum_unit,
)


def lab(**fields: Any) -> Lab:
    event = {
        "event_type": "lab",
        "site_id": "S01",
        "event_id": "S01:lab:1",
        "patient_id": "S01-0017",
        "recorded_at": "2025-03-31T14:05:00Z",
        "collected_on": "2025-03-31",
        **fields,
    }
    parsed = parse_event(json.dumps(event))
    assert isinstance(parsed, Lab)
    return parsed


# analyte, value and unit as received, value and unit canonical: each computed by hand from R3.5
CONVERSIONS = [
    ("crp", 12, "mg/L", 12, "mg/L"),
    ("crp", 12, "ug/mL", 12, "mg/L"),
    ("30522-7", 0.32, "mg/dL", 3.2, "mg/L"),
    ("esr", 22, "mm/h", 22, "mm/h"),
    ("fcal", 212, "mg/kg", 212, "ug/g"),
    ("38445-3", 212, "ng/mg", 212, "ug/g"),
    ("albumin", 3.9, "g/dL", 39, "g/L"),
    ("54347-0", 600, "umol/L", 39.9, "g/L"),
    ("haemoglobin", 12.9, "g/dL", 129, "g/L"),
    ("59260-0", 8.1, "mmol/L", 130.5234, "g/L"),
    ("haematocrit", 0.39, "L/L", 39, "%"),
    ("71833-8", 0.39, "1", 39, "%"),
    ("wbc", 6.4, "10*3/uL", 6.4, "10*9/L"),
    ("lymphocytes", 900, "/uL", 0.9, "10*9/L"),
    ("neutrophils", 3200, "10*6/L", 3.2, "10*9/L"),
    ("platelets", 250, "10*9/L", 250, "10*9/L"),
    ("alt", 0.5, "ukat/L", 30, "U/L"),
    ("ast", 31, "[IU]/L", 31, "U/L"),
    ("bilirubin", 1, "mg/dL", 17.104, "umol/L"),
    ("creatinine", 1, "mg/dL", 88.4, "umol/L"),
    ("ck", 2, "ukat/L", 120, "U/L"),
    ("cholesterol_total", 193.35, "mg/dL", 5, "mmol/L"),
    ("ldl", 38.67, "mg/dL", 1, "mmol/L"),
    ("hdl", 77.34, "mg/dL", 2, "mmol/L"),
    ("triglycerides", 88.57, "mg/dL", 1, "mmol/L"),
]


@pytest.mark.parametrize(("analyte", "value", "unit", "expected", "canonical"), CONVERSIONS)
def test_result_in_canonical_units(
    analyte: str, value: float, unit: str, expected: float, canonical: str
) -> None:
    result = canonical_result(lab(analyte=analyte, value=value, unit=unit))
    assert (result.value, result.unit) == (expected, canonical)


def test_reference_limits_are_converted_with_the_value() -> None:
    result = canonical_result(lab(analyte="1988-5", value=0.32, unit="mg/dL", ref_low=0, ref_high=0.5))
    assert result == LabResult("crp", 3.2, None, "mg/L", 0, 5)


@pytest.mark.parametrize("name", ANALYTES)
def test_there_and_back_gives_the_value(name: str) -> None:
    for factor in ANALYTES[name].factors.values():
        for value in (0.001, 0.1, 1.0, 3.3, 38.67, 250.0):
            assert value * factor / factor == pytest.approx(value, rel=1e-12)
    assert ANALYTES[name].factors[ANALYTES[name].unit] == 1


def test_ldl_factor_is_not_the_inverse() -> None:
    # A public table has 0.0259 for mmol/L to mg/dL, which is the other direction.
    assert canonical_result(lab(analyte="ldl", value=100, unit="mg/dL")).value == pytest.approx(
        2.586, abs=5e-4
    )


@pytest.mark.parametrize(
    ("spelled", "unit"),
    [
        ("10^9/L", "10*9/L"),
        ("x10E9/L", "10*9/L"),
        ("x10^9/L", "10*9/L"),
        ("10e9/l", "10*9/L"),
        ("G/L", "10*9/L"),
        ("K/uL", "10*3/uL"),
        ("10^3/µL", "10*3/uL"),
        ("10^6/L", "10*6/L"),
        ("µg/g", "ug/g"),
        ("μg/g", "ug/g"),
        ("mcg/g", "ug/g"),
        ("mm/hr", "mm/h"),
        ("IU/L", "[IU]/L"),
        ("mg/dl", "mg/dL"),
        (" mg/L ", "mg/L"),
        ("10^3/L", "10*3/L"),
        ("g/L", "g/L"),
    ],
)
def test_spelling_of_units(spelled: str, unit: str) -> None:
    assert ucum_unit(spelled) == unit


@pytest.mark.parametrize(
    ("text", "comparator", "bound"),
    [
        ("<5", "<", 5),
        ("< 5", "<", 5),
        ("<5.0", "<", 5),
        ("≤5", "<=", 5),
        ("<=5", "<=", 5),
        (">1800", ">", 1800),
        ("> 1800", ">", 1800),
        ("≥0.5", ">=", 0.5),
        ("＜５", "<", 5),
        ("＞＝５", ">=", 5),
        (" <5 ", "<", 5),
    ],
)
def test_censored_text(text: str, comparator: str, bound: float) -> None:
    assert read_result_text(text) == (comparator, bound)
    result = canonical_result(lab(analyte="fcal", value=text, unit="ug/g"))
    assert (result.comparator, result.value) == (comparator, bound)


@pytest.mark.parametrize("text", ["5", "<5,0", "<", "<-5", "<5 mg/L", "<<5", "=5", "<1e3", "neg", ""])
def test_other_text_is_no_result(text: str) -> None:
    with pytest.raises(ValueError, match="comparator"):
        read_result_text(text)


def test_comparator_beside_a_number() -> None:
    result = canonical_result(lab(analyte="crp", value=0.5, comparator="<", unit="mg/dL"))
    assert (result.comparator, result.value) == ("<", 5)


# analyte, unit, the last value inside R3.6 and the first one outside, at both ends.
LIMITS = [
    ("crp", "mg/L", 0, -0.001),
    ("crp", "mg/L", 600, 600.001),
    ("crp", "mg/dL", 60, 60.001),
    ("esr", "mm/h", 200, 200.5),
    ("fcal", "ug/g", 60_000, 60_000.1),
    ("haemoglobin", "g/L", 20, 19.9),
    ("haemoglobin", "g/dL", 25, 25.01),
    ("haematocrit", "%", 10, 9.9),
    ("haematocrit", "L/L", 0.7, 0.701),
    ("wbc", "10*9/L", 200, 200.1),
    ("lymphocytes", "10*9/L", 100, 100.1),
    ("neutrophils", "/uL", 100_000, 100_001),
    ("platelets", "10*9/L", 3000, 3000.1),
    ("alt", "U/L", 20_000, 20_000.1),
    ("ast", "U/L", 20_000, 20_000.1),
    ("bilirubin", "umol/L", 1000, 1000.1),
    ("creatinine", "umol/L", 5, 4.99),
    ("creatinine", "umol/L", 3000, 3000.1),
    ("ck", "U/L", 500_000, 500_001),
]


@pytest.mark.parametrize(("analyte", "unit", "inside", "outside"), LIMITS)
def test_plausible_limits(analyte: str, unit: str, inside: float, outside: float) -> None:
    assert lab(analyte=analyte, value=inside, unit=unit).value == inside
    with pytest.raises(EventRefused) as refused:
        lab(analyte=analyte, value=outside, unit=unit)
    assert [(error.path, error.code) for error in refused.value.errors] == [("value", "implausible")]


def test_a_binary_artefact_does_not_push_a_value_over_the_limit() -> None:
    # 0.7 L/L is 70 %, the limit, whatever binary arithmetic makes of 0.7 * 100.
    assert canonical_result(lab(analyte="haematocrit", value=0.7, unit="L/L")).value == 70
    # 3000 / 88.4 mg/dL is the limit itself, as near as a double can say it.
    assert canonical_result(lab(analyte="creatinine", value=3000 / 88.4, unit="mg/dL")).value == 3000


@pytest.mark.parametrize("code", ["736-9", "770-8", "26511-6", "18184-2", "50756-6"])
def test_codes_of_other_tests_are_refused_by_name(code: str) -> None:
    with pytest.raises(NotConvertible) as refused:
        conversion(code, "%")
    assert (refused.value.field, refused.value.code) == ("analyte", "unit_not_convertible")


def test_code_and_unit_are_checked_together() -> None:
    with pytest.raises(NotConvertible) as refused:
        conversion("haemoglobin", "G/L")  # giga per litre is a count
    assert (refused.value.field, refused.value.code) == ("unit", "unit_not_convertible")


@pytest.mark.parametrize(
    ("code", "unit", "value", "flagged"),
    [
        ("1975-2", "mg/dL", 1, False),
        ("1975-2", "umol/L", 12, True),
        ("14631-6", "umol/L", 12, False),
        ("14631-6", "mg/dL", 1, True),
        ("bilirubin", "umol/L", 12, False),
        ("71833-8", "%", 39, True),
        ("4544-3", "L/L", 0.39, False),
        ("1988-5", "mg/dL", 1, False),
    ],
)
def test_a_unit_that_the_code_is_not_for_is_flagged(
    code: str, unit: str, value: float, flagged: bool
) -> None:
    codes = [warning.code for warning in event_warnings(lab(analyte=code, value=value, unit=unit))]
    assert codes == (["unit_mismatch"] if flagged else [])


def test_no_code_belongs_to_two_analytes() -> None:
    codes = [code for analyte in ANALYTES.values() for code in analyte.codes]
    assert len(codes) == len(set(codes))
    assert set(CODE_TO_ANALYTE) == set(codes) | set(ANALYTES)


def test_a_retraction_without_content_has_no_result() -> None:
    event = parse_event(
        {
            "event_type": "lab",
            "site_id": "S01",
            "event_id": "S01:lab:1",
            "patient_id": "S01-0017",
            "recorded_at": "2025-03-31T14:05:00Z",
            "retracted": True,
        }
    )
    assert isinstance(event, Lab)
    with pytest.raises(ValueError, match="retraction"):
        canonical_result(event)
    assert event_warnings(event) == ()

"""R3.5 and R3.6 as tables: codes, units, factors, censored results and plausible limits."""

import json
from typing import Any

import pytest
from rule_tables.biomarkers import CONVERSIONS, NOT_TAKEN, PLAUSIBLE

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


@pytest.mark.parametrize(("analyte", "value", "unit", "expected", "canonical"), CONVERSIONS.params())
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


@pytest.mark.parametrize(("analyte", "unit", "inside", "outside"), PLAUSIBLE.params())
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


@pytest.mark.parametrize(("code", "unit", "reason"), NOT_TAKEN.params())
def test_what_leads_to_no_canonical_value_is_refused(code: str, unit: str, reason: str) -> None:
    with pytest.raises(NotConvertible) as refused:
        conversion(code, unit)
    assert refused.value.code == reason


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

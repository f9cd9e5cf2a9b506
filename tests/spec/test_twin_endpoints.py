"""Endpoints, states and estimands: R2.4, R2.7, R4.6, R4.7 and section 7 of the contract."""

from datetime import date
from typing import Any

import pytest
import twin
from twin.builders import (
    enrolment,
    lab,
    on,
    segment,
    start,
    visit,
)

CLOSED = on(365)
Segments = dict[str, Any]


def row(events: list[dict[str, Any]], endpoint: str, today: date = CLOSED) -> dict[str, Any]:
    (found,) = [
        r
        for r in twin.outcomes(events, today)["patient_outcomes"]
        if (r["timepoint"], r["endpoint"]) == ("week_12", endpoint)
    ]
    return found


def observed(events: list[dict[str, Any]], endpoint: str) -> Any:
    return row(events, endpoint)["observed"]


@pytest.mark.parametrize(
    ("baseline", "week_12", "remission", "response"),
    [
        (250, 150, False, True),
        (230, 140, True, False),
        (220, 150, False, False),
        (219.9, 150, False, False),
        (None, 120, True, None),
        (250, 149.9, True, True),
        (200.2, 100.2, True, True),  # in binary the fall is less than 100 (R0.1)
        (200.2, 100.3, True, False),
    ],
)
def test_clinical(baseline: float | None, week_12: float, remission: bool, response: bool | None) -> None:
    before = [] if baseline is None else [visit(-7, cdai=baseline)]
    events = [enrolment(), start(), *before, visit(84, cdai=week_12)]
    assert observed(events, "clinical_remission") is remission
    assert observed(events, "clinical_response") is response


ENDOSCOPIC = [
    pytest.param(
        {"ileum": segment(2, 2, 2, 0)}, {"ileum": segment(1, 1, 1, 0)}, False, True, False, id="6 to 3"
    ),
    pytest.param(
        {"ileum": segment(1, 1, 2, 0)}, {"ileum": segment(0, 1, 1, 0)}, True, True, False, id="4 to 2"
    ),
    pytest.param(
        {"ileum": segment(3, 3, 3, 0), "right_colon": segment(1, 1, 1, 0)},
        {"ileum": segment(1, 1, 2, 0), "right_colon": segment(0, 0, 0, 0)},
        True,
        False,
        False,
        id="12 to 4, item 2",
    ),
    pytest.param(
        {"ileum": segment(1, 1, 1, 0)}, {"ileum": segment(0, 0, 1, 1)}, False, False, False, id="3 to 2"
    ),
    pytest.param(
        {"ileum": segment(2, 2, 2, 0)}, {"ileum": segment(0, 0, 0, 0)}, True, True, True, id="healed"
    ),
    pytest.param(
        {"ileum": segment(1, 1, 2, 0)},
        {"ileum": segment(1, 1, 1, 0)},
        False,
        False,
        False,
        id="4 to 3: fall 1",
    ),
    pytest.param(
        {"ileum": segment(0, 0, 0, 0)},
        {"ileum": segment(0, 0, 0, 0)},
        None,
        False,
        True,
        id="nothing to fall",
    ),
    pytest.param(  # b = 6 of the ileum alone, f = 2, F = 3
        {"ileum": segment(2, 2, 2, 0)},
        {"ileum": segment(1, 1, 0, 0), "rectum": segment(1, 0, 0, 0)},
        True,
        True,
        False,
        id="segment seen only at follow-up",
    ),
    pytest.param(  # lost rectum; best case b = 10, f = 2: every endpoint might be met
        {"ileum": segment(2, 2, 2, 0), "rectum": segment(2, 1, 1, 0)},
        {"ileum": segment(1, 1, 0, 0)},
        None,
        None,
        False,
        id="lost segment leaves it open",
    ),
    pytest.param(  # lost rectum; best case b = 10, f = 5: exactly half, and F > 4
        {"ileum": segment(2, 2, 2, 0), "rectum": segment(2, 1, 1, 0)},
        {"ileum": segment(2, 1, 2, 0)},
        False,
        False,
        False,
        id="lost segment, the rest fails already",
    ),
    pytest.param(
        {"ileum": segment(2, 2, 2, 0), "rectum": segment(2, 1, 1, 0)},
        {"ileum": segment(0, 0, 0, 0)},
        None,
        None,
        None,
        id="lost segment, the rest healed",
    ),
    pytest.param(  # the unseen rectum had scored 0: nothing is lost
        {"ileum": segment(2, 2, 2, 0), "rectum": segment(0, 0, 0, 0)},
        {"ileum": segment(0, 0, 0, 0)},
        True,
        True,
        True,
        id="unseen but healthy before",
    ),
]


@pytest.mark.parametrize(("before", "after", "response", "remission", "healing"), ENDOSCOPIC)
def test_endoscopic(
    before: Segments, after: Segments, response: bool | None, remission: bool | None, healing: bool | None
) -> None:
    events = [start(), visit(-30, ses_cd_segments=before), visit(84, ses_cd_segments=after)]
    assert observed(events, "endoscopic_response") is response
    assert observed(events, "endoscopic_remission") is remission
    assert observed(events, "mucosal_healing") is healing


TOTALS: list[Any] = [
    pytest.param({"ses_cd": 6}, {"ses_cd": 3}, False, None, False, id="6 to 3"),
    pytest.param({"ses_cd": 7}, {"ses_cd": 3}, True, None, False, id="7 to 3"),
    pytest.param({"ses_cd": 4}, {"ses_cd": 2}, True, None, False, id="4 to 2"),
    pytest.param({"ses_cd": 12}, {"ses_cd": 4}, True, None, False, id="total of 4 may be remission"),
    pytest.param({"ses_cd": 12}, {"ses_cd": 5}, True, False, False, id="total fails remission"),
    pytest.param({"ses_cd": 3}, {"ses_cd": 2}, False, False, False, id="fall fails remission"),
    pytest.param({"ses_cd": 12}, {"ses_cd": 0}, True, None, True, id="healed"),
    pytest.param(
        {"ses_cd": 12},
        {"ses_cd_segments": {"ileum": segment(1, 1, 0, 0)}},
        True,
        True,
        False,
        id="items after",
    ),
    pytest.param(
        {"ses_cd_segments": {"ileum": segment(2, 2, 2, 0)}},
        {"ses_cd": 2},
        True,
        None,
        False,
        id="items before",
    ),
]


@pytest.mark.parametrize(("before", "after", "response", "remission", "healing"), TOTALS)
def test_endoscopic_totals(
    before: Segments, after: Segments, response: bool, remission: bool | None, healing: bool
) -> None:
    events = [start(), visit(-30, **before), visit(84, **after)]
    assert observed(events, "endoscopic_response") is response
    assert observed(events, "endoscopic_remission") is remission
    assert observed(events, "mucosal_healing") is healing


def test_healing_needs_no_baseline_but_counts_nowhere_without() -> None:
    events = [start(), visit(84, ses_cd=0)]
    healing = row(events, "mucosal_healing")
    assert (healing["status"], healing["observed"], healing["population"]) == ("final", True, False)
    assert (healing["reason"], healing["nri"]) == ("no_baseline", None)
    assert row(events, "endoscopic_response")["status"] == "not_applicable"


@pytest.mark.parametrize(
    ("person", "oc", "reason"),
    [
        ([enrolment(sex="male", birth_year=1963)], True, None),  # 61 years: limit 30.5, 30.5 is normal
        ([enrolment(sex="female", birth_year=1979)], False, None),  # 45 years: limit 27.5
        ([enrolment(sex="other", birth_year=1963)], None, "baseline_unknown"),
        ([enrolment(sex="other", reference_sex="male", birth_year=1963)], True, None),
        ([], None, "baseline_unknown"),
    ],
)
def test_esr_by_age_and_sex(person: list[Any], oc: bool | None, reason: str | None) -> None:
    # Both samples are of 2024: the first on the day of the first dose, 2024-01-01.
    found = row([*person, start(), lab("esr", 0, 60), lab("esr", 84, 30.5)], "esr_normalisation")
    assert (found["observed"], found["reason"]) == (oc, reason)


def test_nobody_treated() -> None:
    result = twin.outcomes([enrolment(), visit(0, cdai=300)], CLOSED)
    (patient,) = result["patients"]
    assert patient["drug"] is None
    assert {(r["status"], r["reason"], r["population"]) for r in result["patient_outcomes"]} == {
        ("not_applicable", "no_treatment", False)
    }
    assert result["cohort_rates"] == []


def test_a_row_names_its_records() -> None:
    events = [start(), visit(-7, "base", cdai=300.5), visit(90, "later", cdai=120)]
    found = row(events, "clinical_response")
    assert found["event_ids"] == ["site-a/base", "site-a/later"]
    assert (found["baseline_on"], found["value_on"], found["study_offset"]) == (on(-7), on(90), 90)
    assert (str(found["baseline_value"]), found["value"]) == ("300.500000000", 120)

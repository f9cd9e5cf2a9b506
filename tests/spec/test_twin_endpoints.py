"""Endpoints, states and estimands: R2.4, R2.7, R4.6, R4.7 and section 7 of the contract."""

from datetime import date
from typing import Any

import pytest
import twin
from twin.builders import (
    adverse_event,
    consent,
    enrolment,
    lab,
    on,
    rescue,
    segment,
    start,
    stop,
    treatment,
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


DEATH_DAY_50 = adverse_event(50, outcome="fatal", grade=5, serious=True, seriousness=["death"])


@pytest.mark.parametrize(
    ("week_12", "intercurrent", "oc", "nri"),
    [
        pytest.param(120, [], True, True, id="value"),
        pytest.param(None, [], None, False, id="no value"),
        pytest.param(120, [rescue(40)], True, False, id="rescue steroid on day 40"),
        pytest.param(120, [rescue(95, "surgery")], True, True, id="surgery on day 95"),
        pytest.param(None, [DEATH_DAY_50], None, False, id="death on day 50"),
        pytest.param(120, [rescue(84)], True, False, id="on the very day"),
        pytest.param(120, [rescue(40), rescue(95)], True, False, id="the earliest counts"),
        pytest.param(120, [rescue(0)], True, False, id="on the day of the first dose"),
        pytest.param(120, [rescue(-1)], True, True, id="before the first dose"),
        pytest.param(120, [rescue(85)], True, True, id="the day after"),
        pytest.param(120, [stop(40, "adverse_event")], True, False, id="stop, adverse event"),
        pytest.param(120, [stop(40, "lack_of_efficacy")], True, False, id="stop, lack of efficacy"),
        pytest.param(120, [stop(40, "patient_choice")], True, True, id="stop for another reason"),
        pytest.param(120, [start(40, drug="infliximab")], True, False, id="another advanced therapy"),
        pytest.param(120, [start(-40, drug="infliximab")], True, True, id="an earlier advanced therapy"),
        pytest.param(120, [start(40, drug="azathioprine")], True, True, id="not an advanced therapy"),
        pytest.param(
            120, [stop(40, "adverse_event", drug="azathioprine")], True, True, id="stop of another drug"
        ),
        pytest.param(120, [treatment("interrupt", 40)], True, True, id="interruption"),
        pytest.param(200, [], False, False, id="active"),
    ],
)
def test_estimands(week_12: int | None, intercurrent: list[Any], oc: bool | None, nri: bool) -> None:
    value = [] if week_12 is None else [visit(84, cdai=week_12)]
    found = row([start(), visit(-7, cdai=300), *value, *intercurrent], "clinical_remission")
    assert (found["observed"], found["nri"]) == (oc, nri)


@pytest.mark.parametrize(
    ("today", "value_offset", "status", "oc", "nri"),
    [
        (69, None, "not_due", None, None),
        (70, None, "open", None, None),
        (70, 70, "provisional", True, None),
        (97, None, "open", None, None),
        (97, 97, "provisional", True, None),
        (98, None, "missed", None, False),
        (98, 98, "final", True, True),
        (97, 98, "open", None, None),  # dated after today
    ],
)
def test_states_of_a_clinical_endpoint(
    today: int, value_offset: int | None, status: str, oc: bool | None, nri: bool | None
) -> None:
    value = [] if value_offset is None else [visit(value_offset, cdai=120)]
    found = row([start(), visit(-7, cdai=300), *value], "clinical_response", on(today))
    assert (found["status"], found["observed"], found["nri"]) == (status, oc, nri)
    assert (found["window_start"], found["window_end"]) == (date(2024, 3, 11), date(2024, 4, 8))


@pytest.mark.parametrize(("today", "status"), [(55, "not_due"), (56, "open"), (125, "open"), (126, "missed")])
def test_states_of_an_endoscopic_endpoint(today: int, status: str) -> None:
    events = [start(), visit(-7, ses_cd=10)]
    assert row(events, "endoscopic_response", on(today))["status"] == status


@pytest.mark.parametrize(
    ("baseline", "endpoint", "population", "reason"),
    [
        ({"cdai": 149.9}, "clinical_remission", False, "baseline_inactive"),
        ({"cdai": 150}, "clinical_remission", True, None),
        ({}, "clinical_remission", False, "no_baseline"),
        ({}, "clinical_response", False, "no_baseline"),
        ({"ses_cd": 2}, "endoscopic_response", False, "baseline_below_3"),
        ({"ses_cd": 3}, "endoscopic_response", True, None),
        ({"cdai": 100, "ses_cd": 3}, "endoscopic_response", True, None),
    ],
)
def test_who_counts(baseline: dict[str, Any], endpoint: str, population: bool, reason: str | None) -> None:
    before = [visit(-7, **baseline)] if baseline else []
    found = row([start(), *before, visit(84, cdai=100, ses_cd=1)], endpoint)
    assert (found["population"], found["reason"]) == (population, reason)


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


@pytest.mark.parametrize(
    ("withdrawn", "status", "reason"),
    [
        (69, "not_applicable", "consent_withdrawn"),
        (70, "missed", "missed"),
        (83, "missed", "missed"),
        (84, "final", None),
    ],
)
def test_consent_withdrawn(withdrawn: int, status: str, reason: str | None) -> None:
    events = [start(), visit(-7, cdai=300), visit(84, cdai=120), consent("withdrawn", withdrawn)]
    found = row(events, "clinical_response")
    assert (found["status"], found["reason"]) == (status, reason)


def test_a_row_names_its_records() -> None:
    events = [start(), visit(-7, "base", cdai=300.5), visit(90, "later", cdai=120)]
    found = row(events, "clinical_response")
    assert found["event_ids"] == ["site-a/base", "site-a/later"]
    assert (found["baseline_on"], found["value_on"], found["study_offset"]) == (on(-7), on(90), 90)
    assert (str(found["baseline_value"]), found["value"]) == ("300.500000000", 120)


def test_parameters_are_windowed_apart() -> None:
    # R4.2: a visit on target without the value does not hide one with it.
    events = [start(), visit(-7, cdai=300), visit(84, hbi=3), visit(95, cdai=120)]
    assert row(events, "clinical_response")["value_on"] == on(95)

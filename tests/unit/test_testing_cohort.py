"""The builder of patients: every step a valid event on the day that was meant."""

from datetime import date

import pytest

from schemas import EventRefused, parse_event
from services.testing.cohort import Cohort


def test_days_count_from_the_first_dose() -> None:
    patient = Cohort().patient(first_dose_on=date(2024, 3, 1)).treated()
    patient.cdai(280, day=-3).cdai(120, week=12).crp(4.1, on=date(2024, 5, 24))
    enrolment, start, before, week_12, crp = patient.events
    assert enrolment["enrolled_on"] == "2024-02-16"
    assert start["effective_on"] == "2024-03-01"
    assert before["visited_on"] == "2024-02-27"
    assert week_12["visited_on"] == crp["collected_on"] == "2024-05-24"
    assert crp["recorded_at"] == "2024-05-24T12:00:00+00:00"
    assert crp["unit"] == "mg/L"


def test_every_step_is_a_valid_event_of_its_own() -> None:
    patient = (
        Cohort()
        .patient(birth_year=1980)
        .consent("given", day=-14)
        .treated()
        .cdai(week=0, liquid_stools=20, abdominal_pain=10, wellbeing=9)
        .ses_cd(12, week=0)
        .lab("fcal", "<30", week=4)
        .adverse_event("Herpes zoster", 3, week=5, seriousness=["hospitalisation"])
        .rescued(week=6)
        .stopped("lack_of_efficacy", week=8)
    )
    for event in patient.events:
        parse_event(event)
    assert len({event["event_id"] for event in patient.events}) == len(patient.events)
    assert patient.events[-3]["serious"] is True


def test_corrections_and_retractions_are_versions_of_the_record_stated_last() -> None:
    patient = Cohort().patient().cdai(280, week=0).corrected(cdai=200).retracted()
    first, second, third = patient.events[1:]
    assert [event["version"] for event in (first, second, third)] == [1, 2, 3]
    assert first["event_id"] == second["event_id"] == third["event_id"]
    assert first["recorded_at"] < second["recorded_at"] < third["recorded_at"]
    assert second["cdai"] == 200
    assert third["retracted"] is True
    assert "cdai" not in third


def test_a_step_that_breaks_the_contract_is_refused_where_it_is_stated() -> None:
    patient = Cohort().patient()
    with pytest.raises(EventRefused, match="unit"):
        patient.lab("crp", 4, week=0, unit="furlong")
    assert len(patient.events) == 1


def test_the_day_is_given_in_one_way() -> None:
    patient = Cohort().patient()
    with pytest.raises(ValueError, match="exclude each other"):
        patient.cdai(280, week=0, day=0)
    with pytest.raises(ValueError, match="Give week, day or on"):
        patient.cdai(280)


def test_a_cohort_gives_all_events_as_they_were_recorded() -> None:
    cohort = Cohort(prefix="X1")
    for week in (12, 4):
        cohort.patient().treated().cdai(100, week=week)
    events = cohort.events()
    assert {event["patient_id"] for event in events} == {"X1-0001", "X1-0002"}
    assert [event["recorded_at"] for event in events] == sorted(event["recorded_at"] for event in events)

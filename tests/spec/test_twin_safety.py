"""Lymphopenia, treatment-emergence, person-time, rates and alerts: R5.1, R6.6, R6.7, contract section 7."""

from fractions import Fraction
from typing import Any

import pytest
import twin
from twin.builders import (
    adverse_event,
    consent,
    enrolment,
    lab,
    on,
    retraction,
    start,
    stop,
    visit,
)
from twin.ctcae import lymphopenia_grade
from twin.incidence import garwood

TODAY = on(365)
DEATH = adverse_event(9, grade=5, serious=True, seriousness=["death"])


@pytest.mark.parametrize(
    ("count", "lower_limit", "grade"),
    [
        (1.0, 1.0, 0),
        (0.99, 1.0, 1),
        (0.80, 1.0, 1),
        (0.79, 1.0, 2),
        (0.50, 1.0, 2),
        (0.49, 1.0, 3),
        (0.20, 1.0, 3),
        (0.19, 1.0, 4),
        (0, 1.0, 4),
        (0.7, 0.6, 2),
        (0.8, 0.6, 0),
        (0.79, None, 2),
        (0.80, None, None),
        (5, None, None),
    ],
)
def test_lymphopenia(count: float, lower_limit: float | None, grade: int | None) -> None:
    assert lymphopenia_grade(count, None, lower_limit) == grade


@pytest.mark.parametrize(
    ("count", "comparator", "lower_limit", "grade"),
    [
        (0.2, "<", 1.0, 4),
        (0.21, "<", 1.0, None),
        (0.6, "<", 1.0, None),
        (0.19, "<=", 1.0, 4),
        (0.2, "<=", 1.0, None),
        (1.0, ">", 1.0, 0),
        (1.0, ">=", 1.0, 0),
        (0.99, ">", 1.0, None),
        (0.99, ">=", 1.0, None),
        (0.8, ">", 0.6, 0),
        (0.8, ">=", 0.6, 0),
        (0.79, ">", 0.6, None),
        (5, ">", None, None),
        (0.2, "<", None, 4),
    ],
)
def test_lymphopenia_of_censored_counts(
    count: float, comparator: str, lower_limit: float | None, grade: int | None
) -> None:
    assert lymphopenia_grade(count, comparator, lower_limit) == grade


def reports(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return twin.safety(list(events), TODAY)["adverse_events"]


@pytest.mark.parametrize(
    ("onset", "emergent"), [(-1, False), (0, True), (84, True), (85, True), (114, True), (115, False)]
)
def test_treatment_emergent(onset: int, emergent: bool) -> None:
    (row,) = reports(start(), stop(84), adverse_event(onset))
    assert row["treatment_emergent"] is emergent
    assert row["drug"] == ("upadacitinib" if emergent else None)
    assert row["study_offset"] == (onset if emergent else None)


@pytest.mark.parametrize(
    ("first_dose", "onset", "precision", "emergent"),
    [
        # Onset in January 2024 (days 0 to 30), given as its first day.
        (30, 0, "month", True),
        (31, 0, "month", False),
        (30, 0, "day", False),
        (31, 31, "month", True),  # February
        # Onset in 2024 (days 0 to 365).
        (365, 0, "year", True),
        (366, 0, "year", False),
    ],
)
def test_partial_dates_are_emergent_unless_impossible(
    first_dose: int, onset: int, precision: str, emergent: bool
) -> None:
    events = [start(first_dose), adverse_event(onset, onset_precision=precision)]
    (row,) = twin.safety(events, on(700))["adverse_events"]
    assert row["treatment_emergent"] is emergent


def test_never_treated() -> None:
    (row,) = reports(enrolment(), adverse_event(5))
    assert (row["treatment_emergent"], row["drug"], row["study_offset"]) == (False, None, None)


@pytest.mark.parametrize(
    ("events", "drug", "offset"),
    [
        ([start(), start(10, drug="infliximab")], "infliximab", 30),
        ([start(), start(10, drug="infliximab"), stop(39, drug="infliximab")], "upadacitinib", 40),
        ([start(), stop(39), start(10, drug="infliximab"), stop(38, drug="infliximab")], "upadacitinib", 40),
        ([start(), stop(38), start(10, drug="infliximab"), stop(39, drug="infliximab")], "infliximab", 30),
        ([start(), start(10, drug="prednisolone")], "upadacitinib", 40),
        ([start(10, drug="prednisolone")], None, None),
    ],
)
def test_what_the_patient_was_on(events: list[dict[str, Any]], drug: str | None, offset: int | None) -> None:
    (row,) = reports(*events, adverse_event(40))
    assert (row["drug"], row["study_offset"]) == (drug, offset)


def test_an_event_counts_for_a_drug_only_at_its_risk() -> None:
    """R6.6: numerator and person-time have the same days, whatever drug the report blames."""
    rows = incidence([start(-40, drug="infliximab"), start(), adverse_event(-1, drug="upadacitinib")])
    assert rows["upadacitinib", None, "any"]["events"] == 0


def test_the_reported_drug_counts() -> None:
    (row,) = reports(start(), start(10, drug="infliximab"), adverse_event(40, drug="upadacitinib"))
    assert (row["drug"], row["study_offset"]) == ("upadacitinib", 40)


@pytest.mark.parametrize(
    ("later", "days"),
    [
        # R6.6: 85 days of treatment (2025-01-01 to 2025-03-26 in the rule) and 30 more.
        pytest.param([stop(84)], 115, id="30 days after the last dose"),
        pytest.param([], 366, id="today"),
        pytest.param([stop(84, "death")], 85, id="death as the reason of a stop"),
        pytest.param([adverse_event(9, outcome="fatal", grade=5, serious=True)], 10, id="fatal event"),
        pytest.param([DEATH], 10, id="grade 5 is death"),
        pytest.param([adverse_event(9, grade=4, serious=True)], 366, id="grade 4 is not"),
        pytest.param(
            [adverse_event(9, outcome="fatal", grade=5, serious=True, resolved_on=on(19).isoformat())],
            20,
            id="died at the end of a fatal event",
        ),
        pytest.param(
            [adverse_event(9, grade=5, serious=True), stop(84, "death")], 10, id="the earlier death"
        ),
        pytest.param([consent("withdrawn", 50)], 51, id="consent withdrawn"),
    ],
)
def test_person_time(later: list[dict[str, Any]], days: int) -> None:
    rows = twin.safety([start(), *later], TODAY)["incidence"]
    assert {row["person_years"] for row in rows} == {float(days / Fraction("365.25"))}


def test_person_time_of_the_rule() -> None:
    assert round(115 / 365.25, 4) == 0.3149


def test_garwood() -> None:
    low, high = garwood(5, Fraction("41.2"))
    assert (round(low, 2), round(high, 2)) == (3.94, 28.32)
    assert garwood(0, Fraction(1))[0] == 0


def incidence(events: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = twin.safety(events, TODAY)["incidence"]
    return {(row["drug"], row["site_id"], row["event_group"]): row for row in rows}


def test_incidence() -> None:
    second = {"patient_id": "W12-0002", "site_id": "site-b"}
    rows = incidence(
        [
            *(enrolment(), start(), stop(84)),  # 115 days
            adverse_event(9, "e1", term="Headache"),
            adverse_event(19, "e2", term="HEADACHE", grade=3),
            adverse_event(-5, "e0", term="Nausea"),
            *(enrolment(**second), start(**second), stop(84, **second)),
            adverse_event(49, "e3", term="Shingles", serious=True, **second),
        ]
    )
    assert rows["upadacitinib", None, "headache"]["events"] == 2
    assert rows["upadacitinib", None, "grade_3_plus"]["events"] == 1
    assert rows["upadacitinib", None, "shingles"]["patients_with_event"] == 1
    assert set(rows) == {
        ("upadacitinib", site_id, group)
        for site_id, terms in (
            (None, ("headache", "shingles")),
            ("site-a", ("headache",)),
            ("site-b", ("shingles",)),
        )
        for group in ("any", "serious", "grade_3_plus", *terms)
    }
    any_event = rows["upadacitinib", None, "any"]
    assert (any_event["patients"], any_event["patients_with_event"], any_event["events"]) == (2, 2, 3)
    assert any_event["incidence_pct"] == 100
    assert any_event["person_years"] == pytest.approx(230 / 365.25)
    assert any_event["events_per_100py"] == pytest.approx(100 * 3 / (230 / 365.25))
    # Up to the first event of each: 10 and 50 days.
    assert any_event["first_events_per_100py"] == pytest.approx(100 * 2 / (60 / 365.25))
    serious = rows["upadacitinib", None, "serious"]
    assert (serious["patients_with_event"], serious["events"], serious["incidence_pct"]) == (1, 1, 50)
    # The first patient counts whole, the second up to the event: 115 and 50 days.
    assert serious["first_events_per_100py"] == pytest.approx(100 / (165 / 365.25))
    assert rows["upadacitinib", "site-b", "grade_3_plus"]["events"] == 0
    assert rows["upadacitinib", "site-b", "grade_3_plus"]["ci_low"] == 0


def test_a_drug_has_its_own_patients_and_time() -> None:
    rows = incidence(
        [start(), stop(9), start(100, drug="infliximab"), stop(109, drug="infliximab"), adverse_event(105)]
    )
    assert rows["upadacitinib", None, "any"]["events"] == 0
    assert rows["infliximab", None, "any"]["events"] == 1
    assert rows["infliximab", None, "any"]["person_years"] == pytest.approx(40 / 365.25)


def alerts(*events: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (row["rule"], row["event_id"], row["state"]) for row in twin.safety(list(events), TODAY)["alerts"]
    }


@pytest.mark.parametrize(
    ("event", "rules"),
    [
        (adverse_event(5, "e", grade=2), set()),
        (adverse_event(5, "e", grade=3), {"grade_3_plus"}),
        (adverse_event(5, "e", grade=1, serious=True), {"serious_event"}),
        (adverse_event(5, "e", grade=4, serious=True), {"serious_event", "grade_3_plus"}),
        (lab("lymphocytes", 5, 0.8, "e", ref_low=1.0), set()),
        (lab("lymphocytes", 5, 0.79, "e", ref_low=1.0), {"lab_toxicity"}),
        (lab("lymphocytes", 5, 0.79, "e"), {"lab_toxicity"}),
        (lab("lymphocytes", 5, "<0.6", "e"), set()),
        (lab("lymphocytes", 5, 790, "e", unit="/uL"), {"lab_toxicity"}),
        (lab("crp", 5, 0.1, "e"), set()),
        (visit(5, "e", cdai=400), set()),
    ],
)
def test_alert_rules(event: dict[str, Any], rules: set[str]) -> None:
    assert alerts(event) == {(rule, "e", "open") for rule in rules}


SERIOUS = adverse_event(5, "e", serious=True)


@pytest.mark.parametrize(
    ("events", "states"),
    [
        pytest.param([SERIOUS, adverse_event(5, "e", version=2)], {"withdrawn"}, id="corrected"),
        pytest.param([SERIOUS, retraction(SERIOUS, 2)], {"withdrawn"}, id="retracted"),
        pytest.param(
            [SERIOUS, adverse_event(5, "e", version=2, serious=True, grade=2)], {"open"}, id="still"
        ),
        pytest.param([adverse_event(5, "e"), SERIOUS | {"version": 2}], {"open"}, id="became serious"),
        pytest.param(
            [SERIOUS, adverse_event(400, "e", version=2, serious=True)], {"withdrawn"}, id="moved away"
        ),
        pytest.param([adverse_event(400, "e", serious=True)], set(), id="not yet"),
        pytest.param([SERIOUS, consent("withdrawn", 4)], set(), id="consent withdrawn before"),
        pytest.param([SERIOUS, consent("withdrawn", 5)], {"open"}, id="consent withdrawn that day"),
        pytest.param([SERIOUS, SERIOUS], {"open"}, id="twice"),
    ],
)
def test_alert_states(events: list[dict[str, Any]], states: set[str]) -> None:
    for order in (events, events[::-1]):
        assert alerts(*order) == {("serious_event", "e", state) for state in states}

"""Why an outcome is what it is: reasons at their boundaries, and the same answer as the tables for everybody."""

import json
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest
from reading_helpers import CUT, OUTCOMES, Reading
from stores import ALL, emptied, load, rows
from twin.builders import (
    adverse_event,
    consent,
    enrolment,
    lab,
    on,
    rescue,
    retraction,
    start,
    stop,
    visit,
)

from schemas.protocol_model import BASELINE
from services.outcomes.explain.document import UnknownNameError, Wanted, explain
from services.outcomes.explain.relations import EXPLAINED, EXPLANATION
from services.simulation.registry import RegistryPlan, stream_registry
from services.stream.patient import patient_sql
from services.stream.store import EventStore

Row = dict[str, Any]
PATIENT = "W12-0001"


def ask(store: EventStore, sql: str, patient: str, day: date | None = None) -> list[Row]:
    """Rows about a patient as of a day, today of the store by default."""
    cursor = store.cursor()
    try:
        found = cursor.execute(sql, {"patient": patient, "as_of": day or store.today, "known_at": None})
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    finally:
        cursor.close()


def explained(store: EventStore, patient: str = PATIENT, **wanted: str) -> Row:
    """The explanation of a patient of the store."""
    (found,) = ask(store, EXPLANATION, patient)
    document = explain(found, {"as_of": store.today}, Wanted(**wanted))
    assert document is not None
    return document


def usual(events: list[Row]) -> list[Row]:
    """With the enrolment, a CDAI of 300 on day -3, and the first dose on day 0 unless it is among the events."""
    starts = [] if any(event.get("action") == "start" for event in events) else [start()]
    return [enrolment(), *starts, visit(-3, "before", cdai=300), *events]


def weigh(events: list[Row], today: int = 200) -> list[Row]:
    """The records weighed for the CDAI at week 12 of the usual patient."""
    document = explained(load(emptied(OUTCOMES, on(today)), [usual(events)]), timepoint="week_12")
    (place,) = [t for t in document["protocols"][0]["timepoints"] if t["timepoint"] == "week_12"]
    return [
        record for value in place["values"] if value["parameter"] == "cdai" for record in value["records"]
    ]


# Each case: the records beside the usual ones, then what becomes of them: observed, and carried forward (R4.7).
WEEK_12: dict[str, tuple[list[Row], dict[str, Any]]] = {
    "R4.1 the day before the window": (
        [visit(69, "a", cdai=140)],
        {"a": ("before_window", "used"), "before": ("before_window", "baseline_not_carried")},
    ),
    "R4.1 the first day": ([visit(70, "a", cdai=140)], {"a": ("used", "used")}),
    "R4.1 the last day": ([visit(98, "a", cdai=140)], {"a": ("used", "used")}),
    "R4.1 the day after": ([visit(99, "a", cdai=140)], {"a": ("after_window", "after_window")}),
    "R4.2 equally near": (
        [visit(70, "a", cdai=140), visit(98, "b", cdai=150)],
        {"a": ("earlier_date", "earlier_date"), "b": ("used", "used")},
    ),
    "R4.2 one day farther": (
        [visit(82, "a", cdai=140), visit(87, "b", cdai=150)],
        {"a": ("used", "used"), "b": ("farther_from_target", "farther_from_target")},
    ),
    "R4.2 a retest": (
        [visit(84, "b", cdai=140, visit_kind="retest"), visit(84, "a", cdai=150)],
        {"b": ("less_scheduled", "less_scheduled"), "a": ("used", "used")},
    ),
    "R4.2 unscheduled": (
        [visit(84, "b", cdai=140, visit_kind="unscheduled"), visit(84, "a", cdai=150, visit_kind="retest")],
        {"b": ("less_scheduled", "less_scheduled"), "a": ("used", "used")},
    ),
    "R4.2 earlier that day": (
        [visit(84, "b", cdai=140, at="08:00"), visit(84, "a", cdai=150, at="08:01")],
        {"b": ("earlier_time", "earlier_time"), "a": ("used", "used")},
    ),
    "R4.2 without a time": (
        [visit(84, "b", cdai=140), visit(84, "a", cdai=150, at="00:00")],
        {"b": ("earlier_time", "earlier_time"), "a": ("used", "used")},
    ),
    "R4.2 the same but for the record": (
        [visit(84, "a", cdai=140), visit(84, "b", cdai=150)],
        {"a": ("smaller_record", "smaller_record"), "b": ("used", "used")},
    ),
    "R4.2 on target, without the value": (
        [visit(84, "a", hbi=4), visit(95, "b", cdai=150)],
        {"a": ("no_value", "no_value"), "b": ("used", "used")},
    ),
    "R1.8 no haematocrit to be had": (
        [visit(84, "a", cdai_components={"liquid_stools": 14, "abdominal_pain": 7, "wellbeing": 7, "complications": [],
                                         "antidiarrhoeal": False, "abdominal_mass": 0, "weight_kg": 60})],
        {"a": ("incomplete", "incomplete")},
    ),
    "R4.4 retracted": (
        [visit(84, "a", cdai=140), retraction(visit(84, "a"), 2), visit(90, "b", cdai=150)],
        {"a": ("retracted", "retracted"), "b": ("used", "used")},
    ),
    "contract: after consent was withdrawn": (
        [visit(80, "a", cdai=140), visit(81, "b", cdai=150), consent("withdrawn", 80)],
        {"a": ("used", "used"), "b": ("after_consent", "after_consent")},
    ),
    "R4.7 the day before an intercurrent event": (
        [visit(84, "a", cdai=140), rescue(85)], {"a": ("used", "used")},
    ),
    "R4.7 the day of an intercurrent event": (
        [visit(84, "a", cdai=140), visit(70, "b", cdai=150), rescue(84)],
        {"a": ("used", "after_intercurrent_event"), "b": ("farther_from_target", "used")},
    ),
    "R4.7 a fatal event, the last value before it": (
        [visit(49, "a", cdai=200), visit(28, "b", cdai=140),
         adverse_event(50, serious=True, seriousness=["death"], grade=5, outcome="fatal")],
        {"a": ("before_window", "used"), "b": ("before_window", "earlier_date")},
    ),
    "R4.7 the first day that can be carried": (
        [visit(1, "a", cdai=200), visit(0, "b", cdai=210)],
        {"a": ("before_window", "used"), "b": ("before_window", "baseline_not_carried")},
    ),
    "R4.7 a value of the window leaves earlier ones": (
        [visit(50, "a", cdai=200), visit(90, "b", cdai=210)],
        {"a": ("before_window", "before_window"), "b": ("used", "used")},
    ),
}  # fmt: skip


DOSED_AT_NINE = start(effective_at="09:00")
AT_BASELINE: dict[str, tuple[list[Row], dict[str, Any]]] = {
    "R4.5 the first day of the look-back": (
        [visit(-28, "a", cdai=250)], {"a": "farther_from_target", "before": "used"},
    ),
    "R4.5 the day before it": ([visit(-29, "a", cdai=250)], {"a": "before_window"}),
    "R4.5 at the hour of the first dose": (
        [DOSED_AT_NINE, visit(0, "a", cdai=250, at="09:00")], {"a": "used", "before": "farther_from_target"},
    ),
    "R4.5 a minute later": (
        [DOSED_AT_NINE, visit(0, "a", cdai=250, at="09:01")], {"a": "after_first_dose", "before": "used"},
    ),
    "R4.5 at an hour not known": ([DOSED_AT_NINE, visit(0, "a", cdai=250)], {"a": "used"}),
    "R4.1 a day later": ([visit(1, "a", cdai=250)], {"a": "after_window", "before": "used"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def told() -> dict[str, dict[tuple[str, str], Row]]:
    """The CDAIs of every case as they were weighed, by timepoint and record; each case is a patient of one store."""
    cases = {case: events for case, (events, _) in (WEEK_12 | AT_BASELINE).items()}
    names = {case: f"W12-{number:04}" for number, case in enumerate(cases, start=1)}
    events = [{**e, "patient_id": names[case]} for case in cases for e in usual(cases[case])]
    store = load(emptied(OUTCOMES, on(200)), [events])
    sql = f"SELECT * FROM ({patient_sql(EXPLAINED, 'values_weighed')}) WHERE parameter = 'cdai'"
    return {
        case: {(row["timepoint"], row["record"].partition("/")[2]): row for row in ask(store, sql, name)}
        for case, name in names.items()
    }


@pytest.mark.parametrize("case", WEEK_12)
def test_week_12_says_why_a_record_is_used_or_passed_over(
    case: str, told: dict[str, dict[tuple[str, str], Row]]
) -> None:
    events, expected = WEEK_12[case]
    found = {
        name: (row["observed"], row["carried"])
        for (time, name), row in told[case].items()
        if time == "week_12"
    }
    assert {name: found[name] for name in expected} == expected
    assert found.keys() == {e["event_id"] for e in events if e["event_type"] == "visit"} | {"before"}


@pytest.mark.parametrize("case", AT_BASELINE)
def test_baseline_says_why_a_record_is_used_or_passed_over(
    case: str, told: dict[str, dict[tuple[str, str], Row]]
) -> None:
    expected = AT_BASELINE[case][1]
    found = {
        name: (row["observed"], row["carried"])
        for (time, name), row in told[case].items()
        if time == BASELINE
    }
    assert {name: found[name] for name in expected} == {name: (why, None) for name, why in expected.items()}


def test_a_corrected_version_is_told_with_its_own_value_and_the_version_that_counts() -> None:
    events = [
        visit(84, "a", cdai=140),
        visit(84, "a", cdai=160, version=3),
        visit(84, "a", cdai=150, version=2),
    ]
    found = {
        r["version"]: (r["value"], r["observed"], r["winning_version"])
        for r in weigh(events)
        if r["record"] == "site-a/a"
    }
    assert found == {3: (160, "used", None), 1: (140, "superseded", 3), 2: (150, "superseded", 3)}  # fmt: skip


def test_of_two_contents_of_one_version_the_other_is_told() -> None:
    found = weigh([visit(84, "a", cdai=140), visit(84, "a", cdai=160)])
    mine = [r for r in found if r["record"] == "site-a/a"]
    assert sorted(r["observed"] for r in mine) == ["conflicting", "used"]
    assert {r["value"] for r in mine} == {140, 160}


def test_a_record_to_come_is_told_with_its_day() -> None:
    found = weigh([visit(80, "a", cdai=140), visit(85, "b", cdai=150)], today=80)
    assert {r["record"]: r["observed"] for r in found if r["study_offset"] > 0} == {
        "site-a/a": "used",
        "site-a/b": "after_as_of",
    }


def test_a_version_that_does_not_count_borrows_nothing() -> None:
    parts = {"liquid_stools": 14, "abdominal_pain": 7, "wellbeing": 7, "complications": [], "antidiarrhoeal": False,
             "abdominal_mass": 0}  # fmt: skip
    # No points for either in a woman of 165 cm, whose standard weight is 1.65 x 1.65 x 20.8 kg (R1.4, R1.5).
    whole = parts | {"haematocrit_pct": 42, "weight_kg": 56.628}
    events = [visit(84, "a", cdai_components=whole, version=v, weight_kg=56.628) for v in (1, 2)]
    events[0]["cdai_components"] = whole | {"liquid_stools": 21}
    other = visit(84, "a", cdai_components=parts, weight_kg=56.628, version=3)
    found = {
        r["version"]: (r["value"], r["observed"], r["imputed"])
        for r in weigh([*events, other, visit(80, "b", cdai_components=whole)])
        if r["record"] == "site-a/a"
    }
    # 2 x 21 + 5 x 7 + 7 x 7 = 126; 2 x 14 + 35 + 49 = 112, of version 3 with the haematocrit of day 80
    assert found == {1: (126, "superseded", False), 2: (112, "superseded", False), 3: (112, "used", False)}
    retracted = [other, visit(80, "b", cdai_components=whole), retraction(other, 4)]
    assert [r for r in weigh(retracted) if r["record"] == "site-a/a"] == []  # it has no CDAI by itself


# -- the same as the tables --------------------------------------------------------------------------------------


COMPETING = ("farther_from_target", "earlier_date", "less_scheduled", "earlier_time", "smaller_record")


def crowded(number: int) -> list[Row]:
    """A patient with many visits around day 0 and day 84, of all kinds, at a few hours of the day."""
    chance, person = Random(number), {"patient_id": f"W12-{number:04}"}

    def one(event_id: int) -> Row:
        at = chance.choice([None, "08:00", "09:00"])
        kind = chance.choice(["scheduled", "scheduled", "retest", "unscheduled"])
        offset = (
            chance.choice([0, -1, 1])
            if event_id % 2
            else 84 + chance.choice([-1, 1] if number % 2 else [-5, 0])
        )
        return visit(
            offset, f"{number}-{event_id}", cdai=chance.randint(100, 300), visit_kind=kind, at=at, **person
        )

    return [
        enrolment(event_id=f"{number}-e", **person),
        start(event_id=f"{number}-s", effective_at="08:00", **person),
        rescue(84, event_id=f"{number}-r", **person),
        *map(one, range(24)),
    ]


@pytest.fixture(scope="module")
def registry() -> EventStore:
    """A simulated registry, disorder and all, under three protocols, in the midst of it; and some crowded patients."""
    disorder = {"late": 0.1, "duplicates": 0.04, "corrections": 0.08, "retractions": 0.03}
    plan = RegistryPlan(patients=8, sites=3, events=200, seed=7, until=date(2025, 12, 31), **disorder)
    store = emptied(OUTCOMES, date(2025, 6, 30), ALL)
    events = [json.loads(line) for line in stream_registry(plan)]
    return load(store, [[*events, *(event for number in range(1, 5) for event in crowded(number))]])


@pytest.fixture(scope="module")
def documents(registry: EventStore) -> dict[str, Row]:
    """The whole explanation of every patient."""
    patients = rows(registry, "SELECT patient_id FROM patients ORDER BY patient_id")
    return {row["patient_id"]: explained(registry, row["patient_id"]) for row in patients}


def kleene(clauses: list[Row]) -> bool | None:
    """All of the clauses, each any of its comparisons; three-valued (R0.2)."""
    answers = []
    for clause in clauses:
        each = [comparison["met"] for comparison in clause["any_of"]]
        answers.append(True if True in each else None if None in each else False)
        assert answers[-1] is clause["met"]
    return False if False in answers else None if None in answers else True


def test_an_explanation_says_what_the_tables_say_for_every_row(
    registry: EventStore, documents: dict[str, Row]
) -> None:
    expected = {
        (r["patient_id"], r["protocol"], r["timepoint"], r["endpoint"]): r
        for r in rows(registry, "FROM patient_outcomes")
    }
    seen = set()
    for patient, document in documents.items():
        for protocol in document["protocols"]:
            for timepoint in protocol["timepoints"]:
                for outcome in timepoint["outcomes"]:
                    key = (patient, protocol["protocol"], timepoint["timepoint"], outcome["endpoint"])
                    assert outcome == outcome | without(expected[key], "patient_id", "protocol", "timepoint")
                    check_against_values(protocol, timepoint, outcome)
                    seen.add(key)
    assert seen == expected.keys()


def without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def check_against_values(protocol: Row, timepoint: Row, outcome: Row) -> None:
    """Records, windows, comparisons and intercurrent events tell the same as the outcome's own columns."""
    here = {v["parameter"]: v for v in timepoint["values"] if v["parameter"] in outcome["parameters"]}
    (baseline,) = [t for t in protocol["timepoints"] if t["timepoint"] == BASELINE]
    before = {v["parameter"]: v for v in baseline["values"] if v["parameter"] in outcome["parameters"]}
    used = {
        record["record"]
        for value in (*before.values(), *here.values())
        for record in value["records"]
        if record["observed"] == "used"
    }
    assert used == set(outcome["event_ids"])
    for value in here.values():
        roles = [r["observed"] for r in value["records"]], [r["carried"] for r in value["records"]]
        assert all(role.count("used") <= 1 for role in roles)
        for record in value["records"]:
            if record["observed"] == "used":
                assert value["window_start"] <= record["on"] <= value["window_end"]
    if outcome["window_start"]:
        lead = here[outcome["parameters"][0]]
        assert (lead["window_start"], lead["window_end"]) == (outcome["window_start"], outcome["window_end"])
    plain = [clause for clause in outcome["criteria"] if "response" not in clause]
    if outcome["status"] in ("provisional", "final") and plain:
        assert kleene(plain) is outcome["observed"]
    if outcome["population"]:
        assert kleene(outcome["belongs_if"]) is True
    events = [event["on_date"] for event in protocol["intercurrent_events"]]
    assert min(events, default=None) == protocol["intercurrent_on"]
    assert outcome["because"]


def compete(record: Row, value: Row, kinds: dict[str, int]) -> list[tuple[Any, str]]:
    """What R4.2 compares, in its order, the smallest first; and the reason of who is not the smallest."""
    at = record["at"]
    return [
        (abs(record["study_offset"] - value["target"]), "farther_from_target"),
        (-record["study_offset"], "earlier_date"),
        (kinds.get(record["record"], 0), "less_scheduled"),
        (-1 if at is None else -60 * at.hour - at.minute - 1_000, "earlier_time"),
    ]


def test_passing_over_follows_the_order_of_r4_2(registry: EventStore, documents: dict[str, Row]) -> None:
    """Recomputed from what is told of the records: each reason is the first comparison that the record loses."""
    ranks = rows(
        registry, "SELECT site_id || '/' || event_id AS record, visit_rank FROM events ORDER BY version"
    )
    kinds = {row["record"]: row["visit_rank"] or 0 for row in ranks}
    reasons = set()
    for document in documents.values():
        for timepoint in document["protocols"][0]["timepoints"]:
            for value in timepoint["values"]:
                reasons |= {record["observed"] for record in value["records"]}
                for used in (r for r in value["records"] if r["observed"] == "used"):
                    best = compete(used, value, kinds)
                    for record in (r for r in value["records"] if r["observed"] in COMPETING):
                        pairs = zip(compete(record, value, kinds), best, strict=True)
                        unequal = [
                            (mine > theirs, why) for (mine, why), (theirs, _) in pairs if mine != theirs
                        ]
                        assert (unequal or [(True, "smaller_record")])[0] == (True, record["observed"])
                        assert unequal or record["record"].encode() < used["record"].encode()
                for record in value["records"]:
                    inside = value["opens"] <= record["study_offset"] <= value["closes"]
                    assert (record["observed"] in ("before_window", "after_window")) <= (not inside)
    assert reasons >= {
        *COMPETING,
        "used",
        "before_window",
        "after_window",
        "superseded",
        "retracted",
        "no_value",
    }


def test_a_patient_who_was_never_treated_has_no_windows() -> None:
    store = emptied(OUTCOMES, on(200))
    load(store, [[enrolment(), visit(84, cdai=140)]])
    (protocol,) = explained(store, timepoint="week_12", endpoint="clinical_remission")["protocols"]
    (value,) = protocol["timepoints"][-1]["values"]
    (outcome,) = protocol["timepoints"][-1]["outcomes"]
    assert (protocol["drug"], value["window_start"], value["records"]) == (None, None, [])
    assert outcome["because"][0] == "Not applicable: never started an index drug."


def test_an_intercurrent_event_is_named_with_its_record() -> None:
    store = emptied(OUTCOMES, on(200))
    load(
        store,
        [[enrolment(), start(), stop(60, "lack_of_efficacy"), visit(-3, cdai=300), visit(84, cdai=140)]],
    )
    (protocol,) = explained(store, timepoint="week_12", endpoint="clinical_remission")["protocols"]
    (event,) = protocol["intercurrent_events"]
    assert (event["text"], event["study_offset"]) == ("stopped for lack of efficacy", 60)
    (outcome,) = protocol["timepoints"][-1]["outcomes"]
    assert (outcome["observed"], outcome["nri"]) == (True, False)
    assert f"as an intercurrent event on {on(60)} came before the value" in " ".join(outcome["because"])


def test_comparisons_are_told_with_their_numbers_and_limits() -> None:
    store = emptied(OUTCOMES, on(200))
    load(store, [[enrolment(), start(), visit(-3, cdai=220, ses_cd=12), visit(84, cdai=150, ses_cd=6),
                  lab("crp", -1, 12, ref_high=6), lab("crp", 84, "<5", ref_high=6)]])  # fmt: skip
    outcomes = {
        o["endpoint"]: o
        for o in explained(store, timepoint="week_12")["protocols"][0]["timepoints"][-1]["outcomes"]
    }

    def told(endpoint: str) -> list[tuple[str, str, bool | None]]:
        clauses = outcomes[endpoint]["criteria"]
        return [(c["criterion"], c["numbers"], c["met"]) for clause in clauses for c in clause["any_of"]]

    assert told("clinical_remission") == [("CDAI below 150", "150", False)]
    assert told("cr70") == [("CDAI lower by 70 or more", "220 to 150, 70 lower", True)]
    assert told("endoscopic_response_gt50") == [
        ("SES-CD lower by more than 50 % (from 4: by 2 or more)", "12 to 6, 6 lower (50 %)", False)
    ]
    assert told("mucosal_healing_ses0") == [("SES-CD 0", "6", False)]
    assert told("crp_normalisation") == [
        ("CRP raised at baseline, now within the laboratory's limit", "12 (limit 6) to <5 (limit 6)", True)
    ]
    assert told("hbi_remission") == [("HBI below 5", "no value", None)]
    assert told("steroid_free_remission")[1] == (
        "no systemic corticosteroid on the day of the CDAI", "nothing recorded about steroids", None,
    )  # fmt: skip


def test_a_delayed_response_is_explained_at_both_times() -> None:
    store = emptied(OUTCOMES, on(400))
    load(store, [[enrolment(), start(), visit(-3, cdai=300), visit(84, cdai=250), visit(168, cdai=150)]])
    (protocol,) = explained(store, endpoint="delayed_response")["protocols"]
    assert [t["timepoint"] for t in protocol["timepoints"]] == [BASELINE, "week_12", "week_24"]
    (outcome,) = protocol["timepoints"][-1]["outcomes"]
    assert outcome["observed"] is True
    by_cdai = [c for c in outcome["criteria"] if c["response"] == 2]
    assert [(c["timepoint"], c["met"]) for c in by_cdai] == [("week_12", False), ("week_24", True)]


# -- over HTTP -------------------------------------------------------------------------------------------------------


async def test_the_api_narrows_to_what_is_asked_for(cohort: Reading) -> None:
    wanted = {"protocol": "fu2025", "timepoint": "week_12", "endpoint": "clinical_remission"}
    answer = await cohort.get("/v1/patients/CD-0067/explain", **wanted)
    assert answer.status_code == 200
    (protocol,) = answer.json()["protocols"]
    assert [t["timepoint"] for t in protocol["timepoints"]] == [BASELINE, "week_12"]
    assert [[o["endpoint"] for o in t["outcomes"]] for t in protocol["timepoints"]] == [
        [],
        ["clinical_remission"],
    ]
    (row,) = [
        r
        for r in (await cohort.get("/v1/patients/CD-0067")).json()["outcomes"]
        if (r["timepoint"], r["endpoint"]) == ("week_12", "clinical_remission")
    ]
    told = protocol["timepoints"][1]["outcomes"][0]
    assert {name: told[name] for name in row if name in told} == {n: v for n, v in row.items() if n in told}


async def test_the_api_is_as_of_the_day_asked_for(cohort: Reading) -> None:
    first_dose = (await cohort.get("/v1/patients/CD-0067")).json()["patient"]["first_dose_on"]
    day = date.fromisoformat(first_dose) + timedelta(days=30)
    answer = await cohort.get(
        "/v1/patients/CD-0067/explain", as_of=day.isoformat(), timepoint="week_12", endpoint="cr100"
    )
    told = answer.json()["protocols"][0]["timepoints"][1]
    assert answer.json()["as_of"] == day.isoformat() < CUT.isoformat()
    assert told["outcomes"][0]["status"] == "not_due"
    assert {r["observed"] for r in told["values"][0]["records"] if r["study_offset"] > 30} == {"after_as_of"}


@pytest.mark.parametrize(
    ("who", "patient", "query", "status"),
    [
        (None, "CD-0067", {}, 401),
        ("sender", "CD-0067", {}, 403),
        ("lead", "CD-9999", {}, 404),
        ("lead", "CD-0067", {"timepoint": "week_13"}, 422),
        ("lead", "CD-0067", {"protocol": "other"}, 422),
        ("lead", "CD-0067", {"as_of": "2999-01-01"}, 422),
    ],
)
async def test_the_api_refuses(
    cohort: Reading, who: str | None, patient: str, query: dict[str, str], status: int
) -> None:
    answer = await cohort.get(f"/v1/patients/{patient}/explain", who, **query)
    assert answer.status_code == status
    assert patient not in answer.text


async def test_a_patient_of_another_centre_is_not_there(cohort: Reading) -> None:
    sites = {r["patient_id"]: r["site_id"] for r in await cohort.rows("/v1/outcomes", limit=1000)}
    for patient, site in list(sites.items())[:3]:
        answer = await cohort.get(f"/v1/patients/{patient}/explain", "clinic", endpoint="cr100")
        assert answer.status_code == (200 if site == "S01" else 404)


def test_a_name_the_protocols_do_not_have_is_named_with_those_they_have(registry: EventStore) -> None:
    patient = rows(registry, "SELECT min(patient_id) AS p FROM patients")[0]["p"]
    with pytest.raises(UnknownNameError, match="protocol: is none of fu2025, u_exceed, stride2"):
        explained(registry, patient, protocol="fu2024")

"""The synthetic study cohort: valid, current, plausible."""

import json
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, time
from statistics import mean, stdev
from typing import Any

import pytest

from schemas import parse_event
from services.simulation.fu2025 import generate
from services.simulation.fu2025.example import EXAMPLES, example_files
from services.simulation.fu2025.plan import Clinical, draw_plan

LYMPHOCYTES = ("lymphocytes", "731-0")
PER_1E9 = {"10*9/L": 1, "10*3/uL": 1, "/uL": 1000, "10*6/L": 1000}
LOWER_LIMIT = 1.1


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return generate()


def of_type(events: list[dict[str, Any]], event_type: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event_type"] == event_type]


def test_example_files_are_current() -> None:
    """Write them again with `python -m services.simulation.fu2025`."""
    for path, text in example_files().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not what the generator writes"


@pytest.mark.parametrize("name", ["cohort.jsonl", "stream.jsonl"])
def test_every_event_is_valid(name: str) -> None:
    for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines():
        parse_event(line)


def test_same_seed_same_cohort_other_seed_other_patients() -> None:
    assert generate(7) == generate(7)
    assert generate(7) != generate(8)


def test_94_patients_of_four_centres_each_with_one_enrolment_and_consent(
    events: list[dict[str, Any]],
) -> None:
    enrolled = [event["patient_id"] for event in of_type(events, "enrolment")]
    assert len(enrolled) == len(set(enrolled)) == 94
    assert {event["site_id"] for event in events} == {"S01", "S02", "S03", "S04"}
    assert {e["patient_id"] for e in of_type(events, "consent")} == set(enrolled)


def test_records_are_unique(events: list[dict[str, Any]]) -> None:
    records = Counter((event["site_id"], event["event_id"]) for event in events)
    assert max(records.values()) == 1


def test_everything_is_recorded_by_the_cut_and_not_before_it_happened(events: list[dict[str, Any]]) -> None:
    cut = datetime.combine(date(2025, 2, 28), time.max, UTC)
    for event in events:
        recorded = datetime.fromisoformat(event["recorded_at"])
        happened = [date.fromisoformat(value) for name, value in event.items() if name.endswith("_on")]
        assert max(happened) <= recorded.date()
        assert recorded <= cut


def test_every_habit_of_reporting_occurs(events: list[dict[str, Any]]) -> None:
    visits, labs = of_type(events, "visit"), of_type(events, "lab")
    diaries = [v["cdai_components"]["liquid_stools"] for v in visits if "cdai_components" in v]
    assert {type(diary) for diary in diaries} == {int, list}
    assert sum("cdai" in v for v in visits) > 3 * len(diaries)
    scores = Counter(("ses_cd" in v, "ses_cd_segments" in v) for v in visits)
    assert min(scores[True, False], scores[True, True], scores[False, True]) > 5
    assert {"mg/L", "mg/dL", "ug/mL", "ug/g", "mg/kg", "ng/mg", "/uL"} <= {lab["unit"] for lab in labs}
    assert {str(lab["value"])[0] for lab in labs} > {"<", ">"}
    actions = {t["action"] for t in of_type(events, "treatment")}
    assert actions == {"start", "dose_change", "interrupt", "resume", "stop", "rescue"}


def test_lymphopenia_is_the_commonest_term_and_some_events_are_serious(events: list[dict[str, Any]]) -> None:
    adverse = of_type(events, "adverse_event")
    patients = defaultdict(set)
    for event in adverse:
        patients[event["term"]].add(event["patient_id"])
    commonest, second = sorted(map(len, patients.values()), reverse=True)[:2]
    assert len(patients["Lymphopenia"]) == commonest > second
    assert 3 <= sum(event["serious"] for event in adverse) <= 8
    assert sum(event["grade"] >= 3 for event in adverse) >= 4
    assert max(event["grade"] for event in adverse) == 3


def test_lymphocyte_counts_agree_with_reported_lymphopenia(events: list[dict[str, Any]]) -> None:
    """Below the limit exactly from onset until the end of a report, with the grade of R5.1."""
    reports = {e["patient_id"]: e for e in of_type(events, "adverse_event") if e["term"] == "Lymphopenia"}
    low: dict[str, list[float]] = defaultdict(list)
    for lab in of_type(events, "lab"):
        if lab["analyte"] not in LYMPHOCYTES:
            continue
        value = lab["value"] / PER_1E9[lab["unit"]]
        report = reports.get(lab["patient_id"])
        lasting = report and report["onset_on"] <= lab["collected_on"] < report["resolved_on"]
        assert (value < LOWER_LIMIT) == bool(lasting)
        if lasting:
            low[lab["patient_id"]].append(value)
    grades = {patient: 3 if min(v) < 0.5 else 2 if min(v) < 0.8 else 1 for patient, v in low.items()}
    assert grades == {patient: report["grade"] for patient, report in reports.items()}


def test_remitters_start_lower() -> None:
    """Enough for a logistic regression to find: Welch's t beyond 3 for CDAI and for SES-CD."""
    seen = [p for p in draw_plan(2025) if p.clinical is not Clinical.ABSENT]
    totals: dict[str, int] = {}
    for visit in of_type(generate(), "visit"):
        segments = visit.get("ses_cd_segments")
        if segments or "ses_cd" in visit:
            score = sum(sum(s.values()) for s in segments.values() if s) if segments else visit["ses_cd"]
            totals.setdefault(visit["patient_id"], score)
    cdai = [[p.cdai[0] for p in seen if p.remission is group] for group in (True, False)]
    ses_cd = [
        [totals[p.patient_id] for p in seen if p.remission is group and p.patient_id in totals]
        for group in (True, False)
    ]
    assert welch(*cdai) < -3
    assert welch(*ses_cd) < -3


def welch(a: list[float], b: list[float]) -> float:
    return (mean(a) - mean(b)) / (stdev(a) ** 2 / len(a) + stdev(b) ** 2 / len(b)) ** 0.5


def test_stream_tells_the_same_patients() -> None:
    texts = [(EXAMPLES / name).read_text(encoding="utf-8") for name in ("cohort.jsonl", "stream.jsonl")]
    cohort, stream = ([json.loads(line) for line in text.splitlines()] for text in texts)
    assert {e["patient_id"] for e in stream} == {e["patient_id"] for e in cohort}
    assert len(stream) > 1.1 * len(cohort)

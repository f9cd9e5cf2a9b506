"""`week12 explain` on stores at rest: for reading, for programs, and one line where something is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from stores import OUTCOMES, SAFETY, load, open_store
from twin.builders import adverse_event, enrolment, on, rescue, start, visit

from services.broker.process import free_port
from services.cli import main

PATIENT = "W12-0001"
EVENTS: list[dict[str, Any]] = [
    enrolment(),
    start(),
    visit(-3, cdai=300),
    visit(80, cdai=140),
    visit(88, cdai=150),
    visit(88, cdai=130, version=2, recorded_at="2026-01-02T12:00:00+00:00"),
    rescue(85),
    adverse_event(30, "ae-1", serious=True, term="Pneumonia", grade=3),
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stores of the usual patient, as of day 200."""
    folder = tmp_path_factory.mktemp("stores")
    for definition in (OUTCOMES, SAFETY):
        store = open_store(definition, on(200), folder / f"{definition.name}.duckdb")
        load(store, [EVENTS]).close()
    return folder


def explain(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["explain", *arguments], env={"WEEK12_TOKEN": None, **environment})


def test_a_clinician_reads_why(stores: Path) -> None:
    narrowed = ("--timepoint", "week_12", "--endpoint", "clinical_remission")
    result = explain(PATIENT, "--store", str(stores), *narrowed)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert [line for line in lines if line in EXPECTED] == EXPECTED


EXPECTED = [
    f"Patient W12-0001, centre site-a, as of {on(200)}",
    "Protocol fu2025, version 2",
    "upadacitinib since 2024-01-01 (day 0), still taken",
    "intercurrent event: rescue treatment, prednisolone on 2024-03-26 (day 85), site-a/prednisolone-rescue-85",
    "used: 300 on 2023-12-29 (day -3), site-a/visit--3 version 1",
    "CDAI: window day 70 to 98 (2024-03-11 to 2024-04-08), target day 84",
    "used: 130 on 2024-03-29 (day 88), site-a/visit-88 version 2",
    "passed over: 140 on 2024-03-21 (day 80), site-a/visit-80 version 1: "
    "the later of two equally near, or the last before the window, is used (R4.2)",
    "passed over: 150 on 2024-03-29 (day 88), site-a/visit-88 version 1: corrected by version 2 (R4.4)",
    "before the window (R4.1): 300 (day -3, site-a/visit--3)",
    "clinical_remission: yes (final, R2.4); missing = failure: no, carried forward: yes",
    "CDAI below 150: yes (130)",
    "counted if at baseline CDAI 150 or more: yes (300)",
    "The window ended on 2024-04-08, with a value.",
    "Missing = failure: no, as an intercurrent event on 2024-03-26 came before the value or with it (R4.7).",
    "Carried forward: CDAI 140 of day 80, site-a/visit-80 (R4.7).",
    "site-a/visit-88 version 1, visit of 2024-03-29: corrected by version 2 (R4.4)",
    "high: Serious adverse event: Pneumonia (open)",
    "rule serious_event; hospitalisation",
]


def test_a_program_reads_the_same_with_the_alerts(stores: Path) -> None:
    result = explain(PATIENT, "--store", str(stores), "--format", "json", "--as-of", on(75).isoformat())
    document = json.loads(result.stdout)
    assert (document["as_of"], document["patient"]["patient_id"]) == (on(75).isoformat(), PATIENT)
    (week_12,) = [t for t in document["protocols"][0]["timepoints"] if t["timepoint"] == "week_12"]
    assert {outcome["status"] for outcome in week_12["outcomes"]} == {"open", "not_applicable"}
    assert {(alert["rule"], alert["event_id"]) for alert in document["alerts"]} == {
        ("serious_event", "ae-1"),
        ("grade_3_plus", "ae-1"),
    }


def test_what_was_known_then_is_told_without_the_correction(stores: Path) -> None:
    narrowed = ("--timepoint", "week_12", "--endpoint", "clinical_remission", "--known-at", "2026-01-01")
    result = explain(PATIENT, "--store", str(stores), *narrowed)
    assert f"as of {on(200)}, as known on 2026-01-01" in result.stdout
    assert "CDAI below 150: no (150)" in result.stdout
    assert "corrected" not in result.stdout


def test_a_folder_without_alerts_says_so(stores: Path, tmp_path: Path) -> None:
    (tmp_path / "outcomes.duckdb").write_bytes((stores / "outcomes.duckdb").read_bytes())
    result = explain(PATIENT, "--store", str(tmp_path), "--endpoint", "cr100")
    assert result.exit_code == 0
    assert result.stderr.startswith("alerts are not shown: there is no safety store")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["W12-9999"], "Error: there is no patient of that name, or it is not yours to see\n"),
        ([PATIENT, "--timepoint", "week_3"], "Error: timepoint: is none of baseline, week_2, "),
        ([PATIENT, "--protocol", "other"], "Error: protocol: is none of fu2025\n"),
        ([PATIENT, "--endpoint", "other"], "Error: endpoint: is none of clinical_response, "),
    ],
)
def test_what_is_not_there_is_one_line(stores: Path, arguments: list[str], said: str) -> None:
    result = explain(*arguments, "--store", str(stores))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_without_stores_at_rest_a_service_and_a_token_are_needed(tmp_path: Path) -> None:
    nowhere = {"WEEK12_DATA_DIR": str(tmp_path), "WEEK12_OUTCOMES_PORT": str(free_port())}
    assert explain(PATIENT, "--store", str(tmp_path)).stderr == (
        f"Error: {tmp_path} holds no outcomes.duckdb: name another with --store\n"
    )
    assert "set WEEK12_TOKEN" in explain(PATIENT, **nowhere).stderr
    assert "outcomes does not answer at " in explain(PATIENT, "--token", "secret", **nowhere).stderr

"""`week12 replay --protocol`: who changes class between two protocols, and why."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from stores import OUTCOMES, load, open_store
from twin.builders import enrolment, on, start, visit

from schemas.protocol import load_protocol
from schemas.protocol_words import reasons_to_differ
from services.cli import main

WEEK_12 = ("--timepoint", "week_12")
LIMIT = "[endpoint.clinical_remission]\nbelow = 121\n"
WINDOW = "[timepoint.week_12]\nclinical = [80, 90]\n"
ENDOSCOPIC = "[timepoint.week_12]\nendoscopy = [60, 130]\n"
FALL = "[endpoint.cr70]\nat_least = 71\n"


def ours(folder: Path, fields: str) -> str:
    path = folder / "ours.toml"
    path.write_text(f'extends = ["fu2025"]\ntitle = "Ours"\nversion = "9"\n{fields}')
    return str(path)


@pytest.mark.parametrize(
    ("fields", "endpoint", "alike", "named"),
    [
        (LIMIT, "clinical_remission", True, {"endpoint.clinical_remission.below"}),
        (LIMIT, "steroid_free_remission", True, {"endpoint.clinical_remission.below"}),  # rests on it
        (LIMIT, "cr70", True, set()),
        (WINDOW, "cr70", False, {"timepoint.week_12.clinical"}),
        (WINDOW + FALL, "cr70", False, {"timepoint.week_12.clinical", "endpoint.cr70.at_least"}),
        (WINDOW + FALL, "cr70", True, {"endpoint.cr70.at_least"}),  # both judged the same values
        (WINDOW, "cr70", True, {"timepoint.week_12.clinical"}),  # nothing else can be why
        ("[settings]\nhct_mode = 'signed'\n", "clinical_remission", False, {"settings.hct_mode"}),
        ("[settings]\nmissing = ['nri']\n", "clinical_remission", False, set()),
        ("[parameter.crp]\ninclusive = false\n", "crp_normalisation", True, {"parameter.crp.inclusive"}),
        ("[parameter.crp]\ninclusive = false\n", "esr_normalisation", True, set()),
    ],
)
def test_the_definitions_that_can_be_why(
    tmp_path: Path, fields: str, endpoint: str, alike: bool, named: set[str]
) -> None:
    pair = load_protocol("fu2025"), load_protocol(ours(tmp_path, fields))
    found = reasons_to_differ(*pair, "week_12", endpoint, chosen_alike=alike)
    assert {path for path, *_ in found} == named


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients with a CDAI of 120, 149 and 150: on days 84, 75 and 84."""
    folder = tmp_path_factory.mktemp("store")
    events: list[dict[str, Any]] = []
    for number, (cdai, day) in enumerate(((120, 84), (149, 75), (150, 84)), start=1):
        who = {"patient_id": f"W12-000{number}"}
        events += [enrolment(**who), start(**who), visit(-1, cdai=400, **who), visit(day, cdai=cdai, **who)]
    opened = load(open_store(OUTCOMES, on(400), folder / "outcomes.duckdb"), [events])
    opened.close()
    return folder


def replay(store: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["replay", "--store", str(store), *options])


def changes(path: Path, endpoint: str) -> set[tuple[str, ...]]:
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["endpoint"] == endpoint]
    columns = ("patient_id", "timepoint", "measure", "was", "became", "value_was", "value_became", "because")
    return {tuple(row[column] for column in columns) for row in rows}


def test_a_stricter_limit_turns_who_lies_between(store: Path, tmp_path: Path) -> None:
    done = replay(
        store, "--protocol", ours(tmp_path, LIMIT), "--out", str(tmp_path / "changes.csv"), *WEEK_12
    )
    assert done.exit_code == 0, done.stderr
    why = "endpoint.clinical_remission.below: 150 -> 121"
    assert changes(tmp_path / "changes.csv", "clinical_remission") == {
        ("W12-0002", "week_12", measure, "true", "false", "149", "149", why)
        for measure in ("observed", "nri", "locf")
    }
    assert changes(tmp_path / "changes.csv", "cr70") == set()
    assert "1 patients change class from fu2025" in done.stdout
    assert "W12-0002" in done.stdout
    assert "W12-0001" not in done.stdout


def test_a_narrower_window_loses_a_value(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "changes.json"
    done = replay(store, "--protocol", ours(tmp_path, WINDOW), "--out", str(path), *WEEK_12)
    assert done.exit_code == 0, done.stderr
    found = [row for row in json.loads(path.read_text()) if row["endpoint"] == "clinical_remission"]
    assert {(row["patient_id"], row["measure"], row["was"], row["became"]) for row in found} == {
        ("W12-0002", "status", "final", "missed"),
        ("W12-0002", "observed", "true", None),
        ("W12-0002", "nri", "true", "false"),
    }  # day 75 is carried forward, so `locf` stays
    assert {(row["value_was"], row["value_became"], row["because"]) for row in found} == {
        ("149", None, "timepoint.week_12.clinical: 70, 98 -> 80, 90")
    }
    assert {row["timepoint"] for row in json.loads(path.read_text())} == {"week_12"}


def test_nobody_changes_class_between_equals(store: Path, tmp_path: Path) -> None:
    done = replay(store, "--protocol", ours(tmp_path, ""), "--out", str(tmp_path / "none.json"))
    assert (done.exit_code, json.loads((tmp_path / "none.json").read_text())) == (0, [])
    assert "nobody changes class from fu2025 to ours" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--protocol", "fu2025", "--out", "changes.txt"], "ends in .csv or .json"),
        (["--out", "changes.csv"], "give --protocol too"),
        (["--protocol", "nowhere"], "nowhere"),
        (["--protocol", "stride2", "--timepoint", "week_99"], "--timepoint week_99"),
    ],
)
def test_what_cannot_be_done_is_said(store: Path, options: list[str], said: str) -> None:
    done = replay(store, *options)
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr

"""`week12 query`: reads both stores, can do nothing else, and says what is wrong in one line."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result
from stores import OUTCOMES, SAFETY, open_store

from services.broker.process import free_port
from services.cli import main
from services.stream.files import compute_stores

COMMON = {"site_id": "S01", "patient_id": "CD-0001", "version": 1, "recorded_at": "2025-01-02T09:00:00Z"}
EVENTS: list[dict[str, Any]] = [
    {
        "event_type": "enrolment",
        "event_id": "e1",
        "enrolled_on": "2025-01-01",
        "diagnosis": "CD",
        "sex": "female",
        "birth_year": 1990,
    },
    {
        "event_type": "treatment",
        "event_id": "t1",
        "drug": "upadacitinib",
        "action": "start",
        "effective_on": "2025-01-02",
    },
    {
        "event_type": "adverse_event",
        "event_id": "a1",
        "recorded_at": "2025-01-10T09:00:00Z",
        "term": "Headache",
        "onset_on": "2025-01-10",
        "grade": 1,
        "serious": False,
        "related": "possible",
        "action_taken": "none",
        "outcome": "recovered",
    },
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stores of one patient treated since 2 January 2025, with a headache on 10 January."""
    folder = tmp_path_factory.mktemp("stores")
    lines = folder / "events.jsonl"
    lines.write_text("".join(json.dumps({**COMMON, **event}) + "\n" for event in EVENTS))
    opened = [open_store(d, date(2025, 2, 1), folder / f"{d.name}.duckdb") for d in (OUTCOMES, SAFETY)]
    loaded = compute_stores([lines], opened)
    assert not loaded.rejects
    for store in opened:
        store.close()
    return folder


def query(folder: Path, sql: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["query", sql, "--store", str(folder), *options])


def values(folder: Path, sql: str, *options: str) -> list[dict[str, Any]]:
    result = query(folder, sql, "--format", "json", *options)
    assert result.exit_code == 0, result.stderr
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def test_names_of_both_stores_stand_unqualified(stores: Path) -> None:
    rows = values(
        stores,
        "SELECT drug, patients_with_event AS n, (SELECT count(*) FROM patient_outcomes) > 0 AS outcomes "
        "FROM incidence WHERE site_id IS NULL AND event_group = 'any'",
    )
    assert rows == [{"drug": "upadacitinib", "n": 1, "outcomes": True}]


def test_a_name_that_both_have_means_outcomes_and_can_be_qualified(stores: Path) -> None:
    assert values(stores, "SELECT sex FROM patients") == [{"sex": "female"}]
    assert values(stores, "SELECT patient_id FROM safety.patients") == [{"patient_id": "CD-0001"}]


@pytest.mark.parametrize(("day", "patients"), [("2025-01-09", 0), ("2025-01-10", 1), ("2025-01-11", 1)])
def test_as_of_a_day_means_that_day(stores: Path, day: str, patients: int) -> None:
    sql = "SELECT patients_with_event AS n FROM incidence WHERE event_group = 'any' AND site_id IS NULL"
    assert values(stores, sql, "--as-of", day) == [{"n": patients}]


@pytest.mark.parametrize(("day", "patients"), [("2025-01-09", 0), ("2025-01-10", 1), ("2025-01-11", 1)])
def test_known_at_a_day_means_what_was_recorded_by_its_end(stores: Path, day: str, patients: int) -> None:
    sql = "SELECT patients_with_event AS n FROM incidence WHERE event_group = 'any' AND site_id IS NULL"
    assert values(stores, sql, "--known-at", day) == [{"n": patients}]
    macro = f"incidence_known('2025-02-01', '{day}')"
    assert values(stores, sql.replace("incidence", macro)) == [{"n": patients}]
    assert values(stores, sql, "--as-of", "2025-01-05", "--known-at", day) == [{"n": 0}]


def test_as_of_a_day_before_the_first_dose_nobody_is_treated(stores: Path) -> None:
    assert values(stores, "FROM incidence", "--as-of", "2025-01-01") == []
    assert values(stores, "SELECT count(*) AS n FROM cohort_rates", "--as-of", "2025-01-01") == [{"n": 0}]
    sql = (
        "SELECT status FROM patient_outcomes WHERE (timepoint, endpoint) = ('week_12', 'clinical_remission')"
    )
    later = values(stores, sql, "--as-of", "2025-01-31")
    assert later == [{"status": "not_due"}]


def test_macros_read_their_own_store(stores: Path) -> None:
    sql = "SELECT count(*) AS n FROM incidence_at('2025-02-01') AS i, cohort_rates_at('2025-02-01') AS c"
    assert values(stores, sql)[0]["n"] > 0


def test_csv_and_table(stores: Path) -> None:
    sql = "SELECT term, onset_on, serious, NULL AS nothing FROM adverse_events"
    table = query(stores, sql)
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["term", "onset_on", "serious", "nothing"],
        ["Headache", "2025-01-10", "false"],
    ]
    rows = list(csv.reader(io.StringIO(query(stores, sql, "--format", "csv").stdout)))
    assert rows == [["term", "onset_on", "serious", "nothing"], ["Headache", "2025-01-10", "false", ""]]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", 'Error: Parser Error: syntax error at or near "SELEC"'),
        ("FROM nowhere", "Error: Catalog Error: Table with name nowhere does not exist!"),
        ("DELETE FROM selected", "Error: Invalid Input Error: Cannot execute statement of type"),
        ("COPY (SELECT 1) TO '{folder}/out.csv'", "Error: Permission Error"),
        ("FROM read_csv('/etc/passwd')", "Error: Permission Error"),
        ("ATTACH '{folder}/other.duckdb'", "Error: Permission Error"),
        ("SET enable_external_access = true", "Error: Invalid Input Error: Cannot change configuration"),
    ],
)
def test_what_cannot_be_done_is_one_line(stores: Path, tmp_path: Path, sql: str, said: str) -> None:
    result = query(stores, sql.format(folder=tmp_path))
    assert result.exit_code == 1
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_without_stores_is_one_line(tmp_path: Path) -> None:
    result = query(tmp_path, "SELECT 1")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path} holds neither outcomes.duckdb nor safety.duckdb: name another with --store\n"
    )


def test_a_file_that_is_no_store_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "safety.duckdb").write_text("something else, long enough to be looked at" * 200)
    result = query(tmp_path, "SELECT 1")
    assert result.exit_code == 1
    assert "safety.duckdb cannot be opened as a store" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Path]:
    """A folder whose outcomes store another process holds, as a running service does."""
    path = tmp_path / "outcomes.duckdb"
    duckdb.connect(str(path)).close()
    hold = f"import duckdb; con = duckdb.connect({str(path)!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield tmp_path
        process.kill()


def test_a_store_in_use_is_not_opened_and_needs_a_token(owner: Path) -> None:
    result = query(owner, "SELECT 1")
    assert result.exit_code == 1
    assert "outcomes runs, so a token is needed for its snapshot" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_store_in_use_whose_owner_does_not_answer_is_one_line(
    owner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEEK12_OUTCOMES_PORT", str(free_port()))
    result = query(owner, "SELECT 1", "--token", "x")
    assert result.exit_code == 1
    assert "gave no snapshot (ConnectError)" in result.stderr
    assert result.stderr.count("\n") == 1

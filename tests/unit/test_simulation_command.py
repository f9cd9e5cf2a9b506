"""`week12 simulate` at the command line."""

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from services.cli import main


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments])


def test_writes_json_lines_to_standard_output() -> None:
    result = simulate("--patients", "5", "--events-per-patient", "8")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 40
    assert {"event_type", "patient_id", "recorded_at"} <= orjson.loads(lines[0]).keys()
    assert "40 events of 5 synthetic patients" in result.stderr


def test_writes_a_file_with_exactly_the_events_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "registry.jsonl"
    result = simulate("--patients", "20", "--events", "333", "--disorder", "--out", str(out))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert len(out.read_bytes().splitlines()) == 333


def test_single_shares_override_the_usual_disorder(tmp_path: Path) -> None:
    simulate("--patients", "20", "--disorder", "--retractions", "0", "--out", str(tmp_path / "none"))
    simulate("--patients", "20", "--disorder", "--out", str(tmp_path / "some"))
    assert b'"retracted"' not in (tmp_path / "none").read_bytes()
    assert b'"retracted"' in (tmp_path / "some").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--patients", "100", "--events", "100"], "give more --events, or fewer --patients"),
        (["--until", "0001-01-01"], "say a year from 2000 to 2099"),
        (["--until", "soon"], "--until"),
        (["--out", "/nonexistent/registry.jsonl"], "cannot write /nonexistent/registry.jsonl"),
        (["--late", "2"], "--late"),
    ],
)
def test_errors_say_what_to_do(arguments: list[str], message: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_help_teaches_with_examples() -> None:
    assert "week12 simulate --patients 1000 --sites 8 --seed 1 --disorder | gzip" in simulate("--help").stdout

"""`week12 setup` makes the erasure key once, and says which file."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from services.cli.setup import command
from services.runtime.erasure_key import ErasureKey
from services.runtime.places import places
from services.runtime.settings import load_settings


def test_the_key_is_made_once_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shared" / "erasure.key"
    monkeypatch.setenv("WEEK12_ERASURE_KEY_FILE", str(path))
    first = CliRunner().invoke(command)
    made = ErasureKey.read(path).id
    second = CliRunner().invoke(command)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "is made" in first.stderr
    assert "was there" in second.stderr
    assert ErasureKey.read(path).id == made
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_key_is_named_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "erasure.key"
    path.write_text("short")
    monkeypatch.setenv("WEEK12_ERASURE_KEY_FILE", str(path))
    answer = CliRunner().invoke(command)
    assert answer.exit_code == 1
    assert str(path) in answer.stderr
    assert path.read_text() == "short"


def test_services_elsewhere_are_found_where_the_settings_say() -> None:
    settings = load_settings(host="0.0.0.0", safety_url="http://safety:8122/")
    _, outcomes, safety = places(settings)
    assert outcomes.url == f"http://127.0.0.1:{settings.outcomes_port}"
    assert safety.url == "http://safety:8122"

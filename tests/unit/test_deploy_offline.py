"""What of deploy/ can be checked without Docker: problems in one line, images known by what they are made of."""

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.offline import daemon, images, packages
from deploy.offline.images import IMAGES
from deploy.problems import DeployProblem
from deploy.steps import run, step

ROOT = Path(__file__).parents[2]


def test_a_command_gives_what_it_printed() -> None:
    assert run(sys.executable, "-c", "print('made')") == "made\n"


def test_a_failing_command_is_told_by_its_last_lines_and_without_options() -> None:
    program = "import sys; print('first'); print('why', file=sys.stderr); sys.exit(3)"
    with pytest.raises(DeployProblem, match=r"^`\S+ import sys.* failed: first \| why$"):
        run(sys.executable, "-c", program)


def test_a_command_that_is_not_there_says_how_to_get_it() -> None:
    with pytest.raises(
        DeployProblem, match=r"no-such-program was not found: python3 -m deploy.offline start"
    ):
        run("no-such-program")


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(DeployProblem, match=r"did not end within 0\.1 s"):
        run(sys.executable, "-c", "import time; time.sleep(60)", within=0.1)


def test_a_step_says_whether_it_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with step("made it"):
        pass
    with pytest.raises(ValueError, match="x"), step("made that"):
        raise ValueError("x")
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r" +[0-9.]+ s  made it", first)
    assert re.fullmatch(r" +[0-9.]+ s  FAILED: made that", second)


def test_an_image_is_made_anew_when_any_part_of_it_changed(tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    shutil.copytree(IMAGES["kafka"].folder, folder)
    copied = replace(IMAGES["kafka"], folder=folder)
    assert copied.made_of() == IMAGES["kafka"].made_of()
    (folder / "docker" / "run").write_text("#!/bin/bash\n", encoding="utf-8")
    assert copied.made_of() != IMAGES["kafka"].made_of()
    assert replace(IMAGES["kafka"], packages=("bash",)).made_of() != IMAGES["kafka"].made_of()


def test_an_image_from_elsewhere_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(images, "_label", lambda tag: "")
    images.build("kafka", again=True)
    assert "was not made by week12: it stays" in capsys.readouterr().out


def test_an_image_of_the_same_parts_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_label", lambda tag: IMAGES["prometheus"].made_of())
    images.build("prometheus")


def test_a_debian_without_the_packages_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources = tmp_path / "debian.sources"
    sources.write_text("Suites: trixie\n", encoding="utf-8")
    monkeypatch.setattr(images, "_SOURCES", (sources,))
    monkeypatch.setattr(images, "_label", lambda tag: None)
    with pytest.raises(DeployProblem, match="bookworm: run it on a Debian 12"):
        images.build("prometheus")


def test_packages_that_are_there_are_not_fetched_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(packages, "WHEELS", tmp_path / "wheels")
    monkeypatch.setattr(packages, "run", lambda *command: asked.append(command))
    packages.fetch()
    packages.fetch()
    assert len(asked) == 1
    assert "--require-hashes" in asked[0]


def test_a_daemon_of_somebody_else_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = tmp_path / "dockerd.pid"
    monkeypatch.setattr(daemon, "_OURS", ours)
    daemon.stop()
    ours.write_text("1\n", encoding="ascii")  # by now another program has that number
    daemon.stop()
    assert not ours.exists()


def test_no_file_of_it_names_a_mirror_or_a_registry() -> None:
    found = [
        path
        for path in [
            ROOT / "docker-compose.yml",
            ROOT / "deploy/Dockerfile",
            *(ROOT / "deploy/offline").rglob("*"),
        ]
        if path.is_file()
        and path.suffix != ".pyc"
        and re.search(
            r"https?://(?!127\.0\.0\.1|ingest:|outcomes:|safety:|prometheus:)",
            path.read_text(encoding="utf-8"),
        )
    ]
    assert found == []

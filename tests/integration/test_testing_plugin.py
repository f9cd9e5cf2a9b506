"""The plug-in as a registry's developers get it: a project of their own, in a run of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "registry-tests"


def pytest_in(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the tests of a project; `-p` stands for the entry point, which an installed week12 has."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "services.testing.plugin",
            "-p",
            "no:cacheprovider",
            *arguments,
        ],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_the_example_project_passes() -> None:
    done = pytest_in(EXAMPLE, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9", WEEK12_PORT="no")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b4 passed", done.stdout), done.stdout


def test_a_missing_docker_skips_by_name_and_fails_where_it_is_required(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(week12_broker): pass\n")
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock", "WEEK12_REQUIRE_DOCKER": ""}
    skipped = pytest_in(tmp_path, "-ra", "--week12-broker=container", **nowhere)
    assert skipped.returncode == 0, skipped.stdout
    assert "needs Docker, and no daemon answers: install it (apt-get install docker.io)" in skipped.stdout
    failed = pytest_in(tmp_path, "--week12-broker=container", **nowhere | {"WEEK12_REQUIRE_DOCKER": "1"})
    assert failed.returncode == 1
    assert "WEEK12_REQUIRE_DOCKER=1, and a broker in a container needs Docker" in failed.stdout


def test_loading_the_plug_in_loads_nothing_else() -> None:
    program = "import sys, services.testing.plugin; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert not {"kafka", "duckdb", "pydantic", "testcontainers", "httpx"} & set(loaded.split())

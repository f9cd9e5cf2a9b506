"""The jars of Apache Kafka: fetched once by Maven into a cache, checked at each use."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from services.broker.problems import BrokerProblem, BrokerUnavailable

KAFKA_VERSION = "4.3.0"
DISTRIBUTION = Path(__file__).with_name("distribution")
_DOWNLOAD_WITHIN_S = 900


def default_cache_dir() -> Path:
    """Where what was fetched is kept: the setting ``WEEK12_CACHE_DIR``, else a folder of the user's cache."""
    return Path(os.environ.get("WEEK12_CACHE_DIR") or Path.home() / ".cache" / "week12")


def kafka_jars(cache_dir: Path) -> list[Path]:
    """The jars of the class path, each with the SHA-256 of the project's list; fetched where not cached yet.

    Checked in full each time: reading 44 MB costs less than 0.1 s. Raises BrokerUnavailable where Maven is
    missing or cannot fetch, BrokerProblem where Maven delivers other jars than the list's.
    """
    expected = _expected()
    folder = cache_dir / f"kafka-{KAFKA_VERSION}"
    if faulty(folder, expected):
        _fetch(folder, expected)
    return [folder / name for name in expected]


def faulty(folder: Path, expected: dict[str, str]) -> list[str]:
    """The names of the jars that are missing in a folder or are not what the list says."""
    return [name for name, digest in expected.items() if _digest(folder / name) != digest]


def _expected() -> dict[str, str]:
    lines = (DISTRIBUTION / "jars.sha256").read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def _digest(jar: Path) -> str | None:
    try:
        with jar.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return None


def _fetch(folder: Path, expected: dict[str, str]) -> None:
    """Fetch beside the folder and rename, so that no other process ever sees half of it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise BrokerUnavailable(
            f"the cache folder {folder.parent} cannot be written ({error.strerror}): set WEEK12_CACHE_DIR"
        ) from error
    try:
        _run_maven(fresh)
        if wrong := faulty(fresh, expected):
            raise BrokerProblem(
                f"Maven fetched other jars than the project lists (SHA-256 differs: {', '.join(wrong)}): "
                "check the mirror that Maven uses"
            )
        if faulty(folder, expected):  # unless another process was faster
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _run_maven(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerUnavailable(
            "the first start of the local broker fetches Apache Kafka with Maven, and mvn was not found: "
            "apt-get install maven"
        )
    command = [
        maven,
        "--quiet",
        "--batch-mode",
        f"--file={DISTRIBUTION / 'pom.xml'}",
        "dependency:copy-dependencies",
    ]
    try:
        done = subprocess.run(  # noqa: S603
            [*command, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BrokerUnavailable(
            f"Maven did not fetch Apache Kafka within {_DOWNLOAD_WITHIN_S} s: check the network and try again"
        ) from error
    if done.returncode != 0:
        reason = _first_error(done.stdout) or f"exit code {done.returncode}"
        raise BrokerUnavailable(
            f"Maven could not fetch Apache Kafka ({reason}): check the network and try again"
        )


def _first_error(said: str) -> str:
    """The first line that Maven marks as an error and that says something, without colours, cut to 300."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    errors = (
        line.removeprefix("[ERROR]").strip() for line in plain.splitlines() if line.startswith("[ERROR]")
    )
    return next((error[:300] for error in errors if error), "")

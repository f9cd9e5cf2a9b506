"""Running commands, and telling people which step is at work and how long each took."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.problems import DeployProblem


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what was done and the seconds it took, or that it failed."""
    started, how = time.monotonic(), "FAILED: "
    try:
        yield
        how = ""
    finally:
        print(f"{time.monotonic() - started:7.1f} s  {how}{what}", flush=True)


def run(
    *command: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    within: float = 900,
) -> str:
    """The standard output of a command. Raises DeployProblem with its last lines where it fails or takes longer."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within,
            check=False,
        )
    except FileNotFoundError:
        raise DeployProblem(f"{command[0]} was not found: python3 -m deploy.offline start") from None
    except subprocess.TimeoutExpired:
        raise DeployProblem(f"`{_short(command)}` did not end within {within:g} s") from None
    if done.returncode:
        said = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        why = " | ".join(said[-3:])[-600:] or f"exit code {done.returncode}"
        raise DeployProblem(f"`{_short(command)}` failed: {why}")
    return done.stdout


def _short(command: Sequence[str]) -> str:
    """A command as people know it: its program and what it is to do, without options."""
    return " ".join([word for word in command if not word.startswith("-")][:4])

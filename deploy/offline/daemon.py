"""Docker of this machine: installed from Debian where it is missing, started where it does not run."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from deploy.problems import DeployProblem
from deploy.steps import run, step

_OURS = Path("/run/week12-dockerd.pid")  # written by `start` alone, so that `stop` ends nobody else's daemon
_LOG = Path("/var/log/week12-dockerd.log")
_SYSTEMD = "systemd"
_CHILDREN: dict[int, "subprocess.Popen[bytes]"] = {}
"""A daemon that this very process started; it may outlive it."""
_START_SECONDS, _STOP_SECONDS = 60.0, 30.0
_SYSTEM_PROGRAMS = ":/usr/local/sbin:/usr/sbin:/sbin"


def start() -> bool:
    """Install what is missing and start the daemon where none answers; whether this call started it.

    Raises DeployProblem where that takes rights this user does not have, or does not work.
    """
    os.environ["PATH"] += _SYSTEM_PROGRAMS  # Debian's `su` leaves them out
    if packages := _missing():
        _only_root(f"installing {', '.join(packages)}")
        with step(f"installed {', '.join(packages)}"):
            _install(packages)
    if answers():
        return False
    _only_root("starting dockerd")
    with step("started dockerd"):
        _start()
    return True


def stop() -> None:
    """End the daemon that `start` started, and wait for its end; any other one is left alone."""
    try:
        started = _OURS.read_text("ascii").strip()
    except OSError:
        return
    if started == _SYSTEMD:
        with step("stopped docker"):
            run("systemctl", "stop", "docker.socket", "docker")
    elif _is_dockerd(started):
        with step("stopped dockerd"):
            _end(int(started))
    _OURS.unlink(missing_ok=True)


def _is_dockerd(pid: str) -> bool:
    """Whether the process is still the daemon: its number may have been given to another since."""
    try:
        return Path(f"/proc/{int(pid)}/comm").read_text("ascii").strip() == "dockerd"
    except (OSError, ValueError):
        return False


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while Path(f"/proc/{pid}").exists():
        if pid in _CHILDREN:
            _CHILDREN[pid].poll()
        if time.monotonic() > deadline:
            raise DeployProblem(f"dockerd (process {pid}) does not end: see {_LOG}")
        time.sleep(0.1)


def answers() -> bool:
    """Whether a daemon answers this user."""
    return _works("docker", "version", "--format", "{{.Server.Version}}")


def compose() -> tuple[str, ...]:
    """The command of Compose: the plug-in of Docker where there is one, else docker-compose."""
    return ("docker", "compose") if _works("docker", "compose", "version") else ("docker-compose",)


def _works(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _missing() -> list[str]:
    """Debian's packages of the programs that are not here."""
    packages = {"mmdebstrap": "mmdebstrap"}
    if not answers():
        packages |= {"docker": "docker.io", "dockerd": "docker.io", "iptables": "iptables"}
    if compose() == ("docker-compose",):
        packages["docker-compose"] = "docker-compose"
    return sorted({package for program, package in packages.items() if shutil.which(program) is None})


def _install(packages: list[str]) -> None:
    if shutil.which("apt-get") is None:
        raise DeployProblem(f"this is no Debian: install {', '.join(packages)} by your system's own means")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", environment=quiet)
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, environment=quiet)


def _start() -> None:
    if Path("/run/systemd/system").exists():
        run("systemctl", "start", "docker")
        _OURS.write_text(f"{_SYSTEMD}\n", "ascii")
        return
    with _LOG.open("wb") as log:
        process = subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it stays when the terminal closes
        )
    _CHILDREN[process.pid] = process
    _OURS.write_text(f"{process.pid}\n", "ascii")
    deadline = time.monotonic() + _START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise DeployProblem(f"dockerd did not start: see the end of {_LOG}")
        time.sleep(0.2)


def _only_root(what: str) -> None:
    if os.geteuid() != 0:
        raise DeployProblem(f"{what} takes root: run it with sudo, or ask who runs this machine")

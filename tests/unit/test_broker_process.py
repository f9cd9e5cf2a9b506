"""The child process of a broker: told clearly when it fails, gone when it should be."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest

from services.broker import BrokerProblem, leash, process
from services.broker.managed import HOST
from services.broker.process import ChildBroker, free_port


class Scripted(ChildBroker):
    """A child that runs a piece of Python instead of a broker."""

    name: ClassVar[str] = "scripted"
    keeps_data: ClassVar[bool] = False
    start_within_s: ClassVar[float] = 1
    stop_within_s: ClassVar[float] = 0.5

    def __init__(self, data_dir: Path, code: str, port: int | None = None) -> None:
        super().__init__(data_dir, port)
        self.code = code

    def _prepare(self) -> list[str]:
        return [sys.executable, "-c", self.code]


def test_a_child_that_ends_at_once_is_told_with_its_last_error_and_its_log(tmp_path: Path) -> None:
    broker = Scripted(tmp_path, "raise SystemExit('ERROR the disk is full')")
    with pytest.raises(BrokerProblem, match=r"ended at once.*ERROR the disk is full.*scripted-broker\.log"):
        broker.start()
    assert broker.pid is None


def test_a_child_that_never_answers_is_told_with_its_log_and_stopped(tmp_path: Path) -> None:
    broker = Scripted(tmp_path, "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)")
    with pytest.raises(BrokerProblem, match=r"did not answer within 1 s; see .*scripted-broker\.log"):
        broker.start()
    assert broker.pid is None
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_child_that_ignores_a_polite_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = "from signal import *; signal(SIGTERM, SIG_IGN); open('deaf', 'w'); __import__('time').sleep(60)"
    broker = Scripted(tmp_path, deaf)
    monkeypatch.setattr("services.broker.process.answers", lambda servers: (tmp_path / "deaf").exists())
    broker.start()
    pid = broker.pid
    assert pid is not None
    broker.stop()
    assert is_gone(pid)


def test_a_taken_port_is_named_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerProblem, match=f"port {port} of 127.0.0.1 is taken"):
            Scripted(tmp_path, "", port).start()
    assert not (tmp_path / "scripted-broker.log").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerProblem, match="file/data cannot be made"):
        Scripted(tmp_path / "file" / "data", "").start()


def test_a_thread_may_not_start_a_broker_that_would_end_with_it(tmp_path: Path) -> None:
    told: list[BrokerProblem] = []

    def start() -> None:
        try:
            Scripted(tmp_path, "").start()
        except BrokerProblem as problem:
            told.append(problem)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(told[0])


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    assert 20_000 <= free_port() < 30_000


def test_a_port_is_given_once_even_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    few = range(29_000, 29_008)
    monkeypatch.setattr(process, "_PORTS", few)
    given = {free_port() for _ in range(2)}
    assert len(given) == 2
    code = (
        "from services.broker import process\n"
        f"process._PORTS = range({few.start}, {few.stop})\n"
        "try:\n"
        "    while True: print(process.free_port())\n"
        "except process.BrokerProblem: pass\n"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    elsewhere = list(map(int, other.stdout.split()))
    assert given.isdisjoint(elsewhere)
    assert len(set(elsewhere)) == len(elsewhere) > 0
    assert free_port() not in given  # they are held by nobody else any more


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties a child to its parent on Linux only")
def test_no_child_remains_when_its_parent_is_killed(tmp_path: Path) -> None:
    child = [sys.executable, leash.__file__, "{parent}", sys.executable, "-c", "import time; time.sleep(60)"]
    code = (
        "import os, subprocess, time\n"
        f"command = [part.format(parent=os.getpid()) for part in {child!r}]\n"
        "print(subprocess.Popen(command, start_new_session=True).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert eventually_runs(pid, "time.sleep")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert is_gone(pid)


def test_the_leash_runs_nothing_for_a_parent_that_is_gone() -> None:
    done = subprocess.run(
        [sys.executable, leash.__file__, "1", "/bin/echo", "ran"], capture_output=True, check=False
    )
    assert done.stdout == b""


def eventually_runs(pid: int, part: str) -> bool:
    """Whether within 10 s the leash is replaced by a command that holds this part."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        if part in line and "leash" not in line:
            return True
        time.sleep(0.02)
    return False


def is_gone(pid: int) -> bool:
    """Whether the process has ended within 10 s; one that nobody has waited for yet counts as ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False

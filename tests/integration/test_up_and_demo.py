"""`week12 up` and `week12 demo` as processes: they start, work, recover, and leave nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from services.broker import Broker
from services.broker.process import free_port
from services.cli import main
from services.runtime.tokens import TokenStore

COMMAND = [sys.executable, "-P", "-c", "from services.cli import main; main()"]
SERVICES = ("ingest", "outcomes", "safety")


class Running:
    """A command of week12 in a process of its own."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("KAFKA_", "WEEK12_"))}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], env={**clean, **environment}, stdout=out, stderr=err
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def children(self) -> dict[int, str]:
        """Process id -> what it runs, of all that it started."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = [int(pid) for pid in path.read_text().split()]
        return {pid: Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in pids}

    def until(self, condition: Callable[[], bool], within: float = 90) -> None:
        """Wait for something; fails with all it said where it ends first or takes too long."""
        deadline = time.monotonic() + within
        while not condition():
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.out + self.err
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts commands, and ends what a failed test left; the kernel then ends their children."""
    started: list[Running] = []

    def start(*arguments: str, **environment: str) -> Running:
        started.append(Running(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        running.process.wait()


def gone(pid: int) -> bool:
    """Whether no such process runs any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def all_gone(pids: list[int], within: float = 10) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if all(gone(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def ports() -> dict[str, int]:
    return {service: free_port() for service in SERVICES}


def options(ports: dict[str, int]) -> list[str]:
    own = [f"--{service}-port={port}" for service, port in ports.items()]
    return ["--broker=embedded", f"--kafka-port={free_port()}", *own]


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_demo_once_agrees_with_the_published_table(run: Callable[..., Running]) -> None:
    # A terminal set up for a real registry must not matter.
    demo = run("demo", "--once", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9", KAFKA_SECURITY_PROTOCOL="SSL")
    demo.until(lambda: bool(demo.children()))
    children = list(demo.children())
    assert demo.process.wait(120) == 0, demo.err
    rates = re.findall(r"(\d+/\d+) +(\d+\.\d+) +(\d+/\d+) +(\d+\.\d+) .* agrees", demo.out)
    assert len(rates) == 9
    assert ("41/77", "53.25", "41/77", "53.25") in rates
    assert ("32/94", "34.04", "32/94", "34.04") in rates
    assert "lymphopenia" in demo.out
    assert "DIFFERS" not in demo.out
    assert "Traceback" not in demo.err
    assert all_gone(children)


@pytest.mark.real_kafka
def test_demo_on_apache_kafka_stays_until_it_is_stopped(
    run: Callable[..., Running], kafka: Broker, tmp_path: Path
) -> None:
    demo = run("demo", f"--broker={kafka.name}", "--seed=7", TMPDIR=str(tmp_path))
    demo.until(lambda: "Ctrl-C to stop." in demo.out, within=180)
    assert demo.out.count(" agrees") == 9
    said = dict(re.findall(r"^  (outcomes|alerts|token) +(\S+)$", demo.out, re.MULTILINE))
    for page in ("outcomes", "alerts"):
        assert httpx.get(said[page], follow_redirects=True).status_code in (200, 401)
    rates = httpx.get(f"{said['outcomes']}v1/cohort", headers={"Authorization": f"Bearer {said['token']}"})
    assert rates.status_code == 200
    (folder,) = tmp_path.glob("week12-demo-*")
    children = list(demo.children())
    assert demo.end(signal.SIGINT) == 0
    assert all_gone(children, within=0.1)
    assert not folder.exists()


def test_up_recovers_and_leaves_nothing(run: Callable[..., Running], tmp_path: Path) -> None:
    chosen = ports()
    up = run("up", f"--data-dir={tmp_path / 'data'}", *options(chosen))
    up.until(lambda: "Ctrl-C to stop." in up.out)
    assert "they are gone when it stops" in up.err
    assert f"http://127.0.0.1:{chosen['outcomes']}/" in up.out
    assert f"WEEK12_DATA_DIR={tmp_path / 'data'} week12 token add clinic-01" in up.out
    assert not (tmp_path / "data" / "tokens.toml").exists(), "it gives rights to nobody by itself"
    (outcomes,) = [pid for pid, command in up.children().items() if command.endswith(" outcomes ")]
    os.kill(outcomes, signal.SIGKILL)
    up.until(lambda: "outcomes ended (killed by SIGKILL)" in up.err)
    up.until(lambda: ready(chosen["outcomes"]))
    children = list(up.children())
    assert len(children) == 4
    assert up.end(signal.SIGINT) == 0
    assert all_gone(children, within=0.1)
    assert "Traceback" not in up.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_however_up_ends_while_it_starts_nothing_survives(
    run: Callable[..., Running], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    up = run("up", f"--data-dir={tmp_path / 'data'}", *options(ports()))
    up.until(lambda: len(up.children()) == 4)
    children = list(up.children())
    assert up.end(number) == code
    assert all_gone(children)


def test_a_taken_port_is_one_line_that_names_it(run: Callable[..., Running], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        up = run("up", f"--data-dir={tmp_path / 'data'}", *options({**ports(), "outcomes": port}))
        assert up.process.wait(30) == 1
    last = up.err.splitlines()[-1]
    assert last.startswith(f"Error: port {port} for outcomes is taken: stop what listens there")
    assert "Traceback" not in up.err


def test_a_service_that_cannot_start_is_one_line_with_its_reason(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    TokenStore(data / "tokens.toml").add("someone", ["auditor"])
    (data / "safety.duckdb").write_text("no store, and long enough to be looked at" * 200)
    up = run("up", f"--data-dir={data}", *options(ports()))
    assert up.process.wait(90) == 1
    last = up.err.splitlines()[-1]
    assert last.startswith("Error: safety ended: ")
    assert last.endswith(f"see {data / 'logs' / 'safety.log'}")
    assert "Traceback" not in up.err


def test_a_named_kafka_and_a_broker_of_ones_own_exclude_each_other() -> None:
    result = CliRunner().invoke(
        main, ["up", "--broker", "embedded"], env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    )
    assert result.exit_code == 1
    assert result.stderr == "Error: KAFKA_BOOTSTRAP_SERVERS names a Kafka: unset it, or leave out --broker\n"

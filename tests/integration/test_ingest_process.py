"""`week12 ingest` as a process: it starts, answers, stops within seconds, and fails in one line."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from ingest_helpers import NDJSON, lab, lines

from schemas import parse_record_key
from schemas.topics import EVENT_TOPICS
from services.broker import Broker
from services.broker.topics import end_offsets, ensure_topics
from services.cli import main
from services.runtime.tokens import TokenStore
from services.testing.topics import read_topics

COMMAND = [sys.executable, "-c", "from services.cli import main; main()", "ingest"]
LABS = EVENT_TOPICS["lab"]


class Process:
    """A running `week12 ingest` on a port of its own."""

    def __init__(self, folder: Path, servers: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "WEEK12_DATA_DIR": str(folder),
            "WEEK12_INGEST_PORT": str(self.port),
        }
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "ingest.log").open("ab") as log:
            self.process = subprocess.Popen(COMMAND, env=self.environment, stderr=log)
        return self.process

    def wait_until(self, status: int) -> None:
        """Wait until /health/ready answers this."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health/ready").status_code == status:
                    return
            except httpx.TransportError:
                assert self.process.poll() is None, self.log()
            time.sleep(0.05)
        pytest.fail(f"/health/ready never answered {status}: {self.log()}")

    def log(self) -> str:
        return (self.folder / "ingest.log").read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Starts ingest on some servers, and ends it after the test."""
    started: list[Process] = []

    def run(servers: str) -> Process:
        started.append(Process(tmp_path, servers))
        return started[-1]

    yield run
    for ingest in started:
        ingest.process.kill()
        ingest.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_and_stops_cleanly_at_a_signal(
    embedded_broker: Broker, start: Callable[[str], Process], tmp_path: Path, number: signal.Signals
) -> None:
    secret = TokenStore(tmp_path / "tokens.toml").add("clinic-01", ["submitter"], ["S01"])
    ingest = start(embedded_broker.bootstrap_servers)
    ingest.wait_until(200)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": NDJSON}
    answer = httpx.post(f"{ingest.url}/v1/events", content=lines(lab(1), lab(2)), headers=headers)
    assert answer.status_code == 202
    ingest.process.send_signal(number)
    assert ingest.process.wait(5) == 0
    assert "Traceback" not in ingest.log()


def test_it_stays_up_without_a_broker_and_stops_cleanly(start: Callable[[str], Process]) -> None:
    ingest = start("127.0.0.1:9")
    ingest.wait_until(503)
    assert httpx.get(f"{ingest.url}/health/live").status_code == 200
    ingest.process.send_signal(signal.SIGINT)
    assert ingest.process.wait(5) == 0
    assert "Traceback" not in ingest.log()


def test_a_port_in_use_is_one_line(start: Callable[[str], Process], tmp_path: Path) -> None:
    first = start("127.0.0.1:9")
    first.wait_until(503)
    second = subprocess.run(COMMAND, env=first.environment, capture_output=True, timeout=30)
    last = second.stderr.decode().splitlines()[-1]
    assert second.returncode == 1
    assert last.startswith(f"Error: cannot listen on 127.0.0.1:{first.port}")
    assert b"Traceback" not in second.stderr


def test_topics_with_other_settings_are_one_line(
    make_broker: Callable[[str], Broker], start: Callable[[str], Process]
) -> None:
    broker = make_broker("embedded")
    ensure_topics({"bootstrap_servers": broker.bootstrap_servers}, partitions=3)
    ingest = start(broker.bootstrap_servers)
    assert ingest.process.wait(30) == 1
    (error,) = [line for line in ingest.log().splitlines() if line.startswith("Error: ")]
    assert "registry.labs.v1: partitions is 3, must be 12" in error
    assert "Traceback" not in ingest.log()


@pytest.mark.parametrize(("name", "value"), [("WEEK12_INGEST_PORT", "x"), ("KAFKA_SECURITY_PROTOCOL", "y")])
def test_a_wrong_setting_is_one_line(name: str, value: str) -> None:
    result = CliRunner().invoke(main, ["ingest"], env={name: value})
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {name}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.crash
def test_killed_in_the_middle_of_a_stream_nothing_acknowledged_is_lost(
    embedded_broker: Broker, start: Callable[[str], Process], tmp_path: Path
) -> None:
    secret = TokenStore(tmp_path / "tokens.toml").add("clinic-01", ["submitter"], ["S01"])
    client = {"bootstrap_servers": embedded_broker.bootstrap_servers}
    ensure_topics(client)
    before = end_offsets(client, [LABS])
    ingest = start(embedded_broker.bootstrap_servers)
    acknowledged: set[str] = set()
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": NDJSON}
    number = 0
    for _ in range(3):
        ingest.wait_until(200)
        killed_at = number + 500
        try:
            while True:
                body = lines(*(lab(n) for n in range(number, number + 50)))
                if number == killed_at:
                    threading.Timer(0.005, ingest.process.kill).start()
                answer = httpx.post(f"{ingest.url}/v1/events", content=body, headers=headers)
                acknowledged |= {receipt["event_id"] for receipt in answer.json()["receipts"]}
                number += 50
        except httpx.TransportError:
            ingest.process.wait()
            ingest.start()
    assert len(acknowledged) >= 1500
    published = {parse_record_key(record.key).event_id for record in read_topics(client, before, [LABS])}
    assert acknowledged <= published

"""Fixtures that run the three services as processes, to be used, killed and restarted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from comparison import STORES, TODAY, Contents, contents_of
from ingest_helpers import NDJSON, Seen, lines, read

from schemas.topics import EVENT_TOPICS
from services.broker import Broker
from services.broker.process import free_port
from services.broker.topics import end_offsets
from services.runtime.tokens import TokenStore

COMMAND = (sys.executable, "-c", "from services.cli import main; main()")
NAMES = ("ingest", "outcomes", "safety")
CHUNK = 500


class RunningServices:
    """The three services on one broker and one data folder, on free ports, with their logs in files."""

    def __init__(self, broker: Broker, folder: Path, **environment: str) -> None:
        self.broker = broker
        self.folder = folder
        self.kafka = {"bootstrap_servers": broker.bootstrap_servers}
        self.pids: list[int] = []
        self._ports = {name: free_port() for name in NAMES}
        self._environment = _environment(broker, folder, self._ports) | environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._tokens = TokenStore(folder / "tokens.toml")
        self.secret = self.token("sender", "submitter")
        self._lead = self.token("lead", "registry_lead")
        self._readers: dict[str, httpx.Client] = {}

    # -- processes -----------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start services without waiting for them."""
        for name in names:
            with self.log_path(name).open("ab") as log:
                self._running[name] = subprocess.Popen(
                    [*COMMAND, name], env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            self.pids.append(self._running[name].pid)

    def kill(self, name: str) -> None:
        """SIGKILL, whatever it is doing, and wait until it is gone."""
        process = self._running.pop(name)
        assert process.poll() is None, f"{name} had ended by itself: {self.tail(name)}"
        process.kill()
        process.wait()

    def week12(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command as somebody who may operate the services."""
        environment = self._environment | {"WEEK12_TOKEN": self._lead}
        return subprocess.run(
            [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=120
        )

    def stop(self) -> None:
        """SIGINT to all, as Ctrl-C does; fails where one does not end cleanly within seconds."""
        running, self._running = self._running, {}
        for process in running.values():
            process.send_signal(signal.SIGINT)
        codes = {name: _exit_code(process, 15) for name, process in running.items()}
        assert set(codes.values()) <= {0}, (codes, [self.tail(name) for name in codes])

    def end(self) -> None:
        """Leave nothing running, whatever has happened."""
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()
        for client in self._readers.values():
            client.close()

    def left_behind(self) -> list[str]:
        """Command lines of processes that still work in this folder."""
        mark = str(self.folder).encode()
        return [
            command.decode(errors="replace").replace("\0", " ")
            for process in Path("/proc").glob("[0-9]*")
            if process.name != str(os.getpid())
            for command, environment in [(_read(process / "cmdline"), _read(process / "environ"))]
            if mark in command or mark in environment
        ]

    def log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def log(self, name: str) -> str:
        """Everything the service wrote, over all its lives."""
        path = self.log_path(name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def tail(self, name: str) -> str:
        return f"{name}: …{self.log(name)[-2000:]}"

    # -- HTTP ----------------------------------------------------------------------------------------------

    def token(self, name: str, role: str, sites: Sequence[str] | None = None) -> str:
        """The secret of a new token; for all centres unless told."""
        return self._tokens.add(name, [role], sites)

    def client(self, service: str, secret: str | None = None) -> httpx.Client:
        """An HTTP client of a service."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        url = f"http://127.0.0.1:{self._ports[service]}"
        return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)

    def reader(self, service: str) -> httpx.Client:
        """The client of somebody who may read everything; kept, since making one is slow."""
        if service not in self._readers:
            self._readers[service] = self.client(service, self._lead)
        return self._readers[service]

    def get(self, service: str, path: str, **parameters: str) -> Any:
        """The JSON that somebody who may read everything gets."""
        answer = self.reader(service).get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, events: Sequence[dict[str, Any]]) -> None:
        """Send events as NDJSON, some hundred a request; every one must be taken."""
        with self.client("ingest", self.secret) as client:
            for start in range(0, len(events), CHUNK):
                body = lines(*events[start : start + CHUNK])
                answer = client.post("/v1/events", content=body, headers={"Content-Type": NDJSON})
                assert answer.status_code == 202, answer.text[:500]

    def is_ready(self, name: str) -> bool:
        """Whether the service says that it is; fails where its process has ended."""
        self._check(name)
        try:
            return self.reader(name).get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def progress(self, name: str) -> dict[str, Any]:
        """The service's `/v1/progress`; empty while it does not answer."""
        self._check(name)
        try:
            answer = self.reader(name).get("/v1/progress")
        except httpx.TransportError:
            return {}
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return found

    def records_read(self, name: str) -> int:
        """How many records the service's store stands for."""
        offsets = self.progress(name).get("offsets", {})
        return sum(offset for partitions in offsets.values() for offset in partitions.values())

    # -- waiting -------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a condition; names it, and shows the logs, where it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds:g} s: {what}\n" + "\n".join(map(self.tail, NAMES)))
            time.sleep(0.02)

    def wait_until_ready(self, *names: str) -> None:
        """Wait until these services say that they are ready."""
        for name in names or tuple(self._running):
            self.until(lambda name=name: self.is_ready(name), f"{name} ready")  # type: ignore[misc]

    def wait_until_settled(self, seconds: float = 90) -> None:
        """Wait until every record of the event topics is in the stores, and what follows is published."""
        ends = {
            place: end for place, end in end_offsets(self.kafka, list(EVENT_TOPICS.values())).items() if end
        }
        for name in self._running.keys() & STORES.keys():
            self.until(lambda name=name: self._has_read(name, ends), f"{name} has read all", seconds)  # type: ignore[misc]

    def _has_read(self, name: str, ends: dict[tuple[str, int], int]) -> bool:
        progress = self.progress(name)
        offsets = progress.get("offsets", {})
        behind = any(
            offsets.get(topic, {}).get(str(number), 0) < end for (topic, number), end in ends.items()
        )
        return not behind and progress.get("waiting_to_publish") == 0

    def _check(self, name: str) -> None:
        process = self._running.get(name)
        if process is not None and process.poll() is not None:
            pytest.fail(f"{name} ended by itself: {self.tail(name)}")

    # -- what came out -------------------------------------------------------------------------------------

    def store_path(self, name: str) -> Path:
        """The service's own file: only while the service does not run."""
        return self.folder / f"{name}.duckdb"

    def contents(self, name: str) -> Contents:
        """Every compared table of a stopped service's store."""
        return contents_of(self.store_path(name), name)

    def records(self, *topics: str) -> list[Seen]:
        """Everything in these topics, in order of topic, partition and offset."""
        return read(self.kafka, {}, topics)

    def newest(self, topic: str) -> dict[str, Any]:
        """What a compacted topic says in the end: key -> JSON; removed keys left out."""
        values = {record.key.decode(): record.value for record in self.records(topic)}
        return {key: orjson.loads(value) for key, value in values.items() if value is not None}


def _environment(broker: Broker, folder: Path, ports: dict[str, int]) -> dict[str, str]:
    embedded = broker.name == "embedded"
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "WEEK12_"))},
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "WEEK12_DATA_DIR": str(folder),
        "WEEK12_TODAY": str(TODAY),
        "WEEK12_SESSION_TIMEOUT_MS": "3000" if embedded else "6000",
        "WEEK12_FETCH_MAX_WAIT_MS": "20" if embedded else "500",
        **{f"WEEK12_{name.upper()}_PORT": str(port) for name, port in ports.items()},
    }


def _exit_code(process: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile, or is not ours
        return b""


@pytest.fixture
def run_services(tmp_path: Path) -> Iterator[Callable[..., RunningServices]]:
    """Starts all three services on a broker and waits until they are ready; ends them after the test."""
    made: list[RunningServices] = []

    def run(broker: Broker, *names: str, **environment: str) -> RunningServices:
        services = RunningServices(broker, tmp_path / "data", **environment)
        made.append(services)
        services.start(*(names or NAMES))
        services.wait_until_ready()
        return services

    yield run
    for services in made:
        services.end()

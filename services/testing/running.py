"""ingest, outcomes and safety as processes on free ports, to be used, killed and restarted by tests."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson

from services.broker import Broker
from services.broker.process import free_port
from services.local.child import Child
from services.local.supervisor import IN_MEMORY
from services.local.waiting import behind, read_progress
from services.runtime.errors import OperatorError
from services.runtime.places import Place
from services.runtime.tokens import TokenStore
from services.testing.cohort import Event
from services.testing.topics import RegistryTopics

NAMES = ("ingest", "outcomes", "safety")
PROCESSORS = ("outcomes", "safety")

_PROGRAM = (sys.executable, "-P", "-c", "from services.cli import main; main()")
_CHUNK = 500
_CALM = {"WEEK12_FETCH_MAX_WAIT_MS": "100"}
"""Of a broker in memory: services that look for news every 20 ms cost a third of all a test's work."""
_STOP_WITHIN_S = 30.0
_POLL_S = 0.1  # each look costs the service some milliseconds, which others may want


class RunningServices:
    """The three services on one broker and one data folder, with their logs in files of that folder.

    `environment` sets or replaces variables of the services, such as `WEEK12_TODAY="2025-03-01"`; what the shell
    of the tests says about a Kafka or week12 does not reach them. Methods that wait or ask raise AssertionError
    with the end of the services' logs where what they expect does not come. Start and kill from the main thread.
    """

    def __init__(self, broker: Broker, folder: Path, **environment: str) -> None:
        self.broker = broker
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = _environment(broker, folder) | environment
        self.topics = RegistryTopics(broker, int(self._environment.get("WEEK12_PARTITIONS", "12")))
        self._tokens = TokenStore(folder / "tokens.toml")
        self.secret = self.token("sender", "submitter")
        self._lead = self.token("lead", "registry_lead")
        self._children = {name: self._child(name, {}) for name in NAMES}
        self._wanted: list[str] = []
        self._clients: dict[str, httpx.Client] = {}

    # -- processes -----------------------------------------------------------------------------------------

    def configure(self, name: str, **environment: str) -> None:
        """Variables of one service alone; before it is started."""
        self._children[name] = self._child(name, environment)

    def start(self, *names: str) -> None:
        """Start services (without names: all) without waiting for them."""
        for name in names or NAMES:
            self._children[name].start()
            self._wanted.append(name)

    def kill(self, name: str) -> None:
        """SIGKILL, whatever it is doing, and wait until it is gone."""
        self._check(name)
        self._wanted.remove(name)
        self._children[name].kill()

    def stop(self, *names: str) -> None:
        """Stop services (without names: all) as a supervisor does; fails where one does not end within seconds."""
        stopping = [name for name in self._wanted if name in (names or NAMES)]
        self._wanted = [name for name in self._wanted if name not in stopping]
        for name in stopping:
            self._children[name].ask_to_stop()
        deadline = time.monotonic() + _STOP_WITHIN_S
        for name in stopping:
            self._children[name].end(deadline - time.monotonic())
        codes = {name: self._children[name].exit_code for name in stopping}
        assert set(codes.values()) <= {0}, (codes, [self.tail(name) for name in codes])

    def end(self) -> None:
        """Leave nothing running, whatever has happened."""
        self._wanted.clear()
        for child in self._children.values():
            child.kill()
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def week12(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of week12 as somebody who may operate the services."""
        environment = self._environment | {"WEEK12_TOKEN": self._lead}
        return subprocess.run(  # noqa: S603
            [*_PROGRAM, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def log_path(self, name: str) -> Path:
        """The file of a service's log."""
        return self.folder / f"{name}.log"

    def log(self, name: str) -> str:
        """Everything the service wrote, over all its lives."""
        path = self.log_path(name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def tail(self, name: str) -> str:
        """The end of its log, for a failure's message."""
        return f"{name}: …{self.log(name)[-2000:]}"

    # -- sending and asking --------------------------------------------------------------------------------

    def token(self, name: str, role: str, sites: Sequence[str] | None = None) -> str:
        """The secret of a new token; for all centres unless told."""
        return self._tokens.add(name, [role], sites)

    def client(self, service: str, secret: str | None = None) -> httpx.Client:
        """An HTTP client of a service; to be closed."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        url = self._children[service].place.url
        return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)

    def reader(self, service: str) -> httpx.Client:
        """The client of somebody who may read everything; kept, since making one is slow."""
        if service not in self._clients:
            self._clients[service] = self.client(service, self._lead)
        return self._clients[service]

    def get(self, service: str, path: str, **parameters: str) -> Any:
        """The JSON that somebody who may read everything gets."""
        answer = self.reader(service).get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, events: Sequence[Event]) -> None:
        """Send events to ingest, some hundred a request; every one must be accepted."""
        with self.client("ingest", self.secret) as client:
            for start in range(0, len(events), _CHUNK):
                body = b"\n".join(orjson.dumps(event) for event in events[start : start + _CHUNK])
                answer = client.post(
                    "/v1/events", content=body, headers={"Content-Type": "application/x-ndjson"}
                )
                assert answer.status_code == 202, answer.text[:500]

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a SQL question about both stores, as columns by name."""
        for snapshot in (self.folder / "snapshots").glob("*.duckdb"):
            snapshot.unlink()  # it may be seconds old: with a new one the answer counts all that has settled
        answer = self.reader("outcomes").post("/v1/query", json={"sql": sql})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        names = [column["name"] for column in found["columns"]]
        return [dict(zip(names, row, strict=True)) for row in found["rows"]]

    def outcome(
        self, patient_id: str, endpoint: str, timepoint: str = "week_12", protocol: str = "fu2025"
    ) -> dict[str, Any]:
        """A patient's row of `patient_outcomes`."""
        rows = self.get("outcomes", f"/v1/patients/{patient_id}")["outcomes"]
        found = [
            row
            for row in rows
            if (row["protocol"], row["timepoint"], row["endpoint"]) == (protocol, timepoint, endpoint)
        ]
        assert len(found) == 1, f"no row of {endpoint} at {timepoint} by {protocol}"
        return dict(found[0])

    def alerts(self, patient_id: str) -> list[dict[str, Any]]:
        """A patient's alerts, newest first."""
        rows: list[dict[str, Any]] = self.get("safety", "/v1/alerts", patient_id=patient_id)["rows"]
        return rows

    # -- waiting -------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a condition; names it, and shows the logs, where it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(map(self.tail, NAMES))
                raise AssertionError(f"not within {seconds:g} s: {what}\n{logs}")
            time.sleep(_POLL_S)

    def is_ready(self, name: str) -> bool:
        """Whether the service says that it is; fails where its process has ended."""
        self._check(name)
        return self._children[name].ready(self.reader(name))

    def wait_until_ready(self, *names: str) -> None:
        """Wait until these services (without names: all that were started) say that they are ready."""
        for name in names or tuple(self._wanted):
            self.until(lambda name=name: self.is_ready(name), f"{name} ready")  # type: ignore[misc]

    def wait_until_settled(self, seconds: float = 90) -> None:
        """Wait until every record of the event topics is in the stores, and what follows is published."""
        ends = self.topics.ends()
        for name in (name for name in PROCESSORS if name in self._wanted):
            self.until(lambda name=name: not self._behind(name, ends), f"{name} has read all", seconds)  # type: ignore[misc]

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

    def store_path(self, name: str) -> Path:
        """The service's own file: to be opened only while the service does not run."""
        return self.folder / f"{name}.duckdb"

    def _child(self, name: str, environment: Mapping[str, str]) -> Child:
        port = int(self._environment[f"WEEK12_{name.upper()}_PORT"])
        return Child(
            Place(name, "127.0.0.1", port), {**self._environment, **environment}, self.log_path(name)
        )

    def _behind(self, name: str, ends: dict[tuple[str, int], int]) -> bool:
        self._check(name)
        try:
            progress = read_progress(self.reader(name), self._children[name].place.url)
        except OperatorError:
            return True  # it answers, and not yet with its progress
        return bool(behind(progress, ends, published=True))

    def _check(self, name: str) -> None:
        if name in self._wanted and not self._children[name].running:
            raise AssertionError(f"{name} ended by itself: {self.tail(name)}")


def _environment(broker: Broker, folder: Path) -> dict[str, str]:
    """The shell's variables without its Kafka and week12, and those of these services."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "WEEK12_"))},
        **broker.environment,
        **({"WEEK12_SESSION_TIMEOUT_MS": "6000"} if broker.keeps_data else IN_MEMORY | _CALM),
        "WEEK12_DATA_DIR": str(folder),
        **{f"WEEK12_{name.upper()}_PORT": str(free_port()) for name in NAMES},
    }

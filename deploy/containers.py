"""The composition, really run on this machine: built, filled with the study cohort, broken piece by piece, removed.

    make containers                    kill each container once: on a Debian machine, as root where Docker is not there
    make containers ARGS=--full        kill each four times, cut each worker off from Kafka, and print the table
    make containers ARGS=--keep        leave it running at the end, and say how to look at it

Each time other patients' events are on their way, sent as a centre would. It fails unless all that was acknowledged
is in both stores, the published table of the study cohort stands, and a recomputation from Kafka equals the live
stores. Base images come from Debian and Maven (deploy/offline); Grafana is left out, since Debian has none. Nothing
is left behind but images, which make the next run shorter.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import httpx

from deploy.offline import daemon, images, packages
from deploy.problems import DeployProblem
from deploy.steps import run, step
from schemas.protocol import load_protocol
from services.broker.problems import BrokerProblem
from services.broker.process import free_port
from services.local.agreement import agreement
from services.local.answers import rows
from services.local.supervisor import ending_on_signals
from services.runtime.errors import OperatorError
from services.simulation.fu2025.plan import CUT

ROOT = Path(__file__).parents[1]
COHORT = ROOT / "examples/fu2025/stream.jsonl"
IMAGES = ROOT / "deploy/offline/compose.env"
PROJECT = "week12-proof"
SERVICES = ("kafka", "ingest", "outcomes", "safety", "prometheus")
HEALTHY_SECONDS, SEND_SECONDS = 240.0, 240.0
PART = 2_000
"""Events under way at a disturbance."""
CUT_SECONDS = 6.0
_WEEK12 = (sys.executable, "-P", "-c", "from services.cli import main; main()")


def main() -> int:
    """Run it, and say where it failed; problems are one line."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.containers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--full", action="store_true", help="every disturbance, and the table of them")
    parser.add_argument("--keep", action="store_true", help="leave the containers running at the end")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        with ending_on_signals(), docker_running(keep=options.keep):
            prepare()
            with Composition() as composition:
                prove(composition, ROWS if options.full else [replace(row, times=row.in_ci) for row in ROWS])
                if options.keep:
                    composition.keep()
    except (DeployProblem, BrokerProblem, OperatorError) as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped before the end.", file=sys.stderr)
        return 130
    print(f"{time.monotonic() - started:7.1f} s  in all", flush=True)
    return 0


@contextmanager
def docker_running(*, keep: bool = False) -> Iterator[None]:
    """Docker, which ends with us where it did not run before."""
    ours = daemon.start()
    try:
        yield
    finally:
        if ours and not keep:
            daemon.stop()


def prepare() -> None:
    """The images of all containers."""
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(images.build, name) for name in images.IMAGES]
        packages.fetch()
        for image in made:
            image.result()
    with step("built the image of the services"):
        base = f"--build-arg=BASE={images.IMAGES['python'].tag}"
        stage = ("--target=build", "--tag=week12:build")  # named, so that the next build goes on from it
        run("docker", "build", "--force-rm", base, *stage, "--file=deploy/Dockerfile", ".", folder=ROOT)
        Composition().compose("build", "setup")
        run("docker", "image", "prune", "--force", "--filter=label=org.opencontainers.image.title=week12")
    size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", "week12:0.1.0"))
    print(f"           week12:0.1.0 has {size / 1e6:.0f} MB", flush=True)


@dataclass(frozen=True)
class Row:
    """What is done to a container how often: in full, and in CI."""

    service: str
    done: str
    times: int
    in_ci: int


ROWS = [
    *(Row(service, "killed, and started again", times=4, in_ci=1) for service in SERVICES),
    *(
        Row(service, "cut off from Kafka for 6 s", times=2, in_ci=0)
        for service in ("ingest", "outcomes", "safety")
    ),
]


def prove(composition: "Composition", rows: Sequence[Row]) -> None:
    """Fill it, and break it row by row. Raises DeployProblem where anything is missing or differs."""
    with step("started, each part healthy"):
        composition.up()
    composition.make_tokens()
    with step("sent the study cohort; the published table is there, and Prometheus has all services"):
        composition.finish(composition.send(COHORT))
        composition.wait()
        composition.check_table()
        composition.check_metrics()
    told = []
    load = composition.make_load(sum(row.times for row in rows))
    for row in rows:
        seconds = []
        for _ in range(row.times):
            with step(f"{row.service} {row.done}, while events were sent; all were taken, the table stands"):
                sending = composition.send(next(load), until_taken=True)
                seconds.append(composition.disturb(row))
                composition.finish(sending)
                composition.check_table()
        if row.times:
            told.append(f"| {row.service} {row.done} | {row.times} | {max(seconds):.1f} |")
    with step("counted, and recomputed from Kafka: nothing is missing, nothing differs"):
        composition.wait()
        composition.count()
        composition.tool("verify")
        composition.check_metrics()
    print("\n| | times | seconds until all was healthy, at most |\n|---|---|---|")
    print("\n".join(told))
    print(
        f"\n{composition.acknowledged} events acknowledged, as many in both stores; no difference.\n",
        flush=True,
    )


class Composition:
    """docker-compose.yml as a project of its own, on free ports; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        self._ports = {name: free_port() for name in ("ingest", "outcomes", "safety", "prometheus")}
        self._folder = Path(tempfile.gettempdir())
        self._kept = False
        self._lead = ""
        self._versions: set[tuple[str, str, int]] = set()

    def __enter__(self) -> "Composition":
        self._folder = Path(
            tempfile.mkdtemp(prefix="week12-containers-")
        )  # readable by us alone: it has tokens
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and kind is not KeyboardInterrupt:
            self._show_logs()
        if self._kept:
            return
        with step("removed containers, networks and volumes"):
            self.compose("down", "--volumes", "--remove-orphans", "--timeout=5")
            shutil.rmtree(self._folder, ignore_errors=True)
            self._check_residue()

    def compose(self, *arguments: str) -> str:
        """What a command of Compose prints: of the plug-in where there is one, else of docker-compose."""
        where = (f"--env-file={IMAGES}", f"--file={ROOT / 'docker-compose.yml'}", f"--project-name={PROJECT}")
        return run(*daemon.compose(), *where, *arguments, environment=self._environment(), folder=ROOT)

    def tool(self, *arguments: str) -> str:
        """What a command of week12 prints in a container of its own."""
        return self.compose("run", "--rm", "-T", "week12", *arguments)

    def up(self) -> None:
        """Start it, and return once every part is healthy."""
        self.compose("up", "--detach", "--no-build", *SERVICES)
        self._wait_until_healthy()

    def make_tokens(self) -> None:
        """One that sends, and one that reads and operates."""
        self._lead = self.tool("token", "add", "lead", "--role", "registry_lead").strip()
        sender = self.tool("token", "add", "centres", "--role", "submitter", "--all-sites")
        (self._folder / "sender.token").write_text(sender, "ascii")

    def make_load(self, parts: int) -> Iterator[Path]:
        """Files of a synthetic registry's events, in disorder; no patient takes the study's drug."""
        whole = self._folder / "load.jsonl"
        size = ("--patients", str(100 * parts), "--events", str(PART * parts))
        kind = ("--disorder", "--other-drugs", "1", "--seed", "7", "--until", CUT.isoformat())
        run(*_WEEK12, "simulate", *size, *kind, f"--out={whole}", folder=ROOT)
        with whole.open("rb") as lines:
            for number in range(parts):
                part = self._folder / f"load-{number}.jsonl"
                part.write_bytes(b"".join(islice(lines, PART)))
                yield part

    def send(self, events: Path, *, until_taken: bool = False) -> subprocess.Popen[bytes]:
        """Start to send a file from this machine, as a centre would; return at once, or when the first are taken."""
        for line in events.read_bytes().splitlines():
            event = json.loads(line)
            self._versions.add((event["site_id"], event["event_id"], event.get("version", 1)))
        taken = self._taken() if until_taken else 0.0
        where = (f"--url={self._url('ingest')}", f"--token-file={self._folder}/sender.token")
        sending = subprocess.Popen(
            [
                *_WEEK12,
                "send",
                *where,
                "--in-flight=1",
                f"--rejects={self._folder}/rejects.jsonl",
                str(events),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if until_taken:
            _wait_until(
                lambda: self._taken() > taken or sending.poll() is not None, lambda: "nothing was taken"
            )
        return sending

    @property
    def acknowledged(self) -> int:
        """How many versions of records were sent, all of them acknowledged."""
        return len(self._versions)

    def finish(self, sending: subprocess.Popen[bytes]) -> None:
        """Wait until all of it is acknowledged."""
        try:
            said = sending.communicate(timeout=SEND_SECONDS)[1].decode("utf-8", "replace").strip()
        except subprocess.TimeoutExpired:
            sending.kill()
            raise DeployProblem(f"not all events were taken within {SEND_SECONDS:g} s") from None
        if sending.returncode:
            raise DeployProblem(f"not all events were taken: {said[-500:]}")

    def wait(self) -> None:
        """Until all that was acknowledged is in both stores, and what changed is published."""
        self.tool("wait", "--timeout=120")

    def check_table(self) -> None:
        """Hold the live table against the published one."""
        headers = {"Authorization": f"Bearer {self._lead}"}
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:
            cohort = rows(
                client, f"{self._url('outcomes')}/v1/cohort", timepoint="week_12", estimand="observed"
            )
            incidence = rows(client, f"{self._url('safety')}/v1/incidence")
            lines = agreement(load_protocol("fu2025"), cohort, incidence)
            if wrong := [line.name for line in lines if not line.agrees]:
                raise DeployProblem(f"not as published: {', '.join(wrong)}")

    def check_metrics(self) -> None:
        """Whether Prometheus scrapes all services."""
        with httpx.Client(timeout=10, trust_env=False) as client:
            _wait_until(lambda: self._scraped(client), lambda: "Prometheus does not reach all three services")

    def count(self) -> None:
        """Hold the number of versions in both stores against those that were acknowledged."""
        sql = "SELECT count(DISTINCT (site_id, event_id, version)) FROM {}.events"
        headers = {"Authorization": f"Bearer {self._lead}"}
        found: dict[str, int] = {}

        def all_there() -> bool:  # a store is read from a copy, which may be 5 s old
            for store in ("outcomes", "safety"):
                asked = client.post(f"{self._url('outcomes')}/v1/query", json={"sql": sql.format(store)})
                found[store] = asked.raise_for_status().json()["rows"][0][0]
            return set(found.values()) == {self.acknowledged}

        with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
            _wait_until(
                all_there, lambda: f"{self.acknowledged} events were acknowledged, in state are {found}"
            )

    def disturb(self, row: Row) -> float:
        """Do to a container what the row says, and mend it; seconds from then until every part is healthy."""
        container = self._container(row.service)
        if row.done.startswith("killed"):
            run("docker", "kill", container)
            mended = time.monotonic()
            run("docker", "start", container)
        else:
            network = f"{PROJECT}_events"
            run("docker", "network", "disconnect", network, container)
            time.sleep(CUT_SECONDS)
            run("docker", "network", "connect", f"--alias={row.service}", network, container)
            mended = time.monotonic()
        self._wait_until_healthy()
        return time.monotonic() - mended

    def keep(self) -> None:
        """Leave it running, and say how to look at it and how to remove it."""
        self._kept = True
        print(f"\n  outcomes    {self._url('outcomes')}/\n  alerts      {self._url('safety')}/")
        print(f"  prometheus  {self._url('prometheus')}/\n  token       {self._lead}")
        print(f"  remove it   {' '.join(daemon.compose())} -p {PROJECT} down --volumes", flush=True)

    def _url(self, service: str) -> str:
        return f"http://127.0.0.1:{self._ports[service]}"

    def _environment(self) -> Mapping[str, str]:
        """Ours, without what this terminal is set up for; the last day of the study as today."""
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("WEEK12_", "COMPOSE_"))
        }
        ports = {f"WEEK12_{name.upper()}_PORT": str(port) for name, port in self._ports.items()}
        return {**own, **ports, "WEEK12_TODAY": CUT.isoformat(), "WEEK12_TOKEN": self._lead}

    def _container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).strip()

    def _wait_until_healthy(self) -> None:
        containers = [self._container(service) for service in SERVICES]
        health: list[str] = []

        def healthy() -> bool:
            health[:] = run("docker", "inspect", "--format", "{{.State.Health.Status}}", *containers).split()
            return set(health) == {"healthy"}

        def problem() -> str:
            named = zip(SERVICES, health, strict=True)
            return ", ".join(f"{service} is {state}" for service, state in named if state != "healthy")

        _wait_until(healthy, problem)

    def _taken(self) -> float:
        """How many events ingest has acknowledged since its start."""
        metrics = httpx.get(f"{self._url('ingest')}/metrics", timeout=10, trust_env=False).text
        counts = re.findall(r"^week12_ingest_events_total\{.*?\} (\S+)$", metrics, re.MULTILINE)
        return sum(map(float, counts))

    def _scraped(self, client: httpx.Client) -> bool:
        try:
            answer = client.get(f"{self._url('prometheus')}/api/v1/query", params={"query": "sum(up) == 3"})
            return bool(answer.raise_for_status().json()["data"]["result"])
        except httpx.HTTPError:
            return False

    def _show_logs(self) -> None:
        try:
            print(self.compose("logs", "--tail=8", "--no-color"), file=sys.stderr)
        except DeployProblem as problem:
            print(problem, file=sys.stderr)

    def _check_residue(self) -> None:
        ours = f"--filter=label=com.docker.compose.project={PROJECT}"
        for what in (("container", "ls", "--all"), ("network", "ls"), ("volume", "ls")):
            if left := run("docker", *what, "--quiet", ours).split():
                raise DeployProblem(
                    f"{len(left)} of `docker {what[0]} ls` were left behind: {' '.join(left)}"
                )


def _wait_until(condition: Callable[[], bool], problem: Callable[[], str]) -> None:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise DeployProblem(f"{problem()} after {HEALTHY_SECONDS:g} s")
        time.sleep(0.25)


if __name__ == "__main__":
    sys.exit(main())

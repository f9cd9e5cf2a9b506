"""`week12 demo`: the study cohort through everything, and its published table beside the live one."""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from schemas.protocol import load_protocol
from services.broker import KINDS, BrokerKind, open_broker
from services.broker.process import free_port, is_free
from services.ingest.files import Chunk, Reject
from services.ingest.sending import Sender
from services.local.agreement import Line, agreement
from services.local.answers import rows
from services.local.study import chunks, count_disorder, study_stream
from services.local.supervisor import Supervisor, ending_on_signals
from services.local.waiting import events_end, wait_until_done
from services.runtime.errors import OperatorError
from services.runtime.places import places
from services.runtime.settings import Settings, load_settings
from services.runtime.tokens import TokenStore
from services.simulation.fu2025 import SEED
from services.simulation.fu2025.plan import CUT

HELP = """Stream the study cohort through everything on this machine, and compare with the published table.

Starts a broker and all services in a folder of their own, sends the events of 94 synthetic patients as they might
arrive (late, twice, corrected, withdrawn), and prints the rates of the published study beside those that the
services count. Then it stays, with pages to look at, until Ctrl-C; nothing is kept.

--once ends there: exit code 0 when every rate agrees to two decimals, else 1.

\b
Examples:
  week12 demo
  week12 demo --once --broker local
"""

KEPT_SETTINGS = {"WEEK12_CACHE_DIR", "WEEK12_LOG_LEVEL"}
TIMEOUT_SECONDS = 60.0
GROUPS = {"any", "serious", "grade_3_plus"}
SEVERITIES = ("critical", "high", "medium", "low")


@click.command(help=HELP)
@click.option("--once", is_flag=True, help="Stop at the end; the exit code says whether all agrees.")
@click.option(
    "--broker",
    "kind",
    type=click.Choice(KINDS),
    default="embedded",
    show_default=True,
    help="The broker: in memory, or Apache Kafka on Java 17 or in Docker.",
)
@click.option("--seed", type=int, default=SEED, show_default=True, help="Other patients, the same counts.")
@click.pass_context
def command(context: click.Context, once: bool, kind: BrokerKind, seed: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="week12-demo-"))
    demonstration = _Demonstration(folder, kind, seed)
    try:
        with ending_on_signals():
            lines = demonstration.run(stay=not once)
    except OperatorError as error:
        raise click.ClickException(f"{error} (the demonstration's files are kept in {folder})") from None
    except KeyboardInterrupt:
        demonstration.forget()
        click.echo("Stopped before the end.", err=True)
        context.exit(130)
    if once and not all(line.agrees for line in lines):
        click.echo(
            f"Not as published: {', '.join(line.name for line in lines if not line.agrees)}.", err=True
        )
        click.echo(f'The stores are kept: week12 query "FROM cohort_rates" --store {folder}', err=True)
        context.exit(1)
    demonstration.forget()


class _Demonstration:
    """One run: its folder, its broker, its tokens, and what it shows."""

    def __init__(self, folder: Path, kind: BrokerKind, seed: int) -> None:
        _forget_environment()
        self._seed = seed
        self._folder = folder
        self._broker = open_broker(kind, folder / "broker")
        self._settings = _settings(folder, self._broker.bootstrap_servers)
        self._supervisor = Supervisor(self._settings, self._broker, lambda line: click.echo(line, err=True))
        tokens = TokenStore(self._settings.tokens_path)
        self._sender = tokens.add("all-centres", ["submitter"])
        self._reader = tokens.add("you", ["registry_lead", "safety_officer"])
        self._console = Console(stderr=True)

    def run(self, *, stay: bool) -> list[Line]:
        """Everything, from start to stop. Raises OperatorError, and KeyboardInterrupt before the table."""
        try:
            click.echo("Starting a broker, ingest, outcomes and safety ...", err=True)
            with self._timed("broker and services are up"):
                self._supervisor.launch()
                events = study_stream(self._seed)
                requests = chunks(events)
                self._supervisor.wait_until_ready()
            with self._timed(f"{len(events)} events sent, counted and published"):
                self._send(requests)
            lines = self._show(events)
            if stay:
                self._invite()
            return lines
        finally:
            self._supervisor.stop()

    def forget(self) -> None:
        """Delete all that the run has left."""
        self._broker.discard()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _send(self, requests: Sequence[Chunk]) -> None:
        ingest, outcomes, safety = places(self._settings)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        is_bar = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not is_bar) as progress:
            task = progress.add_task("sending", total=sum(len(request.lines) for request in requests))

            def done(request: Chunk, rejects: Sequence[Reject]) -> None:
                if rejects:
                    raise OperatorError(
                        f"ingest refused {len(rejects)} events of the study cohort: this is a fault of week12"
                    )
                progress.advance(task, len(request.lines))

            asyncio.run(_send(ingest.url, self._sender, requests, done))
            ends = events_end(self._settings)
            progress.reset(task, description="processing", total=2 * sum(ends.values()))
            wait_until_done(
                {"outcomes": outcomes.url, "safety": safety.url},
                ends,
                published=True,
                timeout=TIMEOUT_SECONDS,
                meanwhile=lambda found: progress.update(
                    task, completed=sum(sum(one.offsets.values()) for one in found)
                ),
            )

    def _show(self, events: Sequence[dict[str, Any]]) -> list[Line]:
        protocol = load_protocol("fu2025")
        _, outcomes, safety = places(self._settings)
        headers = {"Authorization": f"Bearer {self._reader}"}
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:
            cohort = rows(client, f"{outcomes.url}/v1/cohort", timepoint="week_12", estimand="observed")
            incidence = rows(client, f"{safety.url}/v1/incidence")
            alerts = rows(client, f"{safety.url}/v1/alerts", limit=1000)
        lines = agreement(protocol, cohort, incidence)
        console = Console(width=None if Console().is_terminal else 120)
        console.print(_table(lines))
        console.print(_commonest(incidence), _alerts(alerts), _arrivals(events), sep="\n", highlight=False)
        return lines

    def _invite(self) -> None:
        _, outcomes, safety = places(self._settings)
        click.echo(f"\n  outcomes  {outcomes.url}/")
        click.echo(f"  alerts    {safety.url}/")
        click.echo(f"  token     {self._reader}")
        click.echo(f"  files     {self._settings.data_dir}  (gone at the end)")
        click.echo("\nLog in to the pages with the token. Ctrl-C to stop.")
        sys.stdout.flush()
        try:
            while True:
                self._supervisor.tend_for(3600)
        except KeyboardInterrupt:
            click.echo("Stopping.", err=True)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        click.echo(f"{time.monotonic() - started:5.1f} s  {what}", err=True)


def _forget_environment() -> None:
    """Synthetic patients must never reach a real registry, whatever this terminal is set up for."""
    for name in list(os.environ):
        if name.startswith(("KAFKA_", "WEEK12_")) and name not in KEPT_SETTINGS:
            del os.environ[name]


def _settings(folder: Path, servers: str) -> Settings:
    """The usual ports where they are free, and the last day of the study as today."""
    usual = load_settings()
    ports = {name: getattr(usual, name) for name in ("ingest_port", "outcomes_port", "safety_port")}
    free = {name: port if is_free(port) else free_port() for name, port in ports.items()}
    return load_settings(data_dir=folder, kafka_bootstrap_servers=servers, today=CUT, **free)


async def _send(url: str, token: str, requests: Sequence[Chunk], done: Any) -> None:
    async def stream() -> AsyncIterator[Chunk]:
        for request in requests:
            yield request

    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        sender = Sender(
            client, in_flight=4, give_up_after=TIMEOUT_SECONDS, waiting=lambda _reason: None, done=done
        )
        await sender.send(stream())


def _table(lines: Sequence[Line]) -> Table:
    table = Table(title="Week 12, as published and as counted live", title_justify="left", box=None)
    table.add_column("")
    for heading in ("published", "%", "live", "%", "95 % CI"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for line in lines:
        live = f"{line.live[0]}/{line.live[1]}" if line.live else "none"
        limits = " to ".join(f"{100 * limit:.1f}" for limit in line.limits) if line.limits else ""
        table.add_row(
            line.name,
            f"{line.published[0]}/{line.published[1]}",
            f"{line.published_per_cent:.2f}",
            live,
            f"{line.live_per_cent:.2f}" if line.live_per_cent is not None else "",
            limits,
            Text("agrees", "green") if line.agrees else Text("DIFFERS", "bold red"),
        )
    return table


def _commonest(incidence: Sequence[dict[str, Any]]) -> str:
    terms = [row for row in incidence if row["site_id"] is None and row["event_group"] not in GROUPS]
    if not terms:
        return "No adverse events."
    top = max(terms, key=lambda row: (row["patients_with_event"], row["event_group"]))
    patients = f"{top['patients_with_event']} patients on {top['drug']}"
    return f"Most frequent adverse event: {top['event_group']} ({patients})."


def _alerts(alerts: Sequence[dict[str, Any]]) -> str:
    counts = Counter(alert["severity"] for alert in alerts if alert["state"] != "withdrawn")
    told = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES if counts[severity])
    return f"Alerts: {told or 'none'}."


def _arrivals(events: Sequence[dict[str, Any]]) -> str:
    found = count_disorder(events)
    return (
        f"{found.events} events arrived, {found.late} of them late; {found.duplicates} were duplicates, "
        f"{found.corrections} corrections and {found.retractions} retractions."
    )

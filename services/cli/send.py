"""`week12 send`: files of events to ingest, checked, with a progress bar and a rejects file."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import click
import httpx
import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from services.ingest.files import STDIN, Chunk, Reject, read_chunks
from services.ingest.sending import Sender
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

HELP = """Check FILEs of events and stream them to ingest.

A FILE holds one JSON object a line; `-` is standard input, `.gz` is unpacked. Each line is checked here
first, then sent in requests of up to 1000 lines, a few at a time. While ingest is busy or Kafka is away, it
waits and tries again. Sending a file again is always right: what is there already is not counted twice.

Lines that were refused go to the rejects file: JSON lines with file, line, errors (path, code, message) and
the text of the line. It holds patient data and is readable by you alone. Correct the lines and send them.

Exit code: 0 when every line was taken, 1 when any was refused or sending was given up, 130 after Ctrl-C.

\b
Examples:
  week12 send --token-file clinic-01.token visits.jsonl labs.jsonl.gz
  WEEK12_TOKEN=... week12 send --url https://registry.example.org export.jsonl
  week12 simulate --patients 100 --sites 4 --seed 1 | week12 send -
"""


@click.command(help=HELP)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--url", envvar="WEEK12_INGEST_URL", help="Address of ingest.  [default: ingest on this machine]"
)
@click.option("--token", help="The token; better in a file or in WEEK12_TOKEN, where others do not see it.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, exists=True),
    help="File with the token.  [default: WEEK12_TOKEN]",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("rejects.jsonl"),
    show_default=True,
    help="Where refused lines go; made, or replaced, when there is one.",
)
@click.option(
    "--in-flight", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at once."
)
@click.option(
    "--give-up-after",
    type=click.FloatRange(min=0),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="End when ingest has taken nothing for so long.",
)
@click.pass_context
def command(
    context: click.Context,
    files: tuple[str, ...],
    url: str | None,
    token: str | None,
    token_file: str | None,
    rejects: Path,
    in_flight: int,
    give_up_after: float,
) -> None:
    started = time.monotonic()
    try:
        with _Report(files, rejects) as report:
            client = _client(url, _token(token, token_file), in_flight)
            sender = Sender(
                client,
                in_flight=in_flight,
                give_up_after=give_up_after,
                waiting=report.waiting,
                done=report.done,
            )
            try:
                asyncio.run(_send(client, sender, files))
            except KeyboardInterrupt:
                report.stopped = True
            finally:
                report.end()
                click.echo(report.summary(sender, time.monotonic() - started))
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    if report.stopped:
        click.echo("Stopped before the end: send the same again to have all of it taken.", err=True)
        context.exit(130)
    context.exit(1 if sender.statuses["refused"] else 0)


async def _send(client: httpx.AsyncClient, sender: Sender, files: Sequence[str]) -> None:
    reader = _Reader(files)
    try:
        async with client:
            await sender.send(reader.chunks())
    finally:
        reader.stop()


class _Reader:
    """Reads and checks the files in a thread of its own, a chunk ahead of the requests."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self._stopped = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Chunk | OperatorError | None] = asyncio.Queue(1)
        # A daemon, since nothing wakes a thread that waits for a terminal when Ctrl-C comes.
        self._thread = threading.Thread(target=self._read, daemon=True)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """The chunks of all files; raises what stood in the way of reading them."""
        self._thread.start()
        while (item := await self._queue.get()) is not None:
            if isinstance(item, OperatorError):
                raise item
            yield item

    def stop(self) -> None:
        """Read no further; a thread at work must not be there when the program ends."""
        self._stopped.set()
        if STDIN not in self._files and self._thread.ident:
            self._thread.join()

    def _read(self) -> None:
        try:
            for file in self._files:
                for chunk in read_chunks(file):
                    self._put(chunk)
                    if self._stopped.is_set():
                        return
            self._put(None)
        except OperatorError as error:
            self._put(error)

    def _put(self, item: Chunk | OperatorError | None) -> None:
        handed_over = asyncio.run_coroutine_threadsafe(self._queue.put(item), self._loop)
        while not self._stopped.is_set():
            with suppress(TimeoutError):
                handed_over.result(0.1)
                return


def _client(url: str | None, token: str, in_flight: int) -> httpx.AsyncClient:
    if url is None:
        settings = load_settings()
        url = f"http://{settings.host}:{settings.ingest_port}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OperatorError(f"--url {url}: give an address such as http://127.0.0.1:8120")
    is_here = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme == "http" and not is_here:
        click.echo(
            f"Warning: token and patient data go unencrypted to {parts.hostname}; use https.", err=True
        )
    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(60, connect=10),
        limits=httpx.Limits(max_connections=in_flight),
        trust_env=not is_here,
    )


def _token(token: str | None, token_file: str | None) -> str:
    if token is None and token_file:
        token = Path(token_file).read_text("utf-8", errors="replace")
    token = (token or os.environ.get("WEEK12_TOKEN", "")).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise OperatorError(
            "no token: set WEEK12_TOKEN, or give --token-file with what `week12 token add` printed"
        )
    return token


class _Report:
    """What people see: the progress on standard error, the rejects file, the summary."""

    def __init__(self, files: Sequence[str], rejects: Path) -> None:
        self.stopped = False
        self.lines = 0
        self._rejects = rejects
        self._file: IO[bytes] | None = None
        self._progress = _progress()
        self._task = self._progress.add_task("sending", total=_total(files), lines=0, refused=0)
        self._refused = 0
        self._told: set[str] = set()

    def __enter__(self) -> "_Report":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Close the bar and the rejects file."""
        self._progress.stop()
        if self._file:
            self._file.close()

    def waiting(self, reason: str | None) -> None:
        """Show why nothing moves; where there is no bar, say each reason once."""
        if reason and self._progress.disable and reason not in self._told:
            self._told.add(reason)
            click.echo(f"Waiting: {reason}", err=True)
        self._progress.update(self._task, description=f"waiting: {reason}" if reason else "sending")

    def done(self, chunk: Chunk, rejects: Sequence[Reject]) -> None:
        """A chunk is finished: its good lines are acknowledged, its rejects are kept."""
        self.lines += len(chunk.lines) + len(chunk.rejects)
        self._refused += len(rejects)
        self._progress.update(self._task, advance=chunk.input_bytes, lines=self.lines, refused=self._refused)
        for reject in sorted(rejects, key=lambda reject: reject.line.number):
            self._write(reject)

    def summary(self, sender: Sender, seconds: float) -> str:
        """One or two lines with the counts."""
        counts = sender.statuses
        rate = f"{self.lines / seconds:,.0f}/s" if seconds else ""
        if not self.lines:
            return "No line was sent."
        text = (
            f"{self.lines:,} lines in {seconds:.1f} s ({rate}): {counts['accepted']:,} accepted, "
            f"{counts['duplicate']:,} duplicate, {counts['refused']:,} refused"
        )
        if self._file:
            text += f" (see {self._rejects})"
        if sender.warnings:
            codes = ", ".join(f"{code} {count:,}" for code, count in sorted(sender.warnings.items()))
            text += f"\nTaken, but flagged: {codes}"
        return text

    def _write(self, reject: Reject) -> None:
        if self._file is None:
            self._file = _private(self._rejects)
        line = reject.line
        entry = {
            "file": line.file,
            "line": line.number,
            "errors": reject.errors,
            "text": line.text.decode("utf-8", "replace"),
        }
        self._file.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))


def _private(path: Path) -> IO[bytes]:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.fchmod(descriptor, 0o600)  # it may have stood there with another mode
        return os.fdopen(descriptor, "wb")
    except OSError as error:
        raise OperatorError(f"--rejects {path} cannot be written ({error.strerror}): name another") from None


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[lines]:,} lines, {task.fields[refused]:,} refused"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _total(files: Sequence[str]) -> float | None:
    if STDIN in files:
        return None
    return sum(Path(file).stat().st_size for file in files if Path(file).is_file())

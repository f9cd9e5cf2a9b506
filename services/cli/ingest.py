"""`week12 ingest`: the ingest service in the foreground."""

import asyncio

import click
import uvloop

from services.ingest.app import run
from services.runtime.collector import relax_collector
from services.runtime.errors import OperatorError
from services.runtime.logs import configure_logs
from services.runtime.serve import stop_on_signals
from services.runtime.settings import Settings, load_settings

HELP = """Run the ingest service in the foreground: it takes sites' events over HTTP and puts them into Kafka.

POST /v1/events takes one event, a JSON array, or NDJSON (a JSON object a line) with a token in the header
`Authorization: Bearer <token>`; `week12 token add` makes tokens, `week12 send` is a ready-made client. The
answer comes once Kafka has acknowledged every accepted event on all replicas.

Kafka is the one named by KAFKA_BOOTSTRAP_SERVERS. While it is away the service stays up, answers 503, and
/health/ready says so. Ctrl-C stops it within seconds.

\b
Example:
  week12 token add clinic-01 --role submitter --site S01
  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 week12 ingest
"""


@click.command(help=HELP)
@click.option("--host", help="Address to listen on.  [default: WEEK12_HOST or 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: WEEK12_INGEST_PORT or 8120]")
def command(host: str | None, port: int | None) -> None:
    try:
        given = {"host": host, "ingest_port": port}
        settings = load_settings(**{name: value for name, value in given.items() if value is not None})
        configure_logs("ingest", settings.log_level)
        uvloop.run(_until_stopped(settings))
    except OperatorError as error:
        raise click.ClickException(str(error)) from None


async def _until_stopped(settings: Settings) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    relax_collector()
    click.echo(f"ingest on http://{settings.host}:{settings.ingest_port}, Ctrl-C to stop", err=True)
    await run(settings, stop)

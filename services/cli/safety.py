"""`week12 safety`: the safety service in the foreground."""

import click

from services.cli.running import run_service
from services.safety.service import DESIGN

HELP = """Run the safety service in the foreground: adverse events, alerts and incidence, live.

It reads the registry's event topics from Kafka (KAFKA_BOOTSTRAP_SERVERS) into its own DuckDB file in
WEEK12_DATA_DIR, and serves /v1/alerts, /v1/alerts/stream and /v1/incidence
and a page for people. One process owns the store; a second one is refused. It starts where its store stands, so
it may be killed at any moment. While Kafka is away it stays up and /health/ready says so. Ctrl-C stops it within
seconds.

\b
Example:
  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 WEEK12_DATA_DIR=/var/lib/week12 week12 safety
"""


@click.command(help=HELP)
@click.option("--host", help="Address to listen on.  [default: WEEK12_HOST or 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: WEEK12_SAFETY_PORT]")
def command(host: str | None, port: int | None) -> None:
    run_service(DESIGN, host, port)

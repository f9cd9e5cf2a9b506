"""`week12 outcomes`: the outcomes service in the foreground."""

import click

from services.cli.running import run_service
from services.outcomes.service import DESIGN

HELP = """Run the outcomes service in the foreground: week-12 outcomes of every patient, live.

It reads the registry's event topics from Kafka (KAFKA_BOOTSTRAP_SERVERS) into its own DuckDB file in
WEEK12_DATA_DIR, and serves /v1/cohort, /v1/outcomes and /v1/patients/{patient_id}
and a page for people. One process owns the store; a second one is refused. It starts where its store stands, so
it may be killed at any moment. While Kafka is away it stays up and /health/ready says so. Ctrl-C stops it within
seconds.

\b
Example:
  KAFKA_BOOTSTRAP_SERVERS=kafka:9092 WEEK12_DATA_DIR=/var/lib/week12 week12 outcomes
"""


@click.command(help=HELP)
@click.option("--host", help="Address to listen on.  [default: WEEK12_HOST or 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: WEEK12_OUTCOMES_PORT]")
def command(host: str | None, port: int | None) -> None:
    run_service(DESIGN, host, port)

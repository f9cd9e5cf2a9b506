"""`week12 wait`: until what was acknowledged is in the stores."""

import time

import click

from services.local.waiting import events_end, wait_until_done
from services.runtime.errors import OperatorError
from services.runtime.places import places
from services.runtime.settings import load_settings

HELP = """Return when every event acknowledged so far is in both stores.

It looks up where the event topics end (KAFKA_BOOTSTRAP_SERVERS), then asks outcomes and safety how far they are
until both are beyond, and have published what changed to registry.outcomes.v1 and registry.alerts.v1. Events
that are acknowledged after its start are not waited for.

Exit code: 0 when all is there, 1 at the timeout, with a line that names the service and topic that is behind.

\b
Example:
  week12 send visits.jsonl && week12 wait && curl -H "Authorization: Bearer $WEEK12_TOKEN" localhost:8121/v1/cohort
"""


@click.command(help=HELP)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Give up after so long.",
)
@click.option(
    "--published/--no-published", default=True, show_default=True, help="Wait for the derived topics too."
)
@click.option("--outcomes-url", help="Address of outcomes.  [default: outcomes on this machine]")
@click.option("--safety-url", help="Address of safety.  [default: safety on this machine]")
def command(timeout: float, published: bool, outcomes_url: str | None, safety_url: str | None) -> None:
    started = time.monotonic()
    try:
        settings = load_settings()
        _, outcomes, safety = places(settings)
        urls = {"outcomes": outcomes_url or outcomes.url, "safety": safety_url or safety.url}
        ends = events_end(settings)
        wait_until_done(urls, ends, published=published, timeout=timeout)
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    seconds = time.monotonic() - started
    click.echo(f"All {sum(ends.values())} records are in both stores ({seconds:.1f} s).", err=True)

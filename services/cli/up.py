"""`week12 up`: all services on one machine."""

import shlex
import sys
from pathlib import Path

import click

from services.broker import KINDS, Broker, BrokerKind, open_broker
from services.local.supervisor import Supervisor, ending_on_signals
from services.runtime.errors import OperatorError
from services.runtime.places import places
from services.runtime.settings import Settings, load_settings
from services.runtime.tokens import TokenStore

HELP = """Run ingest, outcomes and safety on this machine, until Ctrl-C.

Kafka is the one named by KAFKA_BOOTSTRAP_SERVERS. Without it, an Apache Kafka is started beside the services on
port 9092, with its data in WEEK12_DATA_DIR/kafka: everything is still there at the next start (needs Java 17; the
first start fetches Kafka with Maven). `--broker container` runs Apache Kafka in Docker instead, with its data in a
volume that belongs to WEEK12_DATA_DIR. `--broker embedded` takes a broker in memory, which forgets all events when it
stops: for trying things out, never for a registry.

A service that ends is started again. Logs are in WEEK12_DATA_DIR/logs, one file a service. Ctrl-C stops everything
within seconds.

\b
Examples:
  week12 up
  week12 up --data-dir /var/lib/week12
  KAFKA_BOOTSTRAP_SERVERS=kafka-1:9092,kafka-2:9092 week12 up
"""

KAFKA_PORT = 9092
_PORT = click.IntRange(1, 65535)


@click.command(help=HELP)
@click.option(
    "--broker",
    type=click.Choice(KINDS),
    help="The broker to start.  [default: local, or none where KAFKA_BOOTSTRAP_SERVERS is set]",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where everything is kept.  [default: WEEK12_DATA_DIR or data]",
)
@click.option("--ingest-port", type=_PORT, help="Port of ingest.  [default: WEEK12_INGEST_PORT or 8120]")
@click.option(
    "--outcomes-port", type=_PORT, help="Port of outcomes.  [default: WEEK12_OUTCOMES_PORT or 8121]"
)
@click.option("--safety-port", type=_PORT, help="Port of safety.  [default: WEEK12_SAFETY_PORT or 8122]")
@click.option(
    "--kafka-port", type=_PORT, default=KAFKA_PORT, show_default=True, help="Port of the broker started here."
)
def command(
    broker: BrokerKind | None,
    data_dir: Path | None,
    ingest_port: int | None,
    outcomes_port: int | None,
    safety_port: int | None,
    kafka_port: int,
) -> None:
    given = {
        "data_dir": data_dir,
        "ingest_port": ingest_port,
        "outcomes_port": outcomes_port,
        "safety_port": safety_port,
    }
    try:
        settings = load_settings(**{name: value for name, value in given.items() if value is not None})
        own = _own_broker(broker, settings, kafka_port)
        _run(Supervisor(settings, own, lambda line: click.echo(line, err=True)))
    except OperatorError as error:
        raise click.ClickException(str(error)) from None


def _own_broker(kind: BrokerKind | None, settings: Settings, port: int) -> Broker | None:
    if "kafka_bootstrap_servers" in settings.model_fields_set:
        if kind:
            raise OperatorError("KAFKA_BOOTSTRAP_SERVERS names a Kafka: unset it, or leave out --broker")
        return None
    if kind == "embedded":
        click.echo(
            "The embedded broker keeps events in memory alone: they are gone when it stops. "
            "Use it to try things out, never for a registry.",
            err=True,
        )
        return open_broker("embedded", settings.data_dir / "embedded", port)
    return open_broker(kind or "local", settings.data_dir / "kafka", port)


def _run(supervisor: Supervisor) -> None:
    with ending_on_signals():
        try:
            _say_what_starts(supervisor)
            supervisor.start()
            _welcome(supervisor.settings, supervisor.broker)
            while True:
                supervisor.tend_for(3600)
        except KeyboardInterrupt:
            click.echo("Stopping.", err=True)
        finally:
            supervisor.stop()


def _say_what_starts(supervisor: Supervisor) -> None:
    kafka = (
        f"a {supervisor.broker.name} broker" if supervisor.broker else "the Kafka of KAFKA_BOOTSTRAP_SERVERS"
    )
    click.echo(f"Starting ingest, outcomes and safety on {kafka} ...", err=True)


def _welcome(settings: Settings, broker: Broker | None) -> None:
    ingest, outcomes, safety = places(settings)
    click.echo(f"  events to   {ingest.url}/v1/events")
    click.echo(f"  outcomes    {outcomes.url}/")
    click.echo(f"  alerts      {safety.url}/")
    click.echo(f"  Kafka       {broker.bootstrap_servers if broker else settings.kafka_bootstrap_servers}")
    click.echo(f"  data, logs  {settings.data_dir.absolute()}")
    if not TokenStore(settings.tokens_path).list():
        click.echo(_how_to_make_tokens(settings))
    click.echo("Ctrl-C to stop.")
    sys.stdout.flush()


def _how_to_make_tokens(settings: Settings) -> str:
    """Nobody can send or read yet; which rights to give is for people to decide."""
    here = ""
    if load_settings().tokens_path.absolute() != settings.tokens_path.absolute():
        here = f"WEEK12_DATA_DIR={shlex.quote(str(settings.data_dir.absolute()))} "
    return (
        "There is no token yet, so nobody can send or read. For a centre that sends, and for you to read:\n"
        f"  {here}week12 token add clinic-01 --role submitter --site S01\n"
        f"  {here}week12 token add me --role registry_lead"
    )

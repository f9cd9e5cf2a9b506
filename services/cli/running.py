"""What the commands that run a processing service share."""

import asyncio

import click
import uvloop

from services.runtime.collector import relax_collector
from services.runtime.errors import OperatorError
from services.runtime.interpreter import hand_over_sooner, leave_out_pandas
from services.runtime.logs import configure_logs
from services.runtime.memory import tame_allocators
from services.runtime.serve import stop_on_signals
from services.runtime.settings import Settings, load_settings
from services.stream.service import Design, run


def run_service(design: Design, host: str | None, port: int | None) -> None:
    """Run until Ctrl-C; what the operator must put right is one line and exit code 1."""
    name = design.definition.name
    tame_allocators()
    leave_out_pandas()
    try:
        given = {"host": host, f"{name}_port": port}
        settings = load_settings(**{key: value for key, value in given.items() if value is not None})
        configure_logs(name, settings.log_level)
        uvloop.run(_until_stopped(settings, design))
    except OperatorError as error:
        raise click.ClickException(str(error)) from None


async def _until_stopped(settings: Settings, design: Design) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    relax_collector()
    hand_over_sooner()
    name, port = design.definition.name, design.port(settings)
    click.echo(f"{name} on http://{settings.host}:{port}, Ctrl-C to stop", err=True)
    await run(settings, design, stop)

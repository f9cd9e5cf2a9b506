"""`week12 backup`: copies of the stores, taken while the services run."""

from pathlib import Path

import click

from services.local.backup import back_up
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

HELP = """Copy both stores into DIR, a new folder, while the services run or at rest.

Running services write consistent snapshots for it (with a token that may operate: analyst, registry_lead, auditor).
manifest.json names offsets, layout, size and checksum of each. `week12 restore DIR` puts them back.

Kafka holds the events: back up Kafka, tokens.toml and erasure.key in any case. A backup of the stores only saves the
time of reading the log again, and holds patients who are erased later: keep it no longer than you need it.

\b
Example:
  WEEK12_TOKEN=$(cat me.token) week12 backup /backups/week12-2025-06-30
"""


@click.command(help=HELP)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--token", envvar="WEEK12_TOKEN", help="While the services run; better in WEEK12_TOKEN.")
def command(folder: Path, token: str | None) -> None:
    try:
        copies = back_up(load_settings(), folder, token)
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    for name, copy in copies.items():
        click.echo(
            f"{name}: {copy.events:,} versions of events, {copy.bytes / 2**20:,.1f} MiB, as of {copy.today}"
        )

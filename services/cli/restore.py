"""`week12 restore`: a backup of the stores put back, at rest."""

from pathlib import Path

import click

from schemas.protocol import ProtocolError
from services.local.backup import put_back
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

HELP = """Put the stores of a backup in DIR back into WEEK12_DATA_DIR. The services must not run; Kafka must.

The files that are there are moved aside. Checksums are checked, and patients who were erased since the backup are
taken out first. When the services start they read on from the backup's offsets; `week12 wait && week12 verify` then
proves that nothing is missing.

Without a backup there is nothing to restore: with no store, the services read everything again from Kafka.

\b
Example:
  week12 restore /backups/week12-2025-06-30
"""


@click.command(help=HELP)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    try:
        copies, aside = put_back(load_settings(), folder)
    except (OperatorError, ProtocolError) as error:
        raise click.ClickException(str(error)) from None
    for name, copy in copies.items():
        click.echo(f"{name}: as of {copy.today}; start the service, and it reads on")
    for path in aside:
        click.echo(f"moved aside: {path} (delete it once all is well: it holds patient data)")

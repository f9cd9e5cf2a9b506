"""`week12 setup`: what services share, made before their first start."""

import click

from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings

HELP = """Make the erasure key where there is none (WEEK12_ERASURE_KEY_FILE, else erasure.key in WEEK12_DATA_DIR).

Services make it themselves at their first start. Where they may only read it, as in containers, call this
before them, with a user who may write there. Back the key up: without it, erased patients are not recognised.
"""


@click.command(help=HELP)
def command() -> None:
    try:
        path = load_settings().erasure_key_path
        was_there = path.exists()
        ErasureKey.read(path)
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"The erasure key {'was there' if was_there else 'is made'}: {path}", err=True)

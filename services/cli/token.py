"""`week12 token`: who may send, read and act."""

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.runtime.errors import OperatorError
from services.runtime.settings import load_settings
from services.runtime.tokens import ROLES, SITE_ROLES, TokenStore

HELP = """Make, list and revoke the access tokens of sites and people.

A token is shown once, when it is made; the file (WEEK12_TOKENS_FILE, else tokens.toml in WEEK12_DATA_DIR)
holds only its SHA-256. Running services notice a change at their next request.

\b
Examples:
  week12 token add clinic-01 --role submitter --site S01     a centre that sends its events
  week12 token add dr-lee --role safety_officer              reads everything, acts on alerts
  week12 token list
  week12 token revoke clinic-01
"""


@click.group(help=HELP)
def command() -> None:
    pass


@command.command()
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice(list(ROLES)), help="May be repeated."
)
@click.option("--site", "sites", multiple=True, help="A centre the token acts for; may be repeated.")
@click.option("--all-sites", is_flag=True, help="For every centre, also with a role that acts for centres.")
def add(name: str, roles: tuple[str, ...], sites: tuple[str, ...], all_sites: bool) -> None:
    """Make a token named NAME and print its secret, once.

    Only the secret goes to standard output, so `week12 token add ... > clinic-01.token` keeps it in a file.
    """
    if bool(sites) == all_sites and (sites or SITE_ROLES & set(roles)):
        raise click.UsageError("say --site for each centre the token acts for, or --all-sites")
    try:
        secret = _store().add(name, roles, sites or None)
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Token {name}, shown only now; pass it on by a safe way:", err=True)
    click.echo(secret)


@command.command("list")
def list_tokens() -> None:
    """Show the tokens' names, roles and centres; never a secret."""
    try:
        tokens = _store().list()
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    if not tokens:
        click.echo("No tokens yet: `week12 token add --help` shows how to make one.", err=True)
        return
    table = Table("name", "roles", "sites", "made on", box=None, header_style="bold")
    for token in tokens:
        caller = token.caller
        sites = "all" if caller.sites is None else ", ".join(sorted(caller.sites))
        cells = (caller.name, ", ".join(sorted(caller.roles)), sites, token.created_on)
        table.add_row(*map(Text, cells))
    Console().print(table)


@command.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Remove the token NAME: it is refused from the next request on."""
    try:
        _store().revoke(name)
    except OperatorError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Token {name} is revoked.", err=True)


def _store() -> TokenStore:
    return TokenStore(load_settings().tokens_path)

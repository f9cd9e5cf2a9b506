"""`week12 protocol`: what is evaluated, as files that can be checked, listed and compared."""

import sys

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.protocol import PROTOCOLS_DIR, Protocol, ProtocolError, load_protocol, shipped_protocols
from schemas.protocol_model import KINDS
from schemas.protocol_words import differences, in_words

HELP = f"""Check, list and compare protocols: timepoints, windows, endpoints, limits and published rates as files.

A protocol is a TOML file. It may extend others and then says only what differs, so a centre's own is a few lines:

\b
  extends = ["fu2025"]
  title = "As fu2025, with an albumin target"
  [parameter.albumin]
  window = "clinical"
  [endpoint.albumin_35]
  kind = "threshold"
  parameter = "albumin"
  at_least = 35
  population = "active"
  rule = "local"

An endpoint is a criterion that is reported. Kinds of criteria, and what each takes:

\b
{{kinds}}

`week12 protocol check ours.toml` says what is wrong and on which line; `WEEK12_PROTOCOLS=fu2025,ours.toml` evaluates
both side by side, over the same events. The shipped files are in {PROTOCOLS_DIR.name}/ of the package `schemas`.
"""


def _kinds() -> str:
    lines = []
    for name, shape in KINDS.items():
        takes = [*shape.needs, *(["one of " + "|".join(shape.one_of)] if shape.one_of else [])]
        takes += [f"[{field}]" for field in shape.may]
        lines += [f"  {name}: {', '.join(takes)}", f"      {shape.meaning}"]
    return "\n".join(lines)


@click.group(help=HELP.format(kinds=_kinds()))
def command() -> None:
    pass


@command.command()
@click.argument("names", nargs=-1, required=True)
def check(names: tuple[str, ...]) -> None:
    """Read the protocols NAMES (shipped names or files) and say what is wrong, with file and line.

    Exit code 1 if any cannot be used.
    """
    wrong = 0
    for name in names:
        try:
            protocol = load_protocol(name)
        except ProtocolError as error:
            wrong += 1
            click.echo(f"Error: {error}", err=True)
        else:
            rows = sum(len(list(protocol.scheduled(endpoint))) for endpoint in protocol.endpoints)
            click.echo(
                f"{protocol.name}: good; {len(protocol.endpoints)} endpoints, {len(protocol.timepoint)} timepoints "
                f"and baseline, {rows} rows a patient"
            )
    sys.exit(1 if wrong else 0)


@command.command("list")
@click.argument("name", required=False)
def list_protocols(name: str | None) -> None:
    """Show the shipped protocols, or with NAME every endpoint of one: what it asks for, when, and by which rule."""
    if name is None:
        table = Table("name", "version", "endpoints", "title", "checked by", box=None, header_style="bold")
        for shipped in shipped_protocols():
            protocol = _load(shipped)
            cells = (
                shipped,
                protocol.version,
                str(len(protocol.endpoints)),
                protocol.title,
                protocol.checked_by,
            )
            table.add_row(*map(Text, cells))
        Console().print(table)
        return
    protocol = _load(name)
    click.echo(f"{protocol.name}, version {protocol.version}: {protocol.title}")
    click.echo(f"Source: {protocol.source}")
    table = Table("endpoint", "met when", "rule", "at", box=None, header_style="bold")
    for endpoint in protocol.endpoints:
        times = ", ".join(time.removeprefix("week_") for time in protocol.scheduled(endpoint))
        table.add_row(*map(Text, (endpoint.name, in_words(protocol, endpoint.name), endpoint.rule, times)))
    Console().print(table)


@command.command()
@click.argument("one")
@click.argument("other")
def diff(one: str, other: str) -> None:
    """Show every field in which two protocols differ.

    Exit code 0 if they are the same, 1 if they differ, as of `diff`.
    """
    first, second = _load(one), _load(other)
    table = Table("field", first.name, second.name, box=None, header_style="bold")
    rows = list(differences(first, second))
    for row in rows:
        table.add_row(*map(Text, row))
    if rows:
        Console().print(table)
    sys.exit(1 if rows else 0)


def _load(name: str) -> Protocol:
    try:
        return load_protocol(name)
    except ProtocolError as error:
        raise click.ClickException(str(error)) from None

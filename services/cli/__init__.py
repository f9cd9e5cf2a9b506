"""The `week12` command: one module per subcommand, imported only when it is called.

Importing every service for `week12 --help` would cost seconds, so the group knows names and one-line
summaries, and loads `services.cli.<name>:command` on demand.
"""

from importlib import import_module

import click

SUMMARIES = {
    "demo": "Start everything on an embedded broker and stream the study cohort.",
    "up": "Run all services on this machine, until Ctrl-C.",
    "ingest": "Run the ingest service: sites' events into Kafka.",
    "outcomes": "Run the outcomes service: week-12 outcomes from Kafka into DuckDB.",
    "safety": "Run the safety service: adverse events, alerts and incidence.",
    "send": "Validate and stream files of events to ingest.",
    "simulate": "Write a realistic synthetic registry as JSON lines.",
    "compute": "Derive everything from files of events, without Kafka.",
    "query": "Read-only SQL over both stores.",
    "explain": "Why every outcome and alert of a patient is what it is.",
    "export": "Analysis data sets: ADSL, ADRS, ADLB, ADAE as Parquet, CSV, Dataset-JSON, XPT.",
    "protocol": "Check, list and compare protocols.",
    "setup": "Make the erasure key, where services may only read it.",
    "token": "Make, list and revoke access tokens.",
    "backup": "Copy the stores while the services run.",
    "restore": "Put a backup of the stores back.",
    "dead-letters": "List, show and send again records that could not be read.",
    "reconcile": "Account for every event: sent, acknowledged, in the stores, or where else.",
    "replay": "Make the stores anew from Kafka; or with another protocol, list who changes class.",
    "verify": "Recompute from Kafka in batch and compare with the live stores.",
    "wait": "Return when every acknowledged event is in the stores.",
}


class LazyGroup(click.Group):
    """A click group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUMMARIES:
            return None
        command: click.Command = import_module(f"services.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="week12", prog_name="week12")
def main() -> None:
    """week12 keeps every patient's week-12 outcome and safety signal correct and current, live.

    Start with `week12 demo`. Every command has its own --help.
    """

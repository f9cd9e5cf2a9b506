"""Writes what was measured into the table of docs/reliability.md, a row a line; other rows stay."""

from datetime import UTC, datetime
from pathlib import Path

from reliability.driver import Result, Row

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = (
    "| what happened | times | events acknowledged | events in state | differences from batch | seconds to recover "
    "| measured on |\n|---|---|---|---|---|---|---|"
)


def line_of(row: Row, result: Result) -> str:
    """A row of the table."""
    cells = (
        row.said,
        result.times,
        f"{result.acknowledged:,}".replace(",", " "),
        f"{result.in_state:,}".replace(",", " "),
        result.differences,
        f"{result.seconds:.1f}",
        f"{datetime.now(UTC):%Y-%m-%d}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def write(measured: dict[str, str], order: list[str]) -> None:
    """Put the lines (what happened -> line) into the document, in this order of what happened."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    lines = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    known = {line.split(" | ")[0].removeprefix("| "): line for line in lines} | measured
    rows = "\n".join(known[said] for said in order if said in known)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{HEAD}\n{rows}\n{END}{after}", encoding="utf-8")

"""Layouts: the tables of a store that cannot be derived, and how the file of an earlier version becomes one of this.

What is derived is made anew whenever its definition changes. Events, offsets, marks and what is yet to be sent are
not: each of their forms is a layout with a number, and a step leads from each to the next. A step is one transaction
together with its number, so that whoever is killed on the way goes on from the last step done.

Of an event the store keeps columns, not the event. Where a layout has columns that an earlier one did not keep, no SQL
can fill them: the step only makes them, and the store is then to be made anew from Kafka before anybody reads it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from services.runtime.errors import OperatorError
from services.stream.quoting import quoted
from services.stream.transaction import transaction

log = logging.getLogger(__name__)

NOTE = "INSERT OR REPLACE INTO store.store_info VALUES (?, ?)"
FROM_LOG = "from_log"
"""In `store_info`: the first layout whose columns only Kafka can fill; gone with the store made anew."""

Con = duckdb.DuckDBPyConnection


@dataclass(frozen=True)
class Layout:
    """One form of the tables that are not derived, and the step that leads to it from the form before."""

    number: int
    change: str
    """What is new, for the log and for people."""
    statements: Sequence[str] = ()
    """SQL of the step. DuckDB has failed to recover a change of rows behind one of columns: give each its own step."""
    from_log: bool = False
    """Whether the events stored before lack what only the raw event says."""
    mark: str = ""
    """How files of this layout were marked before layouts had numbers."""


class LayoutError(OperatorError):
    """The file is of a layout that cannot be brought up to this version's; the message says what to do."""


class ReadAgain(OperatorError):
    """The file is of this version's layout now, but its events have to be read again from Kafka."""


def layout_of(con: Con, layouts: Sequence[Layout], path: Path) -> int:
    """The layout of the attached `store`, by its number. Raises LayoutError for a file of nobody knows which."""
    found = con.execute("SELECT value FROM store.store_info WHERE name = 'layout'").fetchall()
    written = found[0][0] if found else ""
    marked = {layout.mark: layout.number for layout in layouts if layout.mark}
    if written in marked:
        return marked[written]
    if not written.isdigit():
        raise LayoutError(
            f"{path} was written by a version of week12 that this one knows nothing of: "
            "move it aside and start again; it is rebuilt from Kafka"
        )
    return int(written)


def require_layout(path: Path, layouts: Sequence[Layout]) -> None:
    """Raise LayoutError where the store at rest in a file, which is only read, is not of the newest layout."""
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{quoted(path)}' AS store (READ_ONLY)")
        number = layout_of(con, layouts, path)
    if number != layouts[-1].number:
        raise LayoutError(
            f"{path} is of layout {number}, and this version reads layout {layouts[-1].number}: "
            "let the service start on it, or make it anew with `week12 compute`"
        )


def migrate(
    con: Con, layouts: Sequence[Layout], path: Path, prepare: Callable[[Con], None] | None = None
) -> None:
    """Bring the attached `store` up to the newest layout. `prepare` is called before its tables change.

    Raises LayoutError where a newer version wrote it, and ReadAgain where Kafka has to fill what is new; the
    connection is closed then, so that somebody can.
    """
    try:
        _migrate(con, layouts, path, prepare)
    except OperatorError:
        con.close()
        raise


def _migrate(con: Con, layouts: Sequence[Layout], path: Path, prepare: Callable[[Con], None] | None) -> None:
    number, newest = layout_of(con, layouts, path), layouts[-1].number
    if number > newest:
        raise LayoutError(
            f"{path} is of layout {number}, written by a newer version of week12 (this one knows {newest}): start that "
            "version again, or move the file aside and start this one; it is rebuilt from Kafka"
        )
    steps = [layout for layout in layouts if layout.number > number]
    if steps and prepare:
        prepare(con)
    for step in steps:
        _take(con, step, path)
    if steps:
        con.execute("CHECKPOINT store")
    if con.execute(f"SELECT value FROM store.store_info WHERE name = '{FROM_LOG}'").fetchall():
        raise ReadAgain(
            f"{path} lacks what this version keeps of each event: start the service, which reads the events again from "
            "Kafka by itself; a backup of it is of no use to this version"
        )


def _take(con: Con, step: Layout, path: Path) -> None:
    started = time.perf_counter()
    log.info("migrating", extra={"store": path.stem, "layout": step.number, "change": step.change})
    with transaction(con):
        for statement in step.statements:
            con.execute(statement)
        con.execute(NOTE, ["layout", str(step.number)])
        if step.from_log:
            con.execute("INSERT OR IGNORE INTO store.store_info VALUES (?, ?)", [FROM_LOG, str(step.number)])
    seconds = round(time.perf_counter() - started, 3)
    log.info("migrated", extra={"store": path.stem, "layout": step.number, "seconds": seconds})

"""A store made anew from Kafka, beside the old one, which stays whole until the new one takes its place."""

import fcntl
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb

from schemas.protocol import Protocol
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings
from services.stream.definition import StoreDefinition
from services.stream.quoting import quoted
from services.stream.transaction import transaction
from services.stream.verify import Advance, Comparison, Snapshot, compare, read_snapshot, recompute

KEPT = (
    "INSERT INTO store.offsets BY NAME FROM old.offsets",
    "INSERT INTO store.dead_letters BY NAME FROM old.dead_letters",
    "INSERT INTO store.tombstones BY NAME FROM old.tombstones",
    "UPDATE store.erasures SET announced = o.announced FROM old.erasures AS o WHERE erasures.mark = o.mark",
)
"""What a store has yet to do for Kafka, and where it stands there: no part of what is derived."""

IN_USE = "{path} is in use: stop {name} first; `week12 verify` proves it right while it runs"


@dataclass(frozen=True)
class Replayed:
    """What became of one store."""

    name: str
    records: int
    comparisons: Sequence[Comparison]


def stand_of(definition: StoreDefinition, path: Path) -> Snapshot:
    """Where the store at rest stands in Kafka. Raises OperatorError where it is missing or in use."""
    if not path.exists():
        raise OperatorError(
            f"there is no {path}: start {definition.name}, which reads the log from its beginning into a new store"
        )
    try:
        duckdb.connect(str(path)).close()  # brings what a killed run left beside the file into it
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            raise OperatorError(IN_USE.format(path=path, name=definition.name)) from None
        raise OperatorError(
            f"{path} cannot be opened: move it aside and start {definition.name}, which makes it anew from Kafka"
        ) from None
    return read_snapshot(definition.name, path)


def replay(
    settings: Settings,
    definition: StoreDefinition,
    protocols: Sequence[Protocol],
    stand: Snapshot,
    advance: Advance = lambda _: None,
) -> Replayed:
    """Make the store anew from the records it has read, put it in place of the old one, and say what differs.

    Until the last step, a rename, the old store is whole; nobody can open it to write meanwhile. The new store knows
    nothing of what was published, so the derived topics are told everything once more.
    """
    with _made_beside(settings, definition, protocols, stand, advance) as fresh:
        comparisons = compare(stand.path, fresh, definition)
        _keep(fresh, stand.path, definition, stand.today)
    return Replayed(definition.name, sum(stand.offsets.values()), comparisons)


def read_again(
    settings: Settings,
    definition: StoreDefinition,
    protocols: Sequence[Protocol],
    path: Path,
    advance: Advance = lambda _: None,
) -> list[dict[str, object]]:
    """Make anew a store whose layout keeps what its file does not (`ReadAgain`), as `replay` does.

    By whatever definition the old store was derived, this one's takes its place. Returns what came out differently, in
    counts.
    """
    stand = replace(stand_of(definition, path), fingerprint="")
    with _made_beside(settings, definition, protocols, stand, advance) as fresh:
        return _keep(fresh, path, definition, stand.today)


@contextmanager
def _made_beside(
    settings: Settings,
    definition: StoreDefinition,
    protocols: Sequence[Protocol],
    stand: Snapshot,
    advance: Advance,
) -> Iterator[Path]:
    """The store made anew from Kafka in a file beside, which takes the place of the old one at the end."""
    folder = stand.path.parent / f"{definition.name}.replay"
    fresh = folder / stand.path.name
    shutil.rmtree(folder, ignore_errors=True)  # of a replay that was killed
    folder.mkdir(parents=True)
    try:
        with _held(stand.path, definition):
            recompute(settings, stand, definition, protocols, fresh, advance)
            yield fresh
            fresh.replace(stand.path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(path: Path, definition: StoreDefinition) -> Iterator[None]:
    """Keep services from opening the store to write.

    The lock is of this open file: those of a process, which DuckDB takes, end as soon as any reader closes the file.
    """
    with path.open("rb") as file:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
        except OSError:
            raise OperatorError(IN_USE.format(path=path, name=definition.name)) from None
        yield


def _keep(fresh: Path, old: Path, definition: StoreDefinition, today: date) -> list[dict[str, object]]:
    """Take over what is not derived. Returns what changed class, where `migrate` has noted the classes before."""
    telling = definition.on_redefinition
    changed: list[dict[str, object]] = []
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{quoted(fresh)}' AS store; USE store")
        con.execute(f"ATTACH '{quoted(old)}' AS old (READ_ONLY)")
        with transaction(con):
            for statement in (*KEPT, *definition.on_replay):
                con.execute(statement)
            if telling:
                telling.take_over(con)
                changed = telling.tell(con, today)
        con.execute("CHECKPOINT store; USE memory; DETACH store")
    return changed

"""The same events under two protocols: who changes class, and which definitions made it so."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from schemas.protocol import Protocol
from schemas.protocol_model import BASELINE
from schemas.protocol_words import reasons_to_differ
from services.outcomes.classes import CLASSES, changes_sql
from services.outcomes.definition import OUTCOMES
from services.stream.definition import Cursor
from services.stream.migration import require_layout
from services.stream.quoting import quoted
from services.stream.store import EventStore

MEMORY_LIMIT = "1GB"
JUDGED = ("reason", "baseline_value", "baseline_on", "value", "value_on", "window_start", "window_end")
"""What was judged, beside the classes."""
JUDGED_CLASSES = f"CREATE TABLE classes AS {CLASSES}, {', '.join(JUDGED)}, event_ids FROM patient_outcomes"
CHANGES = """
SELECT * EXCLUDE (event_ids_was, event_ids_became), event_ids_was = event_ids_became AS alike FROM ({changes})
"""
ORDER = "ORDER BY patient_id, endpoint, measure DESC"
COLUMNS = (
    *("patient_id", "site_id", "timepoint", "endpoint", "measure", "was", "became"),
    *(f"{name}_{side}" for name in JUDGED for side in ("was", "became")),
    *("old_protocol", "new_protocol", "old_version", "new_version", "because"),
)
ROWS_AT_ONCE = 1_000

Row = dict[str, object]


@dataclass(frozen=True)
class Pair:
    """Two protocols that are compared: the current one, and the one that might take its place."""

    one: Protocol
    other: Protocol
    only: tuple[str, ...] = ()
    """Timepoints to look at; none: all."""

    @property
    def timepoints(self) -> list[str]:
        """Those that both have, in the order of the first, baseline before."""
        both = [BASELINE, *(name for name in self.one.timepoint if name in self.other.timepoint)]
        return [name for name in both if not self.only or name in self.only]


def derive_under(protocol: Protocol, events: Path, today: date, path: Path) -> None:
    """A fresh outcomes store at `path`: the events of the store `events` under one protocol, as of `today`.

    Its table `classes` is what `class_changes` compares: macros are compiled for a protocol, so that only the store
    itself can read its views. Raises LayoutError where another version wrote `events`.
    """
    require_layout(events, OUTCOMES.layouts)
    store = EventStore(path, OUTCOMES, [protocol], today=today, memory_limit=MEMORY_LIMIT)
    try:
        store.copy_events(events)
        store.rebuild()
        cursor = store.cursor()
        try:
            cursor.execute(JUDGED_CLASSES)
        finally:
            cursor.close()
    finally:
        store.close()


def class_changes(
    con: Cursor, pair: Pair, stores: Mapping[str, Path], advance: Callable[[int], None] = lambda _: None
) -> Iterator[Row]:
    """Patients who change class between two stores of the same events, with the reasons; `COLUMNS` in order.

    `con` is empty, in memory; `stores` are those of `one` and `other`. `advance` is told of each timepoint.
    """
    for name, path in stores.items():
        con.execute(f"ATTACH '{quoted(path)}' AS {name} (READ_ONLY)")
    because = cache(lambda *asked: _because(pair, *asked))
    keys = ("patient_id", "timepoint", "endpoint")
    before, after = (f"FROM {store}.classes WHERE timepoint = $timepoint" for store in ("one", "other"))
    changes = CHANGES.format(changes=changes_sql(before, after, keys, (*JUDGED, "event_ids")))
    for timepoint in pair.timepoints:
        found = con.execute(f"{changes} {ORDER}", {"timepoint": timepoint})
        names = [column[0] for column in found.description or ()]
        while rows := found.fetchmany(ROWS_AT_ONCE):
            for values in rows:
                row: Row = dict(zip(names, values, strict=True))
                alike = bool(row.pop("alike")) and _same_windows(row)
                row |= {"old_protocol": pair.one.name, "new_protocol": pair.other.name}
                row["because"] = because(timepoint, row["endpoint"], alike)
                yield {name: row[name] for name in COLUMNS}
        advance(1)


def _same_windows(row: Row) -> bool:
    return all(row[f"{name}_was"] == row[f"{name}_became"] for name in ("window_start", "window_end"))


def _because(pair: Pair, timepoint: str, endpoint: str, alike: bool) -> str:
    found = reasons_to_differ(pair.one, pair.other, timepoint, endpoint, chosen_alike=alike)
    return "; ".join(f"{path}: {was} -> {became}" for path, was, became in found)

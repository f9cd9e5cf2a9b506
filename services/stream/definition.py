"""What a store derives: ordered SQL relations, and how one definition serves every way of running it.

Each `sql/*.sql` file is one SELECT whose first line says what one row is. It names what it reads by plain names:
`scope` (versions of events), `clock` (one row: today) and the relations before it. The same text becomes

- a temporary table over the patients of a batch (live) or over all of them (rebuild, `compute`, `verify`),
- a view as of today, and two table macros: `…_at(as_of)` over all stored events, and `…_known(as_of, known_at)` over
  those recorded up to the end of the day `known_at`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from schemas import Event, EventType
from schemas.protocol import Protocol
from services.stream.migration import Layout

Cursor = duckdb.DuckDBPyConnection
Columns = Mapping[str, "pa.Array[Any]"]
Extract = Callable[[Sequence[Event]], Columns]

EACH_MOMENT = """
SELECT e.* REPLACE (
    hash(moment) AS patient_key, hash(e.record_key, moment) AS record_key, moment::VARCHAR AS patient_id)
FROM events AS e
JOIN (SELECT DISTINCT recorded_at AS moment FROM events WHERE patient_key = md5_number_lower(patient)) AS m
    ON e.recorded_at <= m.moment
WHERE e.patient_key = md5_number_lower(patient)
"""
"""The versions of one patient known at each moment that one was recorded, as if every moment were a patient of its own:
so all its states are derived at once, by the relations that derive everybody's."""

STREAM_SQL = Path(__file__).parent / "sql"
DATED = "SELECT as_of::DATE AS today"
KNOWN = "SELECT * FROM events WHERE recorded_at < known_at::DATE + 1"
"""Versions that were recorded up to the end of the day `known_at` (UTC)."""


@dataclass(frozen=True)
class Relation:
    """A named SELECT. `stored` relations are tables kept up to date patient by patient.

    `lazy` ones are views within a large batch: cheap to derive and wide, so that reading a few columns several
    times costs less than writing all of them once. `inline` ones, read once or twice, are views in every batch.
    One `of` others is left empty in a small batch where one of them is: it would have no rows, or no readers.
    """

    name: str
    sql: str
    stored: bool = False
    lazy: bool = False
    inline: bool = False
    of: Sequence[str] = ()

    @classmethod
    def load(
        cls,
        folder: Path,
        name: str,
        *,
        stored: bool = False,
        lazy: bool = False,
        inline: bool = False,
        of: Sequence[str] = (),
    ) -> "Relation":
        """Read `folder/name.sql`."""
        sql = (folder / f"{name}.sql").read_text(encoding="utf-8").strip()
        return cls(name, sql, stored, lazy, inline, of)

    @property
    def creation(self) -> str:
        """The statement that makes it within a batch."""
        kind = "VIEW" if self.lazy or self.inline else "TABLE"
        return f"CREATE OR REPLACE TEMP {kind} {self.name} AS {self.sql}"


@dataclass(frozen=True)
class History:
    """What was known of one patient, moment by moment: a table macro `<name>(patient, as_of)`.

    `relation` reads `known`, the rows of the relation `of` with moments in place of patients, and `events`.
    """

    of: str
    relation: Relation


@dataclass(frozen=True)
class Settled:
    """A table that takes more than SQL: computed anew in the background when no more data come in.

    `read` takes what it needs from one state of the store, `compute` works on that alone.
    """

    name: str
    columns: Mapping[str, str]  # name -> SQL type
    read: Callable[[Cursor], Any]
    compute: Callable[[Any], Sequence[Mapping[str, object]]]

    @property
    def creation(self) -> str:
        """The statement that makes it, empty."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return f"CREATE OR REPLACE TABLE {self.name} ({columns})"


class Redefinition(NamedTuple):
    """What is done when a store's definition has changed: before the rebuild, and after it, in one transaction.

    `tell` is given today's date and returns what changed, in counts. A store made anew beside another first takes over
    from `old` what `remember` noted there.
    """

    remember: Callable[[Cursor], None]
    take_over: Callable[[Cursor], None]
    tell: Callable[[Cursor, date], list[dict[str, object]]]


def by_place(changed: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """What a `Redefinition` told, for the log: how many patients, by protocol, timepoint and endpoint."""
    return {f"{c['protocol']}/{c['timepoint']}/{c['endpoint']}": c["patients"] for c in changed}


@dataclass(frozen=True)
class StoreDefinition:
    """Everything that makes one DuckDB file: its events' columns, its relations and its public names."""

    name: str
    layouts: Sequence[Layout]  # every form its tables that are not derived have had; the last is today's
    columns: Mapping[str, str]  # columns of `events` beside the common ones: name -> SQL type
    extract: Mapping[EventType, Extract]  # those columns from events of one type
    macros: str
    parameters: Callable[[duckdb.DuckDBPyConnection, Sequence[Protocol]], None]  # fills the protocol tables
    steps: Sequence[Relation]  # in order of derivation, each with a `patient_key`
    views: Sequence[Relation]  # over `scope`, `clock`, the steps and each other
    dated: Sequence[str] = ()  # relations that also exist as macros, see `dated_macros`
    histories: Sequence[History] = ()
    tables: Sequence[str] = ()  # CREATE statements of what is not derived
    on_change: Sequence[Relation] = ()  # further temporary tables, over those that say what is to change
    on_refresh: Sequence[str] = ()  # run where any of `on_change` has rows, before new rows replace the old
    news: str = ""  # query for what a commit is to be told of, asked then
    on_calendar: Sequence[str] = ()  # run when today moves: $before, $today, $batch
    keeps_dead_letters: bool = False  # until published; one service tells of them for all
    settled: Sequence[Settled] = ()
    tells_of_erasures: bool = False  # sends marks and tombstones; one service does for all
    on_replay: Sequence[
        str
    ] = ()  # run when `store` takes the place of `old`: what its topics need to be told
    on_redefinition: Redefinition | None = None
    on_erasure: Sequence[str] = ()  # run when erased patients stand in temp.forgotten, before their rows go
    compared: Mapping[str, str] = field(
        default_factory=dict
    )  # what `verify` compares: name -> columns left out

    @property
    def stored(self) -> list[Relation]:
        """The relations kept as tables."""
        return [step for step in self.steps if step.stored]

    @cached_property
    def unread(self) -> frozenset[str]:
        """The stored relations that nothing else reads while a batch is worked on."""
        readers = (*self.steps, *self.on_change)
        return frozenset(
            step.name
            for step in self.stored
            if not any(_mentions(r.sql, step.name) for r in readers if r is not step)
        )

    def view_sql(self, view: Relation) -> str:
        """The SELECT of a view as of today: stored relations are read, the others derived."""
        given = {step.name for step in self.stored} | {"clock"} | {v.name for v in self.views}
        return self._chain(view, "SELECT * FROM events", given)

    def narrowed_sql(self, name: str, patients: str) -> str:
        """CTEs that end in the view `name`, over the stored rows of the patients in the relation `patients` alone.

        To be put behind the CTE `patients` in a WITH; a view by itself reads every patient's rows first.
        """
        view = next(view for view in self.views if view.name == name)
        rows = [
            f"{step.name} AS MATERIALIZED (FROM store.{step.name} SEMI JOIN {patients} USING (patient_key))"
            for step in self.stored
        ]
        given = {step.name for step in self.stored} | {"clock"}
        return ",\n".join([*rows, f"{name} AS (\n{self._chain(view, 'SELECT * FROM events', given)}\n)"])

    def dated_macros(self) -> dict[str, str]:
        """Table macros by their names and parameters: everything derived anew from the stored events.

        `<name>_at(as_of)` is as of a clinical day, `<name>_known(as_of, known_at)` also from what was known on a day,
        and a history is of one patient.
        """
        macros = {
            form.format(name): self.derived_sql(name, scope, DATED)
            for name in self.dated
            for form, scope in (
                ("{}_at(as_of)", "SELECT * FROM events"),
                ("{}_known(as_of, known_at)", KNOWN),
            )
        }
        for history in self.histories:
            known = self.derived_sql(history.of, EACH_MOMENT, DATED)
            sql = f"WITH known AS (\n{known}\n)\nSELECT * FROM (\n{history.relation.sql}\n)"
            macros[f"{history.relation.name}(patient, as_of)"] = sql
        return macros

    def derived_sql(self, name: str, scope: str, clock: str) -> str:
        """The SELECT of relation `name` over the versions in `scope`; `clock` says which day is today."""
        relation = next(r for r in (*self.views, *self.steps) if r.name == name)
        return self._chain(relation, scope, set(), today=clock)

    def _chain(self, view: Relation, scope: str, given: set[str], today: str = "") -> str:
        """`view` behind a WITH of all it needs that is not `given`."""
        sources = [Relation("scope", scope), Relation("clock", today), *self.steps, *self.views]
        wanted: list[Relation] = []

        def want(relation: Relation) -> None:
            for source in sources:
                if source.name == relation.name or source in wanted or source.name in given:
                    continue
                if _mentions(relation.sql, source.name):
                    want(source)
                    wanted.append(source)

        want(view)
        ctes = ",\n".join(f"{relation.name} AS (\n{relation.sql}\n)" for relation in wanted)
        return f"WITH {ctes}\nSELECT * FROM (\n{view.sql}\n)" if wanted else view.sql


def _mentions(sql: str, name: str) -> bool:
    """Whether `sql`, its comments aside, names a relation."""
    return name in _words(sql)


@cache
def _words(sql: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", re.sub(r"--.*", "", sql)))


RECORDS = (
    Relation.load(STREAM_SQL, "winners", inline=True),
    Relation.load(STREAM_SQL, "passed_over"),
    Relation.load(STREAM_SQL, "withdrawals"),
    Relation.load(STREAM_SQL, "current_records", lazy=True),
)
"""The first steps of every store: which version of which record counts."""

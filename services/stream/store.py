"""The DuckDB store of one service: all versions of all events, what is derived from them, and Kafka offsets.

One transaction a batch holds the events, the derived rows of the patients touched, the offsets and what has
to be published, so that a crash at any point leaves a state that some prefix of the log explains. State is a
function of the set of events: versions are only ever added (or removed by a tombstone), and a patient's rows
are derived anew from all of them.

Only one thread writes. Readers take a cursor of their own and fetch whole results, because an open result
stops DuckDB from checkpointing.
"""

import hashlib
import logging
import secrets
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from schemas import EventType
from schemas.protocol import Protocol
from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.stream import erasure
from services.stream.batch import Applied, Batch, DeadLetter, Tombstone
from services.stream.definition import Relation, StoreDefinition, by_place
from services.stream.erasure import Eraser
from services.stream.event_tables import EVENT_TABLES, OF_DIRTY, OF_FEW_DIRTY, EventTables, table_of
from services.stream.migration import migrate
from services.stream.quoting import quoted
from services.stream.scratch import Scratch
from services.stream.transaction import transaction

log = logging.getLogger(__name__)

RECORD_KEY = "md5_number_lower(concat_ws(chr(31), patient_id, event_type, site_id, event_id))"
KEYS = f"md5_number_lower(patient_id) AS patient_key, {RECORD_KEY} AS record_key"
REBUILD_EVENTS = 400_000
"""Events derived at a time in a rebuild; bounds its memory."""

SESSION = "USE store; SET enable_progress_bar = false"  # the bar would go to standard output
BULK = "allocator_bulk_deallocation_flush_threshold"
GIVE_BACK: dict[str, str | bool | int | float | list[str]] = {
    "allocator_background_threads": True,
    "allocator_flush_threshold": "1MB",
    BULK: "4MB",
}
"""What DuckDB frees goes back to the system. Left to itself its allocator keeps a quarter of what a service takes in a
backlog, for each thread's next use, and its memory limit does not count that."""
BLOCK_BYTES = 64 * 1024
"""Of the file, if made anew. What was added since the last checkpoint takes a block a column at least, in memory: with
DuckDB's usual 256 KiB a hundred MB."""
GREAT_BATCH = 20_000
"""From so many records on, a batch gives back smaller pieces too: a small one would take half as long again."""
GIVE_BACK_MORE = f"SET {BULK} = '1MB'"
GIVE_BACK_LESS = f"SET {BULK} = '{GIVE_BACK[BULK]}'"
SMALL_BATCH = 500
"""Up to this many events, planning costs more than doing: plans are prepared once and temporary tables stay."""
SMALL_BATCH_MEMORY = "320MB"
"""DuckDB's limit meanwhile: with less it writes to the disk where a commit and a publication meet. Large batches leave
memory to what is decoded beside them."""
FEW_PATIENTS = 2_000
"""Of up to so many, all rows are found by one column first, and replaced without being compared."""
ROOM_BYTES = 4 * 1024 * 1024
"""With less on the disk the store does not count as writable again, though a few bytes may find room."""

NOTE_FINGERPRINT = "INSERT OR REPLACE INTO store.store_info VALUES ('fingerprint', ?)"
NOTE_OFFSETS = "INSERT OR REPLACE INTO store.offsets SELECT unnest(?), unnest(?), unnest(?), unnest(?)"
NO_EVENTS = "SELECT * FROM store.events LIMIT 0"
DIRTY = "SELECT patient_key, patient_id FROM staged UNION SELECT patient_key, patient_id FROM forgotten"
FORGOTTEN = "SELECT patient_key, patient_id, record_key, version, content FROM store.events LIMIT 0"
SCOPE = "CREATE OR REPLACE TEMP VIEW scope AS FROM earlier UNION ALL FROM staged"

CHANGED = """
SELECT patient_key FROM (
    SELECT patient_key, sum(hash(hash(rows))) AS digest, count(*) AS n FROM temp.{step} AS rows GROUP BY patient_key
) AS fresh
FULL JOIN (
    SELECT patient_key, sum(hash(hash(rows))) AS digest, count(*) AS n
    FROM (SELECT * FROM store.{step} SEMI JOIN dirty USING (patient_key)) AS rows GROUP BY patient_key
) AS stored USING (patient_key)
WHERE row(fresh.digest, fresh.n) IS DISTINCT FROM row(stored.digest, stored.n)
"""
"""Patients of whom a stored relation's rows are to change: most large batches change few of many.

Hashed twice and summed: one hash of a row is linear in its last column, so that two rows which change alike
would cancel each other out.
"""

EVERYBODY = "CREATE OR REPLACE TEMP VIEW changed AS SELECT patient_key FROM dirty"
SOME = "CREATE OR REPLACE TEMP VIEW changed AS {}"

OUTDATED = "DELETE FROM store.{step} WHERE patient_key IN (SELECT patient_key FROM {whose})"
RENEWED = "INSERT INTO store.{step} BY NAME {rows}"

DROP_COPIES = """
DELETE FROM staged WHERE rowid IN (
    SELECT s.number
    FROM (SELECT rowid AS number, record_key, version, content, recorded_at, received_at FROM staged) AS s
    JOIN (
        SELECT rowid AS number, record_key, version, content, recorded_at, received_at, false AS stored FROM staged
        UNION ALL
        SELECT NULL, record_key, version, content, recorded_at, received_at, true FROM earlier
    ) AS o USING (record_key, version, content, recorded_at)
    WHERE o.stored OR row(o.received_at, o.number) < row(s.received_at, s.number)
)
"""
"""Exact copies, of a stored version or of each other, are not versions; of several the earliest received stays."""


DROP_APPENDED_COPIES = """
DELETE FROM {table} WHERE rowid IN (
    SELECT rowid FROM {table}
    SEMI JOIN (SELECT record_key FROM {table} GROUP BY record_key HAVING count(*) > 1) USING (record_key)
    QUALIFY row_number() OVER (PARTITION BY record_key, version, content, recorded_at ORDER BY rowid) > 1
)
"""


class StoreError(OperatorError):
    """The store cannot be opened or used; the message says what to do."""


class EventStore:
    """One DuckDB file. All writing methods must be called from one thread."""

    def __init__(
        self,
        path: Path,
        definition: StoreDefinition,
        protocols: Sequence[Protocol],
        *,
        today: date,
        memory_limit: str = "240MB",
        threads: int = 1,
        erasure_key: ErasureKey | None = None,
    ) -> None:
        """Open or create the store, and rebuild what is derived if the definition changed.

        A store that no Kafka feeds needs no `erasure_key`: nobody has to recognise its erased patients later.
        A file of an earlier version is brought up first. Raises StoreError where another process holds the file,
        LayoutError and ReadAgain as `migrate` does.
        """
        self.path = path
        self.definition = definition
        self._events = EventTables(definition)
        self._memory_limit = memory_limit
        path.parent.mkdir(parents=True, exist_ok=True)
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": threads,
            "memory_limit": memory_limit,
            "preserve_insertion_order": False,
            # A checkpoint rewrites what changed: not at every large batch of a backlog.
            "checkpoint_threshold": "48MB",
            "temp_directory": str(path.with_suffix(".tmp")),
            "default_block_size": BLOCK_BYTES,
            **GIVE_BACK,
        }
        self._con = duckdb.connect(":memory:", config=config)
        self._attach()
        shutil.rmtree(path.with_suffix(".tmp"), ignore_errors=True)  # spilled by a run that was killed
        self._fingerprint = _fingerprint(definition, protocols)
        created = not self._tables()
        if created:
            self._create(protocols, today)
        telling = definition.on_redefinition
        migrate(self._con, definition.layouts, path, telling.remember if telling else None)
        self.erasure_key = erasure_key or ErasureKey(secrets.token_bytes(32))
        if self.info("erasure_key") not in (None, self.erasure_key.id) and erasure_key:
            raise StoreError(
                f"{path} was written with another erasure key: put its backup back "
                "(WEEK12_ERASURE_KEY_FILE, by default erasure.key in WEEK12_DATA_DIR)"
            )
        self._eraser = Eraser(self._con, self.erasure_key, tells=definition.tells_of_erasures)
        self._erasures = 0
        self._snapshots: set[Path] = set()
        self._publishing = threading.Lock()  # of a snapshot, so that none can outlive an erasure
        self._scratch = Scratch(self._con)
        self._staged = Batch()
        self._arrived: list[tuple[EventType, pa.Table]] = []  # its events
        self._applied = Applied(0)
        self._news: list[tuple[Any, ...]] = []
        self._topic_ids: dict[str, str] = {}
        self.changed: list[dict[str, object]] = []
        """What came out differently since this run found the definition changed: counts."""
        if not created and self.info("fingerprint") != self._fingerprint:
            self._redefine(protocols, today)
        else:
            self._lay_out()
        self.set_today(today)

    def _attach(self) -> None:
        try:  # attached by name, since `main` would mean the temporary tables first
            self._con.execute(f"ATTACH '{quoted(self.path)}' AS store")
            self._con.execute(SESSION)
        except duckdb.IOException as error:
            raise StoreError(_why_not_opened(self.path, error)) from None

    # -- reading -------------------------------------------------------------------------------------------

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for a reading thread; fetch whole results and close it.

        Raises duckdb.IOException while there is no store to read, for `mend` could not open it yet.
        """
        cursor = self._con.cursor()
        try:
            cursor.execute(SESSION)
        except duckdb.Error as error:
            cursor.close()
            raise duckdb.IOException(f"the store is not open ({type(error).__name__})") from None
        return cursor

    def info(self, name: str) -> str | None:
        """A fact about the store itself: `layout`, `fingerprint`, `epoch`."""
        rows = self._con.execute("SELECT value FROM store.store_info WHERE name = ?", [name]).fetchall()
        return rows[0][0] if rows else None

    @property
    def epoch(self) -> str:
        """Identifies this store: one that was made anew has another."""
        return self.info("epoch") or ""

    @property
    def today(self) -> date:
        """The day that the tables are as of."""
        day: date = self._con.execute("SELECT today FROM store.clock").fetchall()[0][0]
        return day

    @property
    def knows_erasures(self) -> bool:
        """Whether anybody was ever erased."""
        return bool(self._eraser)

    def offsets(self) -> dict[tuple[str, int], tuple[str, int]]:
        """(topic, partition) -> (id of the topic, next offset to read)."""
        rows = self._con.execute(
            "SELECT topic, partition, topic_id, next_offset FROM store.offsets"
        ).fetchall()
        return {(topic, partition): (topic_id, offset) for topic, partition, topic_id, offset in rows}

    # -- writing -------------------------------------------------------------------------------------------

    def apply(self, batch: Batch, topic_ids: Mapping[str, str] | None = None) -> Applied:
        """Stage one batch and commit it."""
        self.stage(batch, topic_ids)
        return self.commit()

    def stage(self, batch: Batch, topic_ids: Mapping[str, str] | None = None) -> int:
        """Take a batch into memory; nothing is durable, and nothing shows, before `commit`.

        Deriving costs by patients more than by events, so that a backlog goes through in fewer, larger
        transactions. Returns how many records are staged.
        """
        events, leaving = self._eraser.sift(batch.events, batch.announced)
        if batch.tombstones or leaving.patients or leaving.marks:
            self._settle()  # what was staged before must be in the store, to be found there and removed
        self._arrived += events.items()
        self._staged.add(batch)
        self._staged.leaving.add(leaving)
        self._topic_ids = dict(topic_ids or {})
        return self._staged.records

    def discard(self) -> None:
        """Forget what was staged and not committed: it will be read again."""
        self._staged, self._arrived = Batch(), []
        self._applied = Applied(0)

    def commit(self) -> Applied:
        """Commit what was staged: events, the patients they touch, offsets, dead letters. All or nothing.

        What cannot be committed stays staged, to be tried again. Returns what was done since it last did: other
        work of the writing thread, such as the calendar's, commits what it finds staged.
        """
        self._settle()
        applied, self._applied = self._applied, Applied(0)
        return applied

    def _settle(self) -> None:
        con, staged = self._con, self._staged
        if not staged.offsets and not staged.records:
            return
        self._news = []
        self._go(small=staged.records <= SMALL_BATCH)
        con.execute(GIVE_BACK_MORE if staged.records >= GREAT_BATCH else GIVE_BACK_LESS)
        try:
            with transaction(con):
                number = self._next_batch()
                fresh = self._take_in(staged, number)
                patients = self._refresh(compare=not self._few) if fresh else 0
                self._note_offsets(staged.offsets)
                if self.definition.keeps_dead_letters:
                    self._note_dead_letters(staged.dead_letters)
                if self._scratch.small:
                    self._scratch.leave_empty()
                started = time.perf_counter()
        except BaseException:
            self._scratch.rows.clear()  # the temporary tables are as they were before
            raise
        took = time.perf_counter() - started
        self._staged, self._arrived = Batch(), []
        if staged.leaving.patients or staged.leaving.marks:
            self._drop_snapshots()
        self._applied += Applied(
            number, staged.records, fresh, patients, took, staged.dead_letters, self._news
        )

    def make_ready(self) -> None:
        """Plan what small batches do, while none is there to wait for it: the first would take half a second."""
        if self._scratch.small or self._staged.records:
            return
        self._go(small=True)
        with self._scratch.rehearsing():
            self._scratch.rows.update(staged=1, forgotten=1)
            self._keep(EventType)
            self._refresh(compare=False)
            self._scratch.leave_empty()

    def append(self, batch: Batch) -> None:
        """Add events, copies included, without deriving: for loading in bulk.

        Call `drop_copies` and `rebuild` after the last.
        """
        with transaction(self._con):
            self._forget(batch.tombstones)
            events, leaving = self._eraser.sift(batch.events, batch.announced)
            if leaving:
                self._eraser.erase(leaving, tell=False)
            for event_type, columns in events.items():
                arrived = _with_type(event_type, columns)  # noqa: F841  (DuckDB finds it by its name in this frame)
                self._con.execute(
                    f"INSERT INTO {table_of(event_type)} BY NAME "
                    f"SELECT * EXCLUDE (event_type), {KEYS} FROM arrived"
                )

    def copy_events(self, source: Path) -> None:
        """Take over all versions of all events from another store's file, before a `rebuild`."""
        self._con.execute(f"ATTACH '{quoted(source)}' AS source (READ_ONLY)")
        try:
            for table in EVENT_TABLES:
                self._con.execute(f"INSERT INTO {table} BY NAME FROM source.{table}")
        finally:
            self._con.execute("DETACH source")

    def set_contents(self, hashes: Sequence[tuple[int, int]]) -> None:
        """Write content hashes of events that were appended without: (`batch` of the event, content)."""
        if not hashes:
            return
        numbers, contents = zip(*hashes, strict=True)
        arrived = pa.table(  # noqa: F841  (DuckDB finds it by its name in this frame)
            {"batch": pa.array(numbers, pa.int64()), "content": pa.array(contents, pa.uint32())}
        )
        for table in EVENT_TABLES:
            self._con.execute(
                f"UPDATE {table} AS e SET content = a.content FROM arrived AS a WHERE e.batch = a.batch"
            )

    def keep_known(self, known_at: date) -> None:
        """Drop versions that were recorded after the end of that day (UTC), before a `rebuild`."""
        for table in EVENT_TABLES:
            self._con.execute(f"DELETE FROM {table} WHERE recorded_at >= ?::DATE + 1", [known_at])

    def drop_copies(self) -> None:
        """Remove exact copies of versions that `append` let in; of each the first appended stays."""
        for table in EVENT_TABLES:
            self._con.execute(DROP_APPENDED_COPIES.format(table=table))

    def set_today(self, today: date) -> Applied:
        """Let the calendar move: derives the patients with events dated between the two days.

        States that follow from windows and today alone are views and need no work; patients whose windows
        open or close are marked for publication.
        """
        con = self._con
        before = self.today
        if before == today:
            return Applied(0)
        self._settle()
        self._go(small=False)
        with transaction(con):
            number = self._next_batch()
            con.execute("UPDATE store.clock SET today = ?", [today])
            between = f"BETWEEN DATE '{min(before, today)}' + 1 AND DATE '{max(before, today)}'"
            self._scratch.make_empty("staged", NO_EVENTS)
            self._scratch.fill(
                "dirty",
                "SELECT DISTINCT patient_key, patient_id FROM store.events "
                f"WHERE on_date {between} OR resolved_on {between}",
            )
            self._scratch.fill("earlier", OF_DIRTY)
            con.execute(SCOPE)
            patients = self._refresh(compare=not self._few)
            for statement in self.definition.on_calendar:
                con.execute(
                    statement.replace("$batch", str(number))
                    .replace("$before", f"DATE '{before}'")
                    .replace("$today", f"DATE '{today}'")
                )
        return Applied(number, patients=patients, news=self._news)

    def rebuild(self) -> int:
        """Derive everything anew from the stored events, in one transaction. Returns how many events."""
        con = self._con
        events: int = con.execute("SELECT count(*) FROM store.events").fetchall()[0][0]
        parts = max(1, -(-events // REBUILD_EVENTS))
        self._settle()
        self._go(small=False)
        with transaction(con):
            self._next_batch()
            for part in range(parts):
                bucket = f"FROM store.events WHERE patient_key % {parts} = {part}"
                self._scratch.fill("dirty", f"SELECT DISTINCT patient_key, patient_id {bucket}")
                con.execute(f"CREATE OR REPLACE TEMP VIEW scope AS SELECT * {bucket}")
                self._refresh(compare=False)
            con.execute(SCOPE)
        return events

    def execute(self, sql: str, parameters: object = None) -> list[tuple[object, ...]]:
        """Run one statement of the service's own bookkeeping on the writing connection."""
        rows: list[tuple[object, ...]] = self._con.execute(sql, parameters).fetchall()
        return rows

    def execute_together(self, statements: Sequence[tuple[str, object]]) -> None:
        """Run (SQL, parameters) of the service's own bookkeeping in one transaction of the writing thread."""
        with transaction(self._con):
            for sql, parameters in statements:
                self._con.execute(sql, parameters)

    def snapshot(self, path: Path) -> None:
        """Write a consistent copy for other processes; it appears whole, by rename.

        One during which a patient was erased is thrown away and made again; an erasure later removes it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            draft = path.with_suffix(f".{uuid.uuid4().hex}.draft")
            before = self._erasures
            try:
                self._copy_to(draft)
                with self._publishing:
                    if before == self._erasures:
                        draft.replace(path)
                        self._snapshots.add(path)
                        return
            finally:
                for left in (draft, draft.with_name(f"{draft.name}.wal")):
                    left.unlink(missing_ok=True)

    def _copy_to(self, path: Path, *changes: str) -> None:
        copy = f"copy_{uuid.uuid4().hex}"  # several may be under way, and one that failed may stay attached
        cursor = self.cursor()
        try:
            cursor.execute(f"ATTACH '{quoted(path)}' AS {copy}")
            try:
                cursor.execute(f"COPY FROM DATABASE store TO {copy}")
                for change in changes:
                    cursor.execute(change.format(copy=copy))
            finally:
                cursor.execute(f"DETACH {copy}")
        finally:
            cursor.close()

    def _drop_snapshots(self) -> None:
        """Older snapshots still show who has left."""
        with self._publishing:
            self._erasures += 1
            for path in self._snapshots:
                path.unlink(missing_ok=True)
            self._snapshots.clear()

    def keep_topics_moving(self, now: float, partitions: int) -> None:
        """Let Kafka come to clean what erasures took back (`Eraser.keep_moving`)."""
        self._settle()
        self._eraser.keep_moving(now, partitions)

    def scrub(self, alone: Callable[[], AbstractContextManager[None]]) -> bool:
        """Rewrite the file where erased patients have left, for DuckDB leaves deleted bytes where they were.

        Waits until all about them is published, and returns whether it was done. Within `alone()` nobody reads.
        """
        if self.info("scrub") is None or self._has_yet_to_tell():
            return False
        self._settle()
        self._go(small=False)  # prepared plans hold on to the file
        clean = self.path.with_suffix(".clean")
        clean.unlink(missing_ok=True)
        self._copy_to(clean, "DELETE FROM {copy}.store_info WHERE name = 'scrub'")
        with alone():
            self._con.execute("USE memory")
            self._con.execute("DETACH store")  # a checkpoint: its write-ahead log is gone
            clean.replace(self.path)
            self._attach()
        return True

    def mend(self, alone: Callable[[], AbstractContextManager[None]]) -> None:
        """Open the file anew where DuckDB has given it up; what is staged stays.

        It does so when a checkpoint fails, on a full disk above all. The file holds every commit; it is the
        connection that is lost. Within `alone()` nobody reads. Raises duckdb.Error or StoreError where it does not
        succeed: to be tried again.
        """
        with suppress(duckdb.Error):
            self._con.execute("SELECT today FROM clock").fetchall()
            return
        self._scratch.forget_plans()
        with alone():
            self._con.execute("SET schema = 'memory.main'")  # USE asks the store first
            self._con.execute("DETACH DATABASE IF EXISTS store")
            self._attach()

    def prove_writable(self) -> None:
        """Commit something that means nothing. Raises duckdb.Error where the store would not take a batch."""
        if shutil.disk_usage(self.path.parent).free < ROOM_BYTES:
            raise duckdb.IOException("No space left on device")
        self._con.execute("INSERT OR REPLACE INTO store.store_info VALUES ('proved', now()::VARCHAR)")

    def _has_yet_to_tell(self) -> bool:
        (waiting,) = self._con.execute(
            "SELECT (SELECT count(*) FROM store.tombstones) "
            "+ (SELECT count(*) FROM store.erasures WHERE NOT announced)"
        ).fetchall()[0]
        patients = self._con.execute("SELECT DISTINCT patient_id FROM store.outbox").fetchall()
        return bool(waiting) or any(self._eraser.knows(patient) for (patient,) in patients)

    def checkpoint(self) -> None:
        """Bring everything that was committed into the file. Raises duckdb.Error where there is no room for it."""
        self._con.execute("CHECKPOINT store")

    def close(self) -> None:
        """Close the file; a checkpoint empties its write-ahead log first, where there is room for it."""
        try:
            self.checkpoint()
        except duckdb.Error as error:
            log.warning(
                "closed without a checkpoint (%s): the next start reads the .wal file", why_not(error)
            )
        self._con.close()

    # -- one transaction's steps ---------------------------------------------------------------------------

    def _next_batch(self) -> int:
        rows = self._con.execute("UPDATE store.clock SET batch = batch + 1 RETURNING batch").fetchall()
        number: int = rows[0][0]
        return number

    def _lay_out(self) -> None:
        """Make every temporary table, empty; what prepared plans refer to must be there."""
        self._scratch.make_empty("staged", NO_EVENTS)
        self._scratch.make_empty("forgotten", FORGOTTEN)
        self._scratch.fill("dirty", DIRTY)
        self._scratch.fill("earlier", OF_DIRTY)
        self._con.execute(SCOPE)
        self._derive(compare=False)

    def _go(self, *, small: bool) -> None:
        """Choose the way of working."""
        if small == self._scratch.small:
            return
        if small:  # what the last large batch left in memory would be written out and read again and again
            self._lay_out()
            with suppress(duckdb.TransactionException):  # somebody is reading: the next time, then
                self._con.execute("CHECKPOINT store")
        with self._scratch.changing(small=small) as scratch:
            for step in self.definition.steps:
                if step.lazy:  # of a few records, a table is made faster than a view is read
                    scratch.become("TABLE" if small else "VIEW", step.name, step.sql)
            self._con.execute(EVERYBODY)  # few patients, as `_few` has it
        with suppress(duckdb.OutOfMemoryException):  # more is in use at the moment
            self._con.execute(f"SET memory_limit = '{SMALL_BATCH_MEMORY if small else self._memory_limit}'")

    @property
    def _few(self) -> bool:
        """Whether `dirty` holds few patients."""
        return self._scratch.rows["dirty"] <= FEW_PATIENTS

    def _stage_arrived(self, number: int) -> None:
        """Put what arrived into `staged`, as of that batch; DuckDB finds `arrived` by its name in this frame."""
        self._scratch.make_empty("staged", NO_EVENTS)
        if self._arrived:
            arrived = pa.concat_tables(
                [_with_type(event_type, columns) for event_type, columns in self._arrived],
                promote_options="default",
            )
            if self._scratch.small:  # each chunk costs half a millisecond and more
                arrived = arrived.combine_chunks()
            rows = self._con.execute(
                f"INSERT INTO staged BY NAME SELECT *, {KEYS}, {number} AS batch FROM arrived"
            ).fetchall()
            self._scratch.rows["staged"] = rows[0][0]

    def _take_in(self, staged: Batch, number: int) -> int:
        """Put staged versions that are new into `events`, and all of their patients' versions into `scope`."""
        con = self._con
        self._stage_arrived(number)
        self._forget(staged.tombstones)
        erased = 0
        if staged.leaving:
            erased = self._eraser.erase(staged.leaving)
            self._scratch.rows["forgotten"] += erased
        if erased:
            for statement in self.definition.on_erasure:
                con.execute(statement)
        kept = self._keep({event_type for event_type, _ in self._arrived})
        return kept + len(staged.tombstones) + erased

    def _keep(self, event_types: Iterable[EventType]) -> int:
        """Find the patients touched and their stored versions, and add the new ones of these types; how many."""
        self._scratch.fill("dirty", DIRTY)
        self._scratch.fill("earlier", OF_FEW_DIRTY if self._few else OF_DIRTY)
        if not self._scratch.small:
            self._con.execute(SCOPE)
        self._scratch.run("drop_copies", DROP_COPIES)
        return sum(self._scratch.run(f"keep_{t}", self._events.keeping(t)) for t in sorted(event_types))

    def _forget(self, tombstones: Sequence[Tombstone]) -> None:
        self._scratch.make_empty("forgotten", FORGOTTEN)
        if not tombstones:
            return
        self._scratch.rows["forgotten"] = len(tombstones)
        rows = [
            (t.patient_id, str(t.event_type), t.site_id, t.event_id, t.version, t.content) for t in tombstones
        ]
        columns = ["patient_id", "event_type", "site_id", "event_id", "version", "content"]
        arrived = pa.table(dict(zip(columns, zip(*rows, strict=True), strict=True)))  # noqa: F841
        self._con.execute(
            "INSERT INTO forgotten SELECT md5_number_lower(patient_id) AS patient_key, patient_id, "
            f"{RECORD_KEY} AS record_key, version, content FROM arrived"
        )
        for table in {table_of(t.event_type) for t in tombstones}:
            self._con.execute(
                f"DELETE FROM {table} AS e USING forgotten AS f "
                "WHERE e.record_key = f.record_key AND e.version = f.version AND e.content = f.content"
            )

    def _derive(self, *, compare: bool) -> None:
        """Derive the dirty patients' relations from `scope`, and see whose stored rows are to change.

        Without comparing, those of all of them are, and what nothing else reads is derived when it is stored.
        """
        scratch, unread = self._scratch, () if compare else self.definition.unread
        for step in self.definition.steps:
            if step.name in unread or self._is_empty(step):
                scratch.leave_out(step.name)
            elif not step.inline and (scratch.small or not step.lazy):
                scratch.fill(step.name, step.sql)
            elif not scratch.small:
                self._con.execute(step.creation)
        if not scratch.small:
            for step in self.definition.stored:
                if compare:
                    scratch.fill(f"changed_{step.name}", CHANGED.format(step=step.name))
                else:
                    scratch.leave_out(f"changed_{step.name}")
            self._con.execute(self._changed(compare=compare))
        for relation in self.definition.on_change:
            scratch.fill(relation.name, relation.sql)

    def _is_empty(self, step: Relation) -> bool:
        """Whether a small batch has no rows of it, or no readers."""
        return bool(self._scratch.small) and any(self._scratch.rows[name] == 0 for name in step.of)

    def _changed(self, *, compare: bool) -> str:
        """The statement that says, as the view `changed`, of which patients rows are to change."""
        if not compare:
            return EVERYBODY
        return SOME.format(" UNION ALL ".join(f"FROM changed_{step.name}" for step in self.definition.stored))

    def _refresh(self, *, compare: bool) -> int:
        """Replace the rows of the dirty patients; `compare`: only of those whose derived relations changed."""
        self._news = []
        self._derive(compare=compare)
        if any(self._scratch.rows[relation.name] for relation in self.definition.on_change):
            for number, statement in enumerate(self.definition.on_refresh):
                self._scratch.run(f"on_refresh_{number}", statement)
            self._news = self._con.execute(self.definition.news).fetchall() if self.definition.news else []
        for step in self.definition.stored:
            self._renew(step, compare=compare)
        return self._scratch.rows["dirty"]

    def _renew(self, step: Relation, *, compare: bool) -> None:
        whose = f"changed_{step.name}" if compare else "dirty"
        self._scratch.run(f"outdated_{step.name}", OUTDATED.format(step=step.name, whose=whose))
        if compare:
            rows = f"FROM temp.{step.name} SEMI JOIN {whose} USING (patient_key)"
            empty = not self._scratch.rows[step.name]
        elif step.name in self.definition.unread:
            rows, empty = step.sql, self._is_empty(step)
        else:
            rows, empty = f"FROM temp.{step.name}", not self._scratch.rows[step.name]
        if not empty:
            self._scratch.run(f"renewed_{step.name}", RENEWED.format(step=step.name, rows=rows))

    def _note_offsets(self, offsets: Mapping[tuple[str, int], int]) -> None:
        if not offsets:
            return
        columns = zip(
            *((t, p, self._topic_ids.get(t, ""), offset) for (t, p), offset in offsets.items()), strict=True
        )
        self._con.execute(NOTE_OFFSETS, [list(column) for column in columns])

    def _note_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if not letters:
            return
        kept = [letter for letter in letters if not any(map(self._eraser.knows, letter.patients))]
        self._eraser.bury_letters([(x.topic, x.partition, x.offset, x.key) for x in letters if x not in kept])
        arrived = pa.table(  # noqa: F841
            {
                name: pa.array([getattr(letter, name) for letter in kept], kind)
                for name, kind in DEAD_LETTER_TYPES.items()
            }
        )
        self._con.execute("INSERT INTO store.dead_letters BY NAME SELECT *, false AS published FROM arrived")

    # -- creating ------------------------------------------------------------------------------------------

    def _tables(self) -> bool:
        rows = self._con.execute(
            "SELECT 1 FROM duckdb_tables() WHERE database_name = 'store' AND table_name = 'store_info'"
        ).fetchall()
        return bool(rows)

    def _create(self, protocols: Sequence[Protocol], today: date) -> None:
        self._con.execute("BEGIN")
        self._con.execute(
            f"""
            {self._events.creation};
            CREATE TABLE offsets (topic VARCHAR, partition INTEGER, topic_id VARCHAR, next_offset BIGINT,
                PRIMARY KEY (topic, partition));
            CREATE TABLE outbox (patient_key UBIGINT, patient_id VARCHAR, since BIGINT, batch BIGINT);
            CREATE TABLE dead_letters (topic VARCHAR, partition INTEGER, "offset" BIGINT, key BLOB, value BLOB,
                code VARCHAR, path VARCHAR, message VARCHAR, received_at_ms BIGINT, patients VARCHAR[],
                published BOOLEAN);
            {erasure.TABLES}
            CREATE TABLE clock (today DATE, batch BIGINT);
            CREATE TABLE store_info (name VARCHAR PRIMARY KEY, value VARCHAR);
            """
        )
        self._con.execute("INSERT INTO clock VALUES (?, 0)", [today])
        self._con.execute(
            "INSERT INTO store_info VALUES ('layout', ?), ('epoch', ?)",
            [str(self.definition.layouts[-1].number), uuid.uuid4().hex],
        )
        for statement in self.definition.tables:
            self._con.execute(statement)
        self._con.execute("COMMIT")
        self._define(protocols)
        self._con.execute(NOTE_FINGERPRINT, [self._fingerprint])

    def _define(self, protocols: Sequence[Protocol]) -> None:
        """(Re)create macros, protocol tables, empty stored relations and public views."""
        cursor = self.cursor()
        definition = self.definition
        try:
            for macro in definition.dated_macros():
                cursor.execute(f"DROP MACRO TABLE IF EXISTS store.{macro.partition('(')[0]}")
            for view in reversed(definition.views):
                cursor.execute(f"DROP VIEW IF EXISTS store.{view.name}")
            cursor.execute(definition.macros)
            definition.parameters(cursor, protocols)
            cursor.execute("CREATE OR REPLACE TEMP VIEW scope AS SELECT * FROM store.events WHERE false")
            for step in definition.steps:
                cursor.execute(step.creation)
                if step.stored:
                    cursor.execute(
                        f"CREATE OR REPLACE TABLE store.{step.name} AS FROM temp.{step.name} LIMIT 0"
                    )
        finally:
            cursor.close()
        cursor = self.cursor()
        try:
            for view in definition.views:
                cursor.execute(f"CREATE OR REPLACE VIEW store.{view.name} AS {definition.view_sql(view)}")
            for macro, sql in definition.dated_macros().items():
                cursor.execute(f"CREATE OR REPLACE MACRO store.{macro} AS TABLE {sql}")
        finally:
            cursor.close()

    def _redefine(self, protocols: Sequence[Protocol], today: date) -> None:
        """Derive everything by other definitions, and tell what that changed.

        The fingerprint comes last: whoever is killed before finds the definition changed again.
        """
        log.info("definition changed: rebuilding", extra={"store": self.definition.name})
        telling = self.definition.on_redefinition
        cursor = self.cursor()
        try:
            if telling:
                telling.remember(cursor)
            self._define(protocols)
            self._lay_out()
            self.rebuild()
            cursor.execute("BEGIN")
            if telling:
                self.changed = telling.tell(cursor, today)
            cursor.execute(NOTE_FINGERPRINT, [self._fingerprint])
            cursor.execute("COMMIT")
        finally:
            cursor.close()
        told = {"store": self.definition.name, "changed_class": by_place(self.changed)}
        log.info("rebuilt by the new definition", extra=told)


DEAD_LETTER_TYPES: dict[str, pa.DataType] = {
    "topic": pa.string(),
    "partition": pa.int32(),
    "offset": pa.int64(),
    "key": pa.binary(),
    "value": pa.binary(),
    "code": pa.string(),
    "path": pa.string(),
    "message": pa.string(),
    "received_at_ms": pa.int64(),
    "patients": pa.list_(pa.string()),
}


def _fingerprint(definition: StoreDefinition, protocols: Sequence[Protocol]) -> str:
    """Changes whenever the same events would derive to other rows."""
    histories = (history.relation for history in definition.histories)
    relations = (*definition.steps, *definition.views, *histories)
    parts = [definition.macros, *(r.sql for r in relations), *definition.tables]
    parts += [protocol.model_dump_json() for protocol in protocols]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _with_type(event_type: EventType, columns: pa.Table) -> pa.Table:
    return columns.append_column("event_type", pa.repeat(str(event_type), columns.num_rows))


def why_not(error: Exception) -> str:
    """Why DuckDB could not do it, in words that hold nothing of the data."""
    return "disk full" if "No space left on device" in str(error) else type(error).__name__


def _why_not_opened(path: Path, error: duckdb.IOException) -> str:
    text = str(error)
    if why_not(error) == "disk full":
        return f"{path} cannot be opened, for its disk is full: make room on it, and start again"
    if "lock" in text.lower():
        return f"{path} is in use: another process owns this store; stop it first, or use another WEEK12_DATA_DIR"
    return f"{path} cannot be opened ({text.splitlines()[0]}): move it aside and start again; it is rebuilt from Kafka"

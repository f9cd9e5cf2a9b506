"""Erasure: how a patient leaves a store and the topics, and how everybody knows it afterwards.

Any version of a `consent` record with the status `erase` erases its patient for good, whatever its date, and
also where a later version takes it back: the data are gone, so nothing else could hold in every order of
arrival. The store keeps a mark (`ErasureKey`), announces it in `registry.erasures.v1`, and only then sends a
tombstone for each of the patient's keys, its own `erase` included. Whoever knows the mark drops what comes
later. So at every moment the log holds the `erase` record or the mark, and explains the state.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from schemas import EventType, parse_record_key
from schemas.canonical import RecordKey
from schemas.topics import ALERT_ACTIONS, ALERTS, DEAD_LETTERS, ERASURES, EVENT_TOPICS, OUTCOMES
from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.stream.event_tables import EVENT_TABLES
from services.stream.transaction import transaction

ERASE = "erase"
TABLES = """
CREATE TABLE erasures (mark VARCHAR, partition SMALLINT, announced BOOLEAN);
CREATE TABLE tombstones (topic VARCHAR, partition SMALLINT, key BLOB);
"""
"""`erasures`: what remains of the patients. `tombstones`: keys yet to be sent; without a partition Kafka chooses."""

MOVE_SECONDS = 86_400.0
NOBODY = RecordKey("registry", "registry", "moves-on", 1, "00000000").text.encode()
CLEANED = (*EVENT_TOPICS.values(), DEAD_LETTERS, OUTCOMES, ALERTS, ALERT_ACTIONS)
"""Topics from which an erasure takes something back."""

_MARK = re.compile(rb"[0-9a-f]{64}")
_NAMED = re.compile(rb'"patient_id"\s*:\s*"([^"\\]{1,64})"')
_KEYS = ("patient_id", "site_id", "event_id", "version", "content", "partition")
_OF_PATIENTS = (
    "patient_key IN (SELECT md5_number_lower(unnest($patients))) AND patient_id IN (SELECT unnest($patients))"
)


class Grave(NamedTuple):
    """A key to be sent with null; without a partition Kafka chooses by the key."""

    topic: str
    partition: int | None
    key: bytes


class Announced(NamedTuple):
    """A mark of the topic of erasures, its partition, and the id of the key that made it."""

    mark: str
    partition: int
    key_id: str


@dataclass
class Leaving:
    """What a batch says about erased patients."""

    patients: dict[str, int] = field(default_factory=dict)  # whom its own records erase -> their partition
    marks: dict[str, int] = field(default_factory=dict)  # whom the topic of erasures names -> its partition
    graves: list[Grave] = field(default_factory=list)  # of records that came after

    def __bool__(self) -> bool:
        return bool(self.patients or self.marks or self.graves)

    def add(self, later: "Leaving") -> None:
        """Count a later batch to this one."""
        self.patients |= later.patients
        self.marks |= later.marks
        self.graves += later.graves


class Eraser:
    """Keeps erased patients out of one store. Everything runs in its writing thread.

    `tells`: this store sends the marks and the tombstones; one does for all.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, key: ErasureKey, *, tells: bool) -> None:
        self._con = con
        self._key = key
        self._tells = tells
        self._marks: set[str] = set()
        self.recall()

    def __bool__(self) -> bool:
        """Whether anybody was ever erased."""
        return bool(self._marks)

    def recall(self) -> None:
        """Read the marks that the store holds."""
        self._marks = {mark for (mark,) in self._con.execute("SELECT mark FROM store.erasures").fetchall()}

    def knows(self, patient_id: str) -> bool:
        """Whether the patient was erased."""
        return self._key.mark(patient_id) in self._marks

    def sift(
        self, events: Mapping[EventType, pa.Table], announced: Sequence[Announced]
    ) -> tuple[dict[EventType, pa.Table], Leaving]:
        """Events without those about erased patients, and who is leaving. Costs nothing where nobody ever left.

        Raises OperatorError where another key made a mark: with the one that is here an erased patient would not
        be recognised.
        """
        if any(one.key_id != self._key.id for one in announced):
            raise OperatorError(
                f"{ERASURES} was written with another erasure key: put its backup back "
                "(WEEK12_ERASURE_KEY_FILE, by default erasure.key in WEEK12_DATA_DIR)"
            )
        marks = {one.mark: one.partition for one in announced}
        leaving = Leaving(_erased_by(events.get(EventType.CONSENT)), marks)
        self._marks |= marks.keys() | {self._key.mark(patient) for patient in leaving.patients}
        if not self._marks:
            return dict(events), leaving
        kept: dict[EventType, pa.Table] = {}
        for event_type, table in events.items():
            there = pc.unique(table["patient_id"]).to_pylist()
            gone = [patient for patient in there if patient is not None and self.knows(patient)]
            if gone:
                about = pc.is_in(table["patient_id"], value_set=pa.array(gone, pa.string()))
                leaving.graves += self._graves(event_type, table.filter(about).select(_KEYS).to_pylist())
                table = table.filter(pc.invert(about))
            if table.num_rows:
                kept[event_type] = table
        return kept, leaving

    def erase(self, leaving: Leaving, *, tell: bool = True) -> int:
        """Within a transaction, after `forgotten` was filled: remove whoever is leaving, and note what to send.

        Adds the patients to `forgotten`, so that what was derived of them goes with the batch. Without `tell` nothing
        is to be sent. Returns how many patients.
        """
        patients = sorted(leaving.patients.keys() | self._named_by(leaving.marks))
        self._note_marks(leaving)
        graves = list(leaving.graves)
        if patients:
            graves += self._bury(patients)
        if tell:
            self._note_graves(graves)
        return len(patients)

    def bury_letters(self, letters: Sequence[tuple[str, int, int, bytes | None]]) -> None:
        """Note tombstones for unreadable records, by (topic, partition, offset, key), of erased patients."""
        self._note_graves([Grave(topic, partition, key) for topic, partition, _, key in letters if key])

    def keep_moving(self, now: float, partitions: int) -> None:
        """Once a day where somebody left, have a null for nobody sent to every partition that may hold something.

        Kafka closes a segment only when a record comes, and cleans closed ones only: in a partition that fell silent
        a tombstone would never do its work. `now`: seconds since 1970.
        """
        if not self._tells or not self._marks:
            return
        rows = self._con.execute("SELECT value FROM store.store_info WHERE name = 'moved_at'").fetchall()
        if rows and now - float(rows[0][0]) < MOVE_SECONDS:
            return
        with transaction(self._con):
            self._note_graves(
                [Grave(topic, partition, NOBODY) for topic in CLEANED for partition in range(partitions)]
            )
            self._con.execute("INSERT OR REPLACE INTO store.store_info VALUES ('moved_at', ?)", [str(now)])

    def _note_graves(self, graves: Sequence[Grave]) -> None:
        if graves and self._tells:
            rows = [list(column) for column in zip(*dict.fromkeys(graves), strict=True)]
            arrived = pa.table(  # noqa: F841  (DuckDB finds it by its name in this frame)
                {
                    "topic": rows[0],
                    "partition": pa.array(rows[1], pa.int16()),
                    "key": pa.array(rows[2], pa.binary()),
                }
            )
            self._con.execute("INSERT INTO store.tombstones FROM arrived")

    def _bury(self, patients: Sequence[str]) -> list[Grave]:
        """Take the patients' events and letters out of the store. Returns their keys."""
        con, named = self._con, {"patients": patients}
        graves: list[Grave] = []
        if self._tells:
            found = con.execute(
                f"SELECT DISTINCT event_type, {', '.join(_KEYS)} FROM store.events WHERE {_OF_PATIENTS}",
                named,
            ).fetchall()
            for event_type, *row in found:
                graves += self._graves(EventType(event_type), [dict(zip(_KEYS, row, strict=True))])
        for table in EVENT_TABLES:
            con.execute(f"DELETE FROM {table} WHERE {_OF_PATIENTS}", named)
        con.execute(
            "INSERT INTO forgotten BY NAME SELECT md5_number_lower(patient_id) AS patient_key, patient_id "
            "FROM (SELECT unnest($patients) AS patient_id)",
            named,
        )
        letters = con.execute(
            "DELETE FROM store.dead_letters WHERE list_has_any(patients, $patients) "
            'RETURNING topic, partition, "offset", key',
            named,
        ).fetchall()
        for topic, partition, offset, key in letters:
            graves += letter_graves(topic, partition, offset, key)
        return graves

    def _named_by(self, marks: Mapping[str, int]) -> set[str]:
        """The patients of the store whom the marks mean."""
        if not marks:
            return set()
        rows = self._con.execute(
            "SELECT DISTINCT patient_id FROM store.events UNION SELECT unnest(patients) FROM store.dead_letters"
        ).fetchall()
        return {patient for (patient,) in rows if self._key.mark(patient) in marks}

    def _note_marks(self, leaving: Leaving) -> None:
        self._con.execute(
            "INSERT OR REPLACE INTO store.store_info VALUES ('erasure_key', ?), ('scrub', 'due')",
            [self._key.id],
        )
        own = {self._key.mark(patient): partition for patient, partition in leaving.patients.items()}
        for marks, announced in ((own, not self._tells), (leaving.marks, True)):
            if not marks:
                continue
            named = {"marks": list(marks), "partitions": list(marks.values()), "announced": announced}
            self._con.execute(
                "INSERT INTO store.erasures SELECT mark, partition, $announced "
                "FROM (SELECT unnest($marks) AS mark, unnest($partitions) AS partition) ANTI JOIN store.erasures "
                "USING (mark)",
                named,
            )
            if announced:
                self._con.execute(
                    "UPDATE store.erasures SET announced = true WHERE mark IN (SELECT unnest($marks))",
                    {"marks": list(marks)},
                )

    def _graves(self, event_type: EventType, rows: Iterable[Mapping[str, Any]]) -> list[Grave]:
        if not self._tells:
            return []
        topic = EVENT_TOPICS[event_type]
        return [
            Grave(
                topic,
                row["partition"],
                RecordKey(
                    row["patient_id"],
                    row["site_id"],
                    row["event_id"],
                    row["version"],
                    f"{row['content']:08x}",
                ).text.encode(),
            )
            for row in rows
        ]


def _erased_by(consents: pa.Table | None) -> dict[str, int]:
    """Whom consent records erase, with the partition."""
    if consents is None:
        return {}
    rows = consents.select(["patient_id", "partition", "consent_status"]).to_pylist()
    return {row["patient_id"]: row["partition"] for row in rows if row["consent_status"] == ERASE}


# -- dead letters ------------------------------------------------------------------------------------------


def named_patients(key: bytes | None, value: bytes | None) -> list[str]:
    """Pseudonyms that an unreadable record names, in its key or in its value."""
    found = {name.decode(errors="replace") for name in _NAMED.findall(value or b"")}
    with suppress(ValueError):
        found.add(parse_record_key(key or b"").patient_id)
    return sorted(found)


def letter_key(topic: str, partition: int, offset: int, key: bytes | None) -> bytes:
    """The key of a dead letter: that of the record, or where it stood."""
    return key or f"{topic}:{partition}:{offset}".encode()


def letter_graves(topic: str, partition: int, offset: int, key: bytes | None) -> list[Grave]:
    """What to send so that a dead letter goes, and the record that it is about."""
    letter = Grave(DEAD_LETTERS, None, letter_key(topic, partition, offset, key))
    return [letter, Grave(topic, partition, key)] if key else [letter]


# -- the topic of erasures ---------------------------------------------------------------------------------


def announcement(key: ErasureKey) -> bytes:
    """The value of a mark's record."""
    return json.dumps({"key": key.id}).encode()


def read_announcement(mark: bytes | None, value: bytes | None, partition: int) -> Announced:
    """What a record of the topic announces. Raises ValueError for what announces nothing."""
    if mark is None or not _MARK.fullmatch(mark) or value is None:
        raise ValueError("not a mark")
    announced = json.loads(value)
    if not isinstance(announced, dict):
        raise ValueError("not an announcement")
    return Announced(mark.decode(), partition, str(announced.get("key")))

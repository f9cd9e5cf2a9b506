"""What became of every event: sent, acknowledged, in the stores, or where else; by centre and day.

An account, so it has to add up. Of records acknowledged, each is a copy of another, dead, taken back (by a tombstone,
of a patient who was erased), waiting to be read, in every store, or missing. Of versions in the stores, each is
current, superseded or a retraction. Of events sent, each is repeated, refused, acknowledged, or not.

A day is the day (UTC) on which the centre recorded the version; of a record that does not say, the day on which Kafka
received it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from schemas import EventRefused, RecordKey, content_hash, parse_event, parse_record_key, record_key
from schemas.topics import EVENT_TOPICS
from services.ingest.files import Line, read_chunks
from services.local.dead_letters import read_letters
from services.local.log_reading import Record, read_topics
from services.runtime.settings import Settings

Row = dict[str, Any]

LOGGED: Mapping[str, pa.DataType] = {
    "topic": pa.string(),
    "partition": pa.int32(),
    "position": pa.int64(),  # the offset
    "record": pa.string(),  # the key, or the place of a record of which nothing is known
    "site_id": pa.string(),
    "day": pa.date32(),
    "patient_id": pa.string(),
    "event_id": pa.string(),
    "version": pa.int64(),
    "content": pa.uint32(),
    "taken_back": pa.bool_(),
}
SENT: Mapping[str, pa.DataType] = {
    "record": pa.string(),
    "site_id": pa.string(),
    "day": pa.date32(),
    "refused": pa.bool_(),
}
DEAD: Mapping[str, pa.DataType] = {"topic": pa.string(), "partition": pa.int32(), "position": pa.int64()}

COUNTS = {
    "sent": "in the files given with --sent",
    "repeated": "of those, copies of an event before them",
    "refused": "of those, refused by the checks of ingest",
    "unacknowledged": "of those, neither refused nor in Kafka: send the file again",
    "acknowledged": "records in Kafka",
    "copies": "of those, the same version once more",
    "dead": "of those, unreadable: in the dead letters",
    "taken_back": "of those, removed because their patient was erased",
    "waiting": "of those, not yet read by a store",
    "missing": "of those, in none of the above and not in every store",
    "applied": "versions in every store",
    "current": "of those, the ones that count",
    "superseded": "of those, replaced by a later version of their record",
    "retracted": "of those, the ones that withdraw their record",
    "unexplained": "versions in a store that Kafka does not hold",
}
"""The columns of an account, and what each counts."""
WRONG = ("unacknowledged", "missing", "unexplained")
"""What has to be 0."""

_HELD = "SELECT patient_id, site_id, event_id, version, content FROM {store}.events"

ACCOUNT = """
WITH records AS (
    SELECT l.*, d.topic IS NOT NULL AS dead, {read} AS read
    FROM logged AS l LEFT JOIN dead AS d USING (topic, partition, position)
),
logged_versions AS (
    SELECT record, site_id, any_value(patient_id) AS patient_id, any_value(event_id) AS event_id,
        any_value(version) AS version, any_value(content) AS content, min(day) AS day,
        count(*) FILTER (NOT taken_back) AS acknowledged,
        arg_max(taken_back, position) AS taken_back, bool_and(dead) AS dead, bool_or(read) AS read
    FROM records GROUP BY record, site_id
),
held AS ({held}),
placed AS (
    SELECT v.*, CASE WHEN acknowledged = 0 THEN NULL WHEN taken_back THEN 'taken_back' WHEN dead THEN 'dead'
        WHEN stores = {stores} THEN 'applied' WHEN NOT read THEN 'waiting' ELSE 'missing' END AS place
    FROM logged_versions AS v LEFT JOIN held USING (patient_id, site_id, event_id, version, content)
),
standing AS (  -- as each store chooses: the highest version, in a conflict the smallest content
    SELECT patient_id, site_id, event_id, version, content, bool_or(retracted) AS retracted, bool_or(wins) AS wins
    FROM (
        SELECT *, rank() OVER (PARTITION BY record_key ORDER BY version DESC, content) = 1 AS wins FROM {first}.events
    )
    GROUP BY patient_id, site_id, event_id, version, content
),
from_log AS (
    SELECT p.site_id, p.day, sum(acknowledged) AS acknowledged,
        sum(acknowledged - 1) FILTER (acknowledged > 0) AS copies,
        count(*) FILTER (place = 'dead') AS dead, count(*) FILTER (place = 'taken_back') AS taken_back,
        count(*) FILTER (place = 'waiting') AS waiting, count(*) FILTER (place = 'missing') AS missing,
        count(*) FILTER (place = 'applied') AS applied,
        count(*) FILTER (place = 'applied' AND wins AND NOT retracted) AS current,
        count(*) FILTER (place = 'applied' AND NOT wins) AS superseded,
        count(*) FILTER (place = 'applied' AND wins AND retracted) AS retracted
    FROM placed AS p LEFT JOIN standing USING (patient_id, site_id, event_id, version, content)
    GROUP BY p.site_id, p.day
),
from_files AS (
    SELECT site_id, min(day) AS day, record, count(*) AS n, bool_or(refused) AS refused
    FROM sent GROUP BY site_id, record
),
from_senders AS (
    SELECT f.site_id, f.day, sum(n) AS sent, sum(n - 1) AS repeated, count(*) FILTER (refused) AS refused,
        count(*) FILTER (NOT refused AND v.record IS NULL) AS unacknowledged
    FROM from_files AS f LEFT JOIN logged_versions AS v USING (record, site_id)
    GROUP BY f.site_id, f.day
),
unexplained AS (
    SELECT h.site_id, NULL::DATE AS day, count(*) AS unexplained
    FROM held AS h ANTI JOIN logged_versions USING (patient_id, site_id, event_id, version, content)
    GROUP BY h.site_id
),
accounts AS (FROM from_log UNION ALL BY NAME FROM from_senders UNION ALL BY NAME FROM unexplained)
SELECT site_id, day, {sums} FROM accounts GROUP BY site_id, day ORDER BY site_id, day
"""


@dataclass(frozen=True)
class Account:
    """One centre and day; the day is None for what no record in Kafka dates. `counts` has every name of COUNTS."""

    site_id: str
    day: date | None
    counts: dict[str, int]


def read_log(settings: Settings, progress: Callable[[int], None]) -> tuple[pa.Table, pa.Table]:
    """All records of the event topics as LOGGED, and the places of dead ones as DEAD.

    Raises OperatorError where Kafka cannot be read.
    """
    batches: list[pa.RecordBatch] = []

    def take(records: Sequence[Record]) -> None:
        batches.append(pa.RecordBatch.from_pylist([_logged(record) for record in records], pa.schema(LOGGED)))
        progress(len(records))

    read_topics(settings, list(EVENT_TOPICS.values()), take)
    dead = [
        {"topic": letter.topic, "partition": int(partition), "position": int(offset)}
        for letter in read_letters(settings)
        if (partition := letter.headers.get("origin-partition", "")).isdecimal()
        and (offset := letter.headers.get("origin-offset", "")).isdecimal()
    ]
    return pa.Table.from_batches(batches, pa.schema(LOGGED)), pa.Table.from_pylist(dead, pa.schema(DEAD))


def read_sent(files: Iterable[str]) -> pa.Table:
    """Events of files as SENT, judged as ingest judges them. Raises OperatorError where one cannot be read."""
    rows = []
    for file in files:
        for chunk in read_chunks(file):
            rows += [_sent(line) for line in chunk.lines]
            rows += [_refused(reject.line) for reject in chunk.rejects]
    return pa.Table.from_pylist(rows, pa.schema(SENT))


def reconcile(
    con: duckdb.DuckDBPyConnection, stores: Sequence[str], logged: pa.Table, dead: pa.Table, sent: pa.Table
) -> list[Account]:
    """The account of all centres and days; `con` holds the `stores` under their names."""
    read = [
        f"l.position < coalesce((SELECT next_offset FROM {store}.offsets AS o "
        "WHERE o.topic = l.topic AND o.partition = l.partition), 0)"
        for store in stores
    ]
    held = " UNION ALL ".join(f"SELECT DISTINCT * FROM ({_HELD.format(store=store)})" for store in stores)
    sql = ACCOUNT.format(
        read=" AND ".join(read),
        held=f"SELECT *, count(*) AS stores FROM ({held}) GROUP BY ALL",
        stores=len(stores),
        first=stores[0],
        sums=", ".join(f"coalesce(sum({name}), 0)::BIGINT AS {name}" for name in COUNTS),
    )
    for name, table in (("logged", logged), ("dead", dead), ("sent", sent)):
        con.register(name, table)
    rows = con.execute(sql).fetchall()
    return [Account(site, day, dict(zip(COUNTS, counts, strict=True))) for site, day, *counts in rows]


def _logged(record: Record) -> Row:
    stated = dict(record.headers).get("ce_time", b"").decode(errors="replace")
    row = {
        "topic": record.topic,
        "partition": record.partition,
        "position": record.offset,
        "day": _day(stated) or datetime.fromtimestamp(record.timestamp / 1000, UTC).date(),
        "taken_back": record.value is None,
    }
    key = _key(record)
    if key is None:
        return {**row, "record": f"{record.topic}:{record.partition}:{record.offset}", "site_id": ""}
    identity = {"patient_id": key.patient_id, "site_id": key.site_id, "event_id": key.event_id}
    return {**row, **identity, "record": key.text, "version": key.version, "content": int(key.h, 16)}


def _key(record: Record) -> RecordKey | None:
    """The key that the record has, or would have from ingest; None where neither key nor value tell."""
    with suppress(ValueError):
        return parse_record_key(record.key or b"")
    with suppress(EventRefused):
        event = parse_event(record.value or b"")
        return parse_record_key(record_key(event, content_hash(event)))
    return None


def _sent(line: Line) -> Row:
    event = parse_event(line.text)
    day = event.recorded_at.astimezone(UTC).date()
    return {
        "record": record_key(event, content_hash(event)),
        "site_id": event.site_id,
        "day": day,
        "refused": False,
    }


def _refused(line: Line) -> Row:
    said = _object(line.text)
    site, day = said.get("site_id"), said.get("recorded_at")
    return {
        "record": f"{line.file}:{line.number}",
        "site_id": site if isinstance(site, str) else "",
        "day": _day(day) if isinstance(day, str) else None,
        "refused": True,
    }


def _object(line: bytes) -> Row:
    with suppress(ValueError):
        said = orjson.loads(line)
        return said if isinstance(said, dict) else {}
    return {}


def _day(text: str) -> date | None:
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text).astimezone(UTC).date()
    return None

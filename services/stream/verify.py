"""Proof that a live store equals a batch recomputation from Kafka.

A snapshot of the store says up to which offsets it stands. Exactly those records are read again from the
beginning, loaded in bulk into a fresh store and derived anew; then every relation is compared row by row.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.protocol import Protocol
from schemas.topics import ALERT_ACTIONS
from services.broker import BrokerProblem
from services.broker.topics import end_offsets, topic_ids
from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings
from services.stream.decode import decode_records
from services.stream.definition import StoreDefinition
from services.stream.quoting import quoted
from services.stream.settling import is_current, settle
from services.stream.store import EventStore

Partition = tuple[str, int]
Polled = Mapping[Partition, Sequence[ConsumerRecord]]
Advance = Callable[[int], None]
Run = Callable[[str], list[tuple[Any, ...]]]
"""Runs SQL on a snapshot and returns its rows."""

MEMORY_LIMIT = "1GB"
SILENCE_SECONDS = 30.0
"""A log that gives nothing for so long, although more must be there, is given up."""
BATCH_RECORDS = 20_000
EXAMPLES = 10
SETTLED_SECONDS = 60.0
"""What people did to alerts may take so long to be applied before its absence counts as a difference."""

EVENTS = {"events": "batch, received_at", "erasures": "announced"}
"""Compared too: all versions of all events. Which of several copies was kept shows in these columns alone."""
NAMES = (
    *("patient_id", "site_id", "event_id", "version", "alert_id", "action_id", "protocol", "timepoint"),
    *("endpoint", "estimand", "drug", "analyte", "collected_on", "rule", "event_group", "mark"),
)
"""Columns that say which row it is, and nothing that was measured."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a live store, or a store at rest, and the Kafka offsets that it stands for."""

    name: str
    path: Path
    today: date
    fingerprint: str  # of what derived it; empty where that does not matter
    offsets: Mapping[Partition, int]  # the next to read
    topic_ids: Mapping[str, str]


@dataclass(frozen=True)
class Comparison:
    """One relation: rows in both, rows that only one side has, and which those are."""

    relation: str
    live: int
    recomputed: int
    only_live: int
    only_recomputed: int
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether both sides have the same rows."""
        return not (self.only_live or self.only_recomputed)


# -- the snapshot ------------------------------------------------------------------------------------------


def read_snapshot(name: str, path: Path) -> Snapshot:
    """What a store file stands for. Raises OperatorError where it cannot be opened or is in use."""
    try:
        with duckdb.connect(str(path), read_only=True) as con:
            rows = con.execute("SELECT topic, partition, topic_id, next_offset FROM offsets").fetchall()
            (today,) = con.execute("SELECT today FROM clock").fetchall()[0]
            facts = dict(con.execute("SELECT name, value FROM store_info").fetchall())
    except duckdb.Error as error:
        raise OperatorError(_why_not_opened(name, path, error)) from None
    return Snapshot(
        name,
        path,
        today,
        facts.get("fingerprint", ""),
        {(topic, partition): offset for topic, partition, _, offset in rows},
        {topic: topic_id for topic, _, topic_id, _ in rows},
    )


def _why_not_opened(name: str, path: Path, error: duckdb.Error) -> str:
    if "lock" in str(error).lower():
        return (
            f"{path} is in use, but {name} does not answer: wait until it is up, or stop what holds the file"
        )
    if not path.exists():
        return f"{path} is not on this machine: run verify where {name} runs, with its WEEK12_DATA_DIR"
    return f"{path} cannot be opened as the {name} store: make sure that it is whole and of this version"


# -- the log -----------------------------------------------------------------------------------------------


async def read_log(
    settings: Settings, ends: Mapping[Partition, int], take: Callable[[Polled], None], advance: Advance
) -> None:
    """Give every record before `ends` to `take`, in order of offsets within each partition.

    `advance` is told by how many offsets the reading went on. Raises OperatorError where Kafka stays silent.
    """
    left = {TopicPartition(*partition): end for partition, end in ends.items() if end > 0}
    if not left:
        return
    at = dict.fromkeys(left, 0)
    consumer = AIOKafkaConsumer(
        **settings.aiokafka_options(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
        metadata_max_age_ms=30_000,
    )
    try:
        await consumer.start()
        consumer.assign(list(left))
        for partition in left:
            consumer.seek(partition, 0)
        heard = time.monotonic()
        while left:
            polled = await consumer.getmany(timeout_ms=500, max_records=BATCH_RECORDS)
            wanted: dict[Partition, list[ConsumerRecord]] = {}
            for partition, records in polled.items():
                if partition not in left:
                    continue
                end, before = left[partition], at[partition]
                fitting = [record for record in records if record.offset < end]
                if fitting:
                    wanted[partition.topic, partition.partition] = fitting
                at[partition] = min(end, records[-1].offset + 1)
                advance(at[partition] - before)
                if at[partition] == end:
                    del left[partition]
                    consumer.pause(partition)
            if wanted:
                take(wanted)
            if polled:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise OperatorError(_silent(next(iter(left.items())), at))
    except KafkaError as error:
        raise OperatorError(
            f"Kafka at {settings.kafka_bootstrap_servers} does not let itself be read ({type(error).__name__}): "
            "check KAFKA_BOOTSTRAP_SERVERS and that it is up"
        ) from None
    finally:
        await consumer.stop()


def _silent(missing: tuple[TopicPartition, int], at: Mapping[TopicPartition, int]) -> str:
    partition, end = missing
    return (
        f"{partition.topic} partition {partition.partition} gives nothing between offsets {at[partition]} and {end}, "
        "which the store has read: this is another Kafka, or one that lost records"
    )


# -- the recomputation -------------------------------------------------------------------------------------


def recompute(
    settings: Settings,
    snapshot: Snapshot,
    definition: StoreDefinition,
    protocols: Sequence[Protocol],
    path: Path,
    advance: Advance = lambda _: None,
) -> None:
    """A fresh store at `path` from Kafka's records up to the snapshot's offsets, closed when done.

    Raises OperatorError where the snapshot was derived by other definitions or read from another Kafka.
    """
    _check_topics(settings, snapshot)
    store = EventStore(
        path,
        definition,
        protocols,
        today=snapshot.today,
        memory_limit=MEMORY_LIMIT,
        erasure_key=ErasureKey.read(settings.erasure_key_path),
    )
    try:
        if snapshot.fingerprint not in ("", store.info("fingerprint")):
            raise OperatorError(
                f"the {snapshot.name} store was derived by another version or other protocols: "
                "run the same version, with the WEEK12_PROTOCOLS of the service"
            )

        def take(polled: Polled) -> None:
            store.append(decode_records(polled, definition.extract))

        asyncio.run(read_log(settings, snapshot.offsets, take, advance))
        if snapshot.name == "safety":
            _take_actions(store, read_actions(settings), snapshot)
        store.drop_copies()
        store.rebuild()
        settle(store)
    finally:
        store.close()


def _check_topics(settings: Settings, snapshot: Snapshot) -> None:
    """Offsets mean something in the topics they were counted in alone."""
    if not snapshot.topic_ids:
        return
    try:
        found = topic_ids(settings.kafka_python_options(), list(snapshot.topic_ids))
    except BrokerProblem as problem:
        raise OperatorError(str(problem)) from None
    for topic, topic_id in snapshot.topic_ids.items():
        if topic_id and found.get(topic) != topic_id:
            raise OperatorError(
                f"{topic} is not the topic that the {snapshot.name} store has read: this is another Kafka, "
                "or one that was made anew"
            )


def read_actions(settings: Settings) -> list[tuple[dict[str, Any], int]]:
    """What people did to alerts, from its topic: (action, milliseconds since 1970 when Kafka got it)."""
    actions: dict[bytes, tuple[dict[str, Any], int]] = {}

    def take(polled: Polled) -> None:
        for records in polled.values():
            for record in records:
                if record.value is None:  # taken back: its patient was erased
                    actions.pop(record.key, None)
                    continue
                with suppress(ValueError, TypeError):  # the service leaves it out as well
                    actions[record.key] = (dict(json.loads(record.value)), record.timestamp)

    _read_to_end(settings, ALERT_ACTIONS, take)
    return list(actions.values())


def _take_actions(
    store: EventStore, actions: Sequence[tuple[dict[str, Any], int]], snapshot: Snapshot
) -> None:
    """Apply what was done; the newest only where the snapshot has it too, as it may still be on its way."""
    with duckdb.connect(str(snapshot.path), read_only=True) as con:
        applied = {row[0] for row in con.execute("SELECT action_id FROM alert_actions").fetchall()}
    settled_ms = (time.time() - SETTLED_SECONDS) * 1000
    for action, received_ms in actions:
        if action["action_id"] in applied or received_ms < settled_ms:
            acted_at = datetime.fromisoformat(action["acted_at"]).astimezone(UTC).replace(tzinfo=None)
            values = [action[name] for name in ("action_id", "alert_id", "action", "actor", "note")]
            store.execute(
                "INSERT OR IGNORE INTO store.alert_actions VALUES (?, ?, ?, ?, ?, ?)", [*values, acted_at]
            )


def _read_to_end(settings: Settings, topic: str, take: Callable[[Polled], None]) -> None:
    try:
        ends = end_offsets(settings.kafka_python_options(), [topic])
    except BrokerProblem as problem:
        raise OperatorError(str(problem)) from None
    asyncio.run(read_log(settings, ends, take, lambda _: None))


# -- the comparison ----------------------------------------------------------------------------------------


def compare(live: Path, recomputed: Path, definition: StoreDefinition) -> list[Comparison]:
    """Every relation of two stores, row by row; of differing rows the columns that name them.

    Tables that are computed when data have settled are left out where the live ones stand for an earlier batch.
    """
    relations = {**EVENTS, **definition.compared}
    if definition.name == "safety":
        relations["alert_actions"] = ""
    spill: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "temp_directory": str(recomputed.with_suffix(".compare")),
    }
    with duckdb.connect(":memory:", config=spill) as con:
        for name, path in (("live", live), ("recomputed", recomputed)):
            con.execute(f"ATTACH '{quoted(path)}' AS {name} (READ_ONLY)")
        con.execute("USE live")
        relations |= {table.name: "" for table in definition.settled if is_current(con, table.name)}
        return [_compare(con, name, left_out) for name, left_out in relations.items()]


def _compare(con: duckdb.DuckDBPyConnection, name: str, left_out: str) -> Comparison:
    """Each row counts 1 where it is live and -1 where it was recomputed: what does not come to 0 differs.

    The same as EXCEPT ALL both ways, in one pass and with only the differences kept.
    """
    columns = f"* EXCLUDE ({left_out})" if left_out else "*"
    con.execute(
        "CREATE OR REPLACE TEMP TABLE different AS SELECT * EXCLUDE (side_), sum(side_)::BIGINT AS surplus_ FROM ("
        f"SELECT {columns}, 1 AS side_ FROM live.main.{name} UNION ALL BY NAME "
        f"SELECT {columns}, -1 AS side_ FROM recomputed.main.{name}) GROUP BY ALL HAVING sum(side_) <> 0"
    )
    live, recomputed, only_live, only_recomputed = con.execute(
        f"SELECT (SELECT count(*) FROM live.main.{name}), (SELECT count(*) FROM recomputed.main.{name}), "
        "coalesce(sum(surplus_) FILTER (surplus_ > 0), 0), coalesce(-sum(surplus_) FILTER (surplus_ < 0), 0) "
        "FROM different"
    ).fetchall()[0]
    named = [row[0] for row in con.execute("DESCRIBE different").fetchall() if row[0] in NAMES]
    found = con.execute(
        f"SELECT DISTINCT {', '.join(named)} FROM different ORDER BY ALL LIMIT {EXAMPLES}"
    ).fetchall()
    rows = [dict(zip(named, row, strict=True)) for row in found]
    return Comparison(name, live, recomputed, int(only_live), int(only_recomputed), rows)


# -- the derived topics ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DerivedTopic:
    """What a service publishes: the newest value of each key says what its tables show."""

    topic: str
    key: str  # what the record's key is, as a column
    waiting: str  # SQL: how many changes have yet to be published
    expected: Callable[[Run], dict[str, Any]]  # key -> what its newest value must say
    said: Callable[[Any], Any]  # that part of a value


def waiting_to_publish(snapshot: Snapshot, derived: DerivedTopic) -> int:
    """How many changes the snapshot shows that its topic may not."""
    with _opened(snapshot.path) as run:
        number: int = run(derived.waiting)[0][0]
    return number


def compare_published(settings: Settings, snapshot: Snapshot, derived: DerivedTopic) -> Comparison:
    """The newest value of each key of a derived topic beside the snapshot's rows.

    Means something only where the snapshot has nothing waiting to be published, and nothing happened since.
    """
    newest: dict[str, Any] = {}

    def take(polled: Polled) -> None:
        for records in polled.values():
            for record in records:
                newest[(record.key or b"").decode()] = json.loads(record.value) if record.value else None

    _read_to_end(settings, derived.topic, take)
    published = {key: derived.said(value) for key, value in newest.items() if value is not None}
    with _opened(snapshot.path) as run:
        expected = derived.expected(run)
    differing = {key for key in expected.keys() & published.keys() if expected[key] != published[key]}
    only_live = differing | (expected.keys() - published.keys())
    only_topic = differing | (published.keys() - expected.keys())
    examples = [{derived.key: key} for key in sorted(only_live | only_topic)[:EXAMPLES]]
    return Comparison(derived.topic, len(expected), len(published), len(only_live), len(only_topic), examples)


@contextmanager
def _opened(path: Path) -> Iterator[Run]:
    """A snapshot that can be asked, and that takes temporary tables."""
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{quoted(path)}' AS store (READ_ONLY); USE store")
        yield lambda sql: con.execute(sql).fetchall()

"""Copies of the stores that can be put back: taken while the services run, put back while they do not.

A backup saves the time of reading a large log again; Kafka alone is enough to have everything. What is put back is a
state of the past: the services read on from its offsets. Whoever was erased since is taken out before anybody can read
it, and it gets a name of its own (`epoch`), so that what people did to alerts since is read again.
"""

import hashlib
import json
import shutil
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from schemas.protocol import load_protocol
from schemas.topics import ERASURES
from services.broker import BrokerProblem
from services.broker.topics import topic_ids
from services.local.log_reading import read_topics
from services.outcomes.definition import OUTCOMES
from services.query.snapshots import is_in_use, readable_files
from services.runtime.clock import now, today
from services.runtime.erasure_key import ErasureKey
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings
from services.safety.definition import SAFETY
from services.stream.decode import Record, decode_records
from services.stream.definition import StoreDefinition
from services.stream.quoting import quoted
from services.stream.store import BLOCK_BYTES, EventStore

MANIFEST = "manifest.json"
DEFINITIONS: Mapping[str, StoreDefinition] = {"outcomes": OUTCOMES, "safety": SAFETY}


@dataclass(frozen=True)
class Copy:
    """One store in a backup: what it stands for, and how to tell that the file is whole."""

    sha256: str
    bytes: int
    layout: str
    today: str
    events: int
    erased: int
    offsets: dict[str, dict[str, int]]
    """Topic -> partition -> the next to read."""
    topic_ids: dict[str, str]


# -- taking ------------------------------------------------------------------------------------------------


def back_up(settings: Settings, folder: Path, token: str | None) -> dict[str, Copy]:
    """Copy both stores into `folder`, which must be new; running services write snapshots for it.

    Raises OperatorError where `folder` exists, or a service gives no snapshot; then nothing is left there.
    """
    if folder.exists():
        raise OperatorError(f"{folder} exists: name a new folder")
    paths = readable_files(settings.data_dir, settings, token)
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True, mode=0o700)
        copies = {name: _copy(path, draft / f"{name}.duckdb") for name, path in paths.items()}
        manifest = {
            "made_at": now().astimezone(UTC).isoformat(timespec="seconds"),
            "version": version("week12"),
            "stores": {name: asdict(copy) for name, copy in copies.items()},
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        draft.rename(folder)
    except FileNotFoundError as error:
        raise OperatorError(
            f"{error.filename} went away, for a patient was erased: take the backup again"
        ) from None
    except OSError as error:
        raise OperatorError(
            f"{folder} cannot be written ({error.strerror}): name another, or make room"
        ) from None
    except duckdb.Error as error:
        raise OperatorError(f"a store cannot be copied ({type(error).__name__}): try again") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return copies


def _copy(source: Path, target: Path) -> Copy:
    """A whole copy, a write-ahead log that a kill left behind included."""
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{quoted(source)}' AS source (READ_ONLY)")
        con.execute(f"ATTACH '{quoted(target)}' AS target (BLOCK_SIZE {BLOCK_BYTES})")
        con.execute("COPY FROM DATABASE source TO target; DETACH target")
    target.chmod(0o600)
    return _describe(target)


def _describe(path: Path) -> Copy:
    with duckdb.connect(str(path), read_only=True) as con:
        info = dict(con.execute("SELECT name, value FROM store_info").fetchall())
        rows = con.execute(
            "SELECT topic, partition, topic_id, next_offset FROM offsets ORDER BY ALL"
        ).fetchall()
        as_of, events, erased = con.execute(
            "SELECT today::VARCHAR, (SELECT count(*) FROM events), (SELECT count(*) FROM erasures) FROM clock"
        ).fetchall()[0]
    offsets: dict[str, dict[str, int]] = defaultdict(dict)
    for topic, partition, _, offset in rows:
        offsets[topic][str(partition)] = offset
    ids = {topic: topic_id for topic, _, topic_id, _ in rows}
    return Copy(
        sha256=_sha256(path),
        bytes=path.stat().st_size,
        layout=info.get("layout", ""),
        today=as_of,
        events=events,
        erased=erased,
        offsets=dict(offsets),
        topic_ids=ids,
    )


# -- putting back ------------------------------------------------------------------------------------------


def put_back(settings: Settings, folder: Path) -> tuple[dict[str, Copy], list[Path]]:
    """Put the stores of a backup in place of those in the data folder, which are moved aside.

    Returns what was put back, and where the earlier files went. Raises OperatorError where the backup is damaged or of
    another Kafka, a store is in use, or Kafka, which says who was erased since, does not answer; then all is as before.
    """
    copies = read_backup(folder)
    _check_topics(settings, copies)
    marks = _marks(settings)
    ids = next(iter(copies.values())).topic_ids
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    for name in copies:
        path = settings.data_dir / f"{name}.duckdb"
        if path.exists() and is_in_use(path):
            raise OperatorError(f"{path} is in use: stop the services first")
    drafts: dict[str, Path] = {}
    try:
        for name in copies:
            drafts[name] = settings.data_dir / f"{name}.restored"
            shutil.copyfile(folder / f"{name}.duckdb", drafts[name])
            _bring_up_to_erasures(settings, DEFINITIONS[name], drafts[name], marks, ids)
    except OSError as error:
        raise OperatorError(
            f"{error.filename} cannot be written ({error.strerror}): make room for it"
        ) from None
    else:
        aside = [old for name in copies for old in _move_aside(settings.data_dir / f"{name}.duckdb")]
        for name, draft in drafts.items():
            draft.replace(settings.data_dir / f"{name}.duckdb")
        return copies, aside
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def read_backup(folder: Path) -> dict[str, Copy]:
    """What a backup holds. Raises OperatorError where it is not whole."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())["stores"]
        copies = {name: Copy(**copy) for name, copy in found.items() if name in DEFINITIONS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise OperatorError(f"{folder} holds no backup: name a folder that `week12 backup` made") from None
    for name, copy in copies.items():
        path = folder / f"{name}.duckdb"
        if not path.exists() or _sha256(path) != copy.sha256:
            raise OperatorError(f"{path} is not as it was backed up: take another backup")
    return copies


def _check_topics(settings: Settings, copies: Mapping[str, Copy]) -> None:
    wanted = {
        topic: topic_id for copy in copies.values() for topic, topic_id in copy.topic_ids.items() if topic_id
    }
    try:
        there = topic_ids(settings.kafka_python_options(), list(wanted)) if wanted else {}
    except BrokerProblem as problem:
        raise OperatorError(f"Kafka must be there, to say who was erased since: {problem}") from None
    for topic, topic_id in wanted.items():
        if there.get(topic) != topic_id:
            raise OperatorError(
                f"{topic} is not the topic of this backup: it is of another Kafka, or one made anew"
            )


def _marks(settings: Settings) -> dict[tuple[str, int], list[Record]]:
    """The records of the topic of erasures, by place."""
    marks: dict[tuple[str, int], list[Record]] = defaultdict(list)

    def take(records: Sequence[Any]) -> None:
        for record in records:
            marks[record.topic, record.partition].append(record)

    read_topics(settings, [ERASURES], take)
    return marks


def _bring_up_to_erasures(
    settings: Settings,
    definition: StoreDefinition,
    path: Path,
    marks: Mapping[tuple[str, int], Sequence[Record]],
    ids: Mapping[str, str],
) -> None:
    """Take out whoever was erased since, and give the store a name of its own."""
    protocols = [load_protocol(name) for name in settings.protocols]
    key = ErasureKey.read(settings.erasure_key_path)
    store = EventStore(path, definition, protocols, today=today(settings), erasure_key=key)
    try:
        store.execute("UPDATE store.store_info SET value = ? WHERE name = 'epoch'", [uuid.uuid4().hex])
        if marks:
            store.apply(decode_records(marks, definition.extract), ids)
    finally:
        store.close()


def _move_aside(path: Path) -> list[Path]:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    moved = []
    for old in (path, path.with_name(f"{path.name}.wal")):
        if old.exists():
            moved.append(old.rename(old.with_name(f"{old.name}.before-{stamp}")))
    return moved


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

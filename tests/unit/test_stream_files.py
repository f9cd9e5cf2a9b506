"""Long files are decoded by several processes: nothing may depend on it."""

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from stores import OUTCOMES, SAFETY, contents, open_store

from services.runtime.errors import OperatorError
from services.stream import files
from services.stream.store import EventStore

COHORT = Path("examples/fu2025/stream.jsonl")
TODAY = date(2025, 3, 1)
REFUSED = b'{"event_type": "lab", "site_id": "S01"}\n'


def computed(paths: list[Path]) -> tuple[dict[str, Any], list[tuple[str, int, str]], int]:
    """Tables, (file, line, code) of what was refused, and how many events there were."""
    stores: list[EventStore] = [open_store(OUTCOMES, TODAY), open_store(SAFETY, TODAY)]
    loaded = files.compute_stores(paths, stores)
    tables = {store.definition.name: contents(store) for store in stores}
    for store in stores:
        store.close()
    return tables, [(r.file, r.line, r.code) for r in loaded.rejects], loaded.events


@pytest.fixture
def two_files(tmp_path: Path) -> list[Path]:
    """The study's stream in two files, a refused line and a blank one in the second."""
    lines = COHORT.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_bytes(b"".join(lines[:middle]))
    second.write_bytes(b"\n" + REFUSED + b"".join(lines[middle:]))
    return [first, second]


def test_processes_change_nothing(two_files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = computed(two_files)
    monkeypatch.setattr(files, "LONG_BYTES", 0)
    monkeypatch.setattr(files, "CHUNK_LINES", 100)
    assert computed(two_files) == alone
    assert alone[1] == [(str(two_files[1]), 2, "missing")]


def test_computed_from_what_was_known_on_a_day(two_files: list[Path]) -> None:
    day = date(2024, 6, 30)
    store = open_store(OUTCOMES, TODAY)
    files.compute_stores(two_files, [store], known_at=day)
    early = [
        line
        for path in two_files
        for line in path.read_bytes().splitlines(keepends=True)
        if _known(line, day)
    ]
    (path := two_files[0].with_name("early.jsonl")).write_bytes(b"".join(early))
    other = open_store(OUTCOMES, TODAY)
    files.compute_stores([path], [other])
    assert contents(store) == contents(other)
    assert 0 < len(early) < len(b"".join(p.read_bytes() for p in two_files).splitlines())
    store.close()
    other.close()


def _known(line: bytes, day: date) -> bool:
    event = json.loads(line or "{}") if line.strip() else {}
    return (
        "recorded_at" in event and datetime.fromisoformat(event["recorded_at"]).astimezone(UTC).date() <= day
    )


def test_a_process_that_was_ended_is_one_clear_error(
    two_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LONG_BYTES", 0)
    monkeypatch.setattr(files, "_decode", _end_at_once)
    with pytest.raises(OperatorError, match="memory"):
        computed(two_files)


def _end_at_once(*_: object) -> None:
    os._exit(9)


def test_a_conflict_between_files_is_told_from_a_copy(tmp_path: Path) -> None:
    lab = {
        "event_type": "lab", "site_id": "S01", "event_id": "1", "patient_id": "W12-0001", "analyte": "crp",
        "value": 4.0, "recorded_at": "2024-05-01T08:00:00Z", "collected_on": "2024-05-01", "unit": "mg/L",
    }  # fmt: skip
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    paths[0].write_text(json.dumps(lab) + "\n")
    paths[1].write_text(json.dumps(lab, separators=(",", ":")) + "\n" + json.dumps({**lab, "value": 5.0}))
    tables, _, events = computed(paths)
    assert events == 3
    assert [row[3] for row in tables["outcomes"]["data_quality"]].count("version_conflict") == 1

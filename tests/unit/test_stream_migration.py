"""Files of earlier layouts are brought up step by step, or made anew from Kafka; no layout changes unnoticed."""

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import layouts
import pytest
from layouts import DEFINITIONS, EVENTS
from stores import FU2025, OUTCOMES, contents, open_store

from services.outcomes.replaying import derive_under
from services.stream.files import compute_stores
from services.stream.migration import Layout, LayoutError, ReadAgain, migrate
from services.stream.store import EventStore

TODAY = date(2025, 1, 15)
NEWEST = {name: definition.layouts[-1].number for name, definition in DEFINITIONS.items()}
OLD = sorted(
    (path.stem.partition("_")[0], int(path.stem.partition("_")[2])) for path in layouts.FOLDER.glob("*_*.sql")
)
CHANGED = """
the tables of layout {} of {} are not what they were: write down the layout that ends (tests/layouts.py), give the new
one a number and a step in services/{}/layouts.py, and its digest here
"""
DIGESTS = {
    ("outcomes", 5): "15413fe02169c87c",
    ("safety", 2): "3424f988607a8ac8",
}
"""What the newest layouts are."""
PASSED = {("outcomes", 3)}
"""Steps on the way to the next, with which no version ended."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, EventStore]]:
    """Stores of this version, computed from the events that the old files hold."""
    folder = tmp_path_factory.mktemp("fresh")
    stores = {n: open_store(d, TODAY, folder / f"{n}.duckdb") for n, d in DEFINITIONS.items()}
    assert compute_stores([EVENTS], list(stores.values())).rejects == []
    yield stores
    for store in stores.values():
        store.close()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_no_table_changes_without_a_layout_of_its_own(name: str, tmp_path: Path) -> None:
    found = layouts.digest(layouts.not_derived(DEFINITIONS[name], tmp_path))
    assert {(name, NEWEST[name]): found}.items() <= DIGESTS.items(), CHANGED.format(NEWEST[name], name, name)
    numbers = [layout.number for layout in DEFINITIONS[name].layouts]
    assert numbers == [*range(1, NEWEST[name] + 1)]
    assert {(name, number) for number in numbers[:-1]} - PASSED <= {*OLD}


@pytest.mark.parametrize(("name", "number"), OLD)
def test_an_old_file_becomes_what_this_version_computes(
    name: str, number: int, tmp_path: Path, fresh: dict[str, EventStore]
) -> None:
    path, definition = tmp_path / f"{name}.duckdb", DEFINITIONS[name]
    layouts.load(name, number, path)
    if any(step.from_log for step in definition.layouts[number:]):
        for _ in range(2):  # until somebody has done it
            with pytest.raises(ReadAgain, match="reads the events again from Kafka"):
                open_store(definition, TODAY, path)
        with duckdb.connect(":memory:") as con:
            con.execute(f"ATTACH '{path}' AS store (READ_ONLY)")
            assert con.execute(layouts.COLUMNS).fetchall() == layouts.not_derived(definition, tmp_path)
        return
    store = open_store(definition, TODAY, path)
    try:
        assert contents(store) == contents(fresh[name])
        kept = {(table, column) for table, column, _ in layouts.not_derived(definition, tmp_path)}
        assert kept <= {(t, c) for t, c, _ in store.execute(layouts.COLUMNS)}
        assert store.epoch != fresh[name].epoch  # it is the same store as before
    finally:
        store.close()


# -- steps -------------------------------------------------------------------------------------------------

STEPS = (
    *OUTCOMES.layouts[:2],
    Layout(
        3,
        "doses in micrograms",
        (
            "ALTER TABLE store.events ADD COLUMN dose_ug BIGINT",
            "ALTER TABLE store.clock ADD COLUMN told_at TIMESTAMP",
        ),
    ),
    Layout(
        4,
        "of those there are",
        ("UPDATE store.events SET dose_ug = dose_mg * 1000", "DELETE FROM store.outbox"),
    ),
)
"""Two steps that nobody needs, on a file that somebody might have."""
LOOK = """
SELECT (SELECT value FROM store.store_info WHERE name = 'layout'), count(dose_ug), sum(dose_ug) FROM store.events
"""
PROGRAM = """
import os, signal, sys
from pathlib import Path
import duckdb
from services.stream.migration import Layout, migrate

def until(statements, last):
    yield from statements[:last]
    os.kill(os.getpid(), signal.SIGKILL)

path, dying, last, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), eval(sys.argv[4])
steps = [
    Layout(step.number, step.change, until(step.statements, last), mark=step.mark) if step.number == dying else step
    for step in steps
]
con = duckdb.connect(":memory:")
con.execute(f"ATTACH '{path}' AS store; USE store")
migrate(con, steps, path)
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "outcomes.duckdb"
    layouts.load("outcomes", 2, path)
    return path


def migrated(path: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{path}' AS store; USE store")
        migrate(con, STEPS, path)
        return con.execute(LOOK).fetchall()


@pytest.mark.parametrize(("dying", "statement"), [(3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2)])
def test_a_kill_at_any_statement_leaves_the_last_step_done(old: Path, dying: int, statement: int) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(old), str(dying), str(statement), repr(STEPS)]
    )
    assert killed.returncode == -signal.SIGKILL
    with duckdb.connect(":memory:") as con:
        con.execute(f"ATTACH '{old}' AS store; USE store")
        there = {column for table, column, _ in con.execute(layouts.COLUMNS).fetchall() if table == "events"}
        (number,) = con.execute("SELECT value FROM store_info WHERE name = 'layout'").fetchall()[0]
    assert ("dose_ug" in there) == (dying == 4)
    assert number == ("3" if dying == 4 else OUTCOMES.layouts[1].mark)
    for _ in range(2):  # the second time nothing is left to do
        assert migrated(old) == [("4", 2, 90_000)]


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("statement", [1, 6, 7, 8])
def test_a_kill_within_the_newest_step_loses_nothing(
    name: str, statement: int, tmp_path: Path, fresh: dict[str, EventStore]
) -> None:
    """The events move from one table to several: before the old one is dropped, after, and before the commit."""
    path, definition = tmp_path / f"{name}.duckdb", DEFINITIONS[name]
    layouts.load(name, NEWEST[name] - 1, path)
    arguments = [str(path), str(NEWEST[name]), str(statement), repr(definition.layouts)]
    killed = subprocess.run([sys.executable, "-c", PROGRAM, *arguments])
    assert killed.returncode == -signal.SIGKILL
    store = open_store(definition, TODAY, path)
    try:
        assert contents(store) == contents(fresh[name])
    finally:
        store.close()


def test_each_step_is_told_of(old: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "services.stream.migration"):
        migrated(old)
    told = [(record.message, record.layout, record.store) for record in caplog.records]  # type: ignore[attr-defined]
    steps = [(3, "outcomes"), (4, "outcomes")]
    assert told == [(word, *step) for step in steps for word in ("migrating", "migrated")]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "99",
            f"of layout 99, written by a newer version of week12 .this one knows {NEWEST['outcomes']}.: start "
            "that version again",
        ),
        ("ff08149252e41f3c", "by a version of week12 that this one knows nothing of: move it aside"),
        ("", "knows nothing of: move it aside"),
    ],
)
def test_what_cannot_be_brought_up_is_refused_and_left_as_it_is(
    old: Path, written: str, message: str
) -> None:
    with duckdb.connect(str(old)) as con:
        con.execute("UPDATE store_info SET value = ? WHERE name = 'layout'", [written])
    before = old.read_bytes()
    with pytest.raises(LayoutError, match=message):
        open_store(OUTCOMES, TODAY, old)
    assert old.read_bytes() == before
    duckdb.connect(str(old)).close()  # nobody holds it


def test_a_comparison_of_protocols_takes_no_file_of_another_layout(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.duckdb"
    layouts.load("outcomes", 1, path)
    with pytest.raises(LayoutError, match="is of layout 1, and this version reads layout"):
        derive_under(FU2025, path, TODAY, tmp_path / "other.duckdb")

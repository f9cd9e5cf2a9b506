"""A changed protocol file: the store notices when it is opened, and says what changed class."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from stores import OUTCOMES, load, open_store, rows, temporary_path
from twin.builders import consent, enrolment, on, start, visit

from schemas.protocol import Protocol, load_protocol
from services.stream.store import EventStore

TODAY = on(400)
CHANGED_ON = date(2026, 1, 2)
OURS = """
extends = ["fu2025"]
title = "Ours"
version = "{version}"
[endpoint.clinical_remission]
below = {limit}
"""


def protocol(folder: Path, limit: int, version: str) -> Protocol:
    path = folder / "ours.toml"
    path.write_text(OURS.format(limit=limit, version=version))
    return load_protocol(path)


def events() -> list[dict[str, Any]]:
    """Three patients with a CDAI of 120, 149 and 150 at week 12: remission below 150 in two, below 121 in one."""
    found: list[dict[str, Any]] = []
    for number, cdai in enumerate((120, 149, 150), start=1):
        who = {"patient_id": f"W12-000{number}"}
        found += [enrolment(**who), start(**who), visit(-1, cdai=400, **who), visit(84, cdai=cdai, **who)]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed store that was derived with a limit of 150."""
    place = temporary_path("outcomes")
    store = load(open_store(OUTCOMES, TODAY, place, [protocol(tmp_path, 150, "1")]), [events()])
    assert rows(store, "FROM class_changes") == []
    store.close()
    return place


def changes(store: EventStore) -> set[tuple[Any, ...]]:
    found = rows(store, "FROM class_changes WHERE timepoint = 'week_12' AND endpoint = 'clinical_remission'")
    return {tuple(row.values()) for row in found}


def test_who_changes_class_is_told_before_anything_else(path: Path, tmp_path: Path) -> None:
    store = open_store(OUTCOMES, CHANGED_ON, path, [protocol(tmp_path, 121, "2")])
    place = ("site-a", "ours", "week_12", "clinical_remission")
    versions = ("1", "2", CHANGED_ON)
    assert changes(store) == {
        ("W12-0002", *place, measure, "true", "false", *versions) for measure in ("observed", "nri", "locf")
    }
    (counted,) = [c for c in store.changed if (c["timepoint"], c["endpoint"]) == place[2:]]
    assert counted["patients"] == 1
    store.close()

    again = open_store(OUTCOMES, CHANGED_ON, path, [protocol(tmp_path, 121, "2")])
    assert (again.changed, len(changes(again))) == ([], 3)
    again.close()

    back = open_store(OUTCOMES, CHANGED_ON, path, [protocol(tmp_path, 150, "3")])
    assert len(changes(back)) == 6
    load(back, [[consent("erase", 90, patient_id="W12-0002")]])
    assert rows(back, "FROM class_changes") == []
    back.close()


@pytest.mark.parametrize("step", ["_define", "rebuild"])
def test_a_change_that_was_interrupted_is_told_all_the_same(
    path: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before or within the rebuild: the next start has the new rows and the old classes."""

    class Killed(Exception):
        pass

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(EventStore, step, kill)
    with pytest.raises(Killed):
        open_store(OUTCOMES, CHANGED_ON, path, [protocol(tmp_path, 121, "2")])
    monkeypatch.undo()
    store = open_store(OUTCOMES, CHANGED_ON, path, [protocol(tmp_path, 121, "2")])
    assert len(changes(store)) == 3
    assert rows(store, "SELECT count(*) AS n FROM patient_outcomes")[0]["n"] > 0
    states = "SELECT count(*) AS n FROM patient_outcomes WHERE timepoint = 'week_12' AND observed"
    assert rows(store, states)[0]["n"] > 0
    store.close()

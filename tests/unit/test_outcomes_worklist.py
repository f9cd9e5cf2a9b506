"""The worklist of centres: as rows, as a file, as a page, for whom, and as of which day."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from reading_helpers import OUTCOMES, Reading
from stores import emptied
from twin.builders import enrolment, on, start, visit

Row = dict[str, Any]


def patient(number: int, first_dose: int, site_id: str = "S01", **baseline: Any) -> list[Row]:
    """A patient who starts `first_dose` days after the usual one; baseline CDAI 300 unless told."""
    who = {"patient_id": f"W12-000{number}", "site_id": site_id}
    return [
        enrolment(first_dose - 14, f"e-{number}", **who),
        start(first_dose, event_id=f"t-{number}", **who),
        visit(first_dose - 3, f"b-{number}", **who, **({"cdai": 300} | baseline)),
    ]


EVENTS = [
    *patient(1, 20),  # day 100: offset 80, open, 18 days left
    *patient(2, 5),  # offset 95: closes in 3 days
    *patient(3, 35, "S02"),  # offset 65: opens in 5 days, closes in 33
    *patient(4, 20, "S02", cdai=100),  # open, but inactive at baseline: no outcome counts it
    *patient(5, 20),
    visit(95, "w-5", patient_id="W12-0005", site_id="S01", cdai=120),  # seen
]
"""As of day 100."""


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Reading]:
    reading = Reading(emptied(OUTCOMES, on(100)), tmp_path)
    await reading.commit(*EVENTS)
    yield reading
    reading.stop()


def visits(rows: list[Row]) -> list[tuple[str, str, int]]:
    """Patient, state and days left of what misses a visit at week 12, in order."""
    return [
        (row["patient_id"], row["state"], row["days_left"])
        for row in rows
        if "cdai" in row["missing"] and row["timepoint"] == "week_12"
    ]


async def test_what_closes_first_stands_first(small: Reading) -> None:
    assert visits(await small.rows("/v1/worklist")) == [
        ("W12-0002", "closes", 3),
        ("W12-0001", "open", 18),
        ("W12-0004", "open", 18),
        ("W12-0003", "opens", 33),
    ]
    rows = await small.rows("/v1/worklist")
    assert [row["window_end"] for row in rows] == sorted(row["window_end"] for row in rows)
    (first,) = [row for row in rows if row["days_left"] == 3]
    assert first | {
        "site_id": "S01", "drug": "upadacitinib", "protocol": "fu2025", "timepoint": "week_12",
        "window_start": on(75).isoformat(), "window_end": on(103).isoformat(), "counted": ["cdai"], "counts": True,
    } == first  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"state": "closes"}, ["W12-0002"]),
        ({"state": "opens"}, ["W12-0003"]),
        ({"site_id": "S02"}, ["W12-0004", "W12-0003"]),
        ({"counts": "true"}, ["W12-0002", "W12-0001", "W12-0003"]),
        ({"counts": "false", "site_id": "S02"}, ["W12-0004"]),
        ({"timepoint": "week_52"}, []),
        ({"protocol": "another"}, []),
    ],
)
async def test_filters_narrow_the_list(small: Reading, wanted: dict[str, str], found: list[str]) -> None:
    rows = await small.rows("/v1/worklist", **wanted)
    assert [name for name, _, _ in visits(rows)] == found


async def test_a_centre_sees_its_own_patients_only(small: Reading) -> None:
    own = await small.rows("/v1/worklist", "clinic")
    assert {row["site_id"] for row in own} == {"S01"}
    assert own == await small.rows("/v1/worklist", site_id="S01")
    assert await small.rows("/v1/worklist", "clinic", site_id="S02") == []
    text = (await small.get("/v1/worklist", "clinic", format="csv")).text
    assert "W12-0003" not in text
    assert (await small.page("/worklist?site=S02", "clinic")).status_code == 404
    page = (await small.page("/worklist?which=all", "clinic")).text
    assert "W12-0002" in page
    assert not {"W12-0003", "W12-0004", "S02"} & set(page.replace("<", " ").replace(">", " ").split())


async def test_a_visit_takes_its_patient_off_the_list_at_once(small: Reading) -> None:
    await small.commit(visit(99, "w-2", patient_id="W12-0002", site_id="S01", cdai=90))
    assert "W12-0002" not in [name for name, _, _ in visits(await small.rows("/v1/worklist"))]


async def test_the_list_of_an_earlier_day_is_that_day_s(small: Reading) -> None:
    rows = await small.rows("/v1/worklist", as_of=str(on(90)))
    assert visits(rows) == [
        ("W12-0002", "closes", 13),
        ("W12-0001", "open", 28),
        ("W12-0005", "open", 28),  # not seen yet then
        ("W12-0004", "open", 28),
    ]
    answer = await small.get("/v1/worklist", as_of=str(on(101)))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "date_future"


async def test_the_file_says_what_the_rows_say(small: Reading) -> None:
    answer = await small.get("/v1/worklist", format="csv", counts="true")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="worklist-{on(100)}.csv"'
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    rows = await small.rows("/v1/worklist", counts="true")
    assert [{**line, "days_left": int(line["days_left"])} for line in lines] == [
        {name: ", ".join(row[name]) if name in ("missing", "counted") else row[name] for name in lines[0]}
        for row in rows
    ]
    assert lines[0]["days_left"] == "3"


@pytest.mark.parametrize("wanted", [{"state": "late"}, {"format": "xlsx"}, {"counts": "perhaps"}])
async def test_what_the_list_does_not_know_is_refused(small: Reading, wanted: dict[str, str]) -> None:
    assert (await small.get("/v1/worklist", **wanted)).status_code == 422


@pytest.mark.parametrize(("who", "status"), [(None, 401), ("sender", 403), ("clinic", 200), ("analyst", 200)])
async def test_the_list_is_of_patients_and_needs_that_permission(
    small: Reading, who: str | None, status: int
) -> None:
    assert (await small.get("/v1/worklist", who)).status_code == status


async def test_the_page_lists_counts_and_links(small: Reading) -> None:
    page = (await small.page("/worklist?timepoint=week_12")).text
    assert page.index("W12-0002") < page.index("W12-0001") < page.index("W12-0003")
    assert "W12-0004" not in page  # no outcome counts it
    assert 'href="/patients/W12-0002"' in page
    assert "CDAI visit" in page
    everything = (await small.page("/worklist?which=all&timepoint=week_12")).text
    assert "W12-0004" in everything
    assert "endoscopy" in everything
    assert "/v1/worklist?format=csv&amp;protocol=fu2025" in everything
    closing = (await small.page("/worklist?state=closes&timepoint=week_12")).text
    assert "W12-0002" in closing
    assert "W12-0001" not in closing
    assert "state=closes" in closing[closing.index("/v1/worklist?format=csv") :]


async def test_a_page_of_another_day_or_of_nothing_says_so(small: Reading) -> None:
    assert f"As of {on(90)}" in (await small.page(f"/worklist?as_of={on(90)}")).text
    nothing = (await small.page(f"/worklist?as_of={on(0) - timedelta(days=60)}")).text
    assert "Nothing is due" in nothing
    for path in ("/worklist?site=S99", "/worklist?protocol=none"):
        assert (await small.page(path)).status_code == 404


async def test_the_page_shows_what_was_known_on_a_day(small: Reading) -> None:
    known, later = "2026-01-01", "2026-01-02"  # all others were recorded on the first of them
    await small.commit(
        visit(99, "w-2", patient_id="W12-0002", site_id="S01", cdai=90, recorded_at=f"{later}T10:00:00Z")
    )
    assert "W12-0002" not in (await small.page("/worklist?timepoint=week_12&state=closes")).text
    before = (await small.page(f"/worklist?timepoint=week_12&known_at={known}")).text
    assert f"as known on {known}" in before
    assert f'href="/patients/W12-0002?known_at={known}"' in before
    assert f"known_at={known}" in before[before.index("/v1/worklist?format=csv") :]


async def test_anybody_who_may_not_read_patients_is_told(small: Reading) -> None:
    assert (await small.page("/worklist", "sender")).status_code == 403

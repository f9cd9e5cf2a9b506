"""`POST /v1/query`: both stores beside running services, for those who may, within time, memory and size."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from reading_helpers import OUTCOMES, SAFETY, Reading
from stores import emptied
from twin.builders import adverse_event, enrolment, lab, on, start

from services.broker.process import free_port
from services.query.api import AT_ONCE, REQUEST_BYTES
from services.runtime.serve import serve

Answer = dict[str, Any]


@pytest.fixture
async def outcomes(tmp_path: Path) -> AsyncIterator[Reading]:
    """The outcomes service of one treated patient, whose safety service does not run."""
    reading = Reading(
        emptied(OUTCOMES, on(200)), tmp_path, safety_port=free_port(), query_seconds=20, query_mib=1
    )
    await reading.commit(*EVENTS)
    yield reading
    reading.stop()


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Reading]:
    """The same of nobody, that gives up soon."""
    reading = Reading(emptied(OUTCOMES, on(200)), tmp_path, safety_port=free_port(), query_seconds=2)
    yield reading
    reading.stop()


@pytest.fixture
async def both(outcomes: Reading, tmp_path: Path) -> AsyncIterator[Reading]:
    """The same, with the safety service beside it."""
    safety = Reading(emptied(SAFETY, on(200)), tmp_path, beside=outcomes)
    await safety.commit(*EVENTS)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(safety.app, "127.0.0.1", outcomes.settings.safety_port, stop))
    yield outcomes
    stop.set()
    await serving
    safety.stop()


EVENTS = [
    enrolment(),
    start(),
    lab("crp", 0, 24.0),
    adverse_event(10, grade=3),
]


SLOW = "SELECT count(*) FROM range(1000000000) AS a, range(1000000000) AS b"


async def ask(reading: Reading, sql: str, who: str | None = "analyst", **more: Any) -> Answer:
    """The answer of a query as its status, its media type and its JSON or text."""
    async with reading.client(who) as client:
        answer = await client.post("/v1/query", json={"sql": sql, **more})
    kind = answer.headers["content-type"]
    return {"status": answer.status_code, "body": answer.json() if "json" in kind else answer.text}


async def test_tables_of_both_stores_stand_under_their_names(both: Reading) -> None:
    answer = await ask(both, "SELECT a.rule, b.analyte FROM alerts AS a, biomarkers AS b")
    assert answer["status"] == 200
    body = answer["body"]
    assert body["rows"] == [["grade_3_plus", "crp"]]
    assert body["columns"] == [{"name": "rule", "type": "VARCHAR"}, {"name": "analyte", "type": "VARCHAR"}]
    assert body["stores"].keys() == {"outcomes", "safety"}
    assert all(store["made_at"].endswith("Z") for store in body["stores"].values())


async def test_a_service_that_does_not_run_is_named(outcomes: Reading) -> None:
    answer = await ask(outcomes, "FROM alerts")
    assert answer["status"] == 422
    assert answer["body"]["code"] == "sql"
    assert "safety is not running: its tables are missing" in answer["body"]["detail"]
    answer = await ask(outcomes, "SELECT count(*) FROM patients")
    assert (answer["status"], answer["body"]["rows"]) == (200, [[1]])
    assert answer["body"]["stores"].keys() == {"outcomes"}


@pytest.mark.parametrize(("day", "events"), [(9, 0), (10, 1)])
async def test_as_of_means_that_day_in_both_stores(both: Reading, day: int, events: int) -> None:
    sql = (
        "SELECT sum(patients_with_event)::INTEGER, "
        "(SELECT max(status) FROM patient_outcomes WHERE timepoint = 'week_12') "
        "FROM incidence WHERE site_id IS NULL AND event_group = 'any'"
    )
    answer = await ask(both, sql, as_of=on(day).isoformat())
    assert answer["body"]["rows"] == [[events, "not_due"]]


async def test_known_at_means_what_had_been_recorded(both: Reading) -> None:
    sql = "SELECT count(*) FROM patients"  # everything was recorded on 1 January 2026
    for day, patients in (("2025-12-31", 0), ("2026-01-01", 1)):
        assert (await ask(both, sql, known_at=day))["body"]["rows"] == [[patients]]


async def test_csv(outcomes: Reading) -> None:
    answer = await ask(outcomes, "SELECT site_id, NULL AS nothing, true AS yes FROM patients", format="csv")
    assert (answer["status"], answer["body"]) == (200, "site_id,nothing,yes\nsite-a,,true\n")
    nothing = await ask(outcomes, "SELECT 1 AS one, 2 AS two LIMIT 0", format="csv")
    assert nothing["body"] == "one,two\n"


async def test_rows_beyond_one_fetch_are_whole(outcomes: Reading) -> None:
    answer = await ask(outcomes, "SELECT range AS n FROM range(2500)")
    assert answer["body"]["rows"] == [[n] for n in range(2500)]
    table = await ask(outcomes, "SELECT range AS n FROM range(2500)", format="csv")
    assert table["body"].splitlines() == ["n", *map(str, range(2500))]


async def test_values_that_json_lacks(outcomes: Reading) -> None:
    sql = (
        "SELECT 0.1::DECIMAL(18, 9), 'nan'::DOUBLE, DATE '2025-01-02', TIME '10:00', [1.5::DECIMAL(3, 1)], "
        "{'a': NULL}, '\\xAA'::BLOB, TIMESTAMP '2025-01-02 03:04:05', INTERVAL 1 DAY"
    )
    rows = (await ask(outcomes, sql))["body"]["rows"]
    assert rows == [
        [
            0.1,
            None,
            "2025-01-02",
            "10:00:00",
            [1.5],
            {"a": None},
            "aa",
            "2025-01-02T03:04:05",
            "1 day, 0:00:00",
        ]
    ]


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        (None, 401, "unauthenticated"),
        ("sender", 403, "role_forbidden"),
        ("clinic", 403, "role_forbidden"),
        ("officer", 403, "role_forbidden"),
        ("lead", 200, None),
        ("analyst", 200, None),
    ],
)
async def test_who_may_query(outcomes: Reading, who: str | None, status: int, code: str | None) -> None:
    answer = await ask(outcomes, "SELECT 1", who)
    assert (answer["status"], answer["body"].get("code")) == (status, code)


async def test_an_analyst_of_one_centre_may_not(outcomes: Reading) -> None:
    outcomes.secrets["local"] = outcomes.tokens.add("local", ["analyst"], ["S01"])
    answer = await ask(outcomes, "SELECT 1", "local")
    assert (answer["status"], answer["body"]["code"]) == (403, "site_forbidden")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", "Parser Error"),
        ("DELETE FROM selected", "Invalid Input Error"),
        ("FROM read_text('/etc/passwd')", "Permission Error"),
        ("COPY (SELECT 1) TO '/tmp/out.csv'", "Permission Error"),
        ("ATTACH '/tmp/other.duckdb'", "Permission Error"),
        ("SET memory_limit = '10GB'", "Invalid Input Error"),
    ],
)
async def test_what_cannot_be_done(outcomes: Reading, sql: str, said: str) -> None:
    answer = await ask(outcomes, sql)
    assert (answer["status"], answer["body"]["code"]) == (422, "sql")
    assert answer["body"]["detail"].startswith(said)
    assert "\n" not in answer["body"]["detail"]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT range, repeat('x', 100) FROM range(100000000)", "size_limit"),
        ("SELECT repeat('x', 3000000000)", "memory_limit"),
    ],
)
async def test_bounds(outcomes: Reading, sql: str, code: str) -> None:
    answer = await ask(outcomes, sql)
    assert (answer["status"], answer["body"]["code"]) == (422, code)
    assert not list((outcomes.settings.data_dir / "query").iterdir())


async def test_a_bound_of_time(hasty: Reading) -> None:
    answer = await ask(hasty, SLOW)
    assert (answer["status"], answer["body"]["code"]) == (422, "time_limit")
    assert not list((hasty.settings.data_dir / "query").iterdir())


async def test_what_duckdb_prints_is_no_part_of_the_answer(outcomes: Reading) -> None:
    answer = await ask(outcomes, "PRAGMA enable_profiling; SELECT 1 AS one")
    assert answer["body"]["rows"] == [[1]]


async def test_more_than_some_at_once_are_sent_away(hasty: Reading) -> None:
    answers = await asyncio.gather(*(ask(hasty, SLOW) for _ in range(AT_ONCE + 1)))
    assert sorted(answer["body"]["code"] for answer in answers) == ["store_busy"] + ["time_limit"] * AT_ONCE


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        (b"{", 422, ""),
        (b"{}", 422, "sql"),
        (b'{"sql": ""}', 422, "sql"),
        (b'{"sql": "SELECT 1", "more": 1}', 422, "more"),
        (b'{"sql": "SELECT 1", "format": "xml"}', 422, "format"),
        (b'{"sql": "SELECT 1", "as_of": "2025-02-30"}', 422, "as_of"),
        (b'{"sql": "SELECT 1", "as_of": "2125-02-03"}', 422, "as_of"),
        (b'{"sql": "' + b"x" * REQUEST_BYTES + b'"}', 413, None),
    ],
)
async def test_a_body_that_cannot_be_used(
    outcomes: Reading, body: bytes, status: int, path: str | None
) -> None:
    async with outcomes.client("analyst") as client:
        answer = await client.post("/v1/query", content=body)
    assert answer.status_code == status
    assert [error["path"] for error in answer.json().get("errors", [])] == ([] if path is None else [path])

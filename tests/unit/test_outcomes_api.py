"""What the outcomes API answers: the published cohort, days, pages of rows, who sees what, progress, snapshots."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest
from reading_helpers import CUT, Reading
from statsmodels.stats.proportion import proportion_confint
from stores import FU2025
from twin.builders import enrolment, lab, on, start, visit

from schemas.topics import EVENT_TOPICS

PUBLISHED = [
    ("clinical_response", 41, 77),
    ("clinical_remission", 33, 77),
    ("endoscopic_response", 9, 18),
    ("endoscopic_remission", 7, 18),
    ("mucosal_healing", 5, 18),
    ("crp_normalisation", 37, 59),
    ("esr_normalisation", 39, 55),
    ("fcal_normalisation", 8, 27),
]
ROUTES = {
    "/v1/patients/CD-0001": "read_patients",
    "/v1/outcomes": "read_patients",
    "/v1/data-quality": "read_patients",
    "/v1/worklist": "read_patients",
    "/v1/cohort": "read_rates",
}


def remitter(patient_id: str = "W12-0001", site_id: str = "S01") -> list[dict[str, Any]]:
    """A patient whose CDAI falls from 300 to 100 on day 80."""

    def known(offset: int, name: str) -> dict[str, str]:
        """Of this patient, and recorded on the day it happened."""
        recorded_at = f"{on(offset)}T12:00:00Z"
        return {
            "patient_id": patient_id,
            "site_id": site_id,
            "event_id": f"{patient_id}-{name}",
            "recorded_at": recorded_at,
        }

    return [
        enrolment(-14, **known(-14, "enrolment")),
        start(0, **known(0, "start")),
        visit(-3, cdai=300, **known(-3, "before")),
        visit(80, cdai=100, **known(80, "after")),
    ]


# -- rates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("endpoint", "n", "denominator"), PUBLISHED)
async def test_the_cohort_answers_with_the_published_counts_and_wilson_limits(
    cohort: Reading, endpoint: str, n: int, denominator: int
) -> None:
    rows = await cohort.rows("/v1/cohort", timepoint="week_12", endpoint=endpoint, estimand="observed")
    (row,) = [row for row in rows if row["site_id"] is None]
    assert (row["n"], row["denominator"], row["pending"]) == (n, denominator, 0)
    assert row["rate"] == pytest.approx(n / denominator)
    limits = proportion_confint(n, denominator, method="wilson")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(limits)


async def test_missing_counted_as_failure_is_its_own_row(cohort: Reading) -> None:
    wanted = {"timepoint": "week_12", "endpoint": "clinical_remission", "estimand": "nri"}
    rows = await cohort.rows("/v1/cohort", **wanted)
    assert [(row["n"], row["denominator"]) for row in rows if row["site_id"] is None] == [(33, 94)]


async def test_the_filters_of_cohort_narrow_and_never_widen(cohort: Reading) -> None:
    everything = await cohort.rows("/v1/cohort")
    for name, value in [
        ("protocol", "fu2025"), ("timepoint", "week_12"), ("endpoint", "mucosal_healing"),
        ("drug", "upadacitinib"), ("site_id", "S02"), ("estimand", "nri"),
    ]:  # fmt: skip
        found = await cohort.rows("/v1/cohort", **{name: value})
        assert found == [row for row in everything if row[name] == value]
        assert found
    both = {"timepoint": "week_12", "endpoint": "mucosal_healing"}
    found = await cohort.rows("/v1/cohort", **both)
    assert found == [row for row in everything if row.items() >= both.items()]
    assert found
    assert await cohort.rows("/v1/cohort", endpoint="unheard_of") == []
    assert await cohort.rows("/v1/cohort", endpoint="unheard_of", timepoint="week_12") == []


async def test_the_rates_are_those_of_the_view(cohort: Reading) -> None:
    order = "ORDER BY protocol, timepoint, endpoint, drug, site_id NULLS FIRST, estimand DESC"
    rows = await cohort.node.read(f"FROM cohort_rates {order}")
    assert await cohort.rows("/v1/cohort") == rows
    assert any(row["ci_exact_low"] > 0 for row in rows if row["denominator"])


async def test_exact_limits_of_a_count_are_computed_once(
    small: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[tuple[int, int]] = []
    read = small.node.read

    async def noted(sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        if "exact_limits" in sql:
            computed.extend(zip(parameters["n"], parameters["denominator"], strict=True))
        return await read(sql, parameters)

    monkeypatch.setattr(small.node, "read", noted)
    for number in range(1, 4):
        await small.commit(*remitter(f"W12-000{number}"))
        await small.rows("/v1/cohort")
    assert len(computed) == len(set(computed))
    assert {(1, 1), (2, 2), (3, 3)} <= set(computed)


async def test_a_rate_shows_what_progress_says_is_in_the_store(small: Reading) -> None:
    assert await small.rows("/v1/cohort") == []
    for number in range(1, 4):
        await small.commit(*remitter(f"W12-000{number}"))
        assert (await small.get("/v1/progress")).status_code == 200
        rows = await small.rows(
            "/v1/cohort", timepoint="week_12", endpoint="clinical_remission", estimand="observed"
        )
        assert {(row["site_id"], row["n"], row["denominator"]) for row in rows} == {
            (None, number, number),
            ("S01", number, number),
        }


async def test_who_asks_again_and_again_does_not_wait_for_the_rates_of_the_last_commit(
    small: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {
        "timepoint": "week_12",
        "endpoint": "clinical_remission",
        "estimand": "observed",
        "site_id": "S01",
    }
    await small.commit(*remitter("W12-0001"))
    (before,) = await small.rows("/v1/cohort", **wanted)
    read, free = small.node.read, asyncio.Event()

    async def held(sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        if "cohort_counts" in sql:
            await free.wait()
        return await read(sql, parameters)

    monkeypatch.setattr(small.node, "read", held)
    monkeypatch.setattr("services.stream.cache.RECENT_SECONDS", 60.0)
    await small.commit(*remitter("W12-0002"))
    assert await small.rows("/v1/cohort", **wanted) == [before]
    free.set()
    await small.get("/v1/progress")
    assert [row["n"] for row in await small.rows("/v1/cohort", **wanted)] == [before["n"] + 1]


async def test_however_many_ask_the_rates_are_computed_once_a_commit(
    small: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    await small.commit(*remitter())
    asked: list[str] = []
    read = small.node.read

    async def counted(sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        asked.append(sql)
        return await read(sql, parameters)

    monkeypatch.setattr(small.node, "read", counted)
    await asyncio.gather(*(small.rows("/v1/cohort") for _ in range(20)))
    assert sum("cohort_counts" in sql for sql in asked) == 1
    await small.commit(*remitter("W12-0002"))
    await asyncio.gather(*(small.rows("/v1/cohort") for _ in range(20)))
    assert sum("cohort_counts" in sql for sql in asked) == 2


# -- days ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "n", "denominator", "pending", "status"),
    [
        (69, 0, 0, 1, "not_due"),  # the window opens on day 70
        (70, 0, 0, 1, "open"),
        (80, 0, 0, 1, "provisional"),
        (97, 0, 0, 1, "provisional"),
        (98, 1, 1, 0, "final"),  # due on day 98
    ],
)
async def test_every_answer_can_be_asked_as_of_a_day(
    small: Reading, offset: int, n: int, denominator: int, pending: int, status: str
) -> None:
    await small.commit(*remitter())
    day = on(offset).isoformat()
    wanted = {"timepoint": "week_12", "endpoint": "clinical_remission"}
    (rate,) = await small.rows("/v1/cohort", **wanted, estimand="observed", site_id="S01", as_of=day)
    assert (rate["n"], rate["denominator"], rate["pending"]) == (n, denominator, pending)
    (outcome,) = await small.rows("/v1/outcomes", **wanted, as_of=day)
    assert outcome["status"] == status
    answer = (await small.get("/v1/patients/W12-0001", as_of=day)).json()
    assert answer["as_of"] == day
    (same,) = [row for row in answer["outcomes"] if row.items() >= wanted.items()]
    assert same == outcome


async def test_today_asked_for_by_name_is_the_same_as_not_asking(cohort: Reading) -> None:
    assert (await cohort.get("/v1/cohort", as_of=str(CUT))).json() == (await cohort.get("/v1/cohort")).json()


@pytest.mark.parametrize(
    ("day", "status", "n", "records"),
    [("2024-06-30", "missed", 0, 1), ("2024-07-01", "final", 1, 2), ("2024-07-02", "final", 1, 2)],
)
async def test_every_answer_can_be_asked_as_known_on_a_day(
    small: Reading, day: str, status: str, n: int, records: int
) -> None:
    """The week-12 visit was recorded in the last microsecond of 1 July, UTC, weeks after its window closed."""
    late = {"recorded_at": "2024-07-02T01:59:59.999999+02:00"}
    early = {"recorded_at": "2024-04-30T12:00:00Z"}
    *before, visit = remitter()
    await small.commit(*(event | early for event in before), visit | late)
    wanted = {"timepoint": "week_12", "endpoint": "clinical_remission"}
    asked = {"as_of": "2024-06-15", "known_at": day}
    (rate,) = await small.rows("/v1/cohort", **wanted, estimand="nri", site_id="S01", **asked)
    assert (rate["n"], rate["denominator"]) == (n, 1)
    (outcome,) = await small.rows("/v1/outcomes", **wanted, **asked)
    assert (outcome["status"], len(outcome["event_ids"])) == (status, records)
    answer = (await small.get("/v1/patients/W12-0001", **asked)).json()
    assert (answer["as_of"], answer["known_at"]) == ("2024-06-15", day)
    assert outcome in answer["outcomes"]
    assert (await small.get("/v1/worklist", **asked)).json()["known_at"] == day


async def test_a_patients_history_says_what_was_known_and_by_what_it_changed(small: Reading) -> None:
    late, *_ = retold = [remitter()[-1] | {"recorded_at": "2024-07-01T22:00:00Z"}]
    await small.commit(*remitter()[:-1], *retold, *remitter("W12-0002", "S02"))
    path, wanted = "/v1/patients/W12-0001/history", {"timepoint": "week_12", "endpoint": "clinical_remission"}
    rows = await small.rows(path, **wanted)
    assert [(row["status"], row["known_until"]) for row in rows[-2:]] == [
        ("missed", "2024-07-01T22:00:00Z"),
        ("final", None),
    ]
    (cause,) = rows[-1]["caused_by"]
    assert (cause["event_id"], cause["version"], cause["retracted"]) == (late["event_id"], 1, False)
    for row in await small.rows(path, **wanted, as_of=on(70).isoformat()):
        assert row["status"] in ("not_applicable", "open")
    assert len({row["endpoint"] for row in await small.rows(path, timepoint="week_12")}) > 20
    assert (await small.get("/v1/patients/W12-0009/history")).status_code == 404
    other = await small.get("/v1/patients/W12-0002/history", who="clinic")
    assert other.status_code == 404


async def test_a_day_of_knowledge_that_is_none_is_refused(cohort: Reading) -> None:
    (error,) = (await cohort.get("/v1/cohort", known_at="2025-02-30")).json()["errors"]
    assert (error["path"], error["code"]) == ("known_at", "type")


@pytest.mark.parametrize("path", ["/v1/cohort", "/v1/outcomes", "/v1/patients/CD-0001"])
@pytest.mark.parametrize(
    ("day", "code"),
    [
        ("2025-02-30", "type"),
        ("30.06.2024", "type"),
        ("20240630", "type"),
        ("1719705600", "type"),
        ("today", "type"),
        ("2024", "date_partial"),
        ("2024-06", "date_partial"),
        ("2025-03-01", "date_future"),
    ],
)
async def test_what_is_not_a_day_up_to_today_is_refused(
    cohort: Reading, path: str, day: str, code: str
) -> None:
    answer = await cohort.get(path, as_of=day)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert (error["path"], error["code"]) == ("as_of", code)
    assert day not in answer.text.replace(str(CUT), "")


# -- patients --------------------------------------------------------------------------------------------------


async def test_a_patient_is_facts_outcomes_and_biomarkers(small: Reading) -> None:
    await small.commit(*remitter(), lab("crp", -3, "<5", patient_id="W12-0001", site_id="S01", ref_high=5))
    answer = (await small.get("/v1/patients/W12-0001")).json()
    assert answer["patient"] | {
        "patient_id": "W12-0001", "site_id": "S01", "drug": "upadacitinib", "sex": "female",
        "first_dose_on": on(0).isoformat(), "last_dose_on": None, "height_cm": 165.0,
    } == answer["patient"]  # fmt: skip
    assert not {"patient_key", "partition"} & answer["patient"].keys()
    (remission,) = [
        row
        for row in answer["outcomes"]
        if (row["timepoint"], row["endpoint"]) == ("week_12", "clinical_remission")
    ]
    assert (remission["observed"], remission["value"], remission["study_offset"]) == (True, 100.0, 80)
    assert remission["event_ids"] == ["S01/W12-0001-before", "S01/W12-0001-after"]
    (crp,) = answer["biomarkers"]
    assert (crp["analyte"], crp["value"], crp["comparator"]) == ("crp", 5.0, "<")
    assert (crp["unit"], crp["elevated"]) == ("mg/L", False)


async def test_pseudonyms_may_hold_what_addresses_do_not_like(small: Reading) -> None:
    await small.commit(*remitter("S01/17#é"))
    answer = await small.get("/v1/patients/S01%2F17%23%C3%A9")
    assert answer.json()["patient"]["patient_id"] == "S01/17#é"


async def test_another_centres_patient_is_as_unknown_as_one_that_does_not_exist(cohort: Reading) -> None:
    other = next(row for row in await cohort.rows("/v1/outcomes") if row["site_id"] == "S03")
    foreign = await cohort.get(f"/v1/patients/{other['patient_id']}", "clinic")
    unknown = await cohort.get("/v1/patients/CD-9999", "clinic")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content
    assert other["patient_id"] not in foreign.text


async def test_a_caller_of_one_centre_sees_its_patients_and_no_others(cohort: Reading) -> None:
    wanted = {"timepoint": "week_12", "endpoint": "cr100", "limit": 1000}
    everybody = await cohort.rows("/v1/outcomes", **wanted)
    own = await cohort.rows("/v1/outcomes", "clinic", **wanted)
    assert own == [row for row in everybody if row["site_id"] == "S01"]
    assert await cohort.rows("/v1/outcomes", "clinic", site_id="S03") == []
    rates = await cohort.rows("/v1/cohort", "clinic")
    assert {row["site_id"] for row in rates} == {None, "S01"}


async def test_small_cells_of_pooled_rates_are_hidden_from_single_centres_only(small: Reading) -> None:
    for number in range(1, 10):  # nine treated, four of them in remission
        patient = remitter(f"W12-000{number}", f"S0{number % 2 + 1}")
        await small.commit(*(patient if number < 5 else [*patient[:3], {**patient[3], "cdai": 180}]))
    wanted = {"timepoint": "week_12", "endpoint": "clinical_remission", "estimand": "observed"}
    (pooled, *own) = await small.rows("/v1/cohort", "clinic", **wanted)
    assert (pooled["site_id"], pooled["masked"]) == (None, True)
    assert [pooled[name] for name in ("n", "denominator", "rate", "ci_low", "best_case")] == [None] * 5
    assert [(row["site_id"], row["n"]) for row in own] == [("S01", 2)]
    (pooled, *_) = await small.rows("/v1/cohort", "lead", **wanted)
    assert (pooled["n"], pooled["denominator"]) == (4, 9)
    assert "masked" not in pooled


# -- pages of rows ---------------------------------------------------------------------------------------------


async def test_walking_page_by_page_meets_every_row_once(cohort: Reading) -> None:
    met: list[tuple[str, str]] = []
    endpoints = {endpoint.name for endpoint in FU2025.endpoints if "week_4" in FU2025.scheduled(endpoint)}
    after: str | None = None
    while True:
        parameters = {"timepoint": "week_4", "limit": 100, **({"after": after} if after else {})}
        answer = (await cohort.get("/v1/outcomes", **parameters)).json()
        met += [(row["patient_id"], row["endpoint"]) for row in answer["rows"]]
        after = answer["next"]
        if after is None:
            break
    assert len(met) == len(set(met)) == 94 * len(endpoints)
    assert met == sorted(met)


@pytest.mark.parametrize("after", ["x", "WyJhIl0", "bnVsbA", "e30", "WzEsMiwzLDRd"])
async def test_a_cursor_that_nobody_gave_is_refused(cohort: Reading, after: str) -> None:
    answer = await cohort.get("/v1/outcomes", after=after)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "after"


@pytest.mark.parametrize("limit", [0, 1001, "many"])
async def test_a_page_has_1_to_1000_rows(cohort: Reading, limit: object) -> None:
    assert (await cohort.get("/v1/outcomes", limit=limit)).status_code == 422


async def test_outcomes_can_be_filtered_by_state_and_reason(cohort: Reading) -> None:
    wanted = {"timepoint": "week_12", "endpoint": "clinical_remission", "status": "missed"}
    missed = await cohort.rows("/v1/outcomes", **wanted, limit=1000)
    assert len(missed) == 94 - 77
    normal = await cohort.rows("/v1/outcomes", endpoint="crp_normalisation", reason="baseline_normal")
    assert {row["reason"] for row in normal} == {"baseline_normal"}


async def test_findings_about_records_are_listed(small: Reading) -> None:
    event = visit(10, "W12-0001-total", patient_id="W12-0001", site_id="S01", cdai=300)
    await small.commit(*remitter(), event, {**event, "cdai": 301})  # one version, two contents
    (finding,) = await small.rows("/v1/data-quality", rule="version_conflict")
    assert (finding["site_id"], finding["event_id"]) == ("S01", "W12-0001-total")
    assert await small.rows("/v1/data-quality", rule="version_conflict", site_id="S02") == []


# -- who may ask -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("who", "status"),
    [(None, 401), ("sender", 403), ("clinic", 200), ("officer", 200), ("analyst", 200), ("lead", 200)],
)
async def test_patients_and_rates_need_a_token_that_may_read(
    cohort: Reading, path: str, who: str | None, status: int
) -> None:
    if (path, who) == ("/v1/patients/CD-0001", "clinic"):
        status = 404  # of another centre
    assert (await cohort.get(path, who)).status_code == status


# -- progress and snapshots ------------------------------------------------------------------------------------


async def test_progress_tells_everybody_counts_and_nothing_else(small: Reading) -> None:
    await small.commit(*remitter())
    answer = await small.get("/v1/progress", who=None)
    offsets = {EVENT_TOPICS[name]: {"0": n} for name, n in [("enrolment", 1), ("treatment", 1), ("visit", 2)]}
    assert answer.json() == {
        "service": "outcomes", "offsets": offsets, "waiting_to_publish": 1, "today": on(200).isoformat(),
    }  # fmt: skip


async def test_an_empty_store_has_no_progress_and_no_rows(small: Reading) -> None:
    assert (await small.get("/v1/progress")).json()["offsets"] == {}
    assert await small.rows("/v1/outcomes") == []
    assert await small.rows("/v1/data-quality") == []
    assert (await small.page("/")).status_code == 200


async def test_a_snapshot_holds_the_rows_and_the_offsets_it_names(small: Reading, tmp_path: Path) -> None:
    await small.commit(*remitter())
    async with small.client() as client:
        made = (await client.post("/v1/snapshot")).json()
        await small.commit(*remitter("W12-0002"))
        again = (await client.post("/v1/snapshot")).json()
    assert made["path"] == str(tmp_path / "snapshots" / "outcomes.duckdb")
    assert made["offsets"][EVENT_TOPICS["visit"]] == {"0": 2}
    assert again == made  # young enough for everybody
    with duckdb.connect(made["path"], read_only=True) as snapshot:
        assert snapshot.execute("SELECT patient_id FROM patients").fetchall() == [("W12-0001",)]


async def test_an_old_snapshot_is_made_anew(small: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    await small.commit(*remitter())
    monkeypatch.setattr("services.stream.http.SNAPSHOT_SECONDS", 0.0)
    async with small.client() as client:
        made = (await client.post("/v1/snapshot")).json()
        await small.commit(visit(10, "later", patient_id="W12-0001", site_id="S01", cdai=200))
        again = (await client.post("/v1/snapshot")).json()
    assert made["path"] == again["path"]
    with duckdb.connect(again["path"], read_only=True) as snapshot:
        assert snapshot.execute("SELECT count(*) FROM events").fetchall() == [(5,)]
    assert [path.name for path in Path(made["path"]).parent.iterdir()] == ["outcomes.duckdb"]


async def test_many_snapshots_asked_for_at_once_are_one(
    small: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    snapshot = small.node.store.snapshot
    monkeypatch.setattr(small.node.store, "snapshot", lambda path: (made.append(path), snapshot(path)))
    async with small.client() as client:
        answers = await asyncio.gather(*(client.post("/v1/snapshot") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(made) == 1


@pytest.mark.parametrize("who", [None, "clinic", "officer", "sender"])
async def test_snapshots_are_for_those_who_operate(small: Reading, who: str | None) -> None:
    async with small.client(who) as client:
        assert (await client.post("/v1/snapshot")).status_code == (403 if who else 401)


async def test_who_asks_while_a_backlog_takes_all_memory_is_told_to_come_again(
    small: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def short(*_: object) -> None:
        raise duckdb.OutOfMemoryException("failed to allocate data of size 16.0 KiB")

    monkeypatch.setattr(small.node, "read", short)
    answer = await small.get("/v1/progress")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_busy")
    assert answer.headers["retry-after"] == "5"


async def test_a_full_disk_is_a_problem_that_says_what_to_do(
    small: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(small.node.store, "snapshot", full)
    async with small.client() as client:
        answer = await client.post("/v1/snapshot")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_busy")
    assert "disk" in answer.json()["detail"]


# -- how -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *ROUTES,
        "/v1/cohort?as_of=2024-06-30",
        "/v1/progress",
        "/",
        "/patients",
        "/patients/CD-0001",
        "/data-quality",
    ],
)
async def test_no_request_asks_the_store_on_the_event_loop(
    cohort: Reading, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor, threads = cohort.node.store.cursor, set()

    def watched() -> duckdb.DuckDBPyConnection:
        threads.add(threading.current_thread())
        return cursor()

    monkeypatch.setattr(cohort.node.store, "cursor", watched)
    answer = await (cohort.get(path) if path.startswith("/v1") else cohort.page(path))
    assert answer.status_code == 200
    assert threads
    assert threading.main_thread() not in threads


async def test_the_document_describes_every_route(cohort: Reading) -> None:
    document = (await cohort.get("/openapi.json", who=None)).json()
    assert document["openapi"].startswith("3.1")
    assert {"/v1/patients/{patient_id}", "/v1/outcomes", "/v1/cohort", "/v1/progress", "/v1/snapshot"} <= set(
        document["paths"]
    )
    assert not [path for path in document["paths"] if path in ("/", "/login")]

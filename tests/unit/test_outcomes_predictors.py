"""The table `predictors`: which model for whom, what the study cohort shows, when it is computed, who may see it."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from reading_helpers import CUT, OUTCOMES, Reading, cohort_events, filled
from stores import emptied, load, open_store, rows
from twin.builders import enrolment, on, start, visit

from schemas.protocol import Predictor as Named
from schemas.protocol import load_protocol
from services.outcomes.pages.predictors import LABELS, ratio_x
from services.outcomes.predictors.models import COLUMNS, UNITS, Cases, Predictor, analyse
from services.stream import settling
from services.stream.files import compute_stores
from services.stream.settling import Settling, settle
from services.stream.store import EventStore
from services.stream.verify import compare


@pytest.fixture(scope="module")
def cohort_store() -> Iterator[EventStore]:
    store = filled(OUTCOMES, cohort_events())
    settle(store)
    yield store
    store.close()


def cases(events: int, others: int, **known: list[float]) -> Cases:
    outcome = np.array([1.0] * events + [0.0] * others)
    return Cases(
        "p", "week_12", "clinical_remission", outcome, {name: np.array(v, float) for name, v in known.items()}
    )


def spread(n: int, step: float = 1.0) -> list[float]:
    """Values that go with no outcome."""
    return [step * (7 * i % 11) for i in range(n)]


# -- which model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "others", "method"), [(9, 40, "firth"), (10, 40, "ml"), (40, 9, "firth"), (40, 10, "ml")]
)
def test_firth_below_ten_events_or_others_a_predictor(events: int, others: int, method: str) -> None:
    (row,) = analyse(cases(events, others, age=spread(events + others)), ["age"], [])
    assert (row.method, row.separation, row.n, row.events) == (method, False, events + others, events)


@pytest.mark.parametrize(("events", "method"), [(9, None), (10, "firth"), (19, "firth"), (20, "ml")])
def test_two_together_need_five_events_each_and_ten_for_maximum_likelihood(
    events: int, method: str | None
) -> None:
    size = events + 40
    known = {"age": spread(size), "baseline_crp": spread(size + 5)[5:]}
    found = analyse(cases(events, 40, **known), [], ["age", "baseline_crp"])
    assert [row.method for row in found] == [method] * 2
    assert [row.odds_ratio is None for row in found] == [method is None] * 2
    assert {row.model for row in found} == {"multivariable"}


def test_separation_is_said_and_met_with_firth() -> None:
    (row,) = analyse(cases(20, 20, age=[30.0 + i for i in range(40)]), ["age"], [])
    assert (row.separation, row.method) == (True, "firth")
    assert row.ci_high is not None
    assert row.ci_high < 1


def test_complete_cases_only_and_how_many_were_left_out() -> None:
    found = cases(20, 20, age=[np.nan] * 3 + spread(37), baseline_crp=[np.nan, np.nan, *spread(38)])
    found.outcome[-1] = np.nan
    age, crp, *together = analyse(found, ["age", "baseline_crp"], ["age", "baseline_crp"])
    assert [(row.n, row.events, row.missing, row.dropped) for row in (age, crp, *together)] == [
        (36, 17, 3, 4), (37, 18, 2, 3), (36, 17, 3, 4), (36, 17, 2, 4),
    ]  # fmt: skip


def test_units_are_those_of_the_rule() -> None:
    """Per 10 CDAI points, per 1 SES-CD point; the mean as measured."""
    values = [180.0, 200, 210, 240, 260, 300, 190, 250, 270, 310, 330, 350]
    (by_ten,) = analyse(cases(6, 6, baseline_cdai=values), ["baseline_cdai"], [])
    (by_one,) = analyse(cases(6, 6, baseline_ses_cd=[v / 10 for v in values]), ["baseline_ses_cd"], [])
    assert by_ten.odds_ratio == pytest.approx(by_one.odds_ratio)
    assert (by_ten.unit, by_one.unit) == ("10 points", "1 point")
    assert by_ten.mean == pytest.approx(sum(values) / 12)


@pytest.mark.parametrize(("events", "others"), [(0, 12), (12, 0), (0, 0)])
def test_what_cannot_be_estimated_is_null(events: int, others: int) -> None:
    (row,) = analyse(cases(events, others, age=spread(events + others)), ["age"], [])
    assert (row.odds_ratio, row.ci_low, row.ci_high, row.p_value, row.method) == (None,) * 5
    assert (row.n, row.events) == (events + others, events)


def test_a_predictor_that_everybody_shares_says_nothing() -> None:
    (row,) = analyse(cases(12, 12, perianal_disease=[1.0] * 24), ["perianal_disease"], [])
    assert (row.odds_ratio, row.method, row.mean) == (None, None, 1)


def test_every_predictor_a_protocol_may_name_has_a_unit_and_a_column(cohort_store: EventStore) -> None:
    assert set(get_args(Named)) == set(UNITS)
    (row, *_) = rows(cohort_store, "FROM baseline_characteristics")
    assert set(UNITS) <= row.keys()


# -- the study cohort --------------------------------------------------------------------------------------------


def of_remission(store: EventStore) -> dict[tuple[str, str], dict[str, Any]]:
    found = rows(store, "FROM predictors WHERE endpoint = 'clinical_remission' AND timepoint = 'week_12'")
    return {(row["model"], row["predictor"]): row for row in found}


def test_lower_cdai_and_ses_cd_go_with_remission_as_published(cohort_store: EventStore) -> None:
    found = of_remission(cohort_store)
    cdai, ses_cd = found["univariable", "baseline_cdai"], found["univariable", "baseline_ses_cd"]
    for row in (cdai, ses_cd):
        assert row["ci_low"] < row["odds_ratio"] < row["ci_high"] < 1
        assert row["p_value"] < 0.05
    assert (cdai["n"], cdai["events"], cdai["missing"], cdai["dropped"], cdai["method"]) == (
        77,
        33,
        0,
        17,
        "ml",
    )
    for name in ("baseline_cdai", "baseline_ses_cd"):
        assert found["multivariable", name]["ci_high"] < 1


def test_with_18_endoscopies_one_at_a_time_and_firth(cohort_store: EventStore) -> None:
    found = rows(
        cohort_store, "FROM predictors WHERE starts_with(endpoint, 'endoscopic') AND method IS NOT NULL"
    )
    assert {(row["model"], row["method"]) for row in found} == {("univariable", "firth")}
    assert {row["n"] for row in found if row["predictor"] == "baseline_ses_cd"} == {18}


def test_what_is_known_at_baseline_is_not_what_came_later(cohort_store: EventStore) -> None:
    for row in rows(cohort_store, "FROM baseline_characteristics LIMIT 5"):
        outcome = rows(
            cohort_store,
            f"FROM patient_outcomes WHERE patient_id = '{row['patient_id']}' AND endpoint = 'clinical_remission'",
        )
        assert row["baseline_cdai"] == float(outcome[0]["baseline_value"])


def test_order_batches_and_copies_change_no_predictor(cohort_store: EventStore, tmp_path: Path) -> None:
    chance = random.Random(3)
    events = [*cohort_events(), *chance.sample(cohort_events(), 50)]
    chance.shuffle(events)
    size = len(events) // 3 + 1
    store = load(
        open_store(OUTCOMES, CUT, tmp_path / "o.duckdb"),
        [events[i : i + size] for i in range(0, len(events), size)],
    )
    settle(store)
    assert rows(store, "FROM predictors ORDER BY ALL") == rows(cohort_store, "FROM predictors ORDER BY ALL")
    store.close()


def test_compute_fills_the_table_and_verify_compares_it(cohort_store: EventStore, tmp_path: Path) -> None:
    computed = open_store(OUTCOMES, CUT, tmp_path / "computed.duckdb")
    compute_stores([Path("examples/fu2025/cohort.jsonl")], [computed])
    assert rows(computed, "FROM predictors ORDER BY ALL") == rows(
        cohort_store, "FROM predictors ORDER BY ALL"
    )
    cohort_store.snapshot(tmp_path / "live.duckdb")
    computed.close()
    compared = {
        row.relation: row for row in compare(tmp_path / "live.duckdb", tmp_path / "computed.duckdb", OUTCOMES)
    }
    assert compared["predictors"].equal
    assert compared["predictors"].live > 50


def test_verify_leaves_out_what_stands_for_an_earlier_batch(tmp_path: Path) -> None:
    store = open_store(OUTCOMES, CUT, tmp_path / "live.duckdb")
    settle(store)
    load(store, [cohort_events()])
    store.snapshot(tmp_path / "other.duckdb")
    store.close()
    relations = [
        row.relation for row in compare(tmp_path / "live.duckdb", tmp_path / "other.duckdb", OUTCOMES)
    ]
    assert "predictors" not in relations


def test_a_changed_definition_starts_without_predictors(tmp_path: Path) -> None:
    store = filled(OUTCOMES, cohort_events())
    settle(store)
    path = store.path
    store.close()
    protocol = load_protocol("fu2025")
    store = open_store(OUTCOMES, CUT, path, [protocol.model_copy(update={"version": "changed"})])
    assert rows(store, "FROM predictors") == rows(store, "FROM settled") == []
    store.close()


# -- when it is computed -----------------------------------------------------------------------------------------


@pytest.fixture
async def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reading]:
    """A service that settles after a blink."""
    monkeypatch.setattr(settling, "QUIET_SECONDS", 0.02)
    store = open_store(OUTCOMES, CUT, tmp_path / "outcomes.duckdb")
    reading = Reading(store, tmp_path)
    yield reading
    reading.stop()
    store.close()


async def until_current(reading: Reading) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while True:
            body = (await reading.get("/v1/predictors")).json()
            if body["current"]:
                found: list[dict[str, Any]] = body["rows"]
                return found
            await asyncio.sleep(0.02)


async def test_a_running_service_computes_when_data_have_settled(
    live: Reading, cohort_store: EventStore
) -> None:
    service = Settling(live.node)
    await service.start()
    try:
        await until_current(live)
        events = cohort_events()
        await live.commit(*events[:400])
        assert not (await live.get("/v1/predictors")).json()["current"]
        await until_current(live)
        await live.commit(*events[400:])
        await until_current(live)
    finally:
        await service.stop()
    assert rows(live.node.store, "FROM predictors ORDER BY ALL") == rows(
        cohort_store, "FROM predictors ORDER BY ALL"
    )


async def test_nothing_is_computed_while_a_backlog_is_worked_off(live: Reading) -> None:
    live.node.behind = True
    service = Settling(live.node)
    await service.start()
    try:
        await asyncio.sleep(0.2)  # ten quiet moments
        assert not (await live.get("/v1/predictors")).json()["current"]
        live.node.behind = False
        await until_current(live)
    finally:
        await service.stop()


async def test_nothing_is_computed_twice_for_one_state(live: Reading) -> None:
    service = Settling(live.node)
    await service.start()
    try:
        async with asyncio.timeout(60):
            await live.node.committed.wait(0, 60)  # readers are told of the table as of a commit
        await asyncio.sleep(0.2)
        assert live.node.committed.count == 1
    finally:
        await service.stop()


async def test_a_failure_is_tried_again_and_stops_nothing_else(
    live: Reading, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settling, "RETRY_SECONDS", 0.02)
    failures = [RuntimeError("patient W12-0001"), MemoryError()]

    def write(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        original(*arguments)

    original = settling.write
    monkeypatch.setattr(settling, "write", write)
    service = Settling(live.node)
    await service.start()
    try:
        await until_current(live)
    finally:
        await service.stop()
    assert "RuntimeError" in caplog.text
    assert "W12-0001" not in caplog.text


# -- who may see it ----------------------------------------------------------------------------------------------


async def test_the_route_gives_the_table(cohort: Reading) -> None:
    found = await cohort.rows("/v1/predictors", endpoint="clinical_remission", predictor="baseline_cdai")
    assert [row["model"] for row in found] == ["univariable", "multivariable"]
    stored = of_remission(cohort.node.store)["univariable", "baseline_cdai"]
    assert found[0] == {"site_id": None, **stored}


async def test_an_earlier_day_and_a_centre_are_computed_for_the_answer(cohort: Reading) -> None:
    wanted = {"endpoint": "clinical_remission", "predictor": "baseline_cdai", "model": "univariable"}
    day = date(2024, 6, 1)
    rates = {"timepoint": "week_12", "endpoint": "clinical_remission", "estimand": "observed"}
    (row,) = await cohort.rows("/v1/predictors", as_of=day, **wanted)
    (rate, *_) = await cohort.rows("/v1/cohort", as_of=day, **rates)
    assert (row["events"], row["n"]) == (rate["n"], rate["denominator"])
    assert 10 < row["n"] < 77
    (row,) = await cohort.rows("/v1/predictors", site_id="S02", **wanted)
    (rate,) = await cohort.rows("/v1/cohort", site_id="S02", **rates)
    assert (row["site_id"], row["events"], row["n"]) == ("S02", rate["n"], rate["denominator"])


async def test_a_centre_sees_its_own_and_the_pooled_models_without_small_cells(cohort: Reading) -> None:
    found = await cohort.rows("/v1/predictors", "clinic", predictor="baseline_ses_cd", model="univariable")
    assert {row["site_id"] for row in found} == {None, "S01"}
    of = {(row["site_id"], row["endpoint"]): row for row in found}
    assert of[None, "clinical_remission"]["odds_ratio"] is not None
    assert (
        of[None, "mucosal_healing"] | {"n": None, "events": None, "odds_ratio": None, "masked": True}
        == of[None, "mucosal_healing"]
    )  # five healed: with one's own taken away, fewer
    assert of["S01", "mucosal_healing"]["n"] > 0
    assert await cohort.rows("/v1/predictors", "clinic", site_id="S02") == []
    assert (await cohort.get("/v1/predictors", "sender")).status_code == 403


async def test_a_service_without_patients_answers_too(tmp_path: Path) -> None:
    reading = Reading(emptied(OUTCOMES, on(200)), tmp_path)
    who = {"patient_id": "W12-0001", "site_id": "S01"}
    await reading.commit(
        enrolment(**who), start(**who), visit(-3, cdai=300, **who), visit(84, cdai=100, **who)
    )
    found = await reading.rows("/v1/predictors", as_of=str(on(150)), endpoint="clinical_remission")
    assert {
        (row["n"], row["events"], row["odds_ratio"]) for row in found if row["predictor"] == "baseline_cdai"
    } == {
        (1, 1, None),
        (0, 0, None),
    }
    reading.stop()


def test_rows_are_the_tables_columns() -> None:
    assert [field.name for field in fields(Predictor)] == list(COLUMNS)


# -- the page ------------------------------------------------------------------------------------------------------


async def test_the_page_shows_one_outcome_and_draws_its_odds_ratios(cohort: Reading) -> None:
    page = (await cohort.page("/predictors")).text
    assert "Clinical remission, week 12" in page
    assert page.count('data-predictor="baseline_cdai"') == 2
    stored = of_remission(cohort.node.store)["univariable", "baseline_cdai"]
    assert f'aria-label="odds ratio {stored["odds_ratio"]:.2f}, interval {stored["ci_low"]:.2f} to' in page
    assert "None" not in page
    other = (await cohort.page("/predictors?outcome=week_12/mucosal_healing")).text
    assert "too few patients" in other
    assert "separated" in other


async def test_the_page_hides_what_the_route_hides(cohort: Reading) -> None:
    assert "not shown" in (await cohort.page("/predictors?outcome=week_12/mucosal_healing", "clinic")).text


@pytest.mark.parametrize("query", ["outcome=week_12/unheard_of", "outcome=x", "protocol=unheard_of"])
async def test_an_outcome_that_was_not_analysed_is_not_found(cohort: Reading, query: str) -> None:
    assert (await cohort.page(f"/predictors?{query}")).status_code == 404


def test_a_ratio_and_its_inverse_stand_equally_far_from_one() -> None:
    for ratio in (1.5, 3.0, 10.0):
        left, middle, right = (ratio_x(value) or 0 for value in (1 / ratio, 1, ratio))
        assert right - middle == pytest.approx(middle - left, abs=0.11)
    assert ratio_x(1e-12) == ratio_x(0.1)
    assert set(LABELS) == set(UNITS)

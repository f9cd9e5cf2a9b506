"""Figures of the cohort over HTTP: changes, funnels, what may be shared, and with whom."""

from collections.abc import Sequence
from statistics import quantiles
from typing import Any

import pytest
from reading_helpers import Reading
from twin.builders import enrolment, lab, on, start, visit

CHANGE = ("change_q1", "change_median", "change_q3")


def patient(number: int, site_id: str, baseline: float, week_12: float | None) -> list[dict[str, Any]]:
    """A patient with a CDAI before and perhaps at week 12."""
    who = {"patient_id": f"W12-{number:04}", "site_id": site_id}
    events = [
        enrolment(event_id=f"{number}-e", **who),
        start(event_id=f"{number}-s", **who),
        visit(-3, f"{number}-b", cdai=baseline, **who),
    ]
    return events if week_12 is None else [*events, visit(84, f"{number}-w", cdai=week_12, **who)]


REMISSION = {"timepoint": "week_12", "endpoint": "clinical_remission", "estimand": "observed"}


async def one(reading: Reading, path: str, who: str = "lead", **wanted: object) -> dict[str, Any]:
    (row,) = [row for row in await reading.rows(path, who, **wanted) if row["site_id"] is None]
    return row


# -- changes -----------------------------------------------------------------------------------------------------


async def test_changes_are_quartiles_of_those_with_both_values(small: Reading) -> None:
    weeks: Sequence[float | None] = (100, 200, 150, 290, None)  # from 300: -200, -100, -150, -10 and unknown
    await small.commit(*(event for n, week in enumerate(weeks) for event in patient(n, "S01", 300, week)))
    row = await one(small, "/v1/cohort/changes", parameter="cdai")
    assert row["n"] == 4
    assert [row[name] for name in CHANGE] == [
        -162.5,
        -125,
        -77.5,
    ]  # a quarter of the way is between the values
    assert (row["baseline_median"], row["value_median"]) == (300, 175)


async def test_of_a_censored_result_the_bound_stands_in_and_is_flagged(small: Reading) -> None:
    # R3.4: from 40 to <5, 8 and 10 mg/L: the middle of 5, 8 and 10 is 8
    for number, value in enumerate(("<5", 8, 10)):
        who = {"patient_id": f"W12-{number:04}", "site_id": "S01"}
        before = lab("crp", -3, 40, f"{number}-b", **who)
        await small.commit(
            start(event_id=f"{number}-s", **who), before, lab("crp", 84, value, f"{number}-w", **who)
        )
    row = await one(small, "/v1/cohort/changes", parameter="crp", timepoint="week_12")
    assert (row["n"], row["value_median"], row["change_median"], row["censored"]) == (3, 8, -32, True)


async def test_the_quartiles_of_the_cohort_are_those_of_its_rows(cohort: Reading) -> None:
    rows = await cohort.rows("/v1/outcomes", timepoint="week_12", endpoint="clinical_remission", limit=1000)
    falls = [
        row["value"] - row["baseline_value"]
        for row in rows
        if None not in (row["value"], row["baseline_value"])
    ]
    found = await one(cohort, "/v1/cohort/changes", timepoint="week_12", parameter="cdai")
    assert found["n"] == len(falls) == 77
    assert [found[name] for name in CHANGE] == pytest.approx(quantiles(falls, n=4, method="inclusive"))


async def test_a_value_counts_as_change_when_its_window_has_closed(small: Reading) -> None:
    await small.commit(*patient(1, "S01", 300, 100))
    assert await small.rows("/v1/cohort/changes", as_of=str(on(97))) == []
    assert (await one(small, "/v1/cohort/changes", as_of=str(on(98))))["n"] == 1


# -- funnel ------------------------------------------------------------------------------------------------------


async def test_the_funnel_shows_centres_beside_the_pooled_rate(cohort: Reading) -> None:
    rows = await cohort.rows("/v1/cohort/funnel", **REMISSION)
    assert {row["site_id"]: (row["n"], row["denominator"]) for row in rows} == {
        row["site_id"]: (row["n"], row["denominator"])
        for row in await cohort.rows("/v1/cohort", **REMISSION)
        if row["site_id"]
    }
    assert {row["target"] for row in rows} == {33 / 77}
    for row in rows:
        assert row["low_998"] <= row["low_95"] < row["target"] < row["high_95"] <= row["high_998"]
        assert row["flag"] == (None if row["low_95"] <= row["rate"] <= row["high_95"] else "watch")
        assert row["dispersion"] is None  # four centres


async def test_centres_that_differ_throughout_are_seen_in_the_dispersion(small: Reading) -> None:
    # ten centres of six: all in remission, or nobody; z = +-sqrt(6), so z squared is 6
    events = [
        event
        for number in range(60)
        for event in patient(number, f"S{number % 10:02}", 300, 100 if number % 2 else 200)
    ]
    await small.commit(*events)
    rows = await small.rows("/v1/cohort/funnel", **REMISSION)
    assert [row["dispersion"] for row in rows] == [pytest.approx(6)] * 10
    # P(X = 6 of 6 at one half) = 1/64 = 1.6 %: below 2.5 %, above 0.1 %
    assert {row["flag"] for row in rows} == {"watch"}


# -- who may see what ----------------------------------------------------------------------------------------------


async def fill(reading: Reading, **centres: tuple[int, int]) -> None:
    """Centres with (in remission, not in remission)."""
    number = 0
    for site_id, (good, bad) in centres.items():
        for week in [100] * good + [200] * bad:
            number += 1
            await reading.commit(*patient(number, site_id, 300, week))


@pytest.mark.parametrize(
    ("others", "masked"),
    [((5, 5), False), ((4, 9), True), ((9, 4), True), ((0, 5), False), ((0, 4), True)],
)
async def test_a_pooled_rate_must_not_give_away_the_others(
    small: Reading, others: tuple[int, int], masked: bool
) -> None:
    await fill(small, S01=(20, 20), S02=others)
    pooled, own = await small.rows("/v1/cohort", "clinic", **REMISSION)
    assert (pooled["site_id"], pooled.get("masked", False)) == (None, masked)
    assert (pooled["n"], pooled["denominator"]) == (
        (None, None) if masked else (20 + others[0], 40 + sum(others))
    )
    assert (own["site_id"], own["n"]) == ("S01", 20)
    (centre,) = await small.rows("/v1/cohort/funnel", "clinic", **REMISSION)
    assert (centre["n"], centre["denominator"], centre["rate"]) == (20, 40, 0.5)
    assert (centre["target"] is None) == (centre["high_95"] is None) == masked


async def test_what_is_shared_hides_small_cells_and_what_gives_them_away(small: Reading) -> None:
    await fill(small, S01=(20, 20), S02=(3, 9), S03=(6, 6))
    shared = {row["site_id"]: row for row in await small.rows("/v1/cohort", shared=True, **REMISSION)}
    assert {site: row["n"] for site, row in shared.items()} == {None: 29, "S01": 20, "S02": None, "S03": None}
    assert all(shared["S02"][name] is None for name in ("denominator", "rate", "ci_exact_high", "pending"))
    funnel = {row["site_id"]: row for row in await small.rows("/v1/cohort/funnel", shared=True, **REMISSION)}
    assert funnel["S01"]["target"] == 29 / 64
    assert all(funnel["S02"][name] is None for name in ("n", "rate", "low_95", "high_998", "flag"))
    assert {row["n"] for row in await small.rows("/v1/cohort", **REMISSION)} == {29, 20, 3, 6}


async def test_filters_do_not_undo_the_hiding(small: Reading) -> None:
    await fill(small, S01=(20, 20), S02=(3, 9), S03=(6, 6))
    (row,) = await small.rows("/v1/cohort", shared=True, site_id="S03", **REMISSION)
    assert row["n"] is None


@pytest.mark.parametrize("path", ["/v1/cohort/changes", "/v1/cohort/funnel"])
async def test_senders_see_no_figures(cohort: Reading, path: str) -> None:
    assert (await cohort.get(path, "sender")).status_code == 403
    assert (await cohort.get(path, None)).status_code == 401

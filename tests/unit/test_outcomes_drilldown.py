"""From a figure to the patients behind it, and from each of them to why: numbers on the page are lengths of lists."""

import re
from typing import Any

import pytest
from reading_helpers import CUT, Reading
from stores import FU2025, rows

from services.outcomes.pages.week12 import ESTIMANDS
from services.outcomes.pages.wording import GROUPS_OF_PATIENTS
from services.outcomes.reading import GROUPS, group_of
from services.stream.store import EventStore

MIDWAY = "2024-06-30"


def figures(store: EventStore, day: str) -> list[dict[str, Any]]:
    """Each rate at week 12, and how many patients every group behind it has."""
    columns = ", ".join(
        f"count(*) FILTER (CASE WHEN observed_when_due THEN {group_of(group, estimand, when_due=True)} "
        f"ELSE {group_of(group, estimand, when_due=False)} END) AS {group}_{estimand}"
        for group in GROUPS
        for estimand in ESTIMANDS
    )
    return rows(
        store,
        f"WITH behind AS (SELECT endpoint, {columns} FROM patient_outcomes_at(DATE '{day}') "
        "JOIN (SELECT endpoint, observed_when_due FROM protocol_endpoints) USING (endpoint) "
        "WHERE timepoint = 'week_12' GROUP BY ALL) "
        f"FROM cohort_rates_at(DATE '{day}') JOIN behind USING (endpoint) "
        "WHERE timepoint = 'week_12' AND site_id IS NULL",
    )


@pytest.mark.parametrize("day", [MIDWAY, CUT.isoformat()])
def test_a_figure_and_the_patients_behind_it_are_the_same(cohort_store: EventStore, day: str) -> None:
    rates = figures(cohort_store, day)
    judged = [endpoint for endpoint in FU2025.endpoints if "week_12" in FU2025.scheduled(endpoint)]
    assert len(rates) == len(judged) * len(ESTIMANDS)
    for rate in rates:
        of = {group: rate[f"{group}_{rate['estimand']}"] for group in GROUPS}
        assert (of["reached"], of["counted"], of["pending"]) == (
            rate["n"],
            rate["denominator"],
            rate["pending"],
        )
        assert of["failed"] == of["counted"] - of["reached"]
        assert of["counted"] + of["left_out"] + of["awaited"] == of["treated"]
    assert any(rate["awaited_observed"] for rate in rates) == (day == MIDWAY)


def numbers(text: str, part: str) -> list[tuple[str, int]]:
    """Links of one row of a page: (address, number)."""
    row = re.search(rf'data-part="{part}".*?</tr>', text, re.DOTALL)
    assert row
    found = re.findall(r'<a href="([^"]+)">([\d\u202f]+)</a>', row[0])
    return [(address.replace("&amp;", "&"), int(number.replace("\u202f", ""))) for address, number in found]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?estimand=nri",
        "?estimand=locf&site=S02",
        f"?as_of={MIDWAY}",
        "?timepoint=week_24&estimand=nri",
        f"?as_of={CUT}&known_at={MIDWAY}",
    ],
)
async def test_every_number_opens_as_many_patients(cohort: Reading, query: str) -> None:
    async with cohort.browser("lead") as browser:
        text = (await browser.get("/" + query)).text
        links = [*numbers(text, "rate-clinical_remission"), *numbers(text, "account-clinical_remission")]
        assert links
        for address, number in links:
            page = (await browser.get(address)).text
            listed = re.findall(r'<th scope="row" class="nowrap"><a href="([^"]+)">', page)
            assert len(listed) == number, address
        explained = await browser.get(listed[0].replace("&amp;", "&"))
    assert explained.status_code == 200
    assert "endpoint=clinical_remission" in listed[0]
    assert ": why</h1>" in explained.text


async def test_the_pages_show_what_was_known(cohort: Reading) -> None:
    (then,) = [
        row
        for row in await cohort.rows("/v1/cohort", timepoint="week_12", known_at=MIDWAY)
        if (row["endpoint"], row["estimand"], row["site_id"]) == ("clinical_remission", "observed", None)
    ]
    text = (await cohort.page(f"/?known_at={MIDWAY}")).text
    assert f"{then['n']} / {then['denominator']}" in re.sub(r"<[^>]+>", "", text)
    assert then["n"] < 33  # of all that is known today
    assert "as known on 2024-06-30" in text
    (one, *_), *_ = numbers(text, "rate-clinical_remission")
    listed = (await cohort.page(one)).text
    link = re.findall(r'<th scope="row" class="nowrap"><a href="([^"]+)">', listed)[0].replace("&amp;", "&")
    for page in (
        listed,
        (await cohort.page(link)).text,
        (await cohort.page(link.replace("/explain", ""))).text,
    ):
        assert "as known on 2024-06-30" in page


async def test_missing_as_failure_counts_the_missed_and_leaves_nobody_out_for_it(cohort: Reading) -> None:
    observed, nri = [(await cohort.page(f"/?estimand={name}")).text for name in ("observed", "nri")]
    reasons = [dict(numbers(text, "account-clinical_remission")) for text in (observed, nri)]
    missed = [address for address in reasons[0] if "reason=missed" in address]
    assert [reasons[0][address] for address in missed] == [17]  # 94 treated, 77 seen
    assert not any("reason=missed" in address for address in reasons[1])
    assert "33 / 94" in re.sub(r"<[^>]+>", "", nri)


async def test_who_is_bound_to_centres_opens_no_pooled_number(cohort: Reading) -> None:
    pooled = (await cohort.page("/", "clinic")).text
    assert numbers(pooled, "rate-clinical_remission") == numbers(pooled, "account-clinical_remission") == []
    assert "under 5" in pooled
    own = (await cohort.page("/?site=S01", "clinic")).text
    assert numbers(own, "account-clinical_remission")


@pytest.mark.parametrize(
    "path",
    ["/?timepoint=week_13", "/?estimand=other", "/patients?group=other", "/patients?timepoint=week_13",
     "/patients/CD-9999/explain", "/patients/CD-0001/explain?timepoint=week_13",
     "/patients/CD-0001/explain?protocol=other"],
)  # fmt: skip
async def test_what_is_not_there_is_not_found(cohort: Reading, path: str) -> None:
    assert (await cohort.page(path)).status_code == 404


# -- why ---------------------------------------------------------------------------------------------------------


async def test_the_page_of_a_patient_says_why_and_draws_it(cohort: Reading) -> None:
    text = (await cohort.page("/patients/CD-0067/explain?timepoint=week_12&endpoint=clinical_remission")).text
    document = (
        await cohort.get("/v1/patients/CD-0067/explain", timepoint="week_12", endpoint="clinical_remission")
    ).json()
    baseline, week_12 = document["protocols"][0]["timepoints"]
    (outcome,) = week_12["outcomes"]
    assert f'data-outcome="{outcome["endpoint"]}"' in text
    for sentence in outcome["because"]:
        assert sentence in text
    used = {
        r["record"]
        for place in (baseline, week_12)
        for r in place["values"][0]["records"]
        if r["observed"] == "used"
    }
    assert used == set(outcome["event_ids"])
    for record in used:
        assert f"<code>{record}</code>" in text
    assert text.count('class="used"') == len(used)
    assert text.count('class="window"') == 2
    assert "CDAI below 150: " in text


async def test_a_patient_of_another_centre_is_not_explained(cohort: Reading) -> None:
    sites = {row["patient_id"]: row["site_id"] for row in await cohort.rows("/v1/outcomes", limit=1000)}
    own = min(patient for patient, site in sites.items() if site == "S01")
    other = min(patient for patient, site in sites.items() if site != "S01")
    found = {p: (await cohort.page(f"/patients/{p}/explain", "clinic")).status_code for p in (own, other)}
    assert found == {own: 200, other: 404}


def test_every_group_has_a_name() -> None:
    assert list(GROUPS_OF_PATIENTS) == list(GROUPS)

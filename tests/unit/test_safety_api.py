"""What the safety API answers: alerts and what is done about them, the stream and its resumption, incidence."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from reading_helpers import SAFETY, Reading, cohort_events, filled
from starlette.requests import Request
from stores import emptied, load
from twin.builders import adverse_event, consent, enrolment, lab, on, retraction, start

from services.runtime.problems import Problem
from services.runtime.tokens import Caller
from services.safety.feed import KEPT_CHANGES, AlertFeed, News
from services.safety.gauges import SafetyGauges, count_alerts
from services.safety.streaming import Listening, json_events
from services.stream.store import EventStore

EVERYBODY = Caller("officer", frozenset({"safety_officer"}))
CLINIC = Caller("clinic", frozenset({"site_user"}), frozenset({"S01"}))
Row = dict[str, Any]


@pytest.fixture(scope="module")
def cohort_store() -> Iterator[EventStore]:
    store = filled(SAFETY, cohort_events())
    yield store
    store.close()


@pytest.fixture
async def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reading]:
    """A store of the test's own with a treated patient at each of two centres, as of day 100."""
    monkeypatch.setattr("services.safety.feed.LOOK_SECONDS", 0.05)
    treated = [
        event
        for site, patient in (("S01", "W12-0001"), ("S02", "W12-0002"))
        for event in (
            enrolment(event_id=f"{patient}-in", patient_id=patient, site_id=site),
            start(event_id=f"{patient}-start", patient_id=patient, site_id=site),
        )
    ]
    reading = Reading(load(emptied(SAFETY, on(100)), [treated]), tmp_path)
    yield reading
    reading.stop()


def serious(number: int, site: str = "S01", **fields: Any) -> Row:
    """A serious event of grade 2: one alert, `high`. Later numbers were recorded later."""
    patient = {"S01": "W12-0001", "S02": "W12-0002"}[site]
    recorded_at = f"2026-01-01T12:{number:02}:00+00:00"
    where = {"patient_id": patient, "site_id": site, "recorded_at": recorded_at}
    return adverse_event(number, f"ae-{number}", **where | {"serious": True, "grade": 2} | fields)


# -- alerts ----------------------------------------------------------------------------------------------------


async def test_alerts_come_newest_first_and_page_by_page(small: Reading) -> None:
    await small.commit(*(serious(number) for number in (3, 1, 5, 2, 4)))
    expected = ["ae-5", "ae-4", "ae-3", "ae-2", "ae-1"]
    assert [row["event_id"] for row in await small.rows("/v1/alerts")] == expected
    met: list[str] = []
    after = None
    for _ in range(3):
        answer = (await small.get("/v1/alerts", limit=2, **({"after": after} if after else {}))).json()
        met += [row["event_id"] for row in answer["rows"]]
        after = answer["next"]
        await small.commit(serious(10 + len(met)))  # what arrives meanwhile shifts nothing
    assert met == expected
    assert after is None


async def test_alerts_can_be_filtered(small: Reading) -> None:
    await small.commit(
        serious(1),
        serious(2, "S02", seriousness=["life_threatening"]),
        lab("lymphocytes", 3, 0.7, "low", patient_id="W12-0001", site_id="S01"),
    )

    async def found(**filters: object) -> set[str]:
        return {row["event_id"] for row in await small.rows("/v1/alerts", **filters)}

    assert await found() == {"ae-1", "ae-2", "low"}
    assert await found(severity="critical") == {"ae-2"}
    assert await found(rule="lab_toxicity") == {"low"}
    assert await found(site_id="S01") == {"ae-1", "low"}
    assert await found(patient_id="W12-0002") == {"ae-2"}
    assert await found(state="open") == {"ae-1", "ae-2", "low"}
    assert await found(state=["closed", "withdrawn"]) == set()
    # the test's records all reach ingest at this moment
    assert await found(since="2023-11-14T22:13:20Z") == {"ae-1", "ae-2", "low"}
    assert await found(since="2023-11-14T23:13:20.001+01:00") == set()


@pytest.mark.parametrize(
    "filters", [{"state": "opened"}, {"severity": "grave"}, {"since": "lately"}, {"after": "x"}, {"limit": 0}]
)
async def test_filters_that_cannot_be_meant_are_refused(small: Reading, filters: Row) -> None:
    answer = await small.get("/v1/alerts", **filters)
    assert answer.status_code == 422
    assert str(next(iter(filters.values()))) not in answer.json()["errors"][0]["message"].split("'")


async def test_a_centre_sees_its_own_alerts(small: Reading) -> None:
    await small.commit(serious(1), serious(2, "S02"))
    assert [row["site_id"] for row in await small.rows("/v1/alerts", "clinic")] == ["S01"]
    assert await small.rows("/v1/alerts", "clinic", site_id="S02") == []


@pytest.mark.parametrize(
    ("path", "who", "status"),
    [
        ("/v1/alerts", None, 401), ("/v1/alerts", "sender", 403), ("/v1/alerts", "analyst", 403),
        ("/v1/alerts", "clinic", 200), ("/v1/alerts", "lead", 200), ("/v1/alerts", "officer", 200),
        ("/v1/alerts/stream", None, 401), ("/v1/alerts/stream", "analyst", 403),
        ("/v1/incidence", None, 401), ("/v1/incidence", "sender", 403), ("/v1/incidence", "analyst", 200),
        ("/v1/adverse-events", None, 401), ("/v1/adverse-events", "sender", 403),
        ("/v1/adverse-events", "analyst", 200), ("/v1/lab-toxicities", "sender", 403),
        ("/v1/patients/W12-0001/timeline", None, 401), ("/v1/patients/W12-0001/timeline", "sender", 403),
        ("/v1/patients/W12-0001/timeline", "clinic", 200), ("/v1/patients/W12-0002/timeline", "clinic", 404),
        ("/v1/patients/W12-0003/timeline", "clinic", 404), ("/v1/progress", None, 200),
    ],
)  # fmt: skip
async def test_who_may_read_what(small: Reading, path: str, who: str | None, status: int) -> None:
    assert (await small.get(path, who)).status_code == status


# -- acting ----------------------------------------------------------------------------------------------------


async def act(small: Reading, action: str, body: Any, who: str = "officer", **headers: str) -> httpx.Response:
    """Act on the only alert."""
    (alert,) = await small.rows("/v1/alerts")
    async with small.client(who, **headers) as client:
        return await client.post(f"/v1/alerts/{alert['alert_id']}/{action}", json=body)


async def test_acknowledging_says_who_when_and_why(small: Reading) -> None:
    await small.commit(serious(1))
    answer = await act(small, "acknowledge", {"note": " Seen on the ward. "})
    assert answer.status_code == 200
    alert = answer.json()["alert"]
    assert (alert["state"], alert["acknowledged_by"], alert["note"]) == (
        "acknowledged", "officer", "Seen on the ward.",
    )  # fmt: skip
    (taken,) = small.actions.taken
    assert (taken.action, taken.actor, taken.alert_id) == ("acknowledge", "officer", alert["alert_id"])
    assert taken.acted_at.tzinfo is not None
    assert small.count("week12_alert_acknowledge_seconds_count", severity="high") == 1


async def test_a_closed_alert_stays_closed(small: Reading) -> None:
    await small.commit(serious(1))
    assert (await act(small, "acknowledge", {"note": "Seen."})).status_code == 200
    assert (await act(small, "close", {"note": "Resolved."})).json()["alert"]["state"] == "closed"
    for action in ("close", "acknowledge"):
        answer = await act(small, action, {"note": "Again."})
        assert (answer.status_code, answer.json()["code"]) == (409, "alert_closed")
    assert len(small.actions.taken) == 2


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({}, "note", "missing"),
        ({"note": None}, "note", "missing"),
        ({"note": ""}, "note", "missing"),
        ({"note": " \n"}, "note", "missing"),
        ({"note": 7}, "note", "type"),
        ({"note": "a\u0000b"}, "note", "type"),
        ({"note": "x" * 2001}, "note", "too_large"),
        ({"note": "Seen.", "actor": "somebody else"}, "body", "unknown_field"),
    ],
)
async def test_an_action_needs_a_note_and_nothing_else(
    small: Reading, body: Row, path: str, code: str
) -> None:
    await small.commit(serious(1))
    answer = await act(small, "acknowledge", body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["path"], error["code"]) == (path, code)
    assert small.actions.taken == []


async def test_the_longest_note_is_taken(small: Reading) -> None:
    await small.commit(serious(1))
    assert (await act(small, "acknowledge", {"note": "x" * 2000})).status_code == 200


async def test_what_is_not_json_is_refused(small: Reading) -> None:
    await small.commit(serious(1))
    (alert,) = await small.rows("/v1/alerts")
    async with small.client("officer") as client:
        for body in (b"note", b"[]", b"\xff"):
            answer = await client.post(f"/v1/alerts/{alert['alert_id']}/close", content=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "json_malformed")


@pytest.mark.parametrize(("who", "status"), [("lead", 403), ("clinic", 403), ("analyst", 403)])
async def test_only_safety_officers_act(small: Reading, who: str, status: int) -> None:
    await small.commit(serious(1))
    assert (await act(small, "close", {"note": "Done."}, who)).status_code == status


async def test_an_alert_of_another_centre_is_as_unknown_as_one_that_does_not_exist(small: Reading) -> None:
    await small.commit(serious(1))
    (alert,) = await small.rows("/v1/alerts")
    secret = small.tokens.add("officer-02", ["safety_officer"], ["S02"])
    async with small.client(None, Authorization=f"Bearer {secret}") as client:
        foreign = await client.post(f"/v1/alerts/{alert['alert_id']}/close", json={"note": "Done."})
        unknown = await client.post("/v1/alerts/0123/close", json={"note": "Done."})
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content


async def test_an_action_that_kafka_did_not_confirm_is_not_shown(small: Reading) -> None:
    await small.commit(serious(1))
    small.actions.error = Problem(503, "broker_unavailable", "Kafka did not confirm.")
    answer = await act(small, "close", {"note": "Done."})
    assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
    assert [row["state"] for row in await small.rows("/v1/alerts")] == ["open"]
    assert small.count("week12_alert_acknowledge_seconds_count", severity="high") == 0


@pytest.mark.parametrize(("origin", "status"), [("http://week12:81", 200), ("http://evil", 401), (None, 401)])
async def test_a_login_acts_only_from_the_services_own_page(
    small: Reading, origin: str | None, status: int
) -> None:
    await small.commit(serious(1))
    (alert,) = await small.rows("/v1/alerts")
    async with small.browser("officer") as browser:
        answer = await browser.post(
            f"/v1/alerts/{alert['alert_id']}/acknowledge",
            json={"note": "Seen."},
            headers={"Origin": origin} if origin else {},
        )
    assert answer.status_code == status


# -- the stream ------------------------------------------------------------------------------------------------


class Listener:
    """One who listens to a feed, and what they were told."""

    def __init__(self, feed: AlertFeed, last: str = "", caller: Caller = EVERYBODY) -> None:
        self.going = True
        self.cursor = last
        self.news = feed.listen(caller, last, self._still)

    async def _still(self) -> bool:
        return self.going

    async def next(self) -> News:
        """The next news, which must come soon."""
        async with asyncio.timeout(10):
            news = await anext(self.news)
        self.cursor = news.cursor
        return news

    async def told(self) -> list[tuple[str | None, str | None]]:
        """(event id, state) of the next changes; None for an alert that is gone."""
        return [
            (change.alert and change.alert["event_id"], change.alert and change.alert["state"])
            for _, change in (await self.next()).changes
        ]

    async def is_silent(self) -> bool:
        """Whether nothing more is to be told."""
        self.going = False
        return [news async for news in self.news] == []


async def test_a_listener_first_hears_of_every_alert_to_be_seen_to(small: Reading) -> None:
    await small.commit(serious(1), serious(2))
    (first, *_) = await small.rows("/v1/alerts", patient_id="W12-0001")
    async with small.client("officer") as client:
        await client.post(f"/v1/alerts/{first['alert_id']}/close", json={"note": "Done."})
    listener = Listener(AlertFeed(small.node))
    news = await listener.next()
    assert news.reset
    assert [change.alert and change.alert["event_id"] for _, change in news.changes] == ["ae-1"]
    assert news.counts == {"high": {"open": 1, "closed": 1}}
    assert await listener.is_silent()


async def test_then_of_every_change_as_it_is_committed(small: Reading) -> None:
    listener = Listener(AlertFeed(small.node))
    assert await listener.told() == []
    await small.commit(serious(1))
    assert await listener.told() == [("ae-1", "open")]
    await act(small, "acknowledge", {"note": "Seen."})
    assert await listener.told() == [("ae-1", "acknowledged")]
    await small.commit(retraction(serious(1), 2))
    assert await listener.told() == [("ae-1", "withdrawn")]
    await small.commit(serious(2))
    await small.commit(serious(3))  # before the listener asks again: both at once
    assert await listener.told() == [("ae-2", "open"), ("ae-3", "open")]
    assert await listener.is_silent()


@pytest.mark.parametrize("kept", [KEPT_CHANGES, 1])  # answered from memory, and from the store
async def test_who_comes_back_hears_exactly_what_changed_since(
    small: Reading, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.safety.feed.KEPT_CHANGES", kept)
    feed = AlertFeed(small.node)
    listener = Listener(feed)
    await listener.next()
    await small.commit(serious(1), serious(2), serious(3))
    news = await listener.next()
    ids = [event_id for event_id, _ in news.changes]
    assert len(set(ids)) == 3
    assert news.cursor == ids[-1]
    await small.commit(serious(4))
    await small.commit(retraction(serious(2), 2))
    for last, expected in [
        (ids[0], [("ae-3", "open"), ("ae-4", "open"), ("ae-2", "withdrawn")]),  # broke off after the first
        (ids[2], [("ae-4", "open"), ("ae-2", "withdrawn")]),
    ]:
        back = Listener(feed, last)
        assert await back.told() == expected
        assert await back.is_silent()
        again = Listener(feed, back.cursor)
        assert await again.is_silent()


@pytest.mark.parametrize("last", ["nonsense", "-", "0-0", "another-epoch-1", "{epoch}-999999", "{epoch}-x"])
async def test_an_id_of_another_store_begins_anew(small: Reading, last: str) -> None:
    await small.commit(serious(1))
    feed = AlertFeed(small.node)
    epoch = (await feed.cursor()).rpartition("-")[0]
    news = await Listener(feed, last.format(epoch=epoch)).next()
    assert news.reset
    assert len(news.changes) == 1


async def test_a_centre_hears_of_its_own_alerts_only(small: Reading) -> None:
    feed = AlertFeed(small.node)
    listener = Listener(feed, caller=CLINIC)
    assert await listener.told() == []
    await small.commit(serious(1, "S02"))
    await small.commit(serious(2, "S01"))
    news = await listener.next()
    assert [change.alert and change.alert["site_id"] for _, change in news.changes] == ["S01"]
    assert news.counts == {"high": {"open": 1}}
    await small.commit(serious(3, "S02"))
    back = Listener(feed, news.cursor, CLINIC)
    assert await back.is_silent()


async def test_an_alert_that_is_gone_is_told_by_its_id_alone(small: Reading) -> None:
    await small.commit(serious(1))
    listener = Listener(AlertFeed(small.node))
    ((_, change),) = (await listener.next()).changes
    await small.commit(consent("erase", 9, patient_id="W12-0001", site_id="S01"))
    ((_, gone),) = (await listener.next()).changes
    assert (gone.alert_id, gone.alert) == (change.alert_id, None)


async def test_however_many_listen_a_commit_is_read_once(
    small: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = AlertFeed(small.node)
    listeners = [Listener(feed) for _ in range(20)]
    for listener in listeners:
        await listener.next()
    asked: list[str] = []
    query = small.node.query

    def counted(sql: str, parameters: Any = None) -> list[Row]:
        asked.append(sql)
        return query(sql, parameters)

    monkeypatch.setattr(small.node, "query", counted)
    waiting = [asyncio.create_task(listener.told()) for listener in listeners]
    await small.commit(serious(1))
    assert await asyncio.gather(*waiting) == [[("ae-1", "open")]] * 20
    assert len(asked) == 3  # the newest number, the changes, the counts


async def test_a_stream_ends_with_its_token(small: Reading) -> None:
    secret = small.tokens.add("leaver", ["safety_officer"])
    feed = AlertFeed(small.node)
    assert small.tokens.authenticate(secret)
    scope = {
        "type": "http", "method": "GET", "path": "/", "query_string": b"", "app": small.app,
        "headers": [(b"authorization", f"Bearer {secret}".encode())],
    }  # fmt: skip
    listening = Listening(small.node, feed, asyncio.Event())
    events = listening._events(Request(scope), EVERYBODY, "", json_events)
    async with aclosing(events), asyncio.timeout(10):
        names = [(await anext(events)).event for _ in range(3)]
        assert names == [None, "reset", "counts"]
        assert small.count("week12_sse_clients", service="safety") == 1
        small.tokens.revoke("leaver")
        assert [event async for event in events] == []
    assert small.count("week12_sse_clients", service="safety") == 0


# -- events, incidence, timelines ------------------------------------------------------------------------------


async def test_incidence_of_the_cohort_is_the_published_one(cohort: Reading) -> None:
    rows = await cohort.rows("/v1/incidence", event_group="any", drug="upadacitinib")
    (row,) = [row for row in rows if row["site_id"] is None]
    assert (row["patients_with_event"], row["patients"]) == (32, 94)
    assert row["incidence_pct"] == pytest.approx(100 * 32 / 94)
    terms = await cohort.rows("/v1/incidence", drug="upadacitinib")
    named = [
        r
        for r in terms
        if r["site_id"] is None and r["event_group"] not in ("any", "serious", "grade_3_plus")
    ]
    assert max(named, key=lambda r: r["patients_with_event"])["event_group"] == "lymphopenia"


async def test_small_cells_of_pooled_incidence_are_hidden_from_single_centres(cohort: Reading) -> None:
    rows = await cohort.rows("/v1/incidence", "clinic", drug="upadacitinib")
    assert {row["site_id"] for row in rows} == {None, "S01"}
    pooled = {row["event_group"]: row for row in rows if row["site_id"] is None}
    assert pooled["lymphopenia"]["patients_with_event"] == 12
    assert (pooled["pneumonia"]["patients_with_event"], pooled["pneumonia"]["ci_high"]) == (None, None)
    assert pooled["pneumonia"]["patients"] == 94


async def test_incidence_can_be_asked_as_of_a_day(small: Reading) -> None:
    await small.commit(serious(10))
    (before,) = await small.rows("/v1/incidence", event_group="serious", site_id="S01", as_of=str(on(9)))
    (after,) = await small.rows("/v1/incidence", event_group="serious", site_id="S01", as_of=str(on(10)))
    assert (before["patients_with_event"], after["patients_with_event"]) == (0, 1)
    assert before["person_years"] == pytest.approx(10 / 365.25)  # days 0 to 9
    assert (await small.get("/v1/incidence", as_of="2024-02")).json()["code"] == "date_partial"


async def test_adverse_events_and_laboratory_grades_are_listed(small: Reading) -> None:
    low = lab("lymphocytes", 12, 0.4, "low", patient_id="W12-0001", site_id="S01")
    await small.commit(serious(10), adverse_event(11, "mild", patient_id="W12-0002", site_id="S02"), low)
    events = await small.rows("/v1/adverse-events")
    assert [row["event_id"] for row in events] == ["mild", "ae-10"]
    assert events[1]["treatment_emergent"] is True
    assert events[1]["seriousness"] == ["hospitalisation"]
    assert "patient_key" not in events[0]
    assert [row["event_id"] for row in await small.rows("/v1/adverse-events", serious=True)] == ["ae-10"]
    assert [row["event_id"] for row in await small.rows("/v1/adverse-events", "clinic")] == ["ae-10"]
    (toxicity,) = await small.rows("/v1/lab-toxicities", grade=3)
    assert (toxicity["analyte"], toxicity["value"], toxicity["grade"]) == ("lymphocytes", 0.4, 3)


async def test_a_timeline_is_in_clinical_time_and_ends_on_the_day_asked_for(small: Reading) -> None:
    await small.commit(serious(20), lab("crp", 5, 12, "crp", patient_id="W12-0001", site_id="S01"))
    whole = (await small.get("/v1/patients/W12-0001/timeline")).json()
    assert [row["event_id"] for row in whole["timeline"]] == ["W12-0001-in", "W12-0001-start", "crp", "ae-20"]
    assert [row["drug"] for row in whole["exposures"]] == ["upadacitinib"]
    assert [row["event_id"] for row in whole["alerts"]] == ["ae-20"]
    early = (await small.get("/v1/patients/W12-0001/timeline", as_of=str(on(19)))).json()
    assert [row["event_id"] for row in early["timeline"]] == ["W12-0001-in", "W12-0001-start", "crp"]
    assert early["alerts"] == []


async def test_who_may_not_see_alerts_sees_none_on_a_timeline(small: Reading) -> None:
    await small.commit(serious(20))
    assert (await small.get("/v1/patients/W12-0001/timeline", "analyst")).json()["alerts"] == []


# -- progress, metrics, threads --------------------------------------------------------------------------------


async def test_progress_counts_the_alerts_to_be_published(small: Reading) -> None:
    await small.commit(serious(1), serious(2))
    answer = (await small.get("/v1/progress", who=None)).json()
    assert (answer["service"], answer["waiting_to_publish"]) == ("safety", 2)


async def test_gauges_show_open_alerts_by_severity(small: Reading) -> None:
    await small.commit(serious(1), serious(2, seriousness=["death"]))
    await SafetyGauges(small.node).refresh()
    assert small.count("week12_alerts_open", severity="critical") == 1
    assert small.count("week12_alerts_open", severity="high") == 1
    assert small.count("week12_alerts_open", severity="low") == 0
    # all of the tests' records reach ingest at this moment
    assert small.count("week12_alert_oldest_open_timestamp_seconds", severity="high") == 1_700_000_000
    for alert in await small.rows("/v1/alerts"):
        async with small.client("officer") as client:
            await client.post(f"/v1/alerts/{alert['alert_id']}/close", json={"note": "Done."})
    await SafetyGauges(small.node).refresh()
    assert small.count("week12_alerts_open", severity="high") == 0
    assert small.count("week12_alert_oldest_open_timestamp_seconds", severity="high") == 0


async def test_alerts_are_counted_as_they_are_raised_and_withdrawn(small: Reading) -> None:
    small.node.tell = partial(count_alerts, small.metrics)

    def counted() -> tuple[float, float, float]:
        labels = {"rule": "serious_event", "severity": "high"}
        return (
            small.count("week12_alerts_raised_total", **labels),
            small.count("week12_alerts_withdrawn_total", **labels),
            small.count("week12_alert_latency_seconds_count", severity="high"),
        )

    await small.commit(serious(1), serious(2), serious(3, serious=False, seriousness=[]))
    assert counted() == (2, 0, 2)
    await small.commit(serious(1))  # a copy
    await small.commit(serious(2, term="another word", version=2))  # still an alert, only worded anew
    assert counted() == (2, 0, 2)
    await small.commit(serious(1, version=2, serious=False, seriousness=[]))
    assert counted() == (2, 1, 2)
    await small.commit(serious(1, version=3))
    assert counted() == (3, 1, 3)


@pytest.mark.parametrize(
    "path",
    ["/v1/alerts", "/v1/incidence", "/v1/incidence?as_of=2024-06-30", "/v1/adverse-events", "/v1/lab-toxicities",
     "/v1/patients/CD-0001/timeline", "/v1/progress", "/", "/incidence", "/patients/CD-0001"],
)  # fmt: skip
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

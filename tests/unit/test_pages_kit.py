"""What all pages share: logging in and out, headers that let nothing in, formats, axes, and who sees what."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from reading_helpers import CUT, OUTCOMES, SAFETY, Reading, cohort_events, filled
from stores import FU2025
from twin.builders import adverse_event, enrolment

from services.outcomes.definition import REASONS
from services.outcomes.pages.wording import HEADS, definition, endpoint_label
from services.runtime.pages import formats
from services.runtime.pages.drawing import Axis, axis_for
from services.runtime.sessions import COOKIE
from services.stream.store import EventStore

OUTCOMES_PAGES = ["/", "/?site=S01", "/?as_of=2024-06-30", "/patients", "/patients/CD-0001", "/data-quality",
                  "/?timepoint=week_24&estimand=nri", "/patients/CD-0001/explain", "/predictors",
                  "/worklist"]  # fmt: skip
SAFETY_PAGES = ["/", "/?state=any&severity=high", "/incidence?at=S02&as_of=2024-06-30", "/patients/CD-0001"]
VOID = {"meta", "link", "input", "br", "img"}


@pytest.fixture(scope="module")
def stores() -> Iterator[tuple[EventStore, EventStore]]:
    events = cohort_events()
    both = filled(OUTCOMES, events), filled(SAFETY, events)
    yield both
    for store in both:
        store.close()


@pytest.fixture
async def outcomes(stores: tuple[EventStore, EventStore], tmp_path: Path) -> AsyncIterator[Reading]:
    reading = Reading(stores[0], tmp_path)
    yield reading
    reading.stop()


@pytest.fixture
async def safety(stores: tuple[EventStore, EventStore], tmp_path: Path) -> AsyncIterator[Reading]:
    reading = Reading(stores[1], tmp_path)
    yield reading
    reading.stop()


class Outline(HTMLParser):
    """The tags of a page: that they close, and what would need another policy than ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.fields: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        assert "style" not in names, "the policy lets no style in"
        assert not [name for name in names if name.startswith("on")], "the policy lets no script in"
        if tag == "script":
            assert names.get("src")
        for name in ("src", "href"):
            address = names.get(name) or ""
            assert not address.startswith(("http:", "https:", "//")) or re.match(
                r"http://week12:812\d", address
            )
        if "id" in names:
            self.ids.append(names["id"] or "")
        if tag in ("input", "select", "textarea"):
            self.fields.append(names | {"labelled": str("label" in self.open)})
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(answer: httpx.Response) -> Outline:
    assert answer.status_code == 200, answer.text[:500]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    outline = Outline(answer.text)
    assert len(outline.ids) == len(set(outline.ids)), "two elements have the same id"
    assert all(f["labelled"] == "True" or f.get("type") == "hidden" or f.get("id") for f in outline.fields)
    assert "None" not in answer.text
    return outline


@pytest.mark.parametrize("path", OUTCOMES_PAGES)
async def test_pages_of_outcomes_are_whole_and_bring_all_they_need(outcomes: Reading, path: str) -> None:
    check_page(await outcomes.page(path))


@pytest.mark.parametrize("path", SAFETY_PAGES)
async def test_pages_of_safety_are_whole_and_bring_all_they_need(safety: Reading, path: str) -> None:
    check_page(await safety.page(path, "officer"))


async def test_what_a_page_names_is_served_and_kept(outcomes: Reading) -> None:
    page = await outcomes.page("/")
    names = set(re.findall(r'"(/static/[^"]+)"', page.text))
    assert len(names) == 3  # style, icon, script
    for name in names:
        answer = await outcomes.get(name, who=None)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert (await outcomes.get("/static/../api.py", who=None)).status_code == 404


# -- logging in and out ----------------------------------------------------------------------------------------


async def test_who_is_not_logged_in_is_led_to_the_login_and_back(outcomes: Reading) -> None:
    async with outcomes.client(None) as client:
        answer = await client.get("/patients?endpoint=cr&site=S01")
        assert answer.status_code == 303
        login = answer.headers["location"]
        assert login == "/login?next=%2Fpatients%3Fendpoint%3Dcr%26site%3DS01"
        page = await client.get(login)
        assert 'value="/patients?endpoint=cr&amp;site=S01"' in page.text
        form = {"token": f" {outcomes.secrets['lead']}\n", "next": "/patients?endpoint=cr&site=S01"}
        answer = await client.post("/login", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, form["next"])
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert outcomes.secrets["lead"].lower() not in cookie


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "evil",
        "/\r\nx",
    ],
)
async def test_a_login_leads_nowhere_else(outcomes: Reading, wanted: str) -> None:
    async with outcomes.client(None) as client:
        answer = await client.post("/login", data={"token": outcomes.secrets["lead"], "next": wanted})
    assert answer.headers["location"] == "/"


async def test_an_unknown_token_is_told_so_and_never_shown_again(outcomes: Reading) -> None:
    async with outcomes.client(None) as client:
        answer = await client.post("/login", data={"token": "week12_guess"})
    assert answer.status_code == 401
    assert "not known" in answer.text
    assert "week12_guess" not in answer.text
    assert "set-cookie" not in answer.headers
    assert outcomes.count("week12_auth_failures_total", reason="unauthenticated") == 1


async def test_logging_out_ends_it(outcomes: Reading) -> None:
    async with outcomes.browser("lead") as browser:
        assert (await browser.get("/")).status_code == 200
        answer = await browser.post("/logout")
        assert answer.headers["location"] == "/login"
        assert f'{COOKIE}=""' in answer.headers["set-cookie"]


@pytest.mark.parametrize("path", ["/login", "/logout"])
async def test_forms_of_other_addresses_are_refused(outcomes: Reading, path: str) -> None:
    async with outcomes.client(None, Origin="http://evil.example") as client:
        assert (await client.post(path, data={"token": outcomes.secrets["lead"]})).status_code == 403


@pytest.mark.parametrize(
    ("service", "path", "who", "status"),
    [
        ("outcomes", "/", "sender", 403), ("outcomes", "/", "analyst", 200), ("outcomes", "/patients", "sender", 403),
        ("outcomes", "/patients/CD-9999", "lead", 404), ("outcomes", "/patients/CD-0001", "clinic", 404),
        ("outcomes", "/?site=S03", "clinic", 404), ("outcomes", "/?as_of=yesterday", "lead", 422),
        ("outcomes", "/?as_of=2030-01-01", "lead", 422), ("outcomes", "/?protocol=other", "lead", 404),
        ("outcomes", "/patients?endpoint=other", "lead", 404),
        ("safety", "/", "sender", 403), ("safety", "/", "analyst", 200), ("safety", "/patients/CD-9999", "lead", 404),
        ("safety", "/incidence?at=S99", "lead", 404),
    ],
)  # fmt: skip
async def test_what_cannot_be_shown_is_a_page_that_says_why(
    service: str, path: str, who: str, status: int, outcomes: Reading, safety: Reading
) -> None:
    answer = await (outcomes if service == "outcomes" else safety).page(path, who)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    Outline(answer.text)


# -- what the pages say ----------------------------------------------------------------------------------------


async def test_the_first_page_shows_the_live_rates_beside_the_published_ones(outcomes: Reading) -> None:
    text = (await outcomes.page("/")).text
    for published in ("53.25", "42.86", "50.00", "38.89", "27.78", "62.71", "70.91", "29.63"):
        assert text.count(f">{published}") >= 2, published  # live and published
    assert text.count('class="observed" data-rate') == sum(
        "week_12" in FU2025.scheduled(endpoint) for endpoint in FU2025.endpoints
    )
    assert "34.04" in text
    assert "/patients?endpoint=clinical_response&amp;group=left_out&amp;reason=missed" in text


async def test_a_day_in_the_address_is_kept_in_every_link(outcomes: Reading) -> None:
    text = (await outcomes.page("/?as_of=2024-06-30&site=S01")).text
    assert "As of 2024-06-30" in text
    assert "refresh.js" not in text  # the past does not move
    links = re.findall(r'href="(/patients\?[^"]+)"', text)
    assert links
    assert all("as_of=2024-06-30" in link and "site=S01" in link for link in links)


async def test_a_page_is_sent_again_only_when_something_changed(outcomes: Reading) -> None:
    async with outcomes.browser("lead") as browser:
        tag = (await browser.get("/")).headers["etag"]
        assert (await browser.get("/", headers={"If-None-Match": tag})).status_code == 304
        outcomes.node.committed.beat()
        assert (await browser.get("/", headers={"If-None-Match": tag})).status_code == 200
        tag = (await browser.get("/")).headers["etag"]
        outcomes.node.parts["kafka"] = "away"
        answer = await browser.get("/", headers={"If-None-Match": tag})
    assert "Kafka is away" in answer.text


async def test_a_single_centre_sees_no_small_cells_of_the_others(outcomes: Reading, safety: Reading) -> None:
    text = (await outcomes.page("/", "clinic")).text
    assert "under 5" in text
    assert 'value="S01"' in text
    assert 'value="S02"' not in text
    assert "fewer than 5 patients: not shown" in (await safety.page("/incidence", "clinic")).text


async def test_who_may_not_act_is_offered_no_form(safety: Reading) -> None:
    assert "<textarea" in (await safety.page("/", "officer")).text
    assert "<textarea" not in (await safety.page("/", "lead")).text
    assert 'id="alerts"' not in (await safety.page("/", "analyst")).text


async def test_text_of_people_stays_text(tmp_path: Path) -> None:
    term = "<script>alert(1)</script>"
    store = filled(SAFETY, [enrolment(), adverse_event(3, term=term, serious=True, grade=3)], CUT)
    reading = Reading(store, tmp_path)
    for path in ("/", "/patients/W12-0001"):
        text = (await reading.page(path, "officer")).text
        assert term not in text
        assert "&lt;script&gt;" in text
    reading.node.close()


# -- words, formats, axes --------------------------------------------------------------------------------------


def test_every_reason_has_a_heading() -> None:
    assert set(HEADS) == set(REASONS)


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("clinical_response", "CDAI lower by 100 or more"),
        ("clinical_remission", "CDAI below 150"),
        ("endoscopic_response", "SES-CD lower by more than 50 % (from 4: by 2 or more)"),
        (
            "endoscopic_remission",
            "SES-CD 4 or less and SES-CD lower by 2 or more and highest SES-CD item 1 or less",
        ),
        ("mucosal_healing", "SES-CD 0"),
        ("crp_normalisation", "CRP raised at baseline, now within the laboratory's limit"),
        ("esr_normalisation", "ESR raised at baseline, now within the laboratory's limit"),
        ("fcal_normalisation", "Calprotectin raised at baseline, now below 250 ug/g"),
    ],
)
def test_definitions_are_told_with_the_protocols_limits(endpoint: str, text: str) -> None:
    (found,) = [e for e in FU2025.endpoints if e.name == endpoint]
    assert definition(found, FU2025) == text


def test_endpoints_are_named_as_clinicians_name_them() -> None:
    assert endpoint_label("crp_normalisation") == "CRP normalisation"
    assert endpoint_label("endoscopic_remission") == "Endoscopic remission"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (formats.percent(33 / 77), "42.86"), (formats.percent(0.0), "0.00"), (formats.percent(1.0, 1), "100.0"),
        (formats.percent(None), "–"), (formats.count(1234567), "1\u202f234\u202f567"), (formats.count(0), "0"),
        (formats.plain(Decimal("12.500000000")), "12.5"), (formats.plain(Decimal("100.000000000")), "100"),
        (formats.plain(0.36), "0.36"), (formats.plain(Decimal("258.705428246")), "258.705"), (formats.plain(None), "–"),
        (formats.decimal(1234.5, 1), "1\u202f234.5"),
        (formats.day(date(2025, 3, 1)), "2025-03-01"), (formats.moment(datetime(2025, 3, 1, 4, 5)), "2025-03-01 04:05"),
        (formats.words("grade_3_plus"), "grade 3 plus"), (formats.title("not_due"), "Not due"),
    ],
)  # fmt: skip
def test_formats(found: str, expected: str) -> None:
    assert found == expected


def test_an_axis_puts_values_in_proportion_and_keeps_them_in() -> None:
    axis = Axis(0, 1, width=320, margin=10)
    assert [axis.x(value) for value in (0, 0.5, 1, -1, 2)] == [10, 160, 310, 10, 310]
    assert axis.ticks == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("values", "high", "ticks"),
    [
        ([65.3], 80, [0, 20, 40, 60, 80]),
        ([8.1, 3], 10, [0, 2.5, 5, 7.5, 10]),
        ([], 1, [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_an_axis_ends_at_a_round_value_beyond_all(
    values: list[float], high: float, ticks: list[float]
) -> None:
    axis = axis_for(values)
    assert axis.high == high
    assert axis.ticks == ticks

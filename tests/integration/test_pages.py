"""The pages as people meet them: in Chromium, on real servers, while records arrive and connections break."""

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from click.testing import CliRunner, Result
from playwright.sync_api import (
    APIResponse,
    Browser,
    BrowserContext,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)
from reading_helpers import OUTCOMES, SAFETY, Reading, cohort_events, filled
from stores import FU2025
from twin.builders import adverse_event, enrolment, on, start, visit

from services.broker.process import free_port
from services.cli import main
from services.runtime.serve import serve

T = TypeVar("T")
Row = dict[str, Any]

CHROMIUM = Path("/usr/bin/chromium")
WITHIN = 2_000
"""Milliseconds within which an open page shows a commit."""
PAGES = {
    "outcomes": [
        "/",
        "/patients?endpoint=crp_normalisation",
        "/patients/CD-0067",
        "/patients/CD-0067/explain",
        "/data-quality",
        "/predictors",
        "/worklist?which=all&as_of=2024-06-30",
    ],
    "safety": ["/", "/incidence", "/patients/CD-0067"],
}
LINE = """element => { const box = element.getBoundingClientRect(); return [box.left, box.right] }"""
CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const weak = [];
  for (const element of document.querySelectorAll("main *, header *")) {
    const says = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!says || !element.checkVisibility() || element.closest("svg, .hidden, select")) continue;
    const style = getComputedStyle(element), back = behind(element), front = parse(style.color);
    const share = front[3] / 255;
    const mixed = front.slice(0, 3).map((v, i) => v * share + back[i] * (1 - share));
    const [a, b] = [light(mixed), light(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push([element.tagName, element.className, element.textContent.trim().slice(0, 30), ratio]);
  }
  return weak;
}
"""


class Site:
    """Both services on one machine: an event loop in a thread of its own, and the test beside it."""

    def __init__(self, folder: Path, events: list[Row]) -> None:
        self.ports = {"outcomes": free_port(), "safety": free_port()}
        ports = {f"{name}_port": port for name, port in self.ports.items()}
        outcomes = Reading(filled(OUTCOMES, events), folder, **ports)
        safety = Reading(filled(SAFETY, events), folder, outcomes, **ports)
        self.services = {"outcomes": outcomes, "safety": safety}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stops: dict[str, asyncio.Event] = {}
        self._running: dict[str, Future[None]] = {}
        for name in self.services:
            self.start(name)

    def address(self, service: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def start(self, name: str) -> None:
        """Serve, on the port it always has, and wait until it answers."""
        stop = self._stops[name] = asyncio.Event()
        self.services[name].stopping.clear()
        serving = serve(self.services[name].app, "127.0.0.1", self.ports[name], stop)
        self._running[name] = asyncio.run_coroutine_threadsafe(serving, self._loop)
        until(lambda: _answers(self.address(name, "/health/live")), 10)

    def stop(self, name: str) -> float:
        """Stop serving, as at a shutdown; returns the seconds it took."""
        began = time.monotonic()
        self._loop.call_soon_threadsafe(self._stops[name].set)
        self._loop.call_soon_threadsafe(self.services[name].stopping.set)
        self._running.pop(name).result(20)
        return time.monotonic() - began

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run on the services' loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def commit(self, service: str, *events: Row) -> None:
        """Commit events as the processor does."""
        self.run(self.services[service].commit(*events))

    def close(self) -> None:
        for name in list(self._running):
            self.stop(name)
        self.run(_end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
        for service in self.services.values():
            service.node.close()


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).status_code == 200
    except httpx.TransportError:
        return False


def until(holds: Callable[[], object], seconds: float) -> None:
    """Wait for a condition, up to a deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "this did not come about in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium, without a window."""
    if not CHROMIUM.exists():
        reason = f"needs {CHROMIUM}: apt-get install chromium"
        if os.environ.get("WEEK12_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        # Containers give neither the rights that the sandbox needs nor a large /dev/shm.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The study cohort on both services; not to be changed."""
    site = Site(tmp_path_factory.mktemp("cohort"), cohort_events())
    yield site
    site.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Site]:
    """Both services with one treated patient, to be added to."""
    site = Site(tmp_path, [enrolment(site_id="S01"), start(site_id="S01")])
    yield site
    site.close()


@pytest.fixture
def visit_site(chromium: Browser) -> Iterator[Callable[..., "Visitor"]]:
    """Opens browsers of their own, logged in; at the end none may have had an error or asked elsewhere."""
    visitors: list[Visitor] = []

    def visit_as(site: Site, who: str = "officer", **options: Any) -> Visitor:
        visitors.append(Visitor(site, chromium.new_context(**options), who))
        return visitors[-1]

    yield visit_as
    for visitor in visitors:
        visitor.context.close()
        assert visitor.complaints == []
        assert [address for address in visitor.asked if not address.startswith("http://127.0.0.1:")] == []


class Visitor:
    """Somebody with a browser."""

    def __init__(self, site: Site, context: BrowserContext, who: str) -> None:
        self.site = site
        self.context = context
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.forgives = False
        context.on("request", self._note)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("console", lambda line: self._complain(line.type, line.text))
        page = context.new_page()
        page.goto(site.address("outcomes", "/login"))
        page.get_by_label("Access token").fill(site.services["outcomes"].secrets[who])
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/login" not in url)
        page.close()

    def _note(self, request: Request) -> None:
        self.asked.append(request.url)

    def _complain(self, kind: str, text: str) -> None:
        if kind == "error" and not self.forgives:
            self.complaints.append(text)

    def open(self, service: str, path: str = "/") -> Page:
        """A page, and a mark on it that a reload would lose."""
        page = self.context.new_page()
        page.goto(self.site.address(service, path))
        page.evaluate("window.marked = true")
        return page


def acknowledge(page: Page, note: str) -> None:
    """Open the only alert, write a note and send it."""
    page.locator("#alerts summary").click()
    page.get_by_label("Note").fill(note)
    page.get_by_role("button", name="Acknowledge").click()


def serious(number: int, **fields: Any) -> Row:
    """A serious adverse event: one alert, `high`."""
    report = {"site_id": "S01", "serious": True, "grade": 2, "term": f"Event {number}"}
    return adverse_event(number, f"ae-{number}", **report | fields)


def shown(page: Page) -> list[str]:
    """What the alerts of a page are about, from above."""
    titles = page.locator("#alerts tr th").all_inner_texts()
    return [re.search(r"Event \d+", title).group() for title in titles]  # type: ignore[union-attr]


# -- outcomes --------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_first_page_shows_the_published_rates_and_draws_their_intervals(
    cohort: Site, visit_site: Callable[..., Visitor]
) -> None:
    page = visit_site(cohort).open("outcomes")
    row = page.locator('tr[data-endpoint="clinical_remission"]')
    expect(row).to_contain_text("33 / 77")
    expect(row.locator("td.strong")).to_have_text("42.86")
    judged = [endpoint for endpoint in FU2025.endpoints if "week_12" in FU2025.scheduled(endpoint)]
    expect(page.locator("svg .observed")).to_have_count(len(judged) + 1)  # and the legend
    left, right = row.locator(".observed line").first.evaluate(LINE)
    grid = [line.evaluate(LINE)[0] for line in row.locator(".grid").all()]
    unit = grid[-1] - grid[0]  # from 0 to 100 %
    # Wilson's limits of 33/77: 32.40 and 53.99 %
    assert (left - grid[0]) / unit == pytest.approx(0.3240, abs=0.01)
    assert (right - grid[0]) / unit == pytest.approx(0.5399, abs=0.01)
    diamond = row.locator("path.published").evaluate(LINE)
    assert (sum(diamond) / 2 - grid[0]) / unit == pytest.approx(0.4286, abs=0.01)


@pytest.mark.browser
def test_a_rate_moves_on_the_open_page(live: Site, visit_site: Callable[..., Visitor]) -> None:
    page = visit_site(live).open("outcomes")
    row = page.locator('tr[data-endpoint="clinical_remission"]')
    expect(row).to_contain_text("0 / 0")
    live.commit("outcomes", visit(-2, cdai=300, site_id="S01"), visit(84, cdai=100, site_id="S01"))
    expect(row).to_contain_text("1 / 1", timeout=2 * WITHIN)
    expect(page.locator("[data-connection]")).to_have_text("Live")
    expect(page.locator("time").first).to_contain_text("UTC")
    assert page.evaluate("window.marked")


@pytest.mark.browser
def test_from_a_figure_to_its_patients_to_a_patient_to_their_timeline_and_back_in_time(
    cohort: Site, visit_site: Callable[..., Visitor]
) -> None:
    page = visit_site(cohort).open("outcomes")
    page.locator('[data-part="account-clinical_remission"]').get_by_role("link", name="17").click()
    expect(page.locator("tbody tr")).to_have_count(17)
    page.locator("tbody a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Patient CD-")
    expect(page.locator("[data-outcome=clinical_remission]")).to_contain_text("without a value")
    page.get_by_role("link", name="timeline and safety").click()  # the other service, the same login
    expect(page.get_by_role("heading", level=1)).to_contain_text("Timeline of CD-")
    page.get_by_role("link", name="Outcomes", exact=True).click()
    page.get_by_label("As of").fill("2024-06-30")
    page.locator("select[name=site]").select_option("S01")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**as_of=2024-06-30**")
    expect(page.get_by_text("As of 2024-06-30", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Rates at S01")).to_be_visible()


@pytest.mark.browser
def test_an_estimand_chosen_stands_in_the_address_and_leads_to_why_a_value_was_used(
    cohort: Site, visit_site: Callable[..., Visitor]
) -> None:
    page = visit_site(cohort).open("outcomes")
    page.get_by_label("Counted").select_option("nri")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**estimand=nri**")
    row = page.locator('tr[data-endpoint="clinical_remission"]')
    expect(row).to_contain_text("33 / 94")
    expect(row.locator(".observed")).to_have_attribute("data-rate", "35.11")
    row.get_by_role("link", name="33").click()
    expect(page.locator("tbody tr")).to_have_count(33)
    page.locator("tbody a").first.click()
    expect(page.locator("[data-outcome=clinical_remission] .yes").first).to_have_text("yes")
    used = page.locator("svg.weighed circle.used")
    expect(used).to_have_count(2)  # at baseline and at week 12, each in its window
    for mark, window in zip(used.all(), page.locator("svg.weighed .window").all(), strict=True):
        (left, right), (opens, closes) = mark.evaluate(LINE), window.evaluate(LINE)
        assert opens <= (left + right) / 2 <= closes
    page.locator("section details").first.locator("summary").click()
    expect(page.locator("section details[open] tbody tr").first).to_be_visible()


def test_the_command_explains_from_the_running_services(cohort: Site, tmp_path: Path) -> None:
    outcomes = cohort.services["outcomes"]
    place = {f"WEEK12_{name.upper()}_PORT": str(port) for name, port in cohort.ports.items()}
    narrowed = ("--timepoint", "week_12", "--endpoint", "clinical_remission")

    def explain(who: str, *arguments: str) -> Result:
        environment = {**place, "WEEK12_DATA_DIR": str(tmp_path), "WEEK12_TOKEN": outcomes.secrets[who]}
        return CliRunner().invoke(main, ["explain", *arguments], env=environment)

    told = explain("lead", "CD-0067", *narrowed)
    assert (told.exit_code, told.stderr) == (0, "")
    assert "CDAI below 150: no (185)" in told.stdout
    assert "alert" in told.stdout.lower()
    unheard = explain("analyst", "CD-0067", *narrowed)
    assert "alerts are not shown" in unheard.stderr
    assert "CDAI below 150: no (185)" in unheard.stdout
    for who, arguments, said in [
        ("sender", ("CD-0067",), "Error: outcomes: Your roles do not carry the permission read_patients."),
        ("lead", ("CD-9999",), "Error: there is no patient of that name"),
        (
            "lead",
            ("CD-0067", "--timepoint", "week_13"),
            "Error: outcomes: timepoint: is none of baseline, week_2,",
        ),
    ]:
        refused = explain(who, *arguments)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert refused.stderr.startswith(said), refused.stderr


@pytest.mark.browser
def test_the_worklist_shortens_by_itself_and_comes_as_a_file(
    live: Site, visit_site: Callable[..., Visitor]
) -> None:
    live.commit("outcomes", visit(-2, cdai=300, site_id="S01"))
    live.run(live.services["outcomes"].node.write(live.services["outcomes"].node.store.set_today, on(80)))
    live.commit("outcomes", visit(-1, "later", weight_kg=60, site_id="S01"))
    page = visit_site(live, "clinic").open("outcomes")
    page.get_by_role("link", name="Worklist").click()
    row = page.locator("#worklist tbody tr")
    expect(row).to_contain_text("W12-0001")
    expect(row).to_contain_text("CDAI visit")
    expect(row.locator("td.n")).to_have_text("18")  # day 98 closes the window
    with page.expect_download() as awaited:
        page.get_by_role("link", name="as CSV").click()
    lines = Path(awaited.value.path()).read_text(encoding="utf-8").splitlines()
    assert awaited.value.suggested_filename == f"worklist-{on(80)}.csv"
    assert [line.split(",")[1] for line in lines[1:]] == ["W12-0001"]
    live.commit("outcomes", visit(79, cdai=100, site_id="S01"))
    expect(page.get_by_text("Nothing is due")).to_be_visible(timeout=2 * WITHIN)


# -- alerts ----------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_new_alert_appears_by_itself_within_two_seconds(
    live: Site, visit_site: Callable[..., Visitor]
) -> None:
    page = visit_site(live).open("safety")
    expect(page.locator("[data-connection]")).to_have_text("Live")
    expect(page.get_by_text("No alert fits")).to_be_visible()
    live.commit("safety", serious(1))
    expect(page.locator("#alerts")).to_contain_text("Event 1", timeout=WITHIN)
    expect(page.locator("#alerts .severity")).to_have_text("High")
    expect(page.locator("#counts")).to_contain_text("1 high open")
    expect(page).to_have_title("(1) Alerts · week12")
    expect(page.locator("#news")).to_contain_text("Event 1")  # what a screen reader says
    expect(page.locator('[data-group="serious"]')).to_contain_text("1 / 1", timeout=2 * WITHIN)
    expect(page.locator("[data-part=state]")).to_contain_text("UTC")
    assert page.evaluate("window.marked")


@pytest.mark.browser
def test_a_broken_connection_resumes_with_nothing_missed_and_nothing_twice(
    live: Site, visit_site: Callable[..., Visitor]
) -> None:
    visitor = visit_site(live)
    page = visitor.open("safety")
    expect(page.locator("[data-connection]")).to_have_text("Live")
    page.evaluate(
        "new MutationObserver((all) => { for (const m of all) for (const n of m.addedNodes) if (n.id) "
        "(window.added ??= []).push(n.id) }).observe(document.getElementById('alerts'), {childList: true})"
    )
    live.commit("safety", serious(1), serious(2))
    expect(page.locator("#alerts tr")).to_have_count(2)
    visitor.forgives = True  # the browser reports connections refused
    live.stop("safety")
    expect(page.locator("[data-connection]")).to_contain_text("Connection lost")
    live.commit("safety", serious(3))
    live.commit("safety", serious(4), serious(5))
    live.start("safety")
    expect(page.locator("#alerts tr")).to_have_count(5, timeout=15_000)
    expect(page.locator("[data-connection]")).to_have_text("Live")
    live.commit("safety", serious(6))
    expect(page.locator("#alerts tr")).to_have_count(6)
    assert sorted(shown(page)) == [f"Event {number}" for number in range(1, 7)]
    put = page.evaluate("window.added")
    assert len(put) == len(set(put)) == 6, "an alert was told twice"
    assert page.evaluate("window.marked")


@pytest.mark.browser
def test_what_one_person_does_about_an_alert_all_see_at_once(
    live: Site, visit_site: Callable[..., Visitor]
) -> None:
    live.commit("safety", serious(1))
    acting, watching = visit_site(live).open("safety"), visit_site(live, "clinic").open("safety")
    for page in (acting, watching):
        expect(page.locator("[data-connection]")).to_have_text("Live")
    expect(watching.locator("#alerts details")).to_have_count(0)
    acting.locator("#alerts summary").focus()
    acting.keyboard.press("Enter")
    acting.get_by_label("Note").fill("Seen on the ward")
    acting.get_by_role("button", name="Acknowledge").click()
    for page in (acting, watching):
        expect(page.locator("#alerts .state")).to_contain_text("Acknowledged")
        expect(page.locator("#alerts .state")).to_contain_text("by officer")
        expect(page.locator("#alerts .state")).to_contain_text("Seen on the ward")
        expect(page.locator("#counts")).to_contain_text("1 acknowledged")
    acting.locator("#alerts summary").click()
    acting.get_by_label("Note").fill("Done")
    acting.get_by_role("button", name="Close").click()
    expect(watching.locator("#alerts .state")).to_contain_text("Closed")
    expect(acting.locator("#alerts details")).to_have_count(0)


@pytest.mark.browser
def test_a_note_that_was_sent_is_gone_even_when_the_news_overtakes_the_answer(
    live: Site, visit_site: Callable[..., Visitor]
) -> None:
    live.commit("safety", serious(1))
    page = visit_site(live).open("safety")
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/v1/alerts/**", lambda route: held.append((route, route.fetch())))
    acknowledge(page, "Seen on the ward")
    expect(page.locator("#alerts .state")).to_contain_text("Seen on the ward")
    note_is_gone(page)
    ((route, answer),) = held
    with page.expect_response("**/v1/alerts/**"):
        route.fulfill(response=answer)
    note_is_gone(page)


def note_is_gone(page: Page) -> None:
    expect(page.locator("#alerts details[open]")).to_have_count(0)
    expect(page.get_by_label("Note")).to_have_value("")


@pytest.mark.browser
def test_a_note_that_could_not_be_sent_is_kept_and_says_so(
    live: Site, visit_site: Callable[..., Visitor]
) -> None:
    live.commit("safety", serious(1))
    visitor = visit_site(live)
    page = visitor.open("safety")
    visitor.forgives = True  # the browser reports the request that fails
    page.route("**/v1/alerts/**", lambda route: route.abort())
    acknowledge(page, "Seen on the ward")
    expect(page.get_by_role("alert")).to_have_text("The service did not answer. Try again.")
    expect(page.get_by_label("Note")).to_have_value("Seen on the ward")
    page.unroute("**/v1/alerts/**")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#alerts .state")).to_contain_text("Acknowledged")


@pytest.mark.browser
def test_a_note_being_written_survives_news_of_its_alert(
    live: Site, visit_site: Callable[..., Visitor]
) -> None:
    live.commit("safety", serious(1))
    page = visit_site(live).open("safety")
    page.locator("#alerts summary").click()
    page.get_by_label("Note").fill("Half a sent")
    live.commit("safety", serious(1, version=2, grade=4))
    expect(page.locator("#alerts")).to_contain_text("Grade 4")
    expect(page.locator("#alerts tr").filter(has_text="Serious").get_by_label("Note")).to_have_value(
        "Half a sent"
    )


@pytest.mark.browser
def test_filters_hold_for_what_arrives(live: Site, visit_site: Callable[..., Visitor]) -> None:
    page = visit_site(live).open("safety", "/?severity=critical")
    expect(page.locator("[data-connection]")).to_have_text("Live")
    live.commit("safety", serious(1))
    live.commit("safety", serious(2, seriousness=["life_threatening"]))
    expect(page.locator("#counts")).to_contain_text("1 critical open")
    assert shown(page) == ["Event 2"]


@pytest.mark.browser
def test_a_login_that_ends_leads_to_the_login_page(live: Site, visit_site: Callable[..., Visitor]) -> None:
    visitor = visit_site(live)
    page = visitor.open("safety")
    expect(page.locator("[data-connection]")).to_have_text("Live")
    visitor.forgives = True
    live.services["outcomes"].tokens.revoke("officer")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible(timeout=20_000)


@pytest.mark.browser
def test_without_scripts_everything_can_be_read_and_done(
    live: Site, visit_site: Callable[..., Visitor]
) -> None:
    live.commit("safety", serious(1))
    context = visit_site(live, java_script_enabled=False).context
    page = context.new_page()
    page.goto(live.address("safety"))
    page.locator("#alerts summary").click()
    page.get_by_label("Note").fill("Seen")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#alerts .state")).to_contain_text("Acknowledged")
    page.goto(live.address("outcomes"))
    expect(page.locator('tr[data-endpoint="clinical_remission"]')).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


# -- for everybody, everywhere ---------------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 768, 1400])
def test_no_page_is_wider_than_its_window(
    cohort: Site, visit_site: Callable[..., Visitor], width: int
) -> None:
    visitor = visit_site(cohort, viewport={"width": width, "height": 800})
    for service, paths in PAGES.items():
        for path in paths:
            page = visitor.open(service, path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (service, path)
            page.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_background(
    cohort: Site, visit_site: Callable[..., Visitor], scheme: str
) -> None:
    visitor = visit_site(cohort, color_scheme=scheme)
    for service, paths in PAGES.items():
        for path in [*paths, "/login"]:
            page = visitor.open(service, path)
            assert page.evaluate(CONTRAST) == [], (service, path)
            page.close()


@pytest.mark.browser
def test_the_keyboard_reaches_the_content_first_and_shows_where_it_is(
    cohort: Site, visit_site: Callable[..., Visitor]
) -> None:
    page = visit_site(cohort).open("outcomes")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    expect(focused).to_have_text("Skip to the content")
    expect(focused).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"


# -- the stream, without a browser -----------------------------------------------------------------------------


def read_stream(site: Site, last: str, wanted: int, who: str = "officer") -> tuple[list[str], str]:
    """Event ids of the next `wanted` alerts of the stream, and the id of the last event."""
    told: list[str] = []
    headers = {"Authorization": f"Bearer {site.services['safety'].secrets[who]}", "Last-Event-ID": last}
    address = site.address("safety", "/v1/alerts/stream")
    with httpx.stream("GET", address, headers=headers, timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if line:
                continue
            last = fields.get("id", last)
            if fields.get("event") == "alert":
                told.append(re.search(r'"event_id":"([^"]+)"', fields["data"]).group(1))  # type: ignore[union-attr]
            if fields.get("event") == "counts" and len(told) >= wanted:
                return told, last
            fields.clear()
    raise AssertionError("the stream ended")


def test_programs_resume_the_stream_by_its_ids(live: Site) -> None:
    live.commit("safety", serious(1))
    told, last = read_stream(live, "", 1)
    assert told == ["ae-1"]
    live.commit("safety", serious(2))
    live.commit("safety", serious(3))
    told, last = read_stream(live, last, 2)
    assert told == ["ae-2", "ae-3"]
    live.stop("safety")
    live.commit("safety", serious(4))
    live.start("safety")
    assert read_stream(live, last, 1)[0] == ["ae-4"]


def test_open_streams_end_soon_after_the_service_is_stopped(live: Site) -> None:
    headers = {"Authorization": f"Bearer {live.services['safety'].secrets['officer']}"}
    address = live.address("safety", "/v1/alerts/stream")
    with httpx.stream("GET", address, headers=headers, timeout=10) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert live.services["safety"].count("week12_sse_clients", service="safety") == 1
        assert live.stop("safety") < 2.5
        assert [line for line in lines if line.startswith("event: alert")] == []
    assert live.services["safety"].count("week12_sse_clients", service="safety") == 0

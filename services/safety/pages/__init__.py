"""The pages of safety: alerts as they arrive, incidence, a patient's timeline."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Form, Request
from sse_starlette import ServerSentEvent
from starlette.responses import RedirectResponse, Response

from schemas.protocol import Protocol, load_protocol
from services.runtime.pages import PageRoute, Site, asked, visitor
from services.runtime.pages.drawing import axis_for
from services.runtime.tokens import Caller
from services.runtime.web import require
from services.safety.acting import Desk
from services.safety.actions import Act
from services.safety.feed import PENDING_STATES, News
from services.safety.gauges import SEVERITIES
from services.safety.pages.strip import strip
from services.safety.reading import SafetyReader
from services.safety.streaming import Listening
from services.stream.http import Commits, Row, matching, not_here, page_version, refused
from services.stream.node import Node

ALERTS_A_PAGE = 100
FIXED_GROUPS = ("any", "serious", "grade_3_plus")
"""Event groups that stand first; every other is a term."""
GROUP_LABELS = {"any": "Any adverse event", "serious": "Serious", "grade_3_plus": "Grade 3 or higher"}
RULES = {
    "serious_event": "serious event",
    "grade_3_plus": "grade 3 or higher",
    "lab_toxicity": "laboratory grade",
}
STATES = ("open", "acknowledged", "closed", "withdrawn")
FILTERS = ("state", "severity", "site")

Visitor = Annotated[Caller, Depends(visitor("read_alerts", "read_rates"))]
Watcher = Annotated[Caller, Depends(require("read_alerts"))]
Actor = Annotated[Caller, Depends(require("act_on_alerts"))]
PatientReader = Annotated[Caller, Depends(visitor("read_patients"))]


def add_safety_pages(
    app: FastAPI, node: Node, reader: SafetyReader, desk: Desk, listening: Listening, commits: Commits
) -> None:
    """Add the pages to the API's app."""
    protocols = [load_protocol(name) for name in node.settings.protocols]
    site = Site(
        app,
        "safety",
        Path(__file__).parent,
        SEVERITIES=SEVERITIES,
        STATES=STATES,
        RULES=RULES,
        GROUP_LABELS=GROUP_LABELS,
    )
    app.include_router(_routes(_Pages(site, node, reader, listening, commits, protocols), desk))


class _Pages:
    """What each page gathers and shows."""

    def __init__(
        self,
        site: Site,
        node: Node,
        reader: SafetyReader,
        listening: Listening,
        commits: Commits,
        protocols: list[Protocol],
    ) -> None:
        self.site = site
        self.node = node
        self.reader = reader
        self.listening = listening
        self.commits = commits
        self.protocols = protocols

    async def alerts(self, request: Request, caller: Caller, wanted: dict[str, str]) -> Response:
        """Alerts as they arrive, and incidence below."""
        values = await self._incidence(request, caller, {})
        if caller.may("read_alerts"):
            values |= await self._alerts(caller, wanted)
        return self.site.page(request, "alerts.html", caller, **values)

    async def incidence(self, request: Request, caller: Caller, wanted: dict[str, str]) -> Response:
        """Incidence alone."""
        version = page_version(self.node, caller)
        if request.headers.get("if-none-match") == version:
            return Response(status_code=304)
        values = await self._incidence(request, caller, wanted)
        return self.site.page(request, "incidence.html", caller, headers={"ETag": version}, **values)

    async def timeline(self, request: Request, caller: Caller, patient_id: str, as_of: str) -> Response:
        """What happened to a patient."""
        found = await self.reader.patient(caller, patient_id, await self.reader.calendar.cut(as_of))
        return self.site.page(
            request,
            "timeline.html",
            caller,
            **found,
            strip=strip(found["timeline"], found["exposures"], found["as_of"]),
            outcomes=self.site.address(request, "outcomes", f"/patients/{quote(patient_id, safe='')}"),
        )

    async def _alerts(self, caller: Caller, wanted: dict[str, str]) -> dict[str, Any]:
        cursor = await self.listening.feed.cursor()  # before the rows: what comes between is told again
        states = (
            PENDING_STATES if not wanted["state"] else [s for s in STATES if wanted["state"] in (s, "any")]
        )
        equal = {"severity": wanted["severity"] or None, "site_id": wanted["site"] or None}
        rows, following = await self.reader.alerts(
            caller, equal, states, None, ALERTS_A_PAGE, wanted["after"] or None
        )
        return {
            "rows": rows,
            "following": following,
            "cursor": cursor,
            "counts": await self.listening.feed.counts(caller),
            "wanted": wanted,
            "query": {name: wanted[name] for name in FILTERS if wanted[name]},
        }

    async def _incidence(self, request: Request, caller: Caller, wanted: dict[str, str]) -> dict[str, Any]:
        cut = await self.reader.calendar.cut(wanted.get("as_of"))
        sites = await self.reader.sites(caller)
        site = wanted.get("at") or None
        if site and site not in sites:
            raise not_here("centre")
        rows = matching(await self.reader.incidence(caller, cut), {})
        drugs = sorted({row["drug"] for row in rows}, key=lambda drug: (-_people(rows, drug), drug))
        drug = wanted.get("drug") or (drugs[0] if drugs else None)
        shown = [row for row in rows if row["drug"] == drug and row["site_id"] == site]
        shown.sort(key=_group_order)
        return {
            "version": page_version(self.node, caller),
            "node": self.node,
            "commits": self.commits,
            "sites": sites,
            "incidence": shown,
            "drugs": drugs,
            "drug": drug,
            "site_shown": site,
            **await self.reader.calendar.shown(cut),
            "is_past": cut is not None,
            "incidence_query": {name: value for name, value in wanted.items() if value},
            "axis": axis_for([row["ci_high"] for row in shown if row["ci_high"] is not None], width=360),
            "published": None if site or cut else self._published(drug),
            "outcomes": self.site.address(request, "outcomes", "/"),
        }

    def _published(self, drug: str | None) -> dict[str, Any]:
        """Published shares of patients with an event, by event group."""
        return {
            reference.event_group: reference
            for protocol in self.protocols
            if protocol.drugs == "any" or drug in protocol.drugs
            for reference in protocol.reference
            if reference.event_group
        }

    def write(self, caller: Caller, wanted: dict[str, str]) -> Any:
        """How news is put for the alerts page: rows of its table, ready to be put in."""
        may_act, may_read = caller.may("act_on_alerts"), caller.may("read_patients")

        def events(news: News) -> Iterator[ServerSentEvent]:
            if news.reset:
                yield ServerSentEvent("", event="reset")
            for event_id, change in news.changes:
                if change.alert is None:
                    yield ServerSentEvent(change.alert_id, event="removed", id=event_id)
                else:
                    fits = _fits(change.alert, wanted)
                    row = self.site.fragment("alert.html", "row", change.alert, may_act, may_read, fits)
                    yield ServerSentEvent(row, event="alert", id=event_id)
            counts = self.site.fragment("alert.html", "counts", news.counts, wanted)
            yield ServerSentEvent(counts, event="counts", id=news.cursor)

        return events


def _routes(pages: _Pages, desk: Desk) -> APIRouter:
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/")
    async def alerts(request: Request, caller: Visitor) -> Response:
        return await pages.alerts(request, caller, asked(request, *FILTERS, "after"))

    @router.get("/incidence")
    async def incidence(request: Request, caller: Visitor) -> Response:
        return await pages.incidence(request, caller, asked(request, "drug", "at", "as_of"))

    @router.get("/patients/{patient_id:path}")
    async def timeline(request: Request, caller: PatientReader, patient_id: str) -> Response:
        return await pages.timeline(request, caller, patient_id, asked(request, "as_of")["as_of"])

    @router.get("/alerts/stream")
    async def stream(request: Request, caller: Watcher) -> Response:
        wanted = asked(request, *FILTERS, "after", "last")
        last = request.headers.get("last-event-id") or wanted["last"]
        return pages.listening.respond(request, caller, last, pages.write(caller, wanted))

    @router.post("/alerts/{alert_id}")
    async def act(
        request: Request,
        caller: Actor,
        alert_id: str,
        action: Annotated[str, Form()] = "",
        note: Annotated[str, Form()] = "",
    ) -> Response:
        if action not in ("acknowledge", "close"):
            raise refused("action", "type", "is acknowledge or close")
        await desk.act(caller, alert_id, cast("Act", action), note)
        return RedirectResponse("/", 303)

    return router


def _fits(alert: Row, wanted: dict[str, str]) -> bool:
    """Whether a new alert belongs on the page with these filters; never on an older page."""
    state = wanted["state"]
    states = PENDING_STATES if not state else (STATES if state == "any" else (state,))
    return (
        not wanted["after"]
        and alert["state"] in states
        and wanted["severity"] in ("", alert["severity"])
        and wanted["site"] in ("", alert["site_id"])
    )


def _people(rows: list[Row], drug: str) -> int:
    return max((row["patients"] or 0 for row in rows if row["drug"] == drug), default=0)


def _group_order(row: Row) -> tuple[int, int, str]:
    group = row["event_group"]
    if group in FIXED_GROUPS:
        return (FIXED_GROUPS.index(group), 0, "")
    return (len(FIXED_GROUPS), -(row["patients_with_event"] or 0), group)

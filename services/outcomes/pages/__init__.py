"""The pages of outcomes: week 12 beside the published table, patients, a patient, worklist, data quality."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response

from schemas.protocol import Protocol, load_protocol
from schemas.protocol_model import BASELINE
from services.outcomes.definition import REASONS
from services.outcomes.pages import wording
from services.outcomes.pages.course import courses
from services.outcomes.pages.predictors import predictor_page
from services.outcomes.pages.week12 import Choice, drugs_of, lines, reasons_of, shown
from services.outcomes.pages.worklist import WorklistPage
from services.outcomes.reading import OutcomesReader
from services.runtime.pages import PageRoute, Site, asked, visitor
from services.runtime.pages.drawing import Axis
from services.runtime.tokens import Caller
from services.stream.http import Commits, Row, not_here, page_version
from services.stream.node import Node

TIMEPOINT = "week_12"
PATIENTS_A_PAGE = 100
SHARE = Axis(0, 1)

RateReader = Annotated[Caller, Depends(visitor("read_rates"))]
PatientReader = Annotated[Caller, Depends(visitor("read_patients"))]


def add_outcomes_pages(app: FastAPI, node: Node, reader: OutcomesReader, commits: Commits) -> None:
    """Add the pages to the API's app."""
    protocols = {protocol.name: protocol for protocol in map(load_protocol, node.settings.protocols)}
    site = Site(
        app,
        "outcomes",
        Path(__file__).parent,
        REASONS=REASONS,
        endpoint_label=wording.endpoint_label,
        analyte_label=wording.analyte_label,
        head=wording.head,
        STATES=wording.STATES,
        shown=shown,
        share=SHARE,
    )
    app.include_router(_routes(_Pages(site, node, reader, commits, protocols)))
    app.include_router(predictor_page(site, reader, list(protocols)))


class _Pages:
    """What each page gathers and shows."""

    def __init__(
        self,
        site: Site,
        node: Node,
        reader: OutcomesReader,
        commits: Commits,
        protocols: dict[str, Protocol],
    ) -> None:
        self.site = site
        self.node = node
        self.reader = reader
        self.commits = commits
        self.protocols = protocols
        self._worklist = WorklistPage(site, node, reader.worklist, reader.calendar, commits)

    def _protocol(self, wanted: dict[str, str]) -> Protocol:
        name = wanted["protocol"] or next(iter(self.protocols))
        if name not in self.protocols:
            raise not_here("protocol")
        return self.protocols[name]

    async def week12(self, request: Request, caller: Caller, wanted: dict[str, str]) -> Response:
        """The live rates beside the published ones."""
        version = page_version(self.node, caller)
        if request.headers.get("if-none-match") == version:
            return Response(status_code=304)
        cut = await self.reader.calendar.cut(wanted["as_of"])
        store = await self.reader.store()
        cohort = await self.reader.cohort.rates(caller, cut, TIMEPOINT)
        sites = [name for name in store["sites"] or [] if caller.may_see(name)]
        if wanted["site"] and wanted["site"] not in sites:
            raise not_here("centre")
        protocol = self._protocol(wanted)
        drugs = drugs_of(protocol.name, cohort)
        drug = wanted["drug"] or (drugs[0] if drugs else None)
        choice = Choice(protocol, TIMEPOINT, drug, wanted["site"] or None)
        groups = lines(choice, cohort, await self.reader.accounts(cut, TIMEPOINT))
        return self.site.page(
            request,
            "week12.html",
            caller,
            headers={"ETag": version},
            version=version,
            node=self.node,
            commits=self.commits,
            store=store,
            as_of=cut.as_of if cut else store["today"],
            is_past=cut is not None,
            sites=sites,
            drugs=drugs,
            protocols=list(self.protocols.values()),
            choice=choice,
            groups=groups,
            reasons=reasons_of(groups),
            masked=caller.sites is not None and choice.site is None,
            event_references=[r for r in protocol.reference if r.event_group],
            safety=self.site.address(request, "safety", "/"),
            query={name: value for name, value in wanted.items() if value},
        )

    def _in_order(self, row: Row) -> tuple[str, int, int]:
        protocol = self.protocols[row["protocol"]]
        times = (BASELINE, *protocol.timepoint)
        names = [endpoint.name for endpoint in protocol.endpoints]
        return row["protocol"], times.index(row["timepoint"]), names.index(row["endpoint"])

    async def patients(self, request: Request, caller: Caller, wanted: dict[str, str]) -> Response:
        """The patients behind a figure."""
        cut = await self.reader.calendar.cut(wanted["as_of"])
        protocol = self._protocol(wanted)
        endpoint = next((e for e in protocol.endpoints if wanted["endpoint"] in ("", e.name)), None)
        if endpoint is None:
            raise not_here("outcome")
        equal = {
            "protocol": protocol.name,
            "timepoint": TIMEPOINT,
            "endpoint": endpoint.name,
            "site_id": wanted["site"] or None,
            "reason": wanted["reason"] or None,
            "status": wanted["status"] or None,
        }
        rows, following = await self.reader.outcomes(
            caller, cut, equal, PATIENTS_A_PAGE, wanted["after"] or None
        )
        store = await self.reader.store()
        return self.site.page(
            request,
            "patients.html",
            caller,
            rows=rows,
            following=following,
            as_of=cut.as_of if cut else store["today"],
            query={name: value for name, value in wanted.items() if value and name != "after"},
            asked=wanted,
            endpoint=endpoint.name,
            options=[(e.name, wording.endpoint_label(e.name)) for e in protocol.endpoints],
            reasons=[(name, wording.head(name)) for name in REASONS],
            definition=wording.definition(endpoint, protocol),
            sites=[name for name in store["sites"] or [] if caller.may_see(name)],
        )

    async def patient(self, request: Request, caller: Caller, patient_id: str, as_of: str) -> Response:
        """Everything that is derived of one patient, and why."""
        cut = await self.reader.calendar.cut(as_of)
        found = await self.reader.patient(caller, patient_id, cut)
        found["outcomes"].sort(key=self._in_order)
        return self.site.page(
            request,
            "patient.html",
            caller,
            **found,
            protocol_count=len(self.protocols),
            courses=courses(found["biomarkers"], found["patient"]["first_dose_on"]),
            timeline=self.site.address(request, "safety", f"/patients/{quote(patient_id, safe='')}"),
        )

    async def worklist(self, request: Request, caller: Caller, wanted: dict[str, str]) -> Response:
        """What centres have to do."""
        store = await self.reader.store()
        sites = [name for name in store["sites"] or [] if caller.may_see(name)]
        return await self._worklist.show(request, caller, wanted, sites, list(self.protocols))

    async def quality(self, request: Request, caller: Caller, wanted: dict[str, str]) -> Response:
        """What is wrong with the records, centre by centre."""
        equal = {"site_id": wanted["site"] or None, "rule": wanted["rule"] or None}
        rows, following = await self.reader.findings(caller, equal, PATIENTS_A_PAGE, wanted["after"] or None)
        return self.site.page(
            request,
            "quality.html",
            caller,
            rows=rows,
            following=following,
            asked=wanted,
            counts=await self.reader.finding_counts(caller),
            query={name: value for name, value in wanted.items() if value and name != "after"},
        )


def _routes(pages: _Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/")
    async def week12(request: Request, caller: RateReader) -> Response:
        return await pages.week12(request, caller, asked(request, "site", "as_of", "protocol", "drug"))

    @router.get("/patients")
    async def patients(request: Request, caller: PatientReader) -> Response:
        names = ("endpoint", "site", "reason", "status", "protocol", "as_of", "after")
        return await pages.patients(request, caller, asked(request, *names))

    @router.get("/patients/{patient_id:path}")
    async def patient(request: Request, caller: PatientReader, patient_id: str) -> Response:
        return await pages.patient(request, caller, patient_id, asked(request, "as_of")["as_of"])

    @router.get("/worklist")
    async def worklist(request: Request, caller: PatientReader) -> Response:
        names = ("site", "timepoint", "state", "which", "protocol", "as_of")
        return await pages.worklist(request, caller, asked(request, *names))

    @router.get("/data-quality")
    async def quality(request: Request, caller: PatientReader) -> Response:
        return await pages.quality(request, caller, asked(request, "site", "rule", "after"))

    return router

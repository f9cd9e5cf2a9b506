"""The pages of outcomes: week 12 beside the published table, patients, a patient, worklist, data quality."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response

from schemas.protocol import Protocol, load_protocol
from schemas.protocol_model import BASELINE
from services.outcomes.cohort import Part
from services.outcomes.definition import REASONS
from services.outcomes.explain.document import Wanted
from services.outcomes.explain.wording import ANSWERS
from services.outcomes.pages import wording
from services.outcomes.pages.course import courses
from services.outcomes.pages.explained import ASIDE, draw
from services.outcomes.pages.predictors import predictor_page
from services.outcomes.pages.week12 import BESIDE, ESTIMANDS, Choice, drugs_of, lines, reasons_of, shown
from services.outcomes.pages.worklist import WorklistPage
from services.outcomes.reading import GROUPS, OutcomesReader, group_of
from services.runtime.pages import PageRoute, Site, asked, visitor
from services.runtime.pages.drawing import Axis
from services.runtime.pages.formats import title
from services.runtime.tokens import Caller
from services.stream.http import Commits, Row, not_here, page_version
from services.stream.node import Node

TIMEPOINT = "week_12"
PATIENTS_A_PAGE = 100
SHARE = Axis(0, 1)
SHOWN = ("protocol", "drug", "timepoint", "estimand", "site", "as_of", "known_at")
"""What the address of a page of figures says."""

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
        ANSWERS=ANSWERS,
        ASIDE=ASIDE,
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
        cut = await self.reader.calendar.cut(wanted["as_of"], wanted["known_at"])
        store = await self.reader.store()
        protocol = self._protocol(wanted)
        timepoint, estimand = _timepoint(protocol, wanted), _estimand(protocol, wanted)
        cohort = await self.reader.cohort.rates(caller, cut, Part(timepoint))
        sites = [name for name in store["sites"] or [] if caller.may_see(name)]
        if wanted["site"] and wanted["site"] not in sites:
            raise not_here("centre")
        drugs = drugs_of(protocol.name, cohort)
        drug = wanted["drug"] or (drugs[0] if drugs else None)
        choice = Choice(protocol, timepoint, estimand, drug, wanted["site"] or None)
        groups = lines(choice, cohort, await self.reader.accounts(cut, timepoint))
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
            known_at=cut.known_at if cut else None,
            is_past=cut is not None,
            sites=sites,
            drugs=drugs,
            protocols=list(self.protocols.values()),
            choice=choice,
            timepoints=[(name, title(name)) for name in protocol.timepoint],
            estimands={name: text for name, text in ESTIMANDS.items() if name in protocol.settings.missing},
            beside=ESTIMANDS[BESIDE[estimand]],
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
        cut = await self.reader.calendar.cut(wanted["as_of"], wanted["known_at"])
        protocol = self._protocol(wanted)
        endpoint = next((e for e in protocol.endpoints if wanted["endpoint"] in ("", e.name)), None)
        if endpoint is None:
            raise not_here("outcome")
        timepoint, estimand = _timepoint(protocol, wanted), _estimand(protocol, wanted)
        group = wanted["group"] or ("left_out" if wanted["reason"] else "treated")
        if group not in GROUPS:
            raise not_here("group of patients")
        equal = {
            "protocol": protocol.name,
            "timepoint": timepoint,
            "endpoint": endpoint.name,
            "drug": wanted["drug"] or None,
            "site_id": wanted["site"] or None,
            "reason": wanted["reason"] or None,
            "status": wanted["status"] or None,
        }
        rows, following = await self.reader.outcomes(
            caller,
            cut,
            equal,
            PATIENTS_A_PAGE,
            wanted["after"] or None,
            group_of(group, estimand, when_due=protocol.population[endpoint.population].observed_when_due),
        )
        store = await self.reader.store()
        return self.site.page(
            request,
            "patients.html",
            caller,
            rows=rows,
            following=following,
            as_of=cut.as_of if cut else store["today"],
            known_at=cut.known_at if cut else None,
            query={name: value for name, value in wanted.items() if value and name != "after"},
            asked=wanted,
            endpoint=endpoint.name,
            protocol=protocol.name,
            timepoint=timepoint,
            timepoints=[(name, title(name)) for name in protocol.timepoint],
            group=group,
            groups=wording.GROUPS_OF_PATIENTS.items(),
            estimand=ESTIMANDS[estimand],
            options=[(e.name, wording.endpoint_label(e.name)) for e in protocol.endpoints],
            reasons=[(name, wording.head(name)) for name in REASONS],
            definition=wording.definition(endpoint, protocol),
            sites=[name for name in store["sites"] or [] if caller.may_see(name)],
        )

    async def patient(
        self, request: Request, caller: Caller, patient_id: str, wanted: dict[str, str]
    ) -> Response:
        """Everything that is derived of one patient, and why."""
        cut = await self.reader.calendar.cut(wanted["as_of"], wanted["known_at"])
        found = await self.reader.patient(caller, patient_id, cut)
        found["outcomes"].sort(key=self._in_order)
        return self.site.page(
            request,
            "patient.html",
            caller,
            **{"known_at": None, **found},
            protocol_count=len(self.protocols),
            kept=wanted,
            explain=f"/patients/{quote(patient_id, safe='')}/explain",
            courses=courses(found["biomarkers"], found["patient"]["first_dose_on"]),
            timeline=self.site.address(request, "safety", f"/patients/{quote(patient_id, safe='')}"),
        )

    async def explain(
        self, request: Request, caller: Caller, patient_id: str, wanted: dict[str, str]
    ) -> Response:
        """Why a patient's outcomes under one protocol are what they are."""
        protocol = self._protocol(wanted)
        timepoint = _timepoint(protocol, wanted)
        cut = await self.reader.calendar.cut(wanted["as_of"], wanted["known_at"])
        narrowed = Wanted(protocol.name, timepoint, wanted["endpoint"] or None)
        found = await self.reader.explanation(caller, patient_id, cut, narrowed)
        (explained,) = found["protocols"]
        return self.site.page(
            request,
            "explain.html",
            caller,
            **{"known_at": None, **found},
            protocol=explained,
            all_protocols=list(self.protocols),
            timepoints=[(name, title(name)) for name in (BASELINE, *protocol.timepoint)],
            endpoints=[(e.name, wording.endpoint_label(e.name)) for e in protocol.endpoints],
            asked={**wanted, "timepoint": timepoint},
            drawing=draw(explained),
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


def _timepoint(protocol: Protocol, wanted: dict[str, str]) -> str:
    """The timepoint asked for; week 12 where none is, or the protocol's last without one."""
    name = wanted["timepoint"] or (
        TIMEPOINT if TIMEPOINT in protocol.timepoint else [*protocol.timepoint][-1]
    )
    if name not in (BASELINE, *protocol.timepoint):
        raise not_here("timepoint")
    return name


def _estimand(protocol: Protocol, wanted: dict[str, str]) -> str:
    name = wanted["estimand"] or protocol.settings.missing[0]
    if name not in protocol.settings.missing:
        raise not_here("estimand")
    return name


def _routes(pages: _Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/")
    async def week12(request: Request, caller: RateReader) -> Response:
        return await pages.week12(request, caller, asked(request, *SHOWN))

    @router.get("/patients")
    async def patients(request: Request, caller: PatientReader) -> Response:
        names = (*SHOWN, "endpoint", "group", "reason", "status", "after")
        return await pages.patients(request, caller, asked(request, *names))

    @router.get("/patients/{patient_id:path}/explain")
    async def explain(request: Request, caller: PatientReader, patient_id: str) -> Response:
        names = ("protocol", "timepoint", "endpoint", "as_of", "known_at")
        return await pages.explain(request, caller, patient_id, asked(request, *names))

    @router.get("/patients/{patient_id:path}")
    async def patient(request: Request, caller: PatientReader, patient_id: str) -> Response:
        return await pages.patient(request, caller, patient_id, asked(request, "as_of", "known_at"))

    @router.get("/worklist")
    async def worklist(request: Request, caller: PatientReader) -> Response:
        names = ("site", "timepoint", "state", "which", "protocol", "as_of", "known_at")
        return await pages.worklist(request, caller, asked(request, *names))

    @router.get("/data-quality")
    async def quality(request: Request, caller: PatientReader) -> Response:
        return await pages.quality(request, caller, asked(request, "site", "rule", "after"))

    return router

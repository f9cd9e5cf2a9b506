"""The worklist of centres as a page."""

from collections import Counter

from fastapi import Request
from starlette.responses import Response

from services.outcomes.pages.wording import analyte_label
from services.outcomes.worklist import WorklistReader
from services.runtime.pages import Site
from services.runtime.pages.formats import title
from services.runtime.pages.site import link
from services.runtime.tokens import Caller
from services.stream.http import Calendar, Commits, not_here, page_version
from services.stream.node import Node

STATES = {"closes": "closing within 14 days", "open": "open", "opens": "opening within 14 days"}
"""States of a row in words, the urgent first."""
TONES = {"closes": "high", "open": "medium", "opens": "low"}
SHOWN = 200
"""Rows of the page; the file holds all."""
ASKED = {"cdai": "CDAI visit", "hbi": "HBI", "pro2": "PRO2", "ses_cd": "endoscopy"}


def asks(parameter: str) -> str:
    """What has to be done for a parameter: a visit, an endoscopy, or a laboratory value."""
    return ASKED.get(parameter) or analyte_label(parameter)


class WorklistPage:
    """Gathers and shows it."""

    def __init__(
        self, site: Site, node: Node, reader: WorklistReader, calendar: Calendar, commits: Commits
    ) -> None:
        self._site = site
        self._node = node
        self._reader = reader
        self._calendar = calendar
        self._commits = commits

    async def show(
        self, request: Request, caller: Caller, wanted: dict[str, str], sites: list[str], protocols: list[str]
    ) -> Response:
        """The page; `sites` and `protocols` are those to choose from, and the first protocol is the default."""
        version = page_version(self._node, caller)
        if request.headers.get("if-none-match") == version:
            return Response(status_code=304)
        if wanted["site"] and wanted["site"] not in sites:
            raise not_here("centre")
        protocol = wanted["protocol"] or protocols[0]
        if protocol not in protocols:
            raise not_here("protocol")
        cut = await self._calendar.cut(wanted["as_of"], wanted["known_at"])
        today = await self._calendar.today()
        only = {
            "protocol": protocol,
            "site_id": wanted["site"] or None,
            "counts": None if wanted["which"] == "all" else True,
        }
        of_protocol = await self._reader.rows(caller, cut, **only)
        times = sorted({row["timepoint"] for row in of_protocol}, key=_number)
        at_time = [row for row in of_protocol if wanted["timepoint"] in ("", row["timepoint"])]
        rows = [row for row in at_time if wanted["state"] in ("", row["state"])]
        query = {name: value for name, value in wanted.items() if value}
        return self._site.page(
            request,
            "worklist.html",
            caller,
            headers={"ETag": version},
            version=version,
            node=self._node,
            commits=self._commits,
            as_of=cut.as_of if cut else today,
            known_at=cut.known_at if cut else None,
            today=today,
            is_past=cut is not None,
            sites=sites,
            protocols=protocols,
            protocol=protocol,
            timepoints=[(name, title(name)) for name in times],
            states=STATES,
            tones=TONES,
            asks=asks,
            counts=Counter(row["state"] for row in at_time),
            rows=rows[:SHOWN],
            more=max(0, len(rows) - SHOWN),
            query=query,
            download=link(
                "/v1/worklist",
                {
                    "format": "csv",
                    **only,
                    "counts": "true" if only["counts"] else None,
                    **{name: query.get(name) for name in ("timepoint", "state", "as_of", "known_at")},
                },
            ),
        )


def _number(timepoint: str) -> tuple[int, str]:
    digits = timepoint.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else 0, timepoint

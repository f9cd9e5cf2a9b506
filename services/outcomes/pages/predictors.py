"""The page of predictors: odds ratios of one outcome, drawn on a scale of ratios."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from services.outcomes.pages import wording
from services.outcomes.reading import OutcomesReader
from services.runtime.pages import PageRoute, Site, asked, visitor
from services.runtime.pages.drawing import Axis
from services.runtime.tokens import Caller
from services.stream.http import Row, not_here

RateReader = Annotated[Caller, Depends(visitor("read_rates"))]

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)
LOGS = Axis(log(TICKS[0]), log(TICKS[-1]))
MODELS = {"univariable": "Each by itself", "multivariable": "Together"}
LABELS: Mapping[str, str] = {
    "baseline_cdai": "CDAI",
    "baseline_ses_cd": "SES-CD",
    "baseline_crp": "CRP",
    "baseline_fcal": "Faecal calprotectin",
    "age": "Age",
    "male_sex": "Sex",
    "disease_duration": "Duration of disease",
    "prior_biologics": "Biologics before",
    "perianal_disease": "Perianal disease",
    "complicated_behaviour": "Strictures or fistulas",
    "colonic_disease": "Colon involved",
}


def ratio_x(ratio: float | None) -> float | None:
    """Where a ratio stands on the drawing; what lies beyond it stands at its end."""
    return None if ratio is None else LOGS.x(log(max(ratio, 1e-9)))


def choices(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The outcomes that there are models of, as options: `timepoint/endpoint` and its name."""
    found = dict.fromkeys((row["timepoint"], row["endpoint"]) for row in rows)
    return [
        (f"{timepoint}/{endpoint}", f"{wording.endpoint_label(endpoint)}, {timepoint.replace('_', ' ')}")
        for timepoint, endpoint in found
    ]


def predictor_page(site: Site, reader: OutcomesReader, protocols: Sequence[str]) -> APIRouter:
    """The route of the page: `protocol` and `outcome` in the address."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/predictors")
    async def predictors(request: Request, caller: RateReader) -> Response:
        wanted = asked(request, "protocol", "outcome")
        protocol = wanted["protocol"] or protocols[0]
        if protocol not in protocols:
            raise not_here("protocol")
        found, current = await reader.predictors.rows(caller, None, None)
        rows = [row for row in found if row["protocol"] == protocol and row["site_id"] is None]
        options = choices(rows)
        outcome = wanted["outcome"] or (options[0][0] if options else "")
        if options and outcome not in dict(options):
            raise not_here("outcome")
        timepoint, _, endpoint = outcome.partition("/")
        shown = [row for row in rows if (row["timepoint"], row["endpoint"]) == (timepoint, endpoint)]
        return site.page(
            request,
            "predictors.html",
            caller,
            groups=[(MODELS[model], [row for row in shown if row["model"] == model]) for model in MODELS],
            protocols=protocols,
            protocol=protocol,
            options=options,
            outcome=outcome,
            label=dict(options).get(outcome, ""),
            current=current,
            labels=LABELS,
            ticks=TICKS,
            width=LOGS.width,
            ratio_x=ratio_x,
        )

    return router

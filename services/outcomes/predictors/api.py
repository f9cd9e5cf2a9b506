"""`GET /v1/predictors`."""

from fastapi import APIRouter
from starlette.responses import Response

from services.outcomes.predictors.asking import PredictorReader
from services.stream.http import AsOf, Calendar, KnownAt, RateReader, answer, matching


def predictor_routes(reader: PredictorReader, calendar: Calendar) -> APIRouter:
    """The route of `predictors`."""
    router = APIRouter(prefix="/v1", tags=["outcomes"])

    @router.get(
        "/predictors",
        summary="Rows of predictors: odds ratios of what was known at baseline, with profile-likelihood limits",
        description="`current` is false while data still come in: the rows are then those of the last quiet moment. "
        "With `as_of` or `site_id` they are computed for the answer. A caller bound to centres sees theirs and the "
        "pooled rows, these without figures where 1 to 4 patients stand behind one.",
    )
    async def predictors(
        caller: RateReader,
        protocol: str | None = None,
        timepoint: str | None = None,
        endpoint: str | None = None,
        predictor: str | None = None,
        model: str | None = None,
        site_id: str | None = None,
        as_of: AsOf = None,
        known_at: KnownAt = None,
    ) -> Response:
        cut = await calendar.cut(as_of, known_at)
        wanted = {
            "protocol": protocol,
            "timepoint": timepoint,
            "endpoint": endpoint,
            "predictor": predictor,
            "model": model,
        }
        rows, current = await reader.rows(caller, cut, site_id)
        return answer(**await calendar.shown(cut), current=current, rows=matching(rows, wanted))

    return router

"""The judged events of a request as its answer: receipts, or one problem where nothing was taken."""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response

from services.ingest.admission import Verdict
from services.ingest.body import Form
from services.runtime.problems import Problem

REPORTED_ERRORS = 100
_PLACE = {Form.ARRAY: "index", Form.LINES: "line"}


def answer(form: Form, verdicts: Sequence[Verdict]) -> Response:
    """202 with a receipt each where all were taken, 207 where some were, and a Problem where none was."""
    refused = [verdict for verdict in verdicts if verdict.status == "refused"]
    receipts = [receipt(form, verdict) for verdict in verdicts]
    if refused and len(refused) == len(verdicts):
        return _nothing_taken(form, refused, receipts).response()
    body = orjson.dumps({"receipts": receipts})
    return Response(body, status_code=207 if refused else 202, media_type="application/json")


def receipt(form: Form, verdict: Verdict) -> dict[str, Any]:
    """What became of one event; `index` (array, from 0) or `line` (NDJSON, from 1) says which it was."""
    place: dict[str, Any] = {_PLACE[form]: verdict.item.position} if form in _PLACE else {}
    if verdict.event is not None:
        return {
            **place,
            "event_id": verdict.event.event_id,
            "version": verdict.event.version,
            "status": verdict.status,
            "warnings": verdict.warnings,
        }
    return {
        **place,
        **_identity(verdict),
        "status": verdict.status,
        "code": verdict.refusals[0].code,
        "errors": verdict.refusals,
    }


def _identity(verdict: Verdict) -> dict[str, Any]:
    """The event_id and version of a refused event, as far as they are not what is wrong with it."""
    data = verdict.item.data
    wrong = {refusal.path for refusal in verdict.refusals}
    if not isinstance(data, dict) or "" in wrong:
        return {}
    event_id, version = data.get("event_id"), data.get("version", 1)
    if not isinstance(event_id, str) or "event_id" in wrong:
        return {}
    found: dict[str, Any] = {"event_id": event_id}
    if type(version) is int and ("version" not in wrong or verdict.refusals[0].code == "version_conflict"):
        found["version"] = version
    return found


def _nothing_taken(form: Form, refused: Sequence[Verdict], receipts: list[dict[str, Any]]) -> Problem:
    statuses = {verdict.http_status for verdict in refused}
    codes = {verdict.refusals[0].code for verdict in refused}
    errors = [
        {"path": _path(form, verdict, refusal.path), "code": refusal.code, "message": refusal.message}
        for verdict in refused[:REPORTED_ERRORS]
        for refusal in verdict.refusals
    ]
    more: dict[str, Any] = {} if form is Form.ONE else {"receipts": receipts}
    return Problem(
        statuses.pop() if len(statuses) == 1 else 422,
        codes.pop() if len(codes) == 1 else "refused",
        "The event was refused: `errors` says why."
        if form is Form.ONE
        else "Every event was refused: the receipts say why.",
        errors=errors[:REPORTED_ERRORS],
        **more,
    )


def _path(form: Form, verdict: Verdict, path: str) -> str:
    position = verdict.item.position
    if form is Form.ONE:
        return path
    start = f"[{position}]" if form is Form.ARRAY else f"line {position}"
    return f"{start}.{path}" if path else start

"""Acknowledging and closing alerts."""

import uuid
from typing import Any

import orjson
from fastapi import Request

from services.runtime.clock import now
from services.runtime.metrics import Metrics
from services.runtime.problems import Problem
from services.runtime.tokens import Caller
from services.safety.actions import Act, Actions, AlertAction
from services.safety.reading import SafetyReader
from services.stream.http import Row, refused

LONGEST_NOTE = 2_000


class Desk:
    """Where people's actions on alerts are taken."""

    def __init__(self, reader: SafetyReader, actions: Actions, metrics: Metrics) -> None:
        self._reader = reader
        self._actions = actions
        self._seconds = metrics.alert_acknowledge_seconds

    async def act(self, caller: Caller, alert_id: str, act: Act, note: object) -> Row:
        """Record what the caller does; returns the alert as it stands then.

        Raises Problem: 404 for an alert unknown or not the caller's, 422 without a usable note, 409
        `alert_closed`, 503 where Kafka does not confirm.
        """
        alert = await self._reader.alert(caller, alert_id)
        text = _checked(note)
        if alert["state"] == "closed":
            raise Problem(409, "alert_closed", "This alert was closed already.")
        acted_at = now()
        await self._actions.record(AlertAction(uuid.uuid4(), alert_id, act, caller.name, text, acted_at))
        if alert["state"] == "open":
            waited = acted_at.replace(tzinfo=None) - alert["raised_at"]
            self._seconds.labels(alert["severity"]).observe(max(0.0, waited.total_seconds()))
        return await self._reader.alert(caller, alert_id)


async def read_note(request: Request) -> object:
    """The `note` of a JSON body, unchecked. Raises Problem 400 for what is not a JSON object, 422 for more fields."""
    try:
        body: Any = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        raise Problem(400, "json_malformed", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise Problem(400, "json_malformed", 'Send a JSON object, {"note": "..."}.')
    if set(body) - {"note"}:
        raise refused("body", "unknown_field", "takes the field note and no other")
    return body.get("note")


def _checked(note: object) -> str:
    if note is None or (isinstance(note, str) and not note.strip()):
        raise refused("note", "missing", "say in a few words what was seen or done")
    if not isinstance(note, str) or not all(c.isprintable() or c in "\n\t" for c in note):
        raise refused("note", "type", "is not plain text")
    if len(note) > LONGEST_NOTE:
        raise refused("note", "too_large", f"is longer than {LONGEST_NOTE} characters")
    return note.strip()

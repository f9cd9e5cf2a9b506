"""`registry.alert-actions.v1`: what people did about alerts, as events that survive a replay.

An action is done when Kafka has it and this store has read it back, so that what a person sees is what a
rebuilt store would show.
"""

import logging
from datetime import UTC

import duckdb
import faust
import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from schemas.topics import ALERT_ACTIONS
from services.runtime.problems import Problem
from services.runtime.tracing import current_headers
from services.safety.actions import AlertAction
from services.stream.node import Node
from services.stream.service import FaustHolder

log = logging.getLogger(__name__)

APPLIED_SECONDS = 10.0
RETRY_SECONDS = 1.0


class _Action(BaseModel):
    """An action as it stands in the topic."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    action_id: str
    alert_id: str
    action: str
    actor: str
    note: str
    acted_at: AwareDatetime


class KafkaActions:
    """Writes actions to the topic and waits until the agent has applied them."""

    def __init__(self, node: Node, holder: FaustHolder) -> None:
        self._node = node
        self._holder = holder

    async def record(self, action: AlertAction) -> None:
        """Return once the action is in Kafka and in the store. Raises Problem 503 where that takes too long."""
        app = self._holder.app
        if app is None:
            raise _unavailable()
        value = orjson.dumps(
            {
                "action_id": str(action.action_id),
                "alert_id": action.alert_id,
                "action": action.action,
                "actor": action.actor,
                "note": action.note,
                "acted_at": action.acted_at,
            }
        )
        try:
            sent = await app.topic(ALERT_ACTIONS, key_serializer="raw", value_serializer="raw").send(
                key=action_key(action.alert_id, str(action.action_id)),
                value=value,
                headers=dict(current_headers()),
            )
            await sent
        except Exception as error:
            log.warning("an alert action was not acknowledged (%s)", type(error).__name__)
            raise _unavailable() from None
        if not await self._applied(str(action.action_id)):
            raise _unavailable()

    async def _applied(self, action_id: str) -> bool:
        seen, waited = self._node.committed.count, 0.0
        while waited < APPLIED_SECONDS:
            if await self._node.read("SELECT 1 FROM alert_actions WHERE action_id = ?", [action_id]):
                return True
            seen = await self._node.committed.wait(seen, 0.5)
            waited += 0.5
        return False


def read_actions(app: faust.App, node: Node) -> None:
    """Attach the agent that applies actions; it never lets an exception end its stream."""
    topic = app.topic(ALERT_ACTIONS, key_serializer="raw", value_serializer="raw", value_type=bytes)

    @app.agent(topic)  # type: ignore[untyped-decorator]
    async def apply_actions(stream: faust.StreamT[bytes]) -> None:
        async for key, value in stream.items():
            try:
                action = None if value is None else _Action.model_validate_json(value)
            except ValidationError:
                node.metrics.dead_letters_total.labels(node.name, "json_malformed").inc()
                log.error("an alert action could not be read and was left out")
                continue
            while not app.should_stop:
                try:
                    if action is None:
                        await node.write(forget_action, node, key)
                    else:
                        await node.write(apply_action, node, action)
                    break
                except duckdb.Error as error:
                    log.error(
                        "the store cannot take an alert action (%s): trying again", type(error).__name__
                    )
                    await app.sleep(RETRY_SECONDS)
            node.committed.beat()


def action_key(alert_id: str, action_id: str) -> bytes:
    """The key of an action's record: one for each, so that those about an erased patient can be taken back."""
    return f"{alert_id}|{action_id}".encode()


def forget_action(node: Node, key: bytes | None) -> None:
    """Take back what a null record names."""
    action_id = (key or b"").decode(errors="replace").rpartition("|")[2]
    node.store.execute("DELETE FROM store.alert_actions WHERE action_id = ?", [action_id])


def apply_action(node: Node, action: _Action) -> None:
    """Write an action once, however often it arrives, and number the alert's change."""
    acted_at = action.acted_at.astimezone(UTC).replace(tzinfo=None)
    node.store.execute_together(
        [
            (
                "INSERT OR IGNORE INTO store.alert_actions VALUES (?, ?, ?, ?, ?, ?)",
                [
                    action.action_id,
                    action.alert_id,
                    action.action,
                    action.actor,
                    action.note,
                    acted_at,
                ],
            ),
            (
                "INSERT INTO store.alert_changes "
                "SELECT coalesce(max(seq), 0) + 1, ?, false FROM store.alert_changes",
                [action.alert_id],
            ),
            (  # after the insert, so that no number is ever used again
                "DELETE FROM store.alert_changes WHERE alert_id = ? "
                "AND seq < (SELECT max(seq) FROM store.alert_changes)",
                [action.alert_id],
            ),
        ]
    )


def _unavailable() -> Problem:
    return Problem(
        503,
        "broker_unavailable",
        "Kafka did not confirm the action in time; it may or may not have been taken. Look, then try again.",
        headers={"Retry-After": "5"},
    )

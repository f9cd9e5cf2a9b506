"""`registry.alerts.v1`: each alert's newest state; an alert that no longer exists is removed."""

from collections.abc import Sequence

import orjson

from schemas.topics import ALERTS as TOPIC
from services.stream.publisher import Message
from services.stream.store import EventStore

ALERTS_AT_ONCE = 1_000
GONE = "gone"

ROWS = f"""
SELECT c.alert_id, c.seq, CASE WHEN a.alert_id IS NOT NULL THEN to_json(a)::VARCHAR END
FROM (SELECT * FROM alert_changes WHERE NOT published ORDER BY seq LIMIT {ALERTS_AT_ONCE}) AS c
LEFT JOIN alerts AS a ON a.alert_id = c.alert_id
ORDER BY c.seq
"""


class AlertsOutbox:
    """Alerts changed since they were last published, in the order of their changes."""

    def begin(self, store: EventStore) -> None:
        """Nothing: a change stays unpublished until it is acknowledged."""

    def pending(self, store: EventStore) -> list[Message]:
        """The next alerts as JSON."""
        cursor = store.cursor()
        try:
            rows = cursor.execute(ROWS).fetchall()
        finally:
            cursor.close()
        return [self._message(*row) for row in rows]

    @staticmethod
    def _message(alert_id: str, seq: int, text: str | None) -> Message:
        if text is None:
            return Message(TOPIC, alert_id.encode(), None, (alert_id, seq))
        alert = orjson.loads(text)
        patient = alert["patient_id"].encode()
        return Message(TOPIC, alert_id.encode(), orjson.dumps(alert), (alert_id, seq), about=patient)

    def done(self, store: EventStore, messages: Sequence[Message]) -> None:
        """Mark as published, unless an alert changed again meanwhile (and so has another number).

        Of an alert that is gone only the number stays: its id was made from the patient's pseudonym.
        """
        store.execute(
            "UPDATE store.alert_changes SET published = true, "
            f"alert_id = CASE WHEN seq IN (SELECT unnest($gone)) THEN '{GONE}' ELSE alert_id END "
            "WHERE seq IN (SELECT unnest($seqs))",
            {
                "seqs": [message.mark[1] for message in messages],
                "gone": [message.mark[1] for message in messages if message.value is None],
            },
        )

"""`registry.outcomes.v1`: a patient's derived rows whenever they change, with the records that caused it."""

from collections.abc import Sequence

import orjson

from schemas.topics import OUTCOMES as TOPIC
from services.stream.definition import StoreDefinition
from services.stream.publisher import FULL_ROUND, Message
from services.stream.store import EventStore

ROWS = """
WITH waiting AS MATERIALIZED (
    SELECT patient_key, patient_id, since, batch FROM outbox ORDER BY since, patient_key LIMIT {patients}
),
{tables},
rows AS MATERIALIZED (
    SELECT patient_id, protocol, timepoint, endpoint, struct_pack(
        site_id, drug, protocol, timepoint, endpoint, status, observed, nri, locf, baseline_value, baseline_on,
        value, value_on, study_offset, window_start, window_end, reason, event_ids) AS outcome
    FROM patient_outcomes
),
digests AS (  -- hashed twice and summed: the order of rows does not matter, and two that change alike do not cancel out
    SELECT patient_id, sum(hash(hash(outcome)))::VARCHAR AS digest FROM rows GROUP BY patient_id
),
news AS MATERIALIZED (
    SELECT w.*, coalesce(d.digest, '') AS digest, coalesce(d.digest, '') <> coalesce(p.digest, '') AS changed
    FROM waiting AS w LEFT JOIN digests AS d USING (patient_id) LEFT JOIN published AS p USING (patient_key)
),
states AS (  -- lists of rows as text: DuckDB sorts them several times as fast as lists of structs
    SELECT patient_id,
        '[' || string_agg(to_json(outcome)::VARCHAR, ',' ORDER BY protocol, timepoint, endpoint) || ']' AS outcomes
    FROM rows WHERE patient_id IN (SELECT patient_id FROM news WHERE changed)
    GROUP BY patient_id
),
causes AS (
    SELECT patient_key, to_json(list_sort(list_distinct(list(
        struct_pack(site_id, event_id, version)))))::VARCHAR AS caused_by
    FROM events JOIN (FROM news WHERE changed) AS n USING (patient_key) WHERE events.batch >= n.since
    GROUP BY patient_key
)
SELECT n.patient_key, n.batch, n.patient_id, changed, outcomes, caused_by, digest
FROM news AS n LEFT JOIN states USING (patient_id) LEFT JOIN causes USING (patient_key)
"""

TABLES = ("CREATE TABLE published (patient_key UBIGINT PRIMARY KEY, digest VARCHAR)",)
"""What the topic last said of a patient: rows that did not change are not published again."""


def rows_sql(definition: StoreDefinition, patients: int = FULL_ROUND) -> str:
    """The query of the next patients' rows, derived for them alone."""
    return ROWS.format(patients=patients, tables=definition.narrowed_sql("patient_outcomes", "waiting"))


class OutcomesOutbox:
    """Patients whose rows may have changed since they were last published."""

    def __init__(self) -> None:
        self._sql = ""  # put together once: it takes a millisecond or more, and each round asks

    def begin(self, store: EventStore) -> None:
        """Doubt the digests of patients who wait: the topic may have been told more than is noted here.

        Else rows that turned back to what they were before a crash would never correct the topic.
        """
        store.execute(
            "INSERT OR REPLACE INTO store.published SELECT DISTINCT patient_key, 'unknown' FROM store.outbox"
        )

    def pending(self, store: EventStore) -> list[Message]:
        """The next patients' rows as JSON; a patient without any is removed from the topic."""
        cursor = store.cursor()
        try:
            self._sql = self._sql or rows_sql(store.definition)
            rows = cursor.execute(self._sql).fetchall()
        finally:
            cursor.close()
        return [self._message(*row) for row in rows]

    @staticmethod
    def _message(
        patient_key: int,
        batch: int,
        patient_id: str,
        changed: bool,
        outcomes: str | None,
        caused_by: str | None,
        digest: str,
    ) -> Message:
        mark = (patient_key, batch, digest)
        if not changed:
            return Message("", b"", None, mark)
        value = None
        if outcomes:
            rows, causes = orjson.Fragment(outcomes), orjson.Fragment(caused_by or "[]")
            value = orjson.dumps({"patient_id": patient_id, "outcomes": rows, "caused_by": causes})
        return Message(TOPIC, patient_id.encode(), value, mark)

    def done(self, store: EventStore, messages: Sequence[Message]) -> None:
        """Cross patients off, unless a later batch touched them meanwhile."""
        keys, batches, digests = map(list, zip(*(message.mark for message in messages), strict=True))
        store.execute_together(
            [
                (
                    "DELETE FROM store.outbox USING (SELECT unnest($keys) AS patient_key, unnest($batches) AS batch) "
                    "AS done WHERE outbox.patient_key = done.patient_key AND outbox.batch = done.batch",
                    {"keys": keys, "batches": batches},
                ),
                (
                    "INSERT OR REPLACE INTO store.published SELECT unnest($keys)::UBIGINT, unnest($digests)",
                    {"keys": keys, "digests": digests},
                ),
                ("DELETE FROM store.published WHERE digest = ''", None),  # of whom nothing is left
            ]
        )

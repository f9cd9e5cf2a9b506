"""What was known, moment by moment: the tables of the versions recorded up to each moment (contract, section 7)."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from twin.endpoints import outcome_rows
from twin.patients import patient_row
from twin.protocols import FU2025, Rules
from twin.records import Event, erased, histories

Row = dict[str, Any]


def recorded_at(event: Event) -> datetime:
    """When its site recorded a version: UTC, as stores have it."""
    return datetime.fromisoformat(event["recorded_at"]).astimezone(UTC).replace(tzinfo=None)


def history_rows(
    events: Sequence[Event], patient_id: str, today: date, protocols: Sequence[Rules] = (FU2025,)
) -> list[Row]:
    """Every state of a patient's outcomes with `known_from`; a state that did not change is not told again.

    A status of None says that no record of the patient was left.
    """
    own = [event for event in events if event["patient_id"] == patient_id]
    if erased(own):  # whenever that was asked for: nothing of the patient is left
        return []
    moments = sorted({recorded_at(event) for event in own})
    known = {moment: _outcomes(own, moment, today, protocols) for moment in moments}
    places = sorted({place for states in known.values() for place in states})
    return [
        {
            "known_from": moment,
            **dict(zip(("protocol", "timepoint", "endpoint"), place, strict=True)),
            **state,
        }
        for place in places
        for moment, state in _changes({moment: known[moment].get(place, GONE) for moment in moments})
    ]


GONE: Row = {"status": None}


def _outcomes(
    own: Sequence[Event], moment: datetime, today: date, protocols: Sequence[Rules]
) -> dict[tuple[str, str, str], Row]:
    until_then = [event for event in own if recorded_at(event) <= moment]
    return {
        (row["protocol"], row["timepoint"], row["endpoint"]): row
        for history in histories(until_then, today)
        if history.records
        for rules in protocols
        for row in outcome_rows(history, patient_row(history), today, rules)
    }


def _changes(states: dict[datetime, Row]) -> list[tuple[datetime, Row]]:
    before, found = GONE, []
    for moment, state in states.items():
        if state != before:
            found.append((moment, state))
        before = state
    return found

"""Which events count: versions, conflicts, duplicates, retractions, the date asked for, and consent."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from schemas import content_hash, parse_event

Event = dict[str, Any]

CLINICAL_DATE = {
    "enrolment": "enrolled_on",
    "treatment": "effective_on",
    "visit": "visited_on",
    "lab": "collected_on",
    "adverse_event": "onset_on",
    "consent": "effective_on",
}
CLOCK_TIME = {"treatment": "effective_at", "visit": "visited_at", "lab": "collected_at"}


@dataclass(frozen=True)
class History:
    """What counts of one patient as of a date."""

    patient_id: str
    records: list[Event]
    """The current version of each record."""
    versions: list[Event]
    """Every version that counted once: what alerts were raised by."""
    last_day: date
    """Nothing dated later is used: the day asked about, or the withdrawal of consent before it."""
    withdrawn_on: date | None

    def of_type(self, event_type: str) -> list[Event]:
        return [event for event in self.records if event["event_type"] == event_type]


def day(event: Event, field: str) -> date | None:
    """A date field of an event."""
    text = event.get(field)
    return None if text is None else date.fromisoformat(text)


def clinical_date(event: Event) -> date:
    """The day an event is about; never when it was recorded (contract, section 1)."""
    return date.fromisoformat(event[CLINICAL_DATE[event["event_type"]]])


def clock_time(event: Event) -> time | None:
    """The time of day, where the site gave one."""
    text = event.get(CLOCK_TIME.get(event["event_type"], ""))
    return None if text is None else time.fromisoformat(text)


def time_order(moment: time | None) -> tuple[bool, time]:
    """Sort key: a missing time is the earliest."""
    return (moment is not None, moment or time.min)


def record_id(event: Event) -> tuple[bytes, bytes]:
    """R4.2's record id, in byte order."""
    return (event["site_id"].encode(), event["event_id"].encode())


def record_name(event: Event) -> str:
    """How derived rows name a record."""
    return f"{event['site_id']}/{event['event_id']}"


def _winner(copies: list[Event]) -> Event:
    """Of all copies of one version: the smallest content hash, then the earliest `recorded_at`."""
    if len(copies) == 1:
        return copies[0]
    return min(
        copies,
        key=lambda event: (content_hash(parse_event(event)), datetime.fromisoformat(event["recorded_at"])),
    )


def winning_versions(events: Iterable[Event]) -> list[list[Event]]:
    """For each record its versions, lowest first; one event a version.

    Versions compete only where patient and type are the same: where those change, both stand.
    """
    copies: dict[tuple[str, str, str, str], dict[int, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        key = (event["patient_id"], event["event_type"], event["site_id"], event["event_id"])
        copies[key][event.get("version", 1)].append(event)
    return [[_winner(versions[v]) for v in sorted(versions)] for versions in copies.values()]


def known_events(events: Iterable[Event], known_at: date) -> list[Event]:
    """Versions recorded up to the end of the day, in UTC; an erasure counts whenever it was asked for."""
    return [
        event
        for event in events
        if datetime.fromisoformat(event["recorded_at"]).astimezone(UTC).date() <= known_at or erased([event])
    ]


def _stands(event: Event) -> bool:
    return not event.get("retracted", False)


def current_records(events: Iterable[Event], today: date) -> list[Event]:
    """The highest version of each record, unless it withdraws the record or is dated after `today`."""
    newest = [versions[-1] for versions in winning_versions(events)]
    return [event for event in newest if _stands(event) and clinical_date(event) <= today]


def histories(events: Sequence[Event], today: date) -> list[History]:
    """Each patient with at least one event that counts as of `today`, by pseudonym.

    An erasure counts whatever its date: the patient is in no table, whichever day is asked about.
    """
    by_patient: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_patient[event["patient_id"]].append(event)
    people = (_history(patient_id, by_patient[patient_id], today) for patient_id in sorted(by_patient))
    return [person for person in people if person is not None]


def _history(patient_id: str, events: list[Event], today: date) -> History | None:
    if erased(events):
        return None
    current = current_records(events, today)
    withdrawn_on = _withdrawn_on(current)
    last_day = today if withdrawn_on is None else withdrawn_on
    records = [event for event in current if clinical_date(event) <= last_day]
    versions = [
        event
        for record in winning_versions(events)
        for event in record
        if _stands(event) and clinical_date(event) <= last_day
    ]
    # A record that a correction moved past the last day may still have alerted before: no row of
    # `patients`, but its alerts must be there to be withdrawn.
    return History(patient_id, records, versions, last_day, withdrawn_on) if versions else None


def erased(events: Iterable[Event]) -> bool:
    """Whether any version ever asked for it: what is gone cannot come back by a correction."""
    return any(event["event_type"] == "consent" and event.get("status") == "erase" for event in events)


def _withdrawn_on(current: list[Event]) -> date | None:
    """The withdrawal in force: the latest consent by (date, record id) decides."""
    consents = [event for event in current if event["event_type"] == "consent"]
    if not consents:
        return None
    latest = max(consents, key=lambda event: (clinical_date(event), record_id(event)))
    return clinical_date(latest) if latest["status"] == "withdrawn" else None

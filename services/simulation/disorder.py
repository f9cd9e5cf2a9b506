"""How records really arrive: late, twice, wrong first and corrected after, entered by mistake and withdrawn.

Every function here keeps the final state: of all versions of a record the highest counts and a retraction
removes it, so what is added has a lower version, equals what is there, or is withdrawn again.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

from services.simulation.chance import seeded
from services.simulation.records import RawEvent

_EPOCH_VERSIONS_FROM: Final = 1_000_000_000_000
_MISTAKEN: Final = "-x"
_COMMON: Final = ("event_type", "site_id", "event_id", "version", "patient_id", "recorded_at")
_OFTEN_MISTAKEN: Final = ("visit", "lab", "adverse_event", "treatment")


@dataclass(frozen=True)
class Shares:
    """How often each disorder strikes, as shares of the records.

    `corrections` holds for records whose version is a time; a record with version 2 was always corrected.
    `overtaken`: of corrections and retractions, how many arrive before what they correct or withdraw.
    """

    late: float = 0.10
    duplicates: float = 0.04
    corrections: float = 0.06
    retractions: float = 0.01
    overtaken: float = 0.25


def disorder(events: Sequence[RawEvent], seed: int, shares: Shares = Shares()) -> list[RawEvent]:
    """An arrival stream with the same final state as `events`: the same seed gives the same stream."""
    rng = seeded("disorder", seed)
    latest = max(recorded_at(event) for event in events)
    sent = [event for record in events for event in _history(rng, record, shares)]
    for record in events:
        if record["event_type"] in _OFTEN_MISTAKEN and rng.random() < shares.retractions:
            sent += mistaken(rng, record, latest)
    sent += [duplicate(rng, event) for event in sent if rng.random() < shares.duplicates]
    return _in_order_of_arrival(rng, sent, shares)


def recorded_at(event: RawEvent) -> datetime:
    """When the site recorded this version."""
    return datetime.fromisoformat(event["recorded_at"])


def duplicate(rng: Random, event: RawEvent) -> RawEvent:
    """The same version again, half of the time with a later `recorded_at` alone."""
    if rng.random() < 0.5:
        return dict(event)
    later = recorded_at(event) + timedelta(minutes=rng.randint(1, 4000))
    return event | {"recorded_at": later.isoformat()}


def earlier_version(rng: Random, event: RawEvent, version: int = 1) -> RawEvent:
    """What was entered before the correction `event`: wrong, and recorded earlier."""
    wrong = _with_an_error(rng, event)
    corrected = recorded_at(event)
    known = datetime.combine(_last_date(wrong), corrected.timetz().replace(hour=8, minute=0, second=0))
    span = max((corrected - known).total_seconds(), 60)
    wrong["recorded_at"] = (corrected - timedelta(seconds=round(span * rng.uniform(0.1, 0.9)))).isoformat()
    wrong["version"] = _epoch(wrong) if _numbered_by_time(event) else version
    return wrong


def retraction(event: RawEvent, when: datetime) -> RawEvent:
    """The version that withdraws `event`."""
    withdrawn = {name: event[name] for name in _COMMON} | {"recorded_at": when.isoformat(), "retracted": True}
    withdrawn["version"] = _epoch(withdrawn) if _numbered_by_time(event) else event["version"] + 1
    return withdrawn


def mistaken(
    rng: Random, event: RawEvent, latest: datetime, suffix: str = _MISTAKEN
) -> tuple[RawEvent, RawEvent]:
    """A record like `event` that never was, and its retraction, recorded by `latest`."""
    entered = min(recorded_at(event), latest - timedelta(hours=1))
    record = _with_an_error(rng, event) | {
        "event_id": event["event_id"] + suffix,
        "recorded_at": entered.isoformat(),
    }
    record["version"] = _epoch(record) if _numbered_by_time(event) else 1
    noticed = min(entered + timedelta(hours=rng.randint(1, 500)), latest)
    return record, retraction(record, noticed)


def _history(rng: Random, event: RawEvent, shares: Shares) -> Iterator[RawEvent]:
    """The record's versions up to the final one; version 3 was withdrawn and entered again."""
    if _numbered_by_time(event):
        if rng.random() < shares.corrections:
            yield earlier_version(rng, event)
    elif event["version"] > 1:
        first = earlier_version(rng, event)
        yield first
        if event["version"] == 3:
            halfway = recorded_at(first) + (recorded_at(event) - recorded_at(first)) / 2
            yield retraction(first, halfway.replace(microsecond=0))
    yield event


def _in_order_of_arrival(rng: Random, sent: Iterable[RawEvent], shares: Shares) -> list[RawEvent]:
    arrivals = [(_arrival(rng, event, shares), number, event) for number, event in enumerate(sent)]
    return [event for _, _, event in sorted(arrivals, key=lambda arrival: arrival[:2])]


def _arrival(rng: Random, event: RawEvent, shares: Shares) -> datetime:
    when = recorded_at(event) + timedelta(minutes=rng.randint(0, 300))
    superseded = event["event_id"].endswith(_MISTAKEN) or event["version"] == 1
    if rng.random() < (shares.late + shares.overtaken * superseded * (not event.get("retracted"))):
        when += timedelta(days=rng.randint(2, 60))
    return when


def _with_an_error(rng: Random, event: RawEvent) -> RawEvent:
    wrong = dict(event)
    match event["event_type"]:
        case "visit":
            _misstate_visit(rng, wrong)
        case "lab":
            _misstate_lab(rng, wrong)
        case "adverse_event":
            _misstate_adverse_event(rng, wrong)
        case "treatment":
            _move_back(wrong, "effective_on", rng.randint(1, 12))
        case "enrolment":
            wrong["birth_year"] -= rng.randint(1, 9)
        case _:
            _move_back(wrong, "effective_on", rng.randint(1, 3))
    return wrong


def _misstate_visit(rng: Random, wrong: RawEvent) -> None:
    score = next((name for name in ("cdai", "ses_cd") if name in wrong), None)
    components = "cdai_components" in wrong or "ses_cd_segments" in wrong
    if score is None or components or rng.random() < 0.4:
        _move_back(wrong, "visited_on", rng.randint(3, 40))
    elif score == "cdai":
        wrong["cdai"] = round(abs(wrong["cdai"] + rng.choice((-1, 1)) * rng.randint(60, 160)), 1)
    else:
        wrong["ses_cd"] = min(wrong["ses_cd"] + rng.randint(3, 12), 56)


def _misstate_lab(rng: Random, wrong: RawEvent) -> None:
    if isinstance(wrong["value"], str) or rng.random() < 0.3:
        _move_back(wrong, "collected_on", rng.randint(2, 30))
    else:
        wrong["value"] = round(wrong["value"] * rng.choice((0.4, 0.6, 1.4)), 3)


def _misstate_adverse_event(rng: Random, wrong: RawEvent) -> None:
    """The first report: not resolved yet, and milder or graver than it turned out."""
    wrong.pop("resolved_on", None)
    wrong["outcome"] = "not_recovered"
    wrong["grade"] = max(1, min(3, wrong["grade"] + rng.choice((-1, 0, 1))))
    if wrong["serious"]:
        wrong |= {"serious": False, "seriousness": []}


def _move_back(wrong: RawEvent, name: str, days: int) -> None:
    wrong[name] = (date.fromisoformat(wrong[name]) - timedelta(days=days)).isoformat()


def _last_date(event: RawEvent) -> date:
    return max(date.fromisoformat(value) for name, value in event.items() if name.endswith("_on"))


def _numbered_by_time(event: RawEvent) -> bool:
    return bool(event["version"] >= _EPOCH_VERSIONS_FROM)


def _epoch(event: RawEvent) -> int:
    return round(recorded_at(event).timestamp() * 1000)

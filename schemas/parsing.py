"""JSON to events: one event, or a batch of one type in one call.

A batch is validated as one JSON array, which is several times faster than event by event. Only when the array
fails are its values looked at more closely, so that one bad value costs the others little.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from schemas.adverse_event import AdverseEvent
from schemas.consent import Consent
from schemas.duplicates import may_repeat_a_field, repeats_a_field
from schemas.enrolment import Enrolment
from schemas.event import Event, EventType
from schemas.lab import Lab
from schemas.refusals import EventRefused, Refusal, refusals_of
from schemas.treatment import Treatment
from schemas.visit import CdaiComponents, HbiComponents, Pro2, SesCdSegment, SesCdSegments, Visit

EVENT_MODELS: Mapping[EventType, type[Event]] = {
    EventType.ENROLMENT: Enrolment,
    EventType.TREATMENT: Treatment,
    EventType.VISIT: Visit,
    EventType.LAB: Lab,
    EventType.ADVERSE_EVENT: AdverseEvent,
    EventType.CONSENT: Consent,
}
"""The model of each event type."""

_PARTS: tuple[type[BaseModel], ...] = (CdaiComponents, HbiComponents, Pro2, SesCdSegments, SesCdSegment)
_FIELDS = frozenset(name for model in (*EVENT_MODELS.values(), *_PARTS) for name in model.model_fields)

_AnyEvent = Annotated[
    Enrolment | Treatment | Visit | Lab | AdverseEvent | Consent, Field(discriminator="event_type")
]
_any_event: TypeAdapter[Event] = TypeAdapter(_AnyEvent)
_lists: Mapping[EventType, TypeAdapter[list[Event]]] = {
    event_type: TypeAdapter(list[model])  # type: ignore[valid-type]
    for event_type, model in EVENT_MODELS.items()
}


def parse_event(data: bytes | str | Mapping[str, Any]) -> Event:
    """The event that `data` states: JSON text in UTF-8, or what `json.loads` gave.

    Raises EventRefused with every reason found.
    """
    text = _as_json(data) if isinstance(data, Mapping) else data
    result = _not_json() if text is None else _parse(_any_event.validate_json, text)
    if isinstance(result, EventRefused):
        raise result
    return result


def parse_batch(event_type: EventType, values: Sequence[bytes]) -> list[Event | EventRefused]:
    """For each of `values`, in order, its event of `event_type` or why it is refused."""
    return _parse_many(event_type, values)


def _parse_many(
    event_type: EventType, values: Sequence[bytes], *, follow_hints: bool = True
) -> list[Event | EventRefused]:
    if len(values) <= 1:
        return [_parse_one(event_type, value) for value in values]
    values = [value.strip(_JSON_SPACE) for value in values]
    joined = b"\n,".join(values)
    if not _is_one_object_each(joined, len(values)):
        odd = {i for i, value in enumerate(values) if not _is_one_object_each(value, 1)}
        return _parse_around(event_type, values, odd, follow_hints=follow_hints)
    try:
        events = _lists[event_type].validate_json(b"[" + joined + b"]")
    except ValidationError as error:
        suspects = _suspects(error, len(values)) if follow_hints else set()
        return _parse_around(event_type, values, suspects, follow_hints=False)
    if len(events) != len(values):
        return _parse_around(event_type, values, set(), follow_hints=False)
    if not may_repeat_a_field(b"".join(values), sum(event.stated_fields() for event in events)):
        return list(events)
    return [
        _parse_one(event_type, value) if may_repeat_a_field(value, event.stated_fields()) else event
        for value, event in zip(values, events, strict=True)
    ]


_JSON_SPACE = b" \t\r\n"


def _is_one_object_each(joined: bytes, count: int) -> bool:
    """Whether `count` values joined by a line feed and a comma can only be read as one object each.

    No JSON text holds a bare line feed, and no event holds an object in a list: where each line feed stands
    between a closing and an opening brace, it separates events, and a value that is two objects shows in the
    number of events.
    """
    is_framed = joined.startswith(b"{") and joined.endswith(b"}")
    return is_framed and joined.count(b"\n") == joined.count(b"}\n,{") == count - 1


def _suspects(error: ValidationError, count: int) -> set[int]:
    """Where pydantic found errors: a hint to follow once, as a value that is two objects shifts the rest."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    places = {detail["loc"][0] for detail in details if detail["loc"]}
    return {place for place in places if isinstance(place, int) and place < count}


def _parse_around(
    event_type: EventType, values: Sequence[bytes], suspects: set[int], *, follow_hints: bool
) -> list[Event | EventRefused]:
    """Parse `suspects` one by one and the others as a batch; without a suspect, each half as a batch."""
    if not suspects:
        middle = len(values) // 2
        halves = values[:middle], values[middle:]
        return [e for half in halves for e in _parse_many(event_type, half, follow_hints=follow_hints)]
    rest = [value for i, value in enumerate(values) if i not in suspects]
    others = iter(_parse_many(event_type, rest, follow_hints=follow_hints))
    return [_parse_one(event_type, v) if i in suspects else next(others) for i, v in enumerate(values)]


def _parse_one(event_type: EventType, value: bytes) -> Event | EventRefused:
    return _parse(EVENT_MODELS[event_type].model_validate_json, value)


def _parse(validate: Callable[[bytes | str], Event], text: bytes | str) -> Event | EventRefused:
    """The refusal is returned, so that no traceback keeps the input alive."""
    try:
        event = validate(text)
    except ValidationError as error:
        return EventRefused(refusals_of(error, _FIELDS))
    encoded = text.encode() if isinstance(text, str) else text
    if may_repeat_a_field(encoded, event.stated_fields()) and repeats_a_field(encoded):
        return EventRefused([Refusal("", "json_malformed", "names a field twice")])
    return event


def _not_json() -> EventRefused:
    return EventRefused([Refusal("", "json_malformed", "holds what JSON cannot say")])


def _as_json(data: Mapping[str, Any]) -> str | None:
    try:
        return json.dumps(dict(data), ensure_ascii=False, default=_iso_text)
    except (TypeError, ValueError, RecursionError):
        return None


def _iso_text(value: object) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    raise TypeError("not a JSON value")

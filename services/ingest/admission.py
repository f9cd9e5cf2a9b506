"""Which events of a request are taken: pure, without Kafka and without HTTP.

An event is taken when the contract accepts it and its centre is one the token may write for. Versions that
repeat within the request are told apart here: the same content is a duplicate, other content a conflict.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

from schemas import (
    Event,
    EventRefused,
    EventType,
    Refusal,
    content_hash,
    event_warnings,
    parse_batch,
    parse_event,
)
from services.ingest.body import MAX_EVENT_BYTES, Item

CHUNK = 500
"""Events validated in one call: long enough to be cheap, short enough to let other threads run."""

EVENT_TYPES: dict[object, EventType] = {str(kind): kind for kind in EventType}
UNKNOWN_TYPE = "unknown"

Status: TypeAlias = Literal["accepted", "duplicate", "refused"]

HTTP_STATUS = {
    "site_forbidden": 403,
    "erased": 410,
    "version_conflict": 409,
    "too_large": 413,
    "json_malformed": 400,
}
"""What a refusal code is as an HTTP status; every other one is 422."""


@dataclass(slots=True)
class Verdict:
    """What becomes of one event; `event` and `content` (its content hash) are None where it is refused."""

    item: Item
    event: Event | None
    content: str
    status: Status
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Refusal, ...] = ()

    @property
    def event_type(self) -> str:
        """The event's type, or `unknown`: a value fit for a metric's label."""
        data = self.item.data
        kind = data.get("event_type") if isinstance(data, dict) else None
        return EVENT_TYPES[kind] if isinstance(kind, str) and kind in EVENT_TYPES else UNKNOWN_TYPE

    @property
    def http_status(self) -> int:
        """The status a request with this one refusal gets."""
        return HTTP_STATUS.get(self.refusals[0].code, 422)

    def refuse(self, code: str, path: str, message: str) -> None:
        """Turn the verdict into a refusal."""
        self.status, self.event, self.refusals = "refused", None, (Refusal(path, code, message),)


def admit(
    items: Sequence[Item],
    may_write: Callable[[str], bool],
    is_erased: Callable[[str], bool] = lambda _patient_id: False,
) -> list[Verdict]:
    """Judge the events of one request, in their order.

    `may_write` answers for a `site_id`, `is_erased` for a `patient_id`.
    """
    verdicts = [_verdict(item, parsed) for item, parsed in zip(items, _parse(items), strict=True)]
    for verdict in verdicts:
        if verdict.event is not None and not may_write(verdict.event.site_id):
            verdict.refuse("site_forbidden", "site_id", "is not a centre this token may write for")
        elif verdict.event is not None and is_erased(verdict.event.patient_id):
            verdict.refuse("erased", "patient_id", "was erased from the registry: nothing is taken any more")
    _tell_repeats_apart(verdicts)
    return verdicts


def _parse(items: Sequence[Item]) -> list[Event | EventRefused]:
    parsed: list[Event | EventRefused | None] = [None] * len(items)
    by_type: dict[EventType, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        if len(item.value) > MAX_EVENT_BYTES:
            parsed[index] = EventRefused([Refusal("", "too_large", "is larger than 1 MiB")])
        elif kind := _type_of(item.data):
            by_type[kind].append(index)
        else:
            parsed[index] = _parse_one(item.value)
    for kind, indices in by_type.items():
        for chunk in _chunks(indices):
            results = parse_batch(kind, [items[index].value for index in chunk])
            for index, result in zip(chunk, results, strict=True):
                parsed[index] = result
    return parsed  # type: ignore[return-value]  # every place is filled by one of the branches


def _type_of(data: Any) -> EventType | None:
    kind = data.get("event_type") if isinstance(data, dict) else None
    return EVENT_TYPES.get(kind) if isinstance(kind, str) else None


def _parse_one(value: bytes) -> Event | EventRefused:
    try:
        return parse_event(value)
    except EventRefused as refused:
        return refused


def _chunks(indices: list[int]) -> Iterator[list[int]]:
    rest = iter(indices)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _verdict(item: Item, parsed: Event | EventRefused) -> Verdict:
    if isinstance(parsed, EventRefused):
        return Verdict(item, None, "", "refused", parsed.errors)
    return Verdict(item, parsed, content_hash(parsed), "accepted", (), event_warnings(parsed))


def _tell_repeats_apart(verdicts: Sequence[Verdict]) -> None:
    """Of equal versions the one recorded first is taken; of versions that contradict each other none is.

    To take one of two that differ would leave it to their order in the request which of them counts.
    """
    versions: dict[tuple[str, str, int], list[tuple[Event, Verdict]]] = {}
    for verdict in verdicts:
        if (event := verdict.event) is not None:
            versions.setdefault((event.site_id, event.event_id, event.version), []).append((event, verdict))
    for same in versions.values():
        if len(same) > 1:
            _judge_repeats(same)


def _judge_repeats(same: list[tuple[Event, Verdict]]) -> None:
    if len({verdict.content for _, verdict in same}) > 1:
        for _, verdict in same:
            verdict.refuse(
                "version_conflict", "version", "stands twice in this request, with different content"
            )
        return
    _, first = min(same, key=lambda pair: pair[0].recorded_at)
    for _, verdict in same:
        if verdict is not first:
            verdict.status = "duplicate"

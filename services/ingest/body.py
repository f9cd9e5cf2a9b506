"""What a request carries: one event, a JSON array, or JSON lines, cut into items."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from services.runtime.problems import Problem

MAX_EVENT_BYTES = 1 << 20
MAX_REQUEST_BYTES = 10 << 20
MAX_EVENTS = 50_000
"""Events a request may hold: 10 MiB of ordinary ones; a request of empty objects would cost far more."""

JSON = "application/json"
LINES = ("application/x-ndjson", "application/ndjson")
REPORTED_LINES = 20


class Form(StrEnum):
    """How the events were sent; decides what a position in a receipt counts."""

    ONE = "one"
    ARRAY = "array"
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class Item:
    """One event as it came: where it stood (index from 0, or line from 1), its JSON, and that decoded."""

    position: int
    value: bytes
    data: Any


def media_type(content_type: str | None) -> str:
    """The accepted media type of a Content-Type header. Raises Problem 415 for any other."""
    kind, _, parameters = (content_type or "").lower().partition(";")
    kind = kind.strip()
    charset = [p.split("=")[-1].strip(' "') for p in parameters.split(";") if p.strip().startswith("charset")]
    if (kind != JSON and kind not in LINES) or charset not in ([], ["utf-8"], ["utf8"]):
        raise Problem(
            415,
            "media_type",
            f"Send events as {JSON} (one event or an array) or {LINES[0]} (one event a line), in UTF-8.",
            headers={"Accept-Post": f"{JSON}, {LINES[0]}"},
        )
    return kind


def read_body(kind: str, body: bytes) -> tuple[Form, list[Item]]:
    """Cut a body of an accepted media type into items.

    Raises Problem 400 where it is not JSON in UTF-8 (naming the lines), 413 where it holds too many events.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if kind in LINES:
        return Form.LINES, _lines(body)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(
            f"The body is not JSON in UTF-8, from line {error.lineno}, column {error.colno}."
        ) from None
    if not isinstance(data, list):
        return Form.ONE, [Item(0, body, data)]
    _check_count(len(data))
    return Form.ARRAY, [Item(index, orjson.dumps(entry), entry) for index, entry in enumerate(data)]


def _lines(body: bytes) -> list[Item]:
    lines = body.split(b"\n")
    _check_count(len(lines) - lines.count(b""))
    items, broken = [], []
    for number, value in _filled(lines):
        try:
            items.append(Item(number, value, orjson.loads(value)))
        except orjson.JSONDecodeError:
            broken.append(number)
    if broken:
        named = ", ".join(map(str, broken[:REPORTED_LINES])) + (", ..." if broken[REPORTED_LINES:] else "")
        errors = [
            {"path": f"line {number}", "code": "json_malformed", "message": "is not JSON in UTF-8"}
            for number in broken[:REPORTED_LINES]
        ]
        raise _malformed(
            f"Not JSON in UTF-8: line {named}; nothing of this request was taken.", errors=errors
        )
    return items


def _filled(lines: list[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, 1):
        if value := line.strip():
            yield number, value


def _check_count(count: int) -> None:
    if count > MAX_EVENTS:
        raise Problem(413, "too_large", f"A request may hold {MAX_EVENTS} events: send it in parts.")


def _malformed(detail: str, errors: list[dict[str, str]] | None = None) -> Problem:
    return Problem(400, "json_malformed", detail, errors=errors or ())

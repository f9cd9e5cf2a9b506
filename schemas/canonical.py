"""One spelling for one content: canonical JSON, its hash, and the key of a record version in Kafka."""

import hashlib
import re
from datetime import date, time
from typing import Any, NamedTuple

import orjson
import rfc8785
from pydantic import BaseModel

from schemas.event import Event, EventType

_SPELLED_ALIKE = frozenset({str, bool, date, time, EventType})
_EXACT_INTEGERS = 2**53


def canonical_json(event: Event) -> bytes:
    """RFC 8785 of the validated event: defaults filled in, 10.0 as 10, without `recorded_at`.

    A null counts as absent, so that a field added to the contract later changes no hash. A version that a
    double cannot hold exactly is written as text, which is what RFC 8785 advises.
    """
    content = _content(event)
    del content["recorded_at"]
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def content_hash(event: Event) -> str:
    """SHA-256 of the canonical JSON, 64 hex digits: equal exactly for versions of equal content."""
    return hashlib.sha256(canonical_json(event)).hexdigest()


class RecordKey(NamedTuple):
    """What the key of a record version says; `h` is the start of the content hash, 8 hex digits."""

    patient_id: str
    site_id: str
    event_id: str
    version: int
    h: str

    @property
    def text(self) -> str:
        """The key as `record_key` writes it."""
        return _join(*self)


def record_key(event: Event, content_hash: str) -> str:
    """`patient_id|site_id|event_id|version|h`; `|` and `%` inside a part are percent-encoded."""
    return _join(event.patient_id, event.site_id, event.event_id, event.version, content_hash[:8])


def parse_record_key(key: bytes | str) -> RecordKey:
    """The parts of a record key. Raises ValueError for what `record_key` does not write."""
    text = key.decode() if isinstance(key, bytes) else key
    parts = text.split("|")
    if len(parts) != 5 or not _VERSION_AND_HASH.fullmatch("|".join(parts[3:])):
        raise ValueError("a record key is patient_id|site_id|event_id|version|h")
    patient_id, site_id, event_id = (part.replace("%7C", "|").replace("%25", "%") for part in parts[:3])
    parsed = RecordKey(patient_id, site_id, event_id, int(parts[3]), parts[4])
    if _join(*parsed) != text:
        raise ValueError("a record key encodes only | and %, as %7C and %25")
    return parsed


_VERSION_AND_HASH = re.compile(r"[1-9][0-9]{0,18}\|[0-9a-f]{8}")


def _join(patient_id: str, site_id: str, event_id: str, version: int, h: str) -> str:
    return f"{_encode(patient_id)}|{_encode(site_id)}|{_encode(event_id)}|{version}|{h}"


def _encode(part: str) -> str:
    return part.replace("%", "%25").replace("|", "%7C")


def _content(model: BaseModel) -> dict[str, Any]:
    return {
        name: value if type(value) in _SPELLED_ALIKE else _json_value(value)
        for name, value in model.__dict__.items()
        if value is not None
    }


def _json_value(value: Any) -> Any:
    """`value` in parts that orjson writes as RFC 8785 does."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return value if value < _EXACT_INTEGERS else str(value)
    if isinstance(value, BaseModel):
        return _content(value)
    if isinstance(value, tuple):
        return [_json_value(item) for item in value]
    return value


def _number(value: float) -> Any:
    """ECMAScript and orjson write the same digits, but part over whole, tiny and huge numbers."""
    if value.is_integer() and abs(value) < _EXACT_INTEGERS:
        return int(value)
    if 1e-5 <= abs(value) < 1e15:
        return value
    return orjson.Fragment(rfc8785.dumps(value))

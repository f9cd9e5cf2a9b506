"""A JSON object that names a field twice says two things; parsers would silently take the last.

Looking at every key costs as much as parsing, so a count comes first: a text that closes no more names than
its event states fields repeats none.
"""

import json


def may_repeat_a_field(text: bytes, stated: int) -> bool:
    """Whether `text` (JSON that states `stated` different fields) could name one twice; never a false no."""
    return text.count(b'":') != stated or any(space in text for space in (b"\t", b"\n", b"\r", b" :"))


def repeats_a_field(text: bytes) -> bool:
    """Whether some object in `text`, which is JSON, names a field twice."""
    repeated = False

    def note(pairs: list[tuple[str, object]]) -> None:
        nonlocal repeated
        repeated |= len(dict(pairs)) < len(pairs)

    json.loads(text, object_pairs_hook=note)
    return repeated

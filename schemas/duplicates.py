"""A JSON object that names a field twice says two things; parsers would silently take the last.

Looking at every key costs as much as parsing, so a count comes first: a text that closes no more names than
its event states fields repeats none.
"""

import json
import re

_NAME_END = b'":'
_SPACED_NAME_END = re.compile(rb'"[ \t\r\n]+:')


def may_repeat_a_field(text: bytes, stated: int) -> bool:
    """Whether `text` (JSON that states `stated` different fields) could name one twice; never a false no."""
    return text.count(_NAME_END) != stated or _SPACED_NAME_END.search(text) is not None


def repeats_a_field(text: bytes) -> bool:
    """Whether some object in `text`, which is JSON, names a field twice."""
    repeated = False

    def note(pairs: list[tuple[str, object]]) -> None:
        nonlocal repeated
        repeated |= len(dict(pairs)) < len(pairs)

    json.loads(text, object_pairs_hook=note)
    return repeated

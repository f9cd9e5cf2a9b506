"""Does a pseudonym look like the person behind it?

A guess, made to catch mistakes at the door: a pseudonym has a digit, no spaces, and no calendar date in it.
"""

import re
from functools import lru_cache

_YEAR = r"(?:19[0-9]{2}|20[0-2][0-9])"
_MONTH = r"(?:0[1-9]|1[0-2])"
_DAY = r"(?:0[1-9]|[12][0-9]|3[01])"
_SEPARATED = r"{}(?P<{}>[-./_]){}(?P={}){}"
_DATE = "|".join(
    [
        _SEPARATED.format(_YEAR, "s1", _MONTH, "s1", _DAY),
        _SEPARATED.format(_DAY, "s2", _MONTH, "s2", _YEAR),
        _SEPARATED.format(_MONTH, "s3", _DAY, "s3", _YEAR),
        _YEAR + _MONTH + _DAY,
        _DAY + _MONTH + _YEAR,
        _MONTH + _DAY + _YEAR,
    ]
)
# Initials may lead the date; a longer word or another digit means that it is a number of another kind.
_BIRTH_DATE = re.compile(rf"(?<![0-9A-Za-z])[A-Za-z]{{0,4}}(?:{_DATE})(?![0-9])")
_WORDS = re.compile(r"[^\d]*[^\W\d_]{2}[^\d]*")


@lru_cache(maxsize=65_536)
def suspicion(pseudonym: str) -> str | None:
    """Why `pseudonym` looks like a name, an e-mail address or a date of birth; None when it does not."""
    if "@" in pseudonym:
        return "looks like an e-mail address: send a pseudonym"
    if "," in pseudonym or any(map(str.isspace, pseudonym)):
        return "looks like a name: a pseudonym has no spaces and no commas"
    if _WORDS.fullmatch(pseudonym):
        return "looks like a name: a pseudonym has at least one digit"
    if _BIRTH_DATE.search(pseudonym):
        return "looks like a date of birth: send a pseudonym without a date"
    return None

"""What remains of an erased patient: a mark that only the registry can tell whose it is.

A mark is the HMAC-SHA-256 of the pseudonym with the registry's own key. Whoever has the key recognises a
pseudonym that was erased; nobody can get from a mark to a pseudonym, and without the key nobody can try.
"""

import hashlib
import hmac
from functools import lru_cache
from pathlib import Path

from services.runtime.secret_file import shared_secret

_KNOWN_MARKS = 1 << 17
_REMEDY = "put back its backup; a new one would not recognise the patients who were erased"


class ErasureKey:
    """The registry's key, and the marks made with it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.id = hmac.digest(secret, b"week12 erasure key", hashlib.sha256).hex()[:16]
        """Tells this key from others, and says nothing about it."""
        self.mark = lru_cache(_KNOWN_MARKS)(self._mark)
        """The mark of a pseudonym, 64 hexadecimal digits."""

    @classmethod
    def read(cls, path: Path) -> "ErasureKey":
        """The key in a file, made where there is none. Raises OperatorError where it cannot be used."""
        return cls(shared_secret(path, _REMEDY))

    def _mark(self, patient_id: str) -> str:
        return hmac.digest(self._secret, patient_id.encode(), hashlib.sha256).hex()

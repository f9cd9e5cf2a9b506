"""A random secret in a file that several services share: made at its first use, mode 0600."""

import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from services.runtime.errors import OperatorError


def shared_secret(path: Path, remedy: str) -> bytes:
    """The 32 bytes in `path`, made where there is no such file; services that start at once agree on one.

    Raises OperatorError, which ends in `remedy`, where the file cannot be used.
    """
    try:
        if not path.exists():
            _make(path)
        secret = urlsafe_b64decode(path.read_bytes())
        if len(secret) < 16:
            raise ValueError
    except (OSError, ValueError) as error:
        raise OperatorError(f"{path} cannot be used ({type(error).__name__}): {remedy}") from None
    return secret


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(urlsafe_b64encode(secrets.token_bytes(32)))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # fails where another service was first, whose secret then holds
    except FileExistsError:
        pass
    finally:
        draft.unlink()

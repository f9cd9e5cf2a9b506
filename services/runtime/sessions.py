"""The cookie that a page's login gives: it names a token and is signed, and dies with the token.

Any service that shares the data folder accepts it, so that one login serves all pages.
"""

import hashlib
import hmac
import os
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from services.runtime.errors import OperatorError
from services.runtime.tokens import Caller, TokenStore

COOKIE = "week12_session"
LIFETIME_SECONDS = 12 * 3600
"""A working day; people log in again the next morning."""


class Sessions:
    """Issues and reads session cookies; the signing key stands beside the tokens, mode 0600."""

    def __init__(self, tokens: TokenStore) -> None:
        self._tokens = tokens
        self._path = tokens.path.with_name("session.key")

    def start(self, request: Request, response: Response, secret: str) -> Caller | None:
        """Log in with a token's secret: sets the cookie and returns the caller, or returns None."""
        caller = self._tokens.authenticate(secret)
        if caller:
            response.set_cookie(
                COOKIE,
                self.sign(caller.name, int(time.time()) + LIFETIME_SECONDS),
                max_age=LIFETIME_SECONDS,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
        return caller

    @staticmethod
    def end(response: Response) -> None:
        """Log out: removes the cookie."""
        response.delete_cookie(COOKIE)

    def caller(self, request: Request) -> Caller | None:
        """Whom the request's cookie stands for, or None where there is none, or an old or forged one."""
        name, _, rest = request.cookies.get(COOKIE, "").partition(":")
        expires, _, _signature = rest.partition(":")
        if not expires.isdecimal() or int(expires) < time.time():
            return None
        if not hmac.compare_digest(self.sign(name, int(expires)).encode(), f"{name}:{rest}".encode()):
            return None
        return self._tokens.caller(name)

    def sign(self, name: str, expires: int) -> str:
        """The cookie's value: name, Unix time of expiry, and their HMAC-SHA-256."""
        text = f"{name}:{expires}"
        signature = hmac.digest(_key(self._path), text.encode(), hashlib.sha256)
        return f"{text}:{urlsafe_b64encode(signature).decode().rstrip('=')}"


def _key(path: Path) -> bytes:
    """The signing key, made at its first use; two services that start at once agree on one."""
    try:
        if not path.exists():
            _make_key(path)
        return urlsafe_b64decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"{path} cannot be used ({type(error).__name__}): remove it, and log in again"
        ) from None


def _make_key(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(urlsafe_b64encode(secrets.token_bytes(32)))
        os.link(draft, path)  # fails where another service was first, whose key then holds
    except FileExistsError:
        pass
    finally:
        draft.unlink()

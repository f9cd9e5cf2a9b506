"""The cookie that a page's login gives: it names a token and is signed, and dies with the token.

Any service that shares the data folder accepts it, so that one login serves all pages.
"""

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode

from starlette.requests import Request
from starlette.responses import Response

from services.runtime.secret_file import shared_secret
from services.runtime.tokens import Caller, Token, TokenStore

COOKIE = "week12_session"
_REMEDY = "remove it, and log in again"
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
        token = self._tokens.find(caller.name) if caller else None
        if token:
            response.set_cookie(
                COOKIE,
                self.sign(token, int(time.time()) + LIFETIME_SECONDS),
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
        cookie = request.cookies.get(COOKIE, "")
        name, _, rest = cookie.partition(":")
        expires = rest.partition(":")[0]
        token = self._tokens.find(name)
        if token is None or not expires.isdecimal() or int(expires) < time.time():
            return None
        is_ours = hmac.compare_digest(self.sign(token, int(expires)).encode(), cookie.encode())
        return token.caller if is_ours else None

    def sign(self, token: Token, expires: int) -> str:
        """The cookie's value: the token's name, Unix time of expiry, and an HMAC-SHA-256 over both.

        The token's hash goes into it too: a later token of the same name opens nothing.
        """
        text = f"{token.caller.name}:{expires}"
        signature = hmac.digest(
            shared_secret(self._path, _REMEDY), f"{text}:{token.sha256}".encode(), hashlib.sha256
        )
        return f"{text}:{urlsafe_b64encode(signature).decode().rstrip('=')}"

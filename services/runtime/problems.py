"""Errors over HTTP as RFC 9457 problem details, `application/problem+json`."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is an error: raise it anywhere below a route.

    `code` is the machine-readable reason of the interface's error table; `detail` is one line for people;
    `errors` are `{path, code, message}`; `headers` go with the answer (`Retry-After`, `WWW-Authenticate`).
    None of them may hold a value that was sent.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.more = more

    def body(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        body: dict[str, Any] = {
            "type": f"urn:week12:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.more,
        }
        if self.errors:
            body["errors"] = [dict(error) for error in self.errors]
        return body

    def response(self) -> Response:
        """The problem as an answer."""
        return Response(
            orjson.dumps(self.body()), status_code=self.status, media_type=MEDIA_TYPE, headers=self.headers
        )

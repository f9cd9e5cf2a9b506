"""Who looks at a page: logging in with a token, logging out, and what a page asks of its visitor."""

from collections.abc import Awaitable, Callable
from typing import Annotated, cast
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Form, Request
from starlette.responses import RedirectResponse, Response

from services.runtime.metrics import Metrics
from services.runtime.problems import Problem
from services.runtime.sessions import Sessions
from services.runtime.tokens import Caller, Permission


class LoginNeeded(Exception):
    """Nobody is logged in; the answer leads to the login and back."""

    @staticmethod
    async def answer(request: Request, _: Exception) -> Response:
        """To the login page, which knows where its visitor wanted to go."""
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)


class Forbidden(Exception):
    """The visitor's roles do not carry the permission of the page."""

    def __init__(self, caller: Caller, permission: str) -> None:
        super().__init__(permission)
        self.caller = caller
        self.permission = permission


Page = Callable[..., Response]
"""`Site.page`, which this module cannot import."""


def visitor(*permissions: Permission) -> Callable[[Request], Awaitable[Caller]]:
    """A FastAPI dependency for pages: the Caller of the cookie, with at least one of the permissions.

    Without a login it leads to the login page, without the permission to a page that says so.
    """

    async def caller(request: Request) -> Caller:
        found = cast("Sessions", request.app.state.sessions).caller(request)
        if found is None:
            raise LoginNeeded
        if not any(found.may(permission) for permission in permissions):
            cast("Metrics", request.app.state.metrics).auth_failures_total.labels("role_forbidden").inc()
            raise Forbidden(found, " or ".join(permissions))
        return found

    return caller


def add_login(app: FastAPI, page: Page) -> None:
    """`GET` and `POST /login`, `POST /logout`."""

    @app.get("/login", include_in_schema=False)
    async def login_page(request: Request, next: str = "/") -> Response:
        caller = cast("Sessions", request.app.state.sessions).caller(request)
        return page(request, "login.html", caller, wanted=_own_path(next), failed=False)

    @app.post("/login", include_in_schema=False)
    async def login(
        request: Request, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/"
    ) -> Response:
        _from_own_page(request)
        response = RedirectResponse(_own_path(next), 303)
        if cast("Sessions", request.app.state.sessions).start(request, response, token.strip()):
            return response
        cast("Metrics", request.app.state.metrics).auth_failures_total.labels("unauthenticated").inc()
        return page(request, "login.html", None, 401, wanted=_own_path(next), failed=True)

    @app.post("/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        _from_own_page(request)
        response = RedirectResponse("/login", 303)
        Sessions.end(response)
        return response


def _own_path(wanted: str) -> str:
    """Where to go after the login: a path of this service and nothing else."""
    parts = urlsplit(wanted)
    is_own = wanted.startswith("/") and not parts.scheme and not parts.netloc and "\\" not in wanted
    return wanted if is_own and wanted.isprintable() else "/"


def _from_own_page(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Problem(403, "role_forbidden", "This form belongs to another address.")

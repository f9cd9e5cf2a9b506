"""The pages of one service: templates, static files, and headers that let nothing in from outside."""

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from services.runtime.pages.formats import FILTERS
from services.runtime.pages.visitors import Forbidden, LoginNeeded, add_login
from services.runtime.problems import Problem
from services.runtime.settings import Settings
from services.runtime.tokens import Caller

KIT = Path(__file__).parent

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    # Not `no-referrer`: browsers then hide the Origin that proves a form to be our own page's.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

HEADINGS = {404: "Not found", 422: "That cannot be shown", 503: "Not now"}

PLACES: dict[str, tuple[str, Callable[[Settings], int]]] = {
    "outcomes": ("Outcomes", lambda settings: settings.outcomes_port),
    "safety": ("Safety", lambda settings: settings.safety_port),
}
"""Services with pages: name -> (what the link says, where it listens)."""


class Site:
    """Renders a service's templates within the common layout, and serves the static files of both.

    Adds `/login`, `/logout` and `/static/…` to the app.
    """

    def __init__(self, app: FastAPI, service: str, folder: Path, **globals_: object) -> None:
        app.state.site = self
        self.service = service
        self._settings: Settings = app.state.settings
        self._environment = Environment(
            loader=FileSystemLoader([folder, KIT]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._assets = _assets(KIT / "static", folder / "static")
        self._environment.filters.update(FILTERS)
        self._environment.globals.update(asset=self._address, link=link, service=service, **globals_)
        self._serve_assets(app)
        add_login(app, self.page)
        app.add_exception_handler(LoginNeeded, LoginNeeded.answer)
        app.add_exception_handler(Forbidden, self._on_forbidden)

    def page(
        self,
        request: Request,
        template: str,
        caller: Caller | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """A page; `caller` None where nobody is logged in."""
        text = self._environment.get_template(template).render(
            caller=caller, places=self._places(request), **values
        )
        return HTMLResponse(text, status, headers={**HEADERS, **(headers or {})})

    def fragment(self, template: str, name: str, *values: object) -> str:
        """The output of a template's macro, for what is put into a page later."""
        module = self._environment.get_template(template).module
        return str(getattr(module, name)(*values))

    def problem(self, request: Request, problem: Problem) -> Response:
        """A problem as a page for people."""
        caller = request.app.state.sessions.caller(request)
        heading = HEADINGS.get(problem.status, "Something is wrong")
        return self.page(
            request, "message.html", caller, problem.status, heading=heading, text=problem.detail
        )

    def _places(self, request: Request) -> list[dict[str, object]]:
        """The services with pages, at the host name that the request came to."""
        return [
            {
                "name": name,
                "title": title,
                "address": "/" if name == self.service else self.address(request, name, "/"),
            }
            for name, (title, _) in PLACES.items()
        ]

    def address(self, request: Request, service: str, path: str) -> str:
        """The address of a page of another service."""
        port = PLACES[service][1](self._settings)
        return str(request.url.replace(port=port, path=path, query="", fragment=""))

    async def _on_forbidden(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Forbidden)
        return self.page(
            request,
            "message.html",
            error.caller,
            403,
            heading="This page is not open to you",
            text=f"It needs the permission {error.permission}, which your token's roles do not carry.",
        )

    def _address(self, name: str) -> str:
        return f"/static/{name}?{self._assets[name][1]}"

    def _serve_assets(self, app: FastAPI) -> None:
        @app.get("/static/{name}", include_in_schema=False)
        async def static(name: str) -> Response:
            if name not in self._assets:
                raise Problem(404, "not_found", "There is nothing here.")
            body, _ = self._assets[name]
            # The address changes with the content, so it never has to be asked for again.
            headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
            return Response(body, media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)


def _assets(*folders: Path) -> dict[str, tuple[bytes, str]]:
    """Static files by name: content and the start of its SHA-256."""
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    contents = {path.name: path.read_bytes() for path in files if path.suffix in MEDIA_TYPES}
    return {name: (body, hashlib.sha256(body).hexdigest()[:12]) for name, body in contents.items()}


class PageRoute(APIRoute):
    """A route whose problems are shown as pages, not as JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Problem as problem:
                site: Site = request.app.state.site
                return site.problem(request, problem)

        return handle


def asked(request: Request, *names: str) -> dict[str, str]:
    """Parameters of a page's address, as they stand there; those not given are empty."""
    return {name: request.query_params.get(name, "").strip() for name in names}


def link(path: str, query: Mapping[str, object], **more: object) -> str:
    """An address with the filters in force, changed by `more`; empty ones are left out."""
    kept = {name: value for name, value in {**query, **more}.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path

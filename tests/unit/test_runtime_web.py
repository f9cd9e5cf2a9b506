"""What every service answers: health, metrics, who may ask, and errors as problem+json without traceback."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Request, Response

from services.runtime.logs import configure_logs
from services.runtime.metrics import Metrics
from services.runtime.problems import MEDIA_TYPE, Problem
from services.runtime.sessions import COOKIE
from services.runtime.settings import load_settings
from services.runtime.tokens import Caller, TokenStore
from services.runtime.web import create_api, require


@pytest.fixture
def tokens(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "tokens.toml")


@pytest.fixture
def state() -> dict[str, bool]:
    return {"ready": True}


@pytest.fixture
def app(tokens: TokenStore, tmp_path: Path, state: dict[str, bool]) -> FastAPI:
    settings = load_settings(data_dir=tmp_path)
    app = create_api("test", settings, Metrics("test"), tokens, lambda: (state["ready"], {"store": "open"}))

    @app.get("/things/{number}")
    async def thing(number: int) -> int:
        return number

    @app.get("/fails/{patient}")
    async def fails(patient: str) -> None:
        raise ValueError(f"cannot use {patient}")

    @app.get("/gone")
    async def gone() -> None:
        raise Problem(410, "erased", "It is gone.", headers={"Retry-After": "7"}, since="today")

    @app.post("/login")
    async def login(request: Request, response: Response) -> bool:
        secret = (await request.body()).decode()
        return app.state.sessions.start(request, response, secret) is not None

    @app.get("/alerts")
    async def alerts(caller: Annotated[Caller, Depends(require("read_alerts"))]) -> str:
        return caller.name

    @app.post("/alerts")
    async def act(caller: Annotated[Caller, Depends(require("act_on_alerts"))]) -> str:
        return caller.name

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://here:81") as client:
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def test_health_says_live_and_ready(client: httpx.AsyncClient, state: dict[str, bool]) -> None:
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).json() == {"status": "ready", "parts": {"store": "open"}}
    state["ready"] = False
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")


async def test_openapi_is_3_1_and_needs_nothing_from_outside(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert (await client.get("/docs")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/things/1", 405, "method_not_allowed"),
        ("GET", "/things/P-0815", 422, "type"),
        ("GET", "/fails/P-0815", 500, "internal"),
        ("GET", "/gone", 410, "erased"),
        ("GET", "/alerts", 401, "unauthenticated"),
    ],
)
async def test_every_error_is_a_problem_without_values(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:week12:problem:{code}")
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.text
    assert "P-0815" not in answer.text


async def test_headers_and_extra_members_of_a_problem_arrive(client: httpx.AsyncClient) -> None:
    answer = await client.get("/gone")
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["since"] == "today"


async def test_405_says_what_is_allowed(client: httpx.AsyncClient) -> None:
    assert (await client.post("/things/1")).headers["allow"] == "GET"


async def test_an_unexpected_error_is_logged_with_its_place_but_not_its_message(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    before = logging.getLogger().handlers[:]
    try:
        configure_logs("test")
        await client.get("/fails/P-0815")
    finally:
        logging.getLogger().handlers[:] = before
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines() if "request failed" in text]
    assert line["level"] == "ERROR"
    assert line["service"] == "test"
    assert "builtins.ValueError at " in line["exc_info"]
    assert "test_runtime_web.py" in line["exc_info"]
    assert "P-0815" not in str(line)


async def test_durations_are_labelled_by_template_never_by_path(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    for path in ("/things/1", "/things/2", "/fails/P-0815", "/no/such/P-0815"):
        await client.get(path)
    await client.request("BREW", "/things/1")
    text = (await client.get("/metrics")).text
    counted = "week12_http_request_duration_seconds_count"
    assert f'{counted}{{method="GET",route="/things/{{number}}",service="test",status="200"}} 2.0' in text
    assert f'{counted}{{method="GET",route="/fails/{{patient}}",service="test",status="500"}} 1.0' in text
    assert f'{counted}{{method="GET",route="unmatched",service="test",status="404"}} 1.0' in text
    assert 'method="other"' in text
    assert "P-0815" not in text
    assert "BREW" not in text


async def test_a_token_with_the_role_gets_in(client: httpx.AsyncClient, tokens: TokenStore) -> None:
    secret = tokens.add("dr-lee", ["safety_officer"])
    answer = await client.get("/alerts", headers=bearer(secret))
    assert answer.json() == "dr-lee"


async def test_a_token_without_the_role_is_forbidden_and_counted(
    app: FastAPI, client: httpx.AsyncClient, tokens: TokenStore
) -> None:
    secret = tokens.add("clinic-01", ["submitter"], ["S01"])
    answer = await client.get("/alerts", headers=bearer(secret))
    assert (answer.status_code, answer.json()["code"]) == (403, "role_forbidden")
    registry = app.state.metrics.registry
    assert registry.get_sample_value("week12_auth_failures_total", {"reason": "role_forbidden"}) == 1


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic YTpi", "Bearer  ", "wrong"])
async def test_a_bad_credential_gets_401_and_is_told_how(
    client: httpx.AsyncClient, tokens: TokenStore, header: str
) -> None:
    tokens.add("dr-lee", ["safety_officer"])
    answer = await client.get("/alerts", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


class TestSession:
    """The cookie that a page's login gives."""

    async def test_login_opens_the_pages_and_the_cookie_is_not_the_token(
        self, client: httpx.AsyncClient, tokens: TokenStore
    ) -> None:
        secret = tokens.add("dr-lee", ["safety_officer"])
        answer = await client.post("/login", content=secret)
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert secret not in cookie
        assert (await client.get("/alerts")).json() == "dr-lee"

    async def test_a_wrong_token_sets_none(self, client: httpx.AsyncClient) -> None:
        assert "set-cookie" not in (await client.post("/login", content="wrong")).headers

    async def test_it_dies_with_the_token(self, client: httpx.AsyncClient, tokens: TokenStore) -> None:
        await client.post("/login", content=tokens.add("dr-lee", ["safety_officer"]))
        tokens.revoke("dr-lee")
        assert (await client.get("/alerts")).status_code == 401

    async def test_it_does_not_pass_to_a_new_token_of_the_same_name(
        self, client: httpx.AsyncClient, tokens: TokenStore
    ) -> None:
        await client.post("/login", content=tokens.add("dr-lee", ["safety_officer"]))
        tokens.revoke("dr-lee")
        tokens.add("dr-lee", ["safety_officer"])
        assert (await client.get("/alerts")).status_code == 401

    @pytest.mark.parametrize("part", [0, 1, 2])
    async def test_a_changed_cookie_is_worth_nothing(
        self, client: httpx.AsyncClient, tokens: TokenStore, part: int
    ) -> None:
        tokens.add("dr-who", ["safety_officer"])
        answer = await client.post("/login", content=tokens.add("dr-lee", ["safety_officer"]))
        parts = answer.cookies[COOKIE].strip('"').split(":")
        parts[part] = ("dr-who", "99999999999", "A" * 43)[part]
        client.cookies.clear()
        changed = await client.get("/alerts", headers={"Cookie": f"{COOKIE}={':'.join(parts)}"})
        assert changed.status_code == 401

    async def test_an_old_cookie_is_worth_nothing(
        self, app: FastAPI, client: httpx.AsyncClient, tokens: TokenStore
    ) -> None:
        tokens.add("dr-lee", ["safety_officer"])
        token = tokens.find("dr-lee")
        old = app.state.sessions.sign(token, 1_700_000_000)
        assert (await client.get("/alerts", headers={"Cookie": f"{COOKIE}={old}"})).status_code == 401

    @pytest.mark.parametrize(
        ("origin", "status"), [("http://here:81", 200), ("http://here:82", 401), ("null", 401), (None, 401)]
    )
    async def test_a_change_must_come_from_a_page_of_the_same_address(
        self, client: httpx.AsyncClient, tokens: TokenStore, origin: str | None, status: int
    ) -> None:
        await client.post("/login", content=tokens.add("dr-lee", ["safety_officer"]))
        headers = {"Origin": origin} if origin else {}
        assert (await client.post("/alerts", headers=headers)).status_code == status

"""`week12 wait`: when a service is behind, and how that is said."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import orjson
import pytest

from services.local.waiting import Progress, behind, read_progress, wait_until_done
from services.runtime.errors import OperatorError

LABS, VISITS = "registry.labs.v1", "registry.visits.v1"
ENDS = {(LABS, 0): 10, (LABS, 1): 5, (VISITS, 0): 0}


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ({(LABS, 0): 10, (LABS, 1): 5}, ""),
        ({(LABS, 0): 11, (LABS, 1): 6, (VISITS, 0): 1}, ""),
        ({(LABS, 0): 9, (LABS, 1): 5}, "is behind on registry.labs.v1 by 1"),
        ({(LABS, 0): 9}, "is behind on registry.labs.v1 by 6"),
        ({}, "is behind on registry.labs.v1 by 15"),
    ],
)
def test_behind_by_offsets(offsets: dict[tuple[str, int], int], said: str) -> None:
    assert behind(Progress(offsets, 0), ENDS, published=True) == said


def test_behind_by_publication() -> None:
    progress = Progress({(LABS, 0): 10, (LABS, 1): 5}, 3)
    assert behind(progress, ENDS, published=True) == "has 3 changes yet to publish"
    assert behind(progress, ENDS, published=False) == ""


def test_a_service_that_is_away_is_behind() -> None:
    assert behind(None, {}, published=False) == "does not answer"


class _Service(BaseHTTPRequestHandler):
    """A service that gets one record further each time it is asked."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        found = {"offsets": {LABS: {"0": self.asked}}, "waiting_to_publish": 0}
        body = orjson.dumps(found if self.path == "/v1/progress" else {"detail": "not found"})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    _Service.asked = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_returns_as_soon_as_all_is_there(service: str) -> None:
    wait_until_done({"outcomes": service}, {(LABS, 0): 3}, published=True, timeout=10)
    assert _Service.asked == 3


def test_it_names_what_is_behind_at_the_timeout(service: str) -> None:
    urls = {"outcomes": service, "safety": "http://127.0.0.1:9"}
    with pytest.raises(OperatorError) as failure:
        wait_until_done(urls, {(LABS, 0): 1}, published=True, timeout=0)
    assert str(failure.value) == "not done after 0 s: safety (http://127.0.0.1:9) does not answer"


def test_something_else_that_answers_is_said(service: str) -> None:
    with (
        httpx.Client() as client,
        pytest.raises(OperatorError, match="does not answer as a service of week12"),
    ):
        read_progress(client, f"{service}/elsewhere")


def test_without_kafka_it_is_one_line() -> None:
    # In a process of its own: the client library leaves its sockets open when it finds nobody.
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    command = [sys.executable, "-P", "-c", "from services.cli import main; main()", "wait"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: Kafka at 127.0.0.1:9 does not do what is asked")
    assert result.stderr.count("\n") == 1

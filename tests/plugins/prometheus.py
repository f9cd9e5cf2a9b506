"""Prometheus itself, scraping services of a test, and what it then answers.

Where this machine has no Prometheus, tests that need it are skipped by name with the command that gets it; with
WEEK12_REQUIRE_PROMETHEUS=1 they fail instead.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.broker.process import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
HOW = "there is no {name}: apt-get install prometheus (.ci/run takes the programs alone)"


def prometheus_program(name: str) -> str:
    """The path of `prometheus` or `promtool`; skips or fails the test where it is missing."""
    found = shutil.which(name)
    if found is None:
        missing = HOW.format(name=name)
        if os.environ.get("WEEK12_REQUIRE_PROMETHEUS") == "1":
            pytest.fail(f"WEEK12_REQUIRE_PROMETHEUS=1, and {missing}", pytrace=False)
        pytest.skip(missing)
    return found


class Prometheus:
    """A Prometheus with the shipped configuration and rules, on other ports and much quicker."""

    def __init__(self, folder: Path, ports: Mapping[int, int]) -> None:
        """`ports`: that of the shipped configuration -> where the service listens."""
        folder.mkdir(parents=True)
        shutil.copy(DEPLOY / "alert-rules.yml", folder)
        config = (DEPLOY / "prometheus.yml").read_text(encoding="utf-8").replace("15s", "1s")
        for shipped, port in ports.items():
            assert f"127.0.0.1:{shipped}]" in config
            config = config.replace(f"127.0.0.1:{shipped}]", f"127.0.0.1:{port}]")
        (folder / "prometheus.yml").write_text(config, encoding="utf-8")
        port = free_port()
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                prometheus_program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30, trust_env=False)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        self.client.close()

    def query(self, expression: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of every series of an instant query, now or at a moment."""
        answer = self._ask(expression, at)
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        return [(row["metric"], float(row["value"][1])) for row in answer.json()["data"]["result"]]

    def _ask(self, expression: str, at: float | None = None) -> httpx.Response:
        moment = {} if at is None else {"time": at}
        return self.client.get("/query", params={"query": expression, **moment})

    def get(self, path: str) -> Any:
        """The `data` of an answer."""
        return self.client.get(path).json()["data"]

    def until(self, expression: str, holds: Callable[[list[float]], bool], seconds: float = 180) -> None:
        """Wait until the values of a query are as wanted."""
        deadline = time.monotonic() + seconds
        values: list[float] = []
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "prometheus ended by itself"
            with suppress(httpx.TransportError):  # it is starting
                if self._ask("1").status_code == 200:
                    values = [value for _, value in self.query(expression)]
                    if holds(values):
                        return
            time.sleep(0.1)
        pytest.fail(f"not within {seconds:g} s: {expression} is {values}")


def panel_queries(dashboard: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(panel, PromQL) of a dashboard with Grafana's variables filled in."""
    given = {"$__rate_interval": "10m", "$__range": "10m", "$site": ".*"}
    pattern = re.compile("|".join(map(re.escape, given)))
    return [
        (panel["title"], pattern.sub(lambda found: given[found[0]], target["expr"]))
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]

"""Alert rules, their tests and the dashboards hold together."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from plugins.prometheus import DEPLOY, panel_queries, prometheus_program

from services.runtime.metrics import Metrics

RULES = (DEPLOY / "alert-rules.yml").read_text(encoding="utf-8")
RULE_TESTS = sorted((DEPLOY / "tests").glob("alert-rules*.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
ALERTS = re.findall(r"- alert: (\w+)", RULES)
SUFFIXES = ("_bucket", "_count", "_sum")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DEPLOY / "grafana/generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dashboard(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_configuration_and_rules_are_prometheus_own() -> None:
    promtool = prometheus_program("promtool")
    for arguments in (
        ["check", "config", DEPLOY / "prometheus.yml"],
        ["check", "rules", DEPLOY / "alert-rules.yml"],
    ):
        done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_fire_when_they_should_and_not_before(path: Path) -> None:
    promtool = prometheus_program("promtool")
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_rule_has_both_sides_tested_and_a_runbook(alert: str) -> None:
    tests = "\n".join(path.read_text(encoding="utf-8") for path in RULE_TESTS)
    assert re.search(rf"alertname: {alert}\n\s+eval_time: \w+\n\s+exp_alerts:\n", tests), "it never fires"
    silent = re.search(rf"\{{alertname: {alert}, eval_time", tests)
    assert silent or alert in {"Week12DiskFilling", "Week12DiskFull"}, "it is never silent"
    assert f'runbook: "docs/operations.md#{alert.lower()}"' in RULES
    operations = (DEPLOY.parent / "docs/operations.md").read_text(encoding="utf-8")
    assert re.search(rf"^#+ {alert}$", operations, re.MULTILINE)


def test_dashboards_are_as_their_definitions_make_them() -> None:
    made = generator().generate()
    assert sorted(made) == DASHBOARDS
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make dashboards`"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_ask_for_metrics_that_exist(path: Path) -> None:
    kinds = {metric.name: metric.kind for metric in Metrics("test").definitions}
    for panel, query in panel_queries(dashboard(path)):
        for name in re.findall(r"\bweek12_\w+", query):
            base = next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), name)
            assert name in kinds or kinds.get(base) == "histogram", (panel, name)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_an_identity_a_place_and_the_provisioned_source(path: Path) -> None:
    found = dashboard(path)
    source = (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8")
    uid = re.search(r"uid: (\S+)", source)
    assert uid
    assert found["uid"] == f"week12-{path.stem}"
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": uid[1]}, panel["title"]
        assert panel["targets"], panel["title"]


def test_a_counter_that_begins_in_the_time_shown_counts_from_nothing() -> None:
    expand = generator().expand
    assert expand('sum by (a) ({since:x{b="c"}})') == (
        'sum by (a) ((x{b="c"} unless x{b="c"} offset $__range) or increase(x{b="c"}[$__range]))'
    )
    assert expand("{rate_quantile:0.95:a, b:x}") == (
        "histogram_quantile(0.95, sum by (a, b, le) (rate(x_bucket[$__rate_interval])))"
    )
    with pytest.raises(ValueError, match="a brace is open"):
        expand("sum({since:x")

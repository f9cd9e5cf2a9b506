"""Grafana dashboards from their definitions: `python deploy/grafana/generate.py` (make dashboards).

A definition says what a panel shows and how people read it; place, identity and Grafana's many options follow from
its kind. Queries may hold `{since:COUNTER}` (how much a counter grew in the time shown),
`{quantile:Q:LABELS:HISTOGRAM}` (a quantile over the time shown) and `{rate_quantile:...}` (the same, moment by moment).
"""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DATASOURCE = {"type": "prometheus", "uid": "week12-prometheus"}
"""As provisioning/datasources/prometheus.yml names it."""
SITES = "label_values(week12_site_last_received_timestamp_seconds, site)"
SCHEMA_VERSION = 39  # Grafana 11
COLUMNS = 24
SIZES = {"stat": (4, 4), "bars": (8, 8), "lines": (8, 8), "table": (8, 8)}
"""Kind of panel -> width of 24 columns, height."""
TYPES = {"stat": "stat", "bars": "bargauge", "lines": "timeseries", "table": "table"}
READING: dict[str, Any] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {"reduceOptions": READING, "colorMode": "value", "graphMode": "none", "textMode": "auto"},
    "bars": {"reduceOptions": READING, "orientation": "horizontal", "displayMode": "basic"},
    "lines": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    "table": {"cellHeight": "sm", "footer": {"show": False}},
}


def generate() -> dict[Path, str]:
    """Every dashboard's file and what stands in it."""
    definitions = sorted(HERE.glob("*.toml"))
    return {
        HERE / "dashboards" / f"{path.stem}.json": json.dumps(_dashboard(_load(path)), indent=2) + "\n"
        for path in definitions
    }


def expand(query: str) -> str:
    """PromQL with the abbreviations of definitions written out."""
    query = re.sub(r"\{(quantile|rate_quantile):([\d.]+):([\w, ]+):(\w+)\}", _quantile, query)
    while (found := query.find("{since:")) >= 0:
        end = _closing(query, found)
        query = query[:found] + _since(query[found + len("{since:") : end]) + query[end + 1 :]
    return query


def _since(counter: str) -> str:
    # A series that was born with a value has not increased for Prometheus: its value is what it grew by.
    return f"({counter} unless {counter} offset $__range) or increase({counter}[$__range])"


def _closing(text: str, start: int) -> int:
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place
    raise ValueError(f"a brace is open in {text}")


def _quantile(found: re.Match[str]) -> str:
    kind, quantile, labels, histogram = found.groups()
    buckets = f"{histogram}_bucket"
    grown = f"rate({buckets}[$__rate_interval])" if kind == "rate_quantile" else f"{{since:{buckets}}}"
    return f"histogram_quantile({quantile}, sum by ({labels}, le) ({grown}))"


def _load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _dashboard(definition: dict[str, Any]) -> dict[str, Any]:
    panels = list(_panels(definition["row"]))
    text = json.dumps(panels)
    return {
        "uid": definition["uid"],
        "title": definition["title"],
        "tags": ["week12"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "timezone": "browser",
        "refresh": definition["refresh"],
        "time": {"from": definition["from"], "to": "now"},
        "templating": {"list": [_site_variable()] if "$site" in text else []},
        "links": [{"type": "dashboards", "title": "week12", "tags": ["week12"], "asDropdown": False}],
        "annotations": {"list": []},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }


def _site_variable() -> dict[str, Any]:
    return {
        "type": "query",
        "name": "site",
        "label": "Centre",
        "datasource": DATASOURCE,
        "query": {"query": SITES, "refId": "sites"},
        "definition": SITES,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panels(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    top = 0
    for row in rows:
        yield {
            "type": "row",
            "title": row["title"],
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        left = tallest = 0
        for panel in row["panel"]:
            width, height = SIZES[panel["kind"]]
            if left + width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            yield _panel(panel, {"x": left, "y": top, "w": width, "h": height})
            left, tallest = left + width, max(tallest, height)
        top += tallest


def _panel(definition: dict[str, Any], place: dict[str, int]) -> dict[str, Any]:
    kind = definition["kind"]
    defaults: dict[str, Any] = {"unit": definition.get("unit", "none")}
    if "steps" in definition:
        steps = [{"color": color, "value": value} for color, value in definition["steps"].items()]
        steps[0]["value"] = None  # Grafana's way to say: from the bottom
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        defaults["color"] = {"mode": "thresholds"}
    if kind != "table":
        defaults["noValue"] = "none"
    panel: dict[str, Any] = {
        "type": TYPES[kind],
        "title": definition["title"],
        "description": definition.get("about", ""),
        "gridPos": place,
        "datasource": DATASOURCE,
        "targets": [_target(n, q, legend, kind) for n, (q, legend) in enumerate(definition["queries"])],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": OPTIONS[kind],
    }
    if kind == "table":
        panel["transformations"] = _columns([legend for _, legend in definition["queries"]])
    return panel


def _target(number: int, query: str, legend: str, kind: str) -> dict[str, Any]:
    moment = kind != "lines"
    return {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "expr": expand(query),
        "legendFormat": legend or "__auto",
        "instant": moment,
        "range": not moment,
        "format": "table" if kind == "table" else "time_series",
    }


def _columns(names: list[str]) -> list[dict[str, Any]]:
    """One row for each set of labels, one column for each query under its name, without the time of reading."""
    values = (
        [f"Value #{chr(ord('A') + number)}" for number in range(len(names))] if len(names) > 1 else ["Value"]
    )
    organise = {
        "id": "organize",
        "options": {
            "excludeByName": {"Time": True},
            "renameByName": dict(zip(values, names, strict=True)),
        },
    }
    return [{"id": "merge", "options": {}}, organise] if len(names) > 1 else [organise]


if __name__ == "__main__":
    for path, text in generate().items():
        path.write_text(text, encoding="utf-8")
        print(path)

"""The documents' tables say what the code says: settings, metrics, codes, topics, examples, links, files."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from schemas import parse_event
from schemas.analytes import ANALYTES
from schemas.refusals import CODES, WARNING_CODES
from schemas.topics import TOPICS
from services.cli import SUMMARIES
from services.outcomes.definition import REASONS
from services.outcomes.explain.wording import WEIGHED
from services.outcomes.findings import FINDINGS
from services.runtime.metrics import Definition, Metrics
from services.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
EVENTS = (ROOT / "docs/events.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
SOURCES = [path for path in (ROOT / "services").rglob("*.py") if path.name != "metrics.py"]

BESIDE_SETTINGS = {"WEEK12_CACHE_DIR", "WEEK12_KAFKA_IMAGE", "WEEK12_TOKEN", "WEEK12_COMMIT"}
"""Read where they are needed, not through `Settings`."""


def section(text: str, heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {heading}"
    return found[1]


def table(text: str) -> dict[str, list[str]]:
    """The rows of the tables in `text` by their first cell, which is a name in backticks."""
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line[:3] == "| `"
    ]
    return {row[0].strip(" `"): row[1:] for row in rows}


def variables() -> dict[str, Any]:
    """Environment variable -> default of every setting."""
    return {
        str(field.validation_alias or f"WEEK12_{name.upper()}"): field.default
        for name, field in Settings.model_fields.items()
    }


def test_every_setting_is_documented_with_its_default() -> None:
    documented = table(section(OPERATIONS, "Settings"))
    assert documented.keys() == variables().keys() | BESIDE_SETTINGS
    for name, default in variables().items():
        if default is not None and default is not PydanticUndefined:
            shown = (
                ",".join(default)
                if isinstance(default, tuple)
                else f"{default:g}"
                if isinstance(default, float)
                else str(default)
            )
            assert documented[name][0] == f"`{shown}`", name


def test_the_example_environment_shows_every_setting_and_its_default() -> None:
    lines = (ROOT / "deploy/env.example").read_text(encoding="utf-8").splitlines()
    shown = dict(line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z0-9_]+=", line))
    documented = table(section(OPERATIONS, "Settings"))
    assert shown.keys() == documented.keys() - {"WEEK12_TOKEN"}
    for name, value in shown.items():
        if value:
            assert documented[name][0] == f"`{value}`", name


def metric_definitions() -> list[Definition]:
    return Metrics("test").definitions


def test_every_metric_is_documented_as_it_is_defined() -> None:
    documented = table(section(OPERATIONS, "Metrics"))
    assert documented.keys() == {metric.name for metric in metric_definitions()}
    for metric in metric_definitions():
        kind, labels, _, meaning = documented[metric.name]
        assert kind == metric.kind, metric.name
        assert labels.replace("`", "").split() == list(metric.labels), metric.name
        assert meaning == metric.meaning, metric.name


def test_a_metric_is_said_to_be_written_when_it_is() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    documented = table(section(OPERATIONS, "Metrics"))
    for metric in metric_definitions():
        if metric.name == "week12_build_info":  # set where it is defined
            continue
        written = re.search(rf"etrics\)*\.{metric.name.removeprefix('week12_')}\b", sources) is not None
        assert (documented[metric.name][2] != "later") == written, metric.name


def test_alert_rules_use_metrics_that_exist() -> None:
    rules = (ROOT / "deploy/alert-rules.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"\bweek12_[a-z0-9_]+", rules))
    samples = {
        f"{metric.name}{suffix}" for metric in metric_definitions() for suffix in ("", "_bucket", "_count")
    }
    assert used <= samples


def test_every_refusal_and_warning_is_in_the_event_guide() -> None:
    refusals = section(EVENTS, "Refusals")
    assert {code: row[0] for code, row in table(refusals.partition("And where")[0]).items()} == CODES
    assert {code: row[0] for code, row in table(section(EVENTS, "Warnings")).items()} == WARNING_CODES


def test_every_topic_and_analyte_is_in_the_event_guide() -> None:
    topics = table(section(EVENTS, "In Kafka"))
    assert topics.keys() == TOPICS.keys()
    analytes = table(section(EVENTS, "lab"))
    assert analytes.keys() == ANALYTES.keys()
    for name, (unit, accepted, _, codes) in analytes.items():
        assert unit == ANALYTES[name].unit, name
        assert accepted.split(", ") == list(ANALYTES[name].factors), name
        assert codes.split(", ") == list(ANALYTES[name].codes), name


def test_examples_in_the_event_guide_are_the_files_they_name() -> None:
    found = re.findall(r"<!-- (\S+) -->\n```json\n(.*?)```", EVENTS, re.DOTALL)
    assert len(found) == EVENTS.count("```json")
    for path, text in found:
        assert json.loads(text) == json.loads((ROOT / path).read_text(encoding="utf-8")), path
        parse_event(text)


def test_every_reason_of_an_outcome_is_documented() -> None:
    text = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    assert {code: row[0] for code, row in table(section(text, "Reasons")).items()} == REASONS


def test_every_finding_is_documented() -> None:
    text = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    assert {code: row[0] for code, row in table(section(text, "Findings")).items()} == FINDINGS


def test_every_reason_of_passing_over_is_documented() -> None:
    text = (ROOT / "docs/explain.md").read_text(encoding="utf-8")
    documented = table(section(text, "Used, or passed over"))
    assert documented == {code: [meaning.text, meaning.rule] for code, meaning in WEIGHED.items()}


def links() -> Iterator[Any]:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                yield pytest.param(document, target, id=f"{document.relative_to(ROOT)}-{target}")


@pytest.mark.parametrize(("document", "target"), list(links()))
def test_a_link_leads_somewhere(document: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = document.parent / name if name else document
    assert path.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_that_the_rules_table_names_exist() -> None:
    text = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    for path in set(re.findall(r"`((?:schemas|services|tests)/[\w./]+)`", text)):
        assert (ROOT / path).exists(), path


def test_commands_that_documents_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for document in DOCUMENTS:
        if document.name == "status.md":  # names what is to come, too
            continue
        text = document.read_text(encoding="utf-8")
        commands = set(re.findall(r"(?:`|^|\$ |bin/)week12 ([a-z-]+)", text, re.MULTILINE))
        assert commands <= SUMMARIES.keys(), document
        for target in re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE):
            assert f"\n{target}:" in makefile, (document, target)


def test_the_lock_files_name_no_package_index() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_the_version_has_a_section_in_the_changelog() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

"""Who may import whom, read from the source: rules know no machinery, and services do not know each other."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path.relative_to(ROOT) for name in ("schemas", "services") for path in (ROOT / name).rglob("*.py")
)

RULES = [
    Path("services/outcomes/cdai.py"),
    Path("services/outcomes/ses_cd.py"),
    Path("services/safety/ctcae.py"),
]
"""What belongs to one record: pure functions that a clinician can check."""

SCHEMAS_NEED = {"schemas", "orjson", "pydantic", "pydantic_core", "rfc8785"}
MACHINERY = {
    "aiokafka",
    "duckdb",
    "fastapi",
    "faust",
    "httpx",
    "kafka",
    "mode",
    "pyarrow",
    "starlette",
    "uvicorn",
}

LAYERS = {
    "runtime": set(),
    "broker": set(),
    "simulation": set(),
    "statistics": set(),
    "stream": {"runtime", "broker"},
    "ingest": {"runtime", "broker"},
    "query": {"runtime", "broker", "stream"},
    "outcomes": {"runtime", "statistics", "stream", "query"},
    "safety": {"runtime", "stream"},
    "export": {"runtime", "query"},
}
"""Which other packages of `services` a package may use."""

ON_TOP = {"cli", "local", "testing"}
"""What puts everything together, and may use all."""

USERS = {
    "duckdb": ("services/stream/", "services/outcomes/definition.py", "services/safety/definition.py",
               "services/safety/action_log.py", "services/query/", "services/export/", "services/cli/",
               "services/local/backup.py", "services/local/reconciliation.py"),
    "faust": ("services/stream/", "services/safety/action_log.py"),
    "kafka": ("services/broker/", "services/ingest/publisher.py", "services/ingest/records.py",
              "services/ingest/erased.py", "services/stream/", "services/cli/", "services/testing/",
              "services/local/dead_letters.py"),
    "aiokafka": ("services/stream/", "services/cli/", "services/local/log_reading.py"),
    "pandas": ("services/export/xpt.py",),
}  # fmt: skip
"""Where a library may be imported: a second home needs a reason, given here."""


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything a module imports, also inside functions and behind TYPE_CHECKING."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def libraries(path: Path) -> set[str]:
    """Top-level packages a module imports, the standard library aside."""
    return {name.split(".")[0] for name in imported(path)} - sys.stdlib_module_names


def test_the_walk_sees_the_project() -> None:
    assert set(RULES) <= set(MODULES)
    assert "duckdb" in libraries(Path("services/stream/store.py"))
    packages = {path.parts[1] for path in MODULES if path.parts[0] == "services" and len(path.parts) > 2}
    assert packages == {*LAYERS, *ON_TOP}, "a new package belongs in LAYERS"


@pytest.mark.parametrize("module", RULES, ids=str)
def test_a_clinical_rule_needs_the_events_alone(module: Path) -> None:
    assert libraries(module) <= {"schemas"}


def test_schemas_need_no_service_and_no_machinery() -> None:
    for module in MODULES:
        if module.parts[0] == "schemas":
            assert libraries(module) <= SCHEMAS_NEED, module


def test_a_service_uses_the_layers_below_it_only() -> None:
    for module in MODULES:
        if module.parts[0] != "services" or module.parts[1] not in LAYERS:
            continue
        own = module.parts[1]
        used = {name.split(".")[1] for name in imported(module) if name.startswith("services.")}
        assert used <= {own} | LAYERS[own], module


@pytest.mark.parametrize("library", USERS)
def test_a_library_stays_where_it_belongs(library: str) -> None:
    users = [module.as_posix() for module in MODULES if library in libraries(module)]
    assert [user for user in users if not user.startswith(USERS[library])] == []


def test_importing_the_rules_loads_no_machinery() -> None:
    names = ", ".join(".".join(module.with_suffix("").parts) for module in RULES)
    program = f"import sys, {names}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert MACHINERY.isdisjoint(name.split(".")[0] for name in done.stdout.split())

"""Every choice of the rules is a protocol file's alone, and makes the difference at its limit (R0.3)."""

from typing import Any

import pytest
import twin
from rule_tables.settings import SETTINGS, Setting, patient
from stores import OUTCOMES, load, open_store, rows
from twin.builders import on

from schemas.protocol import load_protocol

CLOSED = on(400)
ESTIMANDS = '[settings]\nmissing = ["observed"]'
INCLUDE_INACTIVE = "[population.active]\nall_of = []"
INACTIVE = patient({"cdai": 149}, {"cdai": 120})


def _file(lines: str) -> str:
    return lines if lines.startswith("extends") else f'extends = ["fu2025"]\n{lines}\n'


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One store for all: a protocol file for each setting, a patient for each case."""
    folder = tmp_path_factory.mktemp("protocols")
    files = {s.protocol: s.lines for s in SETTINGS}
    files |= {"observed_alone": ESTIMANDS, "include_inactive": INCLUDE_INACTIVE}
    for name, lines in files.items():
        (folder / f"{name}.toml").write_text(_file(lines), encoding="utf-8")
    protocols = [load_protocol("fu2025"), *(load_protocol(folder / f"{name}.toml") for name in files)]
    events = [
        {**event, "patient_id": _patient(number)}
        for number, case in enumerate([*(s.events for s in SETTINGS), INACTIVE])
        for event in case
    ]
    store = load(open_store(OUTCOMES, CLOSED, protocols=protocols), [events])
    found = rows(store, "SELECT * FROM patient_outcomes WHERE timepoint = 'week_12'")
    remission = "endpoint = 'clinical_remission' AND timepoint = 'week_12'"
    rates = rows(store, f"SELECT DISTINCT protocol, estimand FROM cohort_rates WHERE {remission}")
    store.close()
    return {(r["protocol"], r["patient_id"], r["endpoint"]): r for r in found}, rates


def _patient(number: int) -> str:
    return f"W12-{number:04}"


@pytest.mark.parametrize("number", range(len(SETTINGS)), ids=[s.protocol for s in SETTINGS])
def test_a_protocol_file_alone_makes_the_difference(outcomes: Any, number: int) -> None:
    setting: Setting = SETTINGS[number]
    found, _ = outcomes
    assert found["fu2025", _patient(number), setting.endpoint]["observed"] is setting.by_default
    assert found[setting.protocol, _patient(number), setting.endpoint]["observed"] is setting.otherwise
    assert setting.by_default is not setting.otherwise
    (row,) = [
        r
        for r in twin.outcomes(setting.events, CLOSED)["patient_outcomes"]
        if (r["timepoint"], r["endpoint"]) == ("week_12", setting.endpoint)
    ]
    assert row["observed"] is setting.by_default


def test_patients_inactive_at_baseline_may_be_included(outcomes: Any) -> None:
    found, _ = outcomes
    key = _patient(len(SETTINGS)), "clinical_remission"
    assert (found["fu2025", *key]["population"], found["fu2025", *key]["nri"]) == (False, None)
    assert (found["include_inactive", *key]["population"], found["include_inactive", *key]["nri"]) == (
        True,
        True,
    )


def test_estimands_may_be_left_out(outcomes: Any) -> None:
    _, rates = outcomes
    told = {r["estimand"] for r in rates if r["protocol"] == "observed_alone"}
    assert told == {"observed"}
    assert {r["estimand"] for r in rates if r["protocol"] == "fu2025"} == {"observed", "nri", "locf"}

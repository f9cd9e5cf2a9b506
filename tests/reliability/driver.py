"""The one procedure behind every row of docs/reliability.md: prepare, disturb under load, measure.

A row says what is disturbed, how often, and whether the system must work meanwhile. The procedure lets clients send
a portion of events, disturbs it while they are under way, and measures until an event sent then has been counted by
both stores. At the end nothing may be missing: what was acknowledged is in both stores, once, and `week12 verify`
finds no difference from a batch recomputation, in stores and derived topics.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol

import orjson
from comparison import rows_of
from plugins.load import A_REQUEST, Load, Sending, Version

from services.simulation.registry import RegistryPlan, stream_registry
from services.testing.cohort import Cohort

UNTIL = date(2025, 6, 30)
A_PORTION = 400
"""Events under way at a disturbance."""
WITHIN = 180.0
"""Seconds within which an event must be counted again, also on a busy machine."""


class Bench(Sending, Protocol):
    """A broker and the services on it, wherever they run."""

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for a condition; fails where it does not come."""

    def wait_until_counted(self, patient_id: str, seconds: float) -> None:
        """Wait until both stores have counted what was acknowledged, this patient's event the last of it."""

    def differences(self) -> int:
        """Once all is settled: rows by which stores and derived topics differ from a batch recomputation."""

    def dead_letters(self) -> int:
        """Records that could not be read."""

    def versions(self) -> "list[Counter[Version]]":
        """Stop the services; how often each version of each record stands in the stores of each."""


@dataclass(frozen=True)
class Row:
    """One row of the table; `times` disturbances in full, `in_ci` of them in CI (0: not run there)."""

    name: str
    said: str
    bench: Callable[[Path], AbstractContextManager["Bench"]]
    """Starts a broker and the services, ready; takes the folder for all of it."""
    disturb: Callable[["Trial", int], AbstractContextManager[None]]
    """Disturbs on entering and mends on leaving; takes how often it has been done."""
    times: int = 1
    in_ci: int = 0
    works_meanwhile: bool = False
    duplicates: float = 0.0


@dataclass(frozen=True)
class Result:
    """What a row came to. `seconds` is the longest of its disturbances."""

    times: int
    acknowledged: int
    in_state: int
    differences: int
    seconds: float


@dataclass
class Trial:
    """A row under way."""

    bench: Bench
    load: Load
    probes: Cohort = field(default_factory=lambda: Cohort(prefix="PROBE7"))
    dead_letters: int = 0
    """How many records were written that must become dead letters."""

    def seconds_until_counted(self, since: float) -> float:
        """Send one event until it is acknowledged, wait until both stores have counted it, and say how long."""
        patient = self.probes.patient()
        with self.bench.client("ingest", self.bench.secret) as client:
            self.bench.until(
                lambda: self.load.post(client, patient.events), "a probe is acknowledged", WITHIN
            )
        self.bench.wait_until_counted(patient.patient_id, WITHIN)
        return time.monotonic() - since


def run(row: Row, times: int, folder: Path) -> Result:
    """Carry the row out; raises AssertionError where anything acknowledged is missing, doubled or different."""
    plan = RegistryPlan(
        patients=40 * (times + 1),
        sites=4,
        events=A_PORTION * (2 * times + 1),  # a disturbance may take another portion
        seed=7,
        until=UNTIL,
        late=0.1,
        duplicates=row.duplicates,
        corrections=0.06,
        retractions=0.01,
    )
    events = [orjson.loads(line) for line in stream_registry(plan)]
    with row.bench(folder) as bench:
        trial = Trial(bench, Load(bench, events, allowed=A_PORTION))
        with trial.load.sending():
            seconds = max(_disturbed(trial, row, number) for number in range(times))
        differences = bench.differences()
        assert differences == 0
        states = bench.versions()
        assert bench.dead_letters() == trial.dead_letters
    for state in states:
        lost, unknown = trial.load.acknowledged - state.keys(), state.keys() - trial.load.acknowledged
        assert not lost, f"{len(lost)} acknowledged and not in state, such as {sorted(lost)[:3]}"
        assert not unknown, f"{len(unknown)} in state and not acknowledged, such as {sorted(unknown)[:3]}"
        # Of copies recorded at different times a store keeps each, and counts the earliest.
        assert row.duplicates or set(state.values()) == {1}
    return Result(times, len(trial.load.acknowledged), min(map(len, states)), differences, seconds)


def _disturbed(trial: Trial, row: Row, number: int) -> float:
    """One disturbance with requests under way; seconds until events are counted again."""
    load = trial.load
    load.wait_for(load.allowed)
    load.send_until(load.allowed + A_PORTION)
    load.wait_for(load.taken + A_REQUEST)
    seconds, since = 0.0, time.monotonic()
    with row.disturb(trial, number):
        if row.works_meanwhile:
            seconds = trial.seconds_until_counted(since)
        since = time.monotonic()
    return seconds if row.works_meanwhile else trial.seconds_until_counted(since)


def stored_versions(path: Path) -> "Counter[Version]":
    """How often each version of each record stands in a store at rest."""
    rows = rows_of(path, "SELECT site_id, event_id, version FROM events")
    return Counter((row["site_id"], row["event_id"], row["version"]) for row in rows)


def nothing(trial: Trial, number: int) -> AbstractContextManager[None]:
    """No disturbance: the load itself is the trouble."""
    return nullcontext()

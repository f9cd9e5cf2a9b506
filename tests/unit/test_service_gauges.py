"""What Prometheus is shown of a store: counts that do not depend on how events arrived, and what verify found."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from reading_helpers import Reading
from twin.builders import enrolment, lab, on, retraction, start, visit

from services.cli import verify as command
from services.outcomes.gauges import OutcomesGauges
from services.runtime.metrics import MOST_SITES, OTHER_SITES, SiteLabels
from services.runtime.verified import Verified, note_verified, read_verified
from services.stream.gauges import GaugeKeeper
from services.stream.verify import Comparison


@pytest.mark.parametrize(
    ("order", "together"),
    [((0, 1, 2, 3), 2), ((3, 2, 1, 0), 3), ((1, 3, 0, 2), 2), ((2, 3, 1, 0), 7)],
)
async def test_corrections_and_retractions_are_counted_once_in_any_order(
    small: Reading, order: tuple[int, ...], together: int
) -> None:
    """Of one record two corrections and then its retraction, of others nothing, and one event twice."""
    corrected = [lab("crp", 7, value, "crp-1", version=value) for value in (1, 2, 3)]
    four = [*corrected, retraction(corrected[2], 4)]
    events = [*(four[number] for number in order), lab("crp", 14, 5), enrolment(), four[0]]
    gauges = OutcomesGauges(small.node)
    for begin in range(0, len(events), together):
        await small.commit(*events[begin : begin + together])
        await gauges.refresh()
        await gauges.refresh()
    assert small.count("week12_corrections_total", event_type="lab") == 2
    assert small.count("week12_retractions_total", event_type="lab") == 1
    assert small.count("week12_corrections_total", event_type="enrolment") == 0


async def test_changes_of_outcomes_are_counted_with_their_cause(small: Reading) -> None:
    """CDAI below 150 at week 12 is clinical remission (R2.1); week 12 of this patient closed before day 200."""
    gauges = OutcomesGauges(small.node)
    counted: list[tuple[str, str, str]] = []

    async def changes() -> list[tuple[str, str, str]]:
        before = list(counted)
        await gauges.refresh()
        counted[:] = [
            (sample.labels["from"], sample.labels["to"], sample.labels["cause"])
            for family in small.metrics.registry.collect()
            if family.name == "week12_outcome_changes"
            for sample in family.samples
            if sample.labels["endpoint"] == "clinical_remission"
            for _ in range(int(sample.value))
        ]
        return [change for change in counted if change not in before]

    async def on_day(day: int) -> None:
        small.node.note(await small.node.write(small.node.store.set_today, on(day)))

    await on_day(1)
    await small.commit(enrolment(), start(), visit(0, cdai=300))
    assert await changes() == [("none", "not_due", "new")]
    await on_day(84)
    assert await changes() == [("not_due", "open", "calendar")]
    await on_day(200)
    assert await changes() == [("open", "missed", "calendar")]
    remission = visit(84, cdai=149, event_id="week-12")
    await small.commit(remission)
    assert await changes() == [("missed", "achieved", "late")]
    await small.commit(remission, lab("crp", 84, 5))  # a copy, and what has nothing to do with it
    assert await changes() == []
    await small.commit(visit(84, cdai=150, event_id="week-12", version=2))
    assert await changes() == [("achieved", "not_achieved", "corrected")]
    await small.commit(retraction(remission, 3))
    assert await changes() == [("not_achieved", "missed", "retracted")]


async def test_a_value_in_an_open_window_is_new(small: Reading) -> None:
    gauges = OutcomesGauges(small.node)
    small.node.note(await small.node.write(small.node.store.set_today, on(84)))
    await small.commit(enrolment(), start(), visit(0, cdai=300))
    await gauges.refresh()
    await small.commit(visit(84, cdai=149))
    await gauges.refresh()
    labels = {"endpoint": "clinical_remission", "from": "open", "to": "achieved", "cause": "new"}
    assert small.count("week12_outcome_changes_total", **labels) == 1


async def test_a_registry_being_loaded_changes_nothing(
    small: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.outcomes.changes.MOST_PATIENTS", 1)
    gauges = OutcomesGauges(small.node)
    labels = {"endpoint": "clinical_remission", "cause": "new"}
    await small.commit(enrolment(), enrolment(patient_id="another-2", event_id="another"))
    await gauges.refresh()
    counted = {"from": "none", "to": "not_applicable"}
    assert small.count("week12_outcome_changes_total", **labels, **counted) == 0
    await small.commit(start())
    await gauges.refresh()
    counted = {"from": "not_applicable", "to": "missed"}
    assert small.count("week12_outcome_changes_total", **labels, **counted) == 1


async def test_a_centre_has_last_sent_when_its_newest_event_came(small: Reading) -> None:
    gauges = OutcomesGauges(small.node)
    await small.commit(enrolment(), lab("crp", 7, 5))
    await gauges.refresh()
    # all of the tests' records reach ingest at this moment
    site = enrolment()["site_id"]
    assert small.count("week12_site_last_received_timestamp_seconds", site=site) == 1_700_000_000


def test_centres_beyond_a_thousand_share_a_label() -> None:
    sites = SiteLabels()
    names = [f"S{number}" for number in range(MOST_SITES)]
    assert [sites.label(name) for name in names] == names
    assert sites.label("one more") == OTHER_SITES
    assert sites.label("S0") == "S0"
    assert "one more" not in sites


def test_what_verify_found_is_kept(tmp_path: Path) -> None:
    assert read_verified(tmp_path) == {}
    note_verified(tmp_path, {"outcomes": 0, "safety": 2}, at=100.0)
    assert read_verified(tmp_path) == {
        "outcomes": Verified(0, 100.0, 100.0),
        "safety": Verified(2, 100.0, None),
    }
    note_verified(tmp_path, {"outcomes": 3, "safety": 0}, at=200.0)
    assert read_verified(tmp_path) == {
        "outcomes": Verified(3, 200.0, 100.0),
        "safety": Verified(0, 200.0, 200.0),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["verified.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"outcomes": 1}', '{"outcomes": {"differences": "many"}}'])
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "verified.json").write_text(text, encoding="utf-8")
    assert read_verified(tmp_path) == {}


async def test_a_service_shows_what_verify_found(small: Reading) -> None:
    keeper = GaugeKeeper(small.node, None)
    keeper.look_at_files()
    assert small.count("week12_verify_last_run_timestamp_seconds", store="outcomes") == 0
    assert small.count("week12_store_size_bytes", service="outcomes") > 0
    note_verified(small.settings.data_dir, {"outcomes": 2}, at=300.0)
    keeper.look_at_files()
    assert small.count("week12_verify_differences", store="outcomes") == 2
    assert small.count("week12_verify_last_run_timestamp_seconds", store="outcomes") == 300
    found = small.metrics.registry.get_sample_value(
        "week12_verify_last_success_timestamp_seconds", {"store": "outcomes"}
    )
    assert found is None


def test_the_command_keeps_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ("outcomes", Comparison("patients", 5, 5, 0, 0)),
        ("outcomes", Comparison("registry.outcomes.v1", 5, 4, 2, 1)),
        ("safety", Comparison("alerts", 1, 1, 0, 0)),
    ]
    monkeypatch.setattr(command, "_verify", lambda *_: rows)
    monkeypatch.setenv("WEEK12_DATA_DIR", str(tmp_path))
    began = datetime.now(UTC).timestamp()
    assert CliRunner().invoke(command.command).exit_code == 1
    found = read_verified(tmp_path)
    assert (found["outcomes"].differences, found["safety"].differences) == (3, 0)
    assert began <= found["safety"].ran_at == found["safety"].succeeded_at


def test_a_result_that_cannot_be_kept_is_said_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_verify", lambda *_: [("safety", Comparison("alerts", 1, 1, 0, 0))])
    monkeypatch.setenv("WEEK12_DATA_DIR", str(tmp_path / "missing"))
    done = CliRunner().invoke(command.command)
    assert done.exit_code == 0
    assert "could not be kept" in done.stderr

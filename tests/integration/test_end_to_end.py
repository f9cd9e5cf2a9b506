"""The study cohort, in disorder, through real services and brokers to the published table."""

from collections.abc import Callable
from pathlib import Path

import orjson
from comparison import assert_topics_show_the_tables, computed, contents_of
from plugins.services import RunningServices

from schemas.topics import ALERTS, DEAD_LETTERS, OUTCOMES
from services.broker import Broker
from services.broker.topics import end_offsets
from services.simulation.disorder import disorder
from services.simulation.fu2025 import SEED, generate

PUBLISHED = {
    "clinical_response": (41, 77, 53.25),
    "clinical_remission": (33, 77, 42.86),
    "endoscopic_response": (9, 18, 50.00),
    "endoscopic_remission": (7, 18, 38.89),
    "mucosal_healing": (5, 18, 27.78),
    "crp_normalisation": (37, 59, 62.71),
    "esr_normalisation": (39, 55, 70.91),
    "fcal_normalisation": (8, 27, 29.63),
}
"""n, N and per cent of the eight rates at week 12, as published."""
PATIENTS_WITH_AN_EVENT = (32, 94)


def test_the_cohort_in_disorder_gives_the_published_table(
    own_broker: Broker, run_services: Callable[..., RunningServices], tmp_path: Path
) -> None:
    services = run_services(own_broker)
    events = disorder(generate(), SEED)
    services.send(events)
    services.wait_until_settled()
    assert_published(services)
    reference = computed(tmp_path / "computed", map(orjson.dumps, events))
    snapshot = services.reader("outcomes").post("/v1/snapshot").json()
    assert contents_of(Path(snapshot["path"]), "outcomes") == reference["outcomes"]

    told = [OUTCOMES, ALERTS, DEAD_LETTERS]
    before = end_offsets(services.topics.client, told)
    once = services.records_read("safety")
    services.send(events)  # the same file again
    services.wait_until_settled()
    assert services.records_read("safety") == 2 * once
    assert end_offsets(services.topics.client, told) == before, "what did not change was published again"
    assert not services.topics.records(DEAD_LETTERS)
    assert_published(services)

    outcomes, alerts = services.topics.newest(OUTCOMES), services.topics.newest(ALERTS)
    services.stop()
    for name, tables in reference.items():
        assert services.contents(name) == tables, name
    assert_topics_show_the_tables(services.folder, outcomes, alerts)
    assert all("Traceback" not in services.log(name) for name in ("ingest", "outcomes", "safety"))


def assert_published(services: RunningServices) -> None:
    """The rates over HTTP are the paper's, by count and to two decimals."""
    cohort = services.get("outcomes", "/v1/cohort", timepoint="week_12", estimand="observed")["rows"]
    pooled = {
        row["endpoint"]: row for row in cohort if row["site_id"] is None and row["drug"] == "upadacitinib"
    }
    found = {
        name: (row["n"], row["denominator"], round(100 * row["rate"], 2))
        for name in PUBLISHED
        for row in [pooled[name]]
    }
    assert found == PUBLISHED
    incidence = services.get("safety", "/v1/incidence")["rows"]
    (everyone,) = (
        row
        for row in incidence
        if (row["drug"], row["site_id"], row["event_group"]) == ("upadacitinib", None, "any")
    )
    assert (everyone["patients_with_event"], everyone["patients"]) == PATIENTS_WITH_AN_EVENT

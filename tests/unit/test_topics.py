"""The topics as data: nothing orphaned, and what the contract says about keys and clean-up."""

from pathlib import Path

import pytest

from schemas import EventType, topics
from schemas.topics import (
    ALERT_ACTIONS,
    ALERTS,
    DEAD_LETTERS,
    ERASURES,
    EVENT_TOPICS,
    OUTCOMES,
    TOPICS,
    Topic,
)

DAY_MS = 24 * 60 * 60 * 1000
NOT_OURS = {"people", "other systems"}
every_topic = pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS.keys())


@every_topic
def test_no_topic_is_an_orphan(topic: Topic) -> None:
    assert topic.meaning
    assert topic.key
    assert topic.producers
    assert topic.consumers


@every_topic
def test_whoever_writes_or_reads_a_topic_is_a_service_of_ours_or_said_to_be_outside(topic: Topic) -> None:
    services = {path.name for path in Path(topics.__file__).parents[1].joinpath("services").iterdir()}
    assert set(topic.producers) <= {"ingest", "outcomes", "safety"}
    assert set(topic.consumers) - NOT_OURS <= services | {"ingest", "outcomes", "safety"}


@every_topic
def test_names_follow_kafkas_metric_names_and_carry_a_version(topic: Topic) -> None:
    family, name, version = topic.name.split(".")
    assert (family, version) == ("registry", "v1")
    assert name == name.lower()
    assert "_" not in name


def test_the_topics_are_those_of_the_contract() -> None:
    assert set(EVENT_TOPICS) == set(EventType)
    assert EVENT_TOPICS == {
        "enrolment": "registry.enrolments.v1",
        "treatment": "registry.treatments.v1",
        "visit": "registry.visits.v1",
        "lab": "registry.labs.v1",
        "adverse_event": "registry.adverse-events.v1",
        "consent": "registry.consents.v1",
    }
    assert set(TOPICS) == {
        *EVENT_TOPICS.values(), DEAD_LETTERS, OUTCOMES, ALERTS, ALERT_ACTIONS, ERASURES,
    }  # fmt: skip


@pytest.mark.parametrize("name", EVENT_TOPICS.values())
def test_event_topics_drop_exact_duplicates_only_and_have_no_time_limit(name: str) -> None:
    assert TOPICS[name].key == "patient_id|site_id|event_id|version|h"
    assert dict(TOPICS[name].configs) == {
        "cleanup.policy": "compact",
        "max.compaction.lag.ms": str(7 * DAY_MS),
        "delete.retention.ms": str(30 * DAY_MS),
    }


@pytest.mark.parametrize(("name", "key"), [(OUTCOMES, "patient_id"), (ALERTS, "alert_id")])
def test_derived_topics_keep_the_newest_of_each_key(name: str, key: str) -> None:
    assert TOPICS[name].key == key
    assert TOPICS[name].configs["cleanup.policy"] == "compact"


def test_letters_go_after_ninety_days_or_with_their_patient() -> None:
    assert dict(TOPICS[DEAD_LETTERS].configs) == {
        "cleanup.policy": "compact,delete",
        "max.compaction.lag.ms": str(7 * DAY_MS),
        "retention.ms": str(90 * DAY_MS),
        "retention.bytes": "-1",
    }


def test_every_action_of_people_stays_unless_it_is_taken_back() -> None:
    assert TOPICS[ALERT_ACTIONS].key == "alert_id|action_id"
    assert dict(TOPICS[ALERT_ACTIONS].configs) == dict(TOPICS[EVENT_TOPICS[EventType.LAB]].configs)


@every_topic
def test_what_an_erasure_takes_back_goes_within_days(topic: Topic) -> None:
    assert "compact" in topic.configs["cleanup.policy"].split(",")
    assert topic.configs["max.compaction.lag.ms"] == str(7 * DAY_MS)


@every_topic
def test_topics_have_twelve_partitions_unless_told_otherwise(topic: Topic) -> None:
    assert topic.partitions == 12

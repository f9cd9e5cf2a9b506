"""The Kafka record of an event: key, partition, CloudEvents headers."""

import pytest
from ingest_helpers import lab

from schemas import content_hash, parse_event, parse_record_key
from schemas.topics import EVENT_TOPICS
from services.ingest.records import partition_of, to_record


def record(**changes: object):  # type: ignore[no-untyped-def]
    event = parse_event(lab(**changes))
    return to_record(event, content_hash(event), b"the value", 12, [("traceparent", b"00-x")])


def test_the_value_is_what_was_received_and_the_topic_that_of_the_type() -> None:
    assert record().value == b"the value"
    assert record().topic == EVENT_TOPICS["lab"] == "registry.labs.v1"


def test_the_key_names_the_record_version() -> None:
    made = record(patient_id="S01|7", version=3)
    key = parse_record_key(made.key)
    assert key[:4] == ("S01|7", "S01", "S01:lab:1", 3)
    assert made.key.startswith(b"S01%7C7|S01|S01:lab:1|3|")


def test_headers_are_cloud_events_in_binary_mode() -> None:
    headers = record(site_id="S 01/ä", version=2).headers
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"S01:lab:1:2",
        "ce_source": b"/sites/S%2001%2F%C3%A4",
        "ce_type": b"org.week12.registry.lab.v1",
        "ce_dataschema": b"urn:week12:schema:lab:1",
        "ce_subject": b"S01-0001",
        "ce_partitionkey": b"S01-0001",
        "ce_time": b"2025-03-02T09:30:00+01:00",
        "content-type": b"application/json",
        "traceparent": b"00-x",
    }
    assert len(headers) == 10


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_partition_is_that_of_the_java_client(text: str, published: int) -> None:
    """Hash values from the tests of Apache Kafka's own `Utils.murmur2`."""
    assert partition_of(text.encode(), 12) == published % 2**31 % 12
    assert partition_of(text.encode(), 5) == published % 2**31 % 5


def test_every_event_of_a_patient_has_one_partition() -> None:
    assert {record(event_id=f"e{n}", version=n).partition for n in range(1, 20)} == {record().partition}

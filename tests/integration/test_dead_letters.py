"""Bad records in the event topics: each becomes one dead letter, and the rest is as if it were not there."""

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from comparison import STORES, assert_topics_show_the_tables, computed, rows_of
from kafka import KafkaProducer
from plugins.services import RunningServices

from schemas import content_hash, parse_event
from schemas.topics import ALERTS, DEAD_LETTERS, EVENT_TOPICS, OUTCOMES
from services.broker import Broker
from services.ingest.records import to_record
from services.simulation.registry import RegistryPlan, stream_registry

UNTIL = date(2025, 2, 28)
PLAN = RegistryPlan(patients=40, sites=3, events=1_500, seed=5, until=UNTIL, corrections=0.05)
PARTITIONS = 12
LABS, VISITS = EVENT_TOPICS["lab"], EVENT_TOPICS["visit"]  # type: ignore[index]
SECRET = "furlongZZ"
"""Stands in every bad value, where it must not be read out of."""

LAB = {
    "event_type": "lab",
    "site_id": "S01",
    "event_id": "S01:lab:bad",
    "patient_id": "P-0001",
    "recorded_at": "2025-02-02T09:30:00+01:00",
    "collected_on": "2025-02-01",
    "analyte": "crp",
    "value": 12.5,
    "unit": "mg/L",
}


class Sent(NamedTuple):
    """A record of a topic; where it is bad, `code` and `path` of its letter."""

    topic: str
    key: bytes
    value: bytes | None
    code: str = ""
    path: str = ""
    partition: int | None = None


def lab(**changes: Any) -> bytes:
    return orjson.dumps(LAB | changes)


BAD = [
    Sent(LABS, b"no JSON", b'{"value": "furlongZZ', "json_malformed"),
    Sent(LABS, b"no UTF-8", b"\xff\xfefurlongZZ", "json_malformed"),
    Sent(LABS, b"no object", b'["furlongZZ"]', "type"),
    Sent(LABS, b"nothing", b"", "json_malformed"),
    Sent(VISITS, b"another type", lab(analyte=SECRET), "code_unknown", "event_type"),
    Sent(LABS, b"unknown type", lab(event_type=SECRET), "code_unknown", "event_type"),
    Sent(LABS, b"unknown field", lab(extra=SECRET), "unknown_field", "extra"),
    Sent(LABS, b"unknown unit", lab(unit=SECRET), "unit_unknown", "unit"),
    Sent(LABS, b"no number", lab(value=SECRET), "type", "value"),
    Sent(LABS, b"|", lab(version=SECRET), "type", "version"),
    Sent(LABS, b"sign|a|b|1|-fffffff", lab(recorded_at=SECRET), "type", "recorded_at"),
    Sent(LABS, b"missing", orjson.dumps({"event_type": "lab", "unit": SECRET}), "missing", "site_id"),
    Sent(LABS, b"furlongZZ", None, "key_malformed"),
    Sent(LABS, b"P|S01|x|9223372036854775808|00000000", None, "key_malformed"),
]


def good(event: dict[str, Any], *, gone: bool = False) -> Sent:
    """The record that ingest makes of an event, or its tombstone."""
    parsed = parse_event(orjson.dumps(event))
    record = to_record(parsed, content_hash(parsed), orjson.dumps(event), PARTITIONS)
    return Sent(record.topic, record.key, None if gone else record.value, partition=record.partition)


def test_bad_records_become_dead_letters_and_stop_nothing(
    own_broker: Broker, run_services: Callable[..., RunningServices], tmp_path: Path
) -> None:
    services = run_services(own_broker, "outcomes", "safety", WEEK12_TODAY=str(UNTIL))
    events = [orjson.loads(line) for line in stream_registry(PLAN)]
    records = [good(event) for event in events]
    apart = len(records) // len(BAD)
    for number, bad in enumerate(BAD):
        records.insert(number * (apart + 1), bad)
    places = put(services, records)
    services.wait_until_settled()
    expect_letters(services, {place: bad for place, bad in zip(places, records, strict=True) if bad in BAD})
    send_one_again(services, tmp_path / "mended.json")

    gone = {events[0]["patient_id"], events[-1]["patient_id"]}
    corrected = next(e for e in events if e["version"] == 2 and e["patient_id"] not in gone)
    taken_back = [e for e in events if e["patient_id"] in gone or e is corrected]
    put(services, [good(event, gone=True) for event in taken_back])
    services.wait_until_settled()
    outcomes, alerts = services.topics.newest(OUTCOMES), services.topics.newest(ALERTS)
    assert (
        len(services.topics.records(DEAD_LETTERS)) == len(BAD) + 1
    )  # a note about the one that was sent again
    services.stop()
    for name in STORES:  # of what is told only the key stays, for an erasure to find it
        kept = rows_of(services.store_path(name), "FROM dead_letters")
        assert all(row["published"] and row["value"] is None for row in kept)
        assert len(kept) == (len(BAD) if name == "outcomes" else 0)
    left = [lab(), *(orjson.dumps(event) for event in events if event not in taken_back)]
    for name, tables in computed(tmp_path / "computed", left, UNTIL).items():
        assert services.contents(name) == tables, name
    assert gone.isdisjoint(outcomes)
    assert_topics_show_the_tables(services.folder, outcomes, alerts)


def send_one_again(services: RunningServices, mended: Path) -> None:
    """The unmended are refused as before; a mended one goes to its topic, and is neither listed nor sent again."""
    listed = listed_letters(services)
    assert sorted((row["topic"], row["code"], row["path"]) for row in listed) == sorted(
        (bad.topic, bad.code, bad.path) for bad in BAD
    )
    (row,) = [row for row in listed if row["code"] == "unit_unknown"]
    assert row["site"] == "S01"
    assert listed_letters(services, "--limit", "1", "--after", listed[0]["letter"]) == listed[1:2]
    counts = listed_letters(services, "--site", "S01", "--by", "code,site")
    assert {"code": "unit_unknown", "site": "S01", "letters": 1} in counts

    shown = services.week12("dead-letters", "show", row["letter"])
    assert "may hold data of a patient" in shown.stderr
    assert SECRET in shown.stdout
    assert "error-code: unit_unknown" in shown.stdout
    again = services.week12("dead-letters", "replay", "--all")
    assert again.returncode == 1
    assert again.stdout.endswith(f"\n{len(BAD)} refused\n"), again.stdout + again.stderr
    assert SECRET not in again.stdout + again.stderr

    before = len(services.topics.records(LABS))
    mended.write_bytes(lab())
    sent = services.week12("dead-letters", "replay", row["letter"], "--payload", str(mended))
    assert (sent.returncode, sent.stdout) == (0, "1 sent\n"), sent.stderr
    assert services.week12("dead-letters", "replay", row["letter"]).stdout == "1 done before\n"
    assert len(services.topics.records(LABS)) == before + 1
    assert listed_letters(services) == [one for one in listed if one is not row]


def listed_letters(services: RunningServices, *options: str) -> list[dict[str, Any]]:
    """What `list` shows as JSON: never what a letter holds."""
    found = services.week12("dead-letters", "list", "--format", "json", *options)
    assert found.returncode == 0, found.stderr
    assert SECRET not in found.stdout + found.stderr
    rows: list[dict[str, Any]] = json.loads(found.stdout)
    return rows


def put(services: RunningServices, records: Sequence[Sent]) -> list[tuple[str, int, int]]:
    """Write records past ingest; where each stands: topic, partition, offset."""
    producer = KafkaProducer(**services.topics.client, acks="all", enable_idempotence=False, linger_ms=5)
    futures = [producer.send(r.topic, r.value, r.key, partition=r.partition) for r in records]
    producer.flush()
    places = [future.get(30) for future in futures]
    producer.close()
    return [(place.topic, place.partition, place.offset) for place in places]


def expect_letters(services: RunningServices, bad: dict[tuple[str, int, int], Sent]) -> None:
    """One letter a bad record, with its bytes, where it stood and why, and nothing of what it said."""
    letters = {}
    for letter in services.topics.records(DEAD_LETTERS):
        headers = {name: text.decode() for name, text in letter.headers.items()}
        place = (
            headers.pop("origin-topic"),
            int(headers.pop("origin-partition")),
            int(headers.pop("origin-offset")),
        )
        assert place not in letters, "told twice"
        assert SECRET not in str(headers)
        assert headers.pop("received_at").isdecimal()
        assert headers.pop("error")
        assert headers.pop("attempt") == "1"
        assert headers.pop("source") == "outcomes"
        letters[place] = Sent(
            place[0], letter.key, letter.value, headers.pop("error-code"), headers.pop("error-path")
        )
        assert not headers
    assert letters == bad

"""What Prometheus learns of each batch; counts and times only, never a record."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.refusals import CODES
from services.runtime.metrics import Metrics
from services.stream.batch import Applied
from services.stream.decode import TYPE_OF_TOPIC, Record
from services.stream.traces import Traced, trace_headers, traced

EACH_RECORD_TIMED = 1_000
"""Up to this many records a batch, the time to state is observed for every one; beyond, for the oldest."""


DEAD_LETTER_CODES = (*CODES, "key_malformed", "unprocessable")


def prepare_counters(metrics: Metrics, service: str) -> None:
    """Let those that alert rules watch begin at 0: a counter that appears at 1 has not increased for Prometheus."""
    for code in DEAD_LETTER_CODES:
        metrics.dead_letters_total.labels(service, code)


@dataclass(frozen=True)
class Arrival:
    """What one partition brought: kept instead of the records, so that they can be freed before the commit."""

    topic: str
    partition: int
    count: int
    newest_ms: int
    received_ms: tuple[int, ...]
    first: int  # offset
    last: int
    traces: frozenset[bytes]  # headers
    traced: tuple[Traced, ...]  # of a few records each, of a backlog none


def note_arrivals(polled: Mapping[tuple[str, int], Sequence[Record]]) -> list[Arrival]:
    """Summarise one poll."""
    few = sum(map(len, polled.values())) <= EACH_RECORD_TIMED
    return [_arrival(*place, records, few) for place, records in polled.items() if records]


def _arrival(topic: str, partition: int, records: Sequence[Record], few: bool) -> Arrival:
    return Arrival(
        topic,
        partition,
        len(records),
        records[-1].timestamp,
        tuple(record.timestamp for record in records[: None if few else 1]),
        records[0].offset,
        records[-1].offset,
        trace_headers(records),
        traced(records) if few else (),
    )


def measure_batch(
    metrics: Metrics,
    service: str,
    arrivals: Sequence[Arrival],
    applied: Applied,
    seconds: float,
) -> None:
    """Record a commit: durations, ages of its records, and what became of them."""
    metrics.stream_batch_duration_seconds.labels(service).observe(seconds)
    metrics.store_commit_duration_seconds.labels(service).observe(applied.commit_seconds)
    for letter in applied.dead_letters:
        metrics.dead_letters_total.labels(service, letter.code).inc()
    now = time.time()
    for arrival in arrivals:
        labels = (service, arrival.topic, str(arrival.partition))
        metrics.consumer_last_record_timestamp_seconds.labels(*labels).set(arrival.newest_ms / 1000)
        ages = metrics.event_to_state_seconds.labels(service, TYPE_OF_TOPIC.get(arrival.topic, "erasure"))
        for received in arrival.received_ms:
            ages.observe(max(0.0, now - received / 1000))
    _count_results(metrics, service, arrivals, applied)


def _count_results(metrics: Metrics, service: str, arrivals: Sequence[Arrival], applied: Applied) -> None:
    counts: Counter[str] = Counter()
    for arrival in arrivals:
        counts[arrival.topic] += arrival.count
    refused = Counter(letter.topic for letter in applied.dead_letters)
    # Copies are counted over the commit; which topic they came from is not kept.
    copies = max(0, applied.records - len(applied.dead_letters) - applied.applied)
    for topic, count in counts.items():
        unchanged = round(copies * count / applied.records)
        results = {"dead_letter": refused[topic], "unchanged": unchanged}
        results["applied"] = max(0, count - sum(results.values()))
        for result, number in results.items():
            metrics.stream_records_total.labels(service, topic, result).inc(number)

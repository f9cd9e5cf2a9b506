"""The study cohort as a stream of events, and in what disorder it arrives."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.ingest.files import Chunk, Line
from services.simulation.disorder import disorder, recorded_at
from services.simulation.fu2025 import generate
from services.simulation.records import RawEvent

LINES_AT_ONCE = 250
LATE = timedelta(days=1)


@dataclass(frozen=True)
class Disorder:
    """How many events arrived how."""

    events: int
    late: int  # more than a day after something that was recorded later
    duplicates: int  # this version was there already
    corrections: int  # a version that replaces an earlier one
    retractions: int  # a version that withdraws its record


def study_stream(seed: int) -> list[RawEvent]:
    """The 94 patients' events in order of arrival; seed 2025 gives `examples/fu2025/stream.jsonl`."""
    return disorder(generate(seed), seed)


def chunks(events: Sequence[RawEvent]) -> list[Chunk]:
    """The stream cut into requests."""
    lines = [
        Line("study cohort", number, json.dumps(event).encode()) for number, event in enumerate(events, 1)
    ]
    return [
        Chunk(part, (), sum(len(line.text) for line in part))
        for part in (
            tuple(lines[first : first + LINES_AT_ONCE]) for first in range(0, len(lines), LINES_AT_ONCE)
        )
    ]


def count_disorder(events: Sequence[RawEvent]) -> Disorder:
    """Count what is out of order in a stream."""
    seen: set[tuple[str, str, int]] = set()
    first_version: dict[tuple[str, str], int] = {}
    for event in events:
        if not event.get("retracted"):
            record = event["site_id"], event["event_id"]
            first_version[record] = min(event["version"], first_version.get(record, event["version"]))
    latest = recorded_at(events[0])
    late = duplicates = corrections = retractions = 0
    for event in events:
        record = event["site_id"], event["event_id"]
        version = (*record, event["version"])
        late += latest - recorded_at(event) > LATE
        latest = max(latest, recorded_at(event))
        if version in seen:
            duplicates += 1
        elif event.get("retracted"):
            retractions += 1
        else:
            corrections += event["version"] > first_version[record]
        seen.add(version)
    return Disorder(len(events), late, duplicates, corrections, retractions)

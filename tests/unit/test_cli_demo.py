"""What the demonstration compares, and when it says that it agrees."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.protocol import load_protocol
from services.local.agreement import Line, agreement, wilson
from services.local.study import chunks, count_disorder, study_stream

FU2025 = load_protocol("fu2025")
EXAMPLE = Path(__file__).parents[2] / "examples" / "fu2025" / "stream.jsonl"
DRUG = "upadacitinib"


def cohort_row(endpoint: str, n: int, denominator: int, **changes: Any) -> dict[str, Any]:
    row = {
        "protocol": "fu2025",
        "timepoint": "week_12",
        "endpoint": endpoint,
        "drug": DRUG,
        "site_id": None,
        "estimand": "observed",
        "n": n,
        "denominator": denominator,
        "ci_low": 0.1,
        "ci_high": 0.9,
    }
    return {**row, **changes}


PUBLISHED = {r.endpoint: (r.n, r.denominator) for r in FU2025.reference if r.endpoint}
COHORT = [cohort_row(endpoint, *counts) for endpoint, counts in PUBLISHED.items()]
INCIDENCE = [
    {"drug": DRUG, "site_id": None, "event_group": "any", "patients": 94, "patients_with_event": 32},
    {"drug": DRUG, "site_id": "S01", "event_group": "any", "patients": 20, "patients_with_event": 1},
    {"drug": "other", "site_id": None, "event_group": "any", "patients": 1, "patients_with_event": 0},
]


def test_nine_lines_that_agree() -> None:
    lines = agreement(FU2025, COHORT, INCIDENCE)
    assert len(lines) == 9
    assert all(line.agrees for line in lines)
    assert lines[-1].live == (32, 94)


@pytest.mark.parametrize("endpoint", PUBLISHED)
def test_one_patient_more_is_noticed(endpoint: str) -> None:
    changed = [{**row, "n": row["n"] + 1} if row["endpoint"] == endpoint else row for row in COHORT]
    names = [line.name for line in agreement(FU2025, changed, INCIDENCE) if not line.agrees]
    assert names == [endpoint.replace("_", " ")]


@pytest.mark.parametrize(
    "changes", [{"site_id": "S01"}, {"estimand": "nri"}, {"timepoint": "week_24"}, {"drug": "other"}]
)
def test_other_rows_do_not_stand_in(changes: Mapping[str, Any]) -> None:
    lines = agreement(FU2025, [{**row, **changes} for row in COHORT], INCIDENCE)
    assert [line.live for line in lines[:8]] == [None] * 8
    assert not any(line.agrees for line in lines[:8])


@pytest.mark.parametrize(
    ("published", "live", "agrees"),
    [
        ("53.25", (41, 77), True),  # 53.2467...
        ("53.24", (41, 77), False),
        ("12.50", (1, 8), True),
        ("12.5", (1, 8), True),
        ("3.13", (1, 32), True),  # 3.125, rounded half up
        ("3.12", (1, 32), False),
        ("0.00", (0, 0), False),
    ],
)
def test_two_decimals(published: str, live: tuple[int, int], agrees: bool) -> None:
    assert Line("x", (1, 1), Decimal(published), live, None).agrees is agrees


def test_wilson() -> None:
    # Newcombe 1998 (doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), table I, method 3
    for n, denominator, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        limits = wilson(n, denominator)
        assert limits is not None
        assert limits == pytest.approx((low, high), abs=0.00005)
    assert wilson(0, 0) is None


def test_the_stream_is_the_example() -> None:
    sent = [line.text for chunk in chunks(study_stream(2025)) for line in chunk.lines]
    assert [text.replace(b'": ', b'":').replace(b', "', b',"') for text in sent[:50]] == [
        line.encode() for line in EXAMPLE.read_text().splitlines()[:50]
    ]
    assert len(sent) == len(EXAMPLE.read_text().splitlines())


def event(event_id: str, version: int, recorded_at: str, retracted: bool = False) -> dict[str, Any]:
    return {
        "site_id": "S01",
        "event_id": event_id,
        "version": version,
        "recorded_at": recorded_at,
        "retracted": retracted,
    }


def test_disorder_is_counted() -> None:
    found = count_disorder(
        [
            event("a", 2, "2025-01-10T00:00:00Z"),  # a correction, before what it corrects
            event("a", 1, "2025-01-08T00:00:00Z"),  # late
            event("a", 1, "2025-01-09T12:00:00Z"),  # a duplicate, within a day of the latest
            event("b", 1, "2025-01-11T00:00:00Z"),
            event("b", 2, "2025-01-12T00:00:00Z", retracted=True),
        ]
    )
    assert (found.events, found.late, found.duplicates, found.corrections, found.retractions) == (
        5,
        1,
        1,
        1,
        1,
    )

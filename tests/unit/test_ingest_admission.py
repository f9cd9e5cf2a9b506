"""Which events of a request are taken, and how repeats within it are told apart."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_helpers import lab, lines

from services.ingest.admission import Verdict, admit
from services.ingest.body import MAX_EVENT_BYTES, Item, read_body


def judge(*events: object, sites: Sequence[str] = ("S01",)) -> list[Verdict]:
    return admit(read_body("application/x-ndjson", lines(*events))[1], lambda site: site in sites)


def outcome(verdict: Verdict) -> tuple[Any, ...]:
    return (verdict.status, *(refusal.code for refusal in verdict.refusals))


def test_a_good_event_is_accepted() -> None:
    (verdict,) = judge(lab())
    assert outcome(verdict) == ("accepted",)
    assert verdict.event is not None
    assert verdict.event.event_id == "S01:lab:1"


def test_the_order_is_that_of_the_request() -> None:
    verdicts = judge(lab(1), {"event_type": "lab"}, 3, lab(2, event_type="consent"), lab(3))
    assert [verdict.status for verdict in verdicts] == [
        "accepted", "refused", "refused", "refused", "accepted",
    ]  # fmt: skip
    assert [verdict.item.position for verdict in verdicts] == [1, 2, 3, 4, 5]


def test_another_centre_is_forbidden() -> None:
    (verdict,) = judge(lab(site_id="S02"))
    assert outcome(verdict) == ("refused", "site_forbidden")
    assert verdict.refusals[0].path == "site_id"


@pytest.mark.parametrize(
    "event",
    [
        None,
        3,
        "lab",
        [],
        {},
        {"event_type": None},
        {"event_type": ["lab"]},
        {"event_type": "biopsy"},
        [lab()],
    ],
)
def test_what_is_no_event_of_the_contract_is_refused_not_raised(event: object) -> None:
    (verdict,) = judge(event)
    assert verdict.status == "refused"
    assert verdict.event_type == "unknown"


@pytest.mark.parametrize(("extra", "status"), [(-1, "accepted"), (0, "accepted"), (1, "refused")])
def test_an_event_may_be_one_mebibyte(extra: int, status: str) -> None:
    value = orjson.dumps(lab())
    value = value.replace(b"{", b"{" + b" " * (MAX_EVENT_BYTES + extra - len(value)), 1)
    (verdict,) = admit([Item(1, value, orjson.loads(value))], lambda site: True)
    assert verdict.status == status
    if status == "refused":
        assert (verdict.refusals[0].code, verdict.http_status) == ("too_large", 413)


def test_a_warning_does_not_refuse() -> None:
    segment = {"ulcer_size": 1, "ulcerated_surface": 1, "affected_surface": 1, "narrowing": 0}
    visit = {
        "event_type": "visit", "site_id": "S01", "event_id": "S01:visit:1", "patient_id": "S01-0001",
        "recorded_at": "2025-03-02T09:30:00+01:00", "visited_on": "2025-03-01", "ses_cd": 12,
        "ses_cd_segments": {"ileum": segment, "right_colon": None, "transverse_colon": None,
                            "left_colon": None, "rectum": None},
    }  # fmt: skip
    (verdict,) = judge(visit)
    assert verdict.status == "accepted"
    assert [warning.code for warning in verdict.warnings] == ["total_disagrees"]


class TestRepeats:
    """The same record and version twice in one request."""

    def test_the_same_content_is_a_duplicate(self) -> None:
        verdicts = judge(lab(value=10), lab(value=10.0, version=1), lab(value=10.0, retracted=False))
        assert [verdict.status for verdict in verdicts] == ["accepted", "duplicate", "duplicate"]

    def test_of_versions_that_differ_in_recorded_at_alone_the_earliest_counts(self) -> None:
        verdicts = judge(
            lab(recorded_at="2025-03-02T10:00:00Z"),
            lab(recorded_at="2025-03-02T10:30:00+01:00"),  # 09:30 UTC
            lab(recorded_at="2025-03-02T11:00:00Z"),
        )
        assert [verdict.status for verdict in verdicts] == ["duplicate", "accepted", "duplicate"]

    @pytest.mark.parametrize(
        "change",
        [{"value": 12.6}, {"unit": "mg/dL"}, {"patient_id": "S01-0002"}, {"collected_on": "2025-02-28"}],
    )
    def test_other_content_is_a_conflict_and_none_of_the_versions_is_taken(
        self, change: dict[str, Any]
    ) -> None:
        verdicts = judge(lab(), lab(**change), lab(2))
        assert [outcome(verdict) for verdict in verdicts] == [
            ("refused", "version_conflict"), ("refused", "version_conflict"), ("accepted",),
        ]  # fmt: skip

    def test_a_conflict_of_event_types_counts_too(self) -> None:
        retraction = {key: lab()[key] for key in ("site_id", "event_id", "patient_id", "recorded_at")}
        verdicts = judge(lab(), {**retraction, "event_type": "visit", "retracted": True})
        assert {outcome(verdict) for verdict in verdicts} == {("refused", "version_conflict")}

    @pytest.mark.parametrize(
        "change", [{"version": 2, "value": 3}, {"event_id": "S01:lab:9"}, {"site_id": "S02"}]
    )
    def test_another_version_record_or_centre_is_no_repeat(self, change: dict[str, Any]) -> None:
        verdicts = judge(lab(), lab(**change), sites=("S01", "S02"))
        assert [verdict.status for verdict in verdicts] == ["accepted", "accepted"]

    def test_a_forbidden_repeat_does_not_touch_the_good_one(self) -> None:
        verdicts = judge(lab(), lab(site_id="S02", value=1))
        assert [outcome(verdict) for verdict in verdicts] == [("accepted",), ("refused", "site_forbidden")]

    @given(st.permutations([lab(1), lab(1), lab(2), lab(2, value=1), lab(3), lab(3, site_id="S02"), 4]))
    def test_the_order_of_the_request_decides_nothing(self, events: list[object]) -> None:
        taken = {
            (verdict.event.event_id, verdict.content)
            for verdict in judge(*events)
            if verdict.event is not None and verdict.status == "accepted"
        }
        assert {event_id for event_id, _ in taken} == {"S01:lab:1", "S01:lab:3"}
        assert len(taken) == 2

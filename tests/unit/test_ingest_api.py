"""`POST /v1/events` without a broker: receipts, the table of errors, limits, metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from ingest_helpers import NDJSON, FakePublisher, Ingest, lab, lines

from schemas import EVENT_MODELS
from services.ingest.publisher import BrokerUnavailable, RecordTooLarge
from services.runtime.problems import MEDIA_TYPE

MIB = 1 << 20


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def ingest(tmp_path: Path, publisher: FakePublisher) -> Ingest:
    return Ingest(tmp_path, publisher)


async def test_an_erased_patient_is_gone(ingest: Ingest, publisher: FakePublisher) -> None:
    ingest.erased = {"S01-0001"}
    answer = await ingest.post(lab(1))
    assert answer.status_code == 410
    assert answer.json()["code"] == "erased"
    assert answer.json()["errors"][0]["path"] == "patient_id"
    answer = await ingest.post([lab(1), lab(2)])
    assert answer.status_code == 207
    assert [receipt.get("code") for receipt in answer.json()["receipts"]] == ["erased", None]
    assert [record.value for record in publisher.records] == [orjson.dumps(lab(2))]


class TestReceipts:
    async def test_one_event(self, ingest: Ingest, publisher: FakePublisher) -> None:
        answer = await ingest.post(lab())
        assert answer.status_code == 202
        assert answer.json() == {
            "receipts": [{"event_id": "S01:lab:1", "version": 1, "status": "accepted", "warnings": []}]
        }
        assert [record.value for record in publisher.records] == [orjson.dumps(lab())]

    async def test_an_array_numbers_from_0(self, ingest: Ingest) -> None:
        answer = await ingest.post([lab(1), lab(2, version=3), lab(1)])
        assert answer.status_code == 202
        assert [(r["index"], r["version"], r["status"]) for r in answer.json()["receipts"]] == [
            (0, 1, "accepted"), (1, 3, "accepted"), (2, 1, "duplicate"),
        ]  # fmt: skip

    async def test_lines_number_from_1_and_count_blank_ones(self, ingest: Ingest) -> None:
        answer = await ingest.post(b"\n" + lines(lab(1), lab(2)))
        assert [(r["line"], r["status"]) for r in answer.json()["receipts"]] == [
            (2, "accepted"), (3, "accepted"),
        ]  # fmt: skip

    async def test_a_duplicate_is_not_produced(self, ingest: Ingest, publisher: FakePublisher) -> None:
        await ingest.post([lab(1), lab(1)])
        assert len(publisher.records) == 1

    async def test_warnings_stand_in_the_receipt(self, ingest: Ingest) -> None:
        event = {
            "event_type": "adverse_event", "site_id": "S01", "event_id": "ae1", "patient_id": "S01-0001",
            "recorded_at": "2025-03-02T09:30:00Z", "term": "sepsis", "onset_on": "2025-03-01", "grade": 5,
            "serious": True, "seriousness": ["hospitalisation"], "related": "unlikely", "outcome": "fatal",
            "action_taken": "withdrawn",
        }  # fmt: skip
        (receipt,) = (await ingest.post(event)).json()["receipts"]
        assert receipt["status"] == "accepted"
        assert [warning["code"] for warning in receipt["warnings"]] == ["death_not_serious"]

    async def test_some_refused_is_207_and_the_others_are_in_kafka(
        self, ingest: Ingest, publisher: FakePublisher
    ) -> None:
        answer = await ingest.post(lines(lab(1), lab(2, unit="furlong"), lab(3, site_id="S02"), lab(4)))
        assert answer.status_code == 207
        receipts = answer.json()["receipts"]
        assert [(r["status"], r.get("code")) for r in receipts] == [
            ("accepted", None),
            ("refused", "unit_unknown"),
            ("refused", "site_forbidden"),
            ("accepted", None),
        ]
        assert receipts[1]["event_id"] == "S01:lab:2"
        assert [error["path"] for error in receipts[1]["errors"]] == ["unit"]
        assert len(publisher.records) == 2

    @pytest.mark.parametrize("body", [[], b""])
    async def test_nothing_sent_is_nothing_refused(
        self, ingest: Ingest, publisher: FakePublisher, body: object
    ) -> None:
        answer = await ingest.post(body)
        assert (answer.status_code, answer.json()) == (202, {"receipts": []})
        assert publisher.records == []

    async def test_records_carry_the_time_of_receipt(self, ingest: Ingest, publisher: FakePublisher) -> None:
        await ingest.post([lab(1), lab(2)])
        assert len(set(publisher.timestamps)) == 1
        assert publisher.timestamps[0] > 1_700_000_000_000

    @pytest.mark.parametrize(
        ("header", "kept"),
        [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", False),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
            ("Maria", False),
        ],
    )
    async def test_a_trace_is_gone_on_with_when_it_is_one(
        self, ingest: Ingest, publisher: FakePublisher, header: str, kept: bool
    ) -> None:
        answer = await ingest.post([lab(1), lab(2)], traceparent=header)
        given = header.split("-")
        spans = {dict(record.headers)["traceparent"].decode() for record in publisher.records}
        [(version, trace_id, span_id, _)] = [span.split("-") for span in spans]
        assert (version, len(trace_id), len(span_id)) == ("00", 32, 16)
        assert (given[1:2] == [trace_id]) is kept
        assert span_id not in header
        assert answer.headers["trace-id"] == trace_id


def broker_away(publisher: FakePublisher) -> None:
    publisher.ready = False


def broker_silent(publisher: FakePublisher) -> None:
    publisher.error = BrokerUnavailable()


def record_too_large(publisher: FakePublisher) -> None:
    publisher.error = RecordTooLarge()


def as_is(publisher: FakePublisher) -> None:
    pass


def padded(size: int) -> bytes:
    value = orjson.dumps(lab())
    return value.replace(b"{", b"{" + b" " * (size - len(value)), 1)


RETRACTION = {
    **{k: lab()[k] for k in ("site_id", "event_id", "patient_id", "recorded_at")},
    "retracted": True,
}
ERRORS: list[Any] = [
    pytest.param(b"{", {}, as_is, 400, "json_malformed", id="broken line"),
    pytest.param(b'"\xff"', {}, as_is, 400, "json_malformed", id="not UTF-8"),
    pytest.param(b"{", {"content_type": "application/json"}, as_is, 400, "json_malformed", id="not JSON"),
    pytest.param(b"", {"content_type": "application/json"}, as_is, 400, "json_malformed", id="empty JSON"),
    pytest.param(lab(), {"authorization": ""}, as_is, 401, "unauthenticated", id="no token"),
    pytest.param(lab(), {"authorization": "Bearer x"}, as_is, 401, "unauthenticated", id="bad token"),
    pytest.param(lab(site_id="S02"), {}, as_is, 403, "site_forbidden", id="another centre"),
    pytest.param(lines(lab(site_id="S02")), {}, as_is, 403, "site_forbidden", id="another centre, line"),
    pytest.param(lab(), {"accept": "text/html"}, as_is, 406, "format", id="asks for HTML"),
    pytest.param([lab(), lab(value=1)], {}, as_is, 409, "version_conflict", id="conflict"),
    pytest.param(padded(MIB + 1), {}, as_is, 413, "too_large", id="event over 1 MiB"),
    pytest.param(b"\n" * (10 * MIB + 1), {}, as_is, 413, "too_large", id="request over 10 MiB"),
    pytest.param(lab(), {}, record_too_large, 413, "too_large", id="over the broker's limit"),
    pytest.param(lab(), {"content_type": "text/csv"}, as_is, 415, "media_type", id="CSV"),
    pytest.param(lab(), {"content_encoding": "gzip"}, as_is, 415, "media_type", id="compressed"),
    pytest.param(lab(colour="red"), {}, as_is, 422, "unknown_field", id="unknown field"),
    pytest.param({"event_type": "lab"}, {}, as_is, 422, "missing", id="missing"),
    pytest.param(RETRACTION, {}, as_is, 422, "missing", id="no event type"),
    pytest.param(lab(retracted="yes"), {}, as_is, 422, "type", id="wrong type"),
    pytest.param(3, {}, as_is, 422, "type", id="no object"),
    pytest.param(lab(unit="furlong"), {}, as_is, 422, "unit_unknown", id="unit unknown"),
    pytest.param(lab(unit="kg"), {}, as_is, 422, "unit_not_convertible", id="unit not convertible"),
    pytest.param(lab(value=-1), {}, as_is, 422, "implausible", id="implausible"),
    pytest.param(lab(collected_on="2025-03-05"), {}, as_is, 422, "date_future", id="in the future"),
    pytest.param(lab(collected_on="2025-03"), {}, as_is, 422, "date_partial", id="partial date"),
    pytest.param(lab(patient_id="Maria Lopez"), {}, as_is, 422, "identifier_suspected", id="a name"),
    pytest.param(lab(analyte="zonulin"), {}, as_is, 422, "code_unknown", id="unknown code"),
    pytest.param([3, lab(site_id="S02")], {}, as_is, 422, "refused", id="several reasons"),
    pytest.param(lab(), {}, broker_away, 503, "broker_unavailable", id="broker away"),
    pytest.param(lab(), {}, broker_silent, 503, "broker_unavailable", id="not acknowledged"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "prepare", "status", "code"), ERRORS)
async def test_the_table_of_errors(
    ingest: Ingest,
    publisher: FakePublisher,
    body: object,
    headers: dict[str, str],
    prepare: Callable[[FakePublisher], None],
    status: int,
    code: str,
) -> None:
    prepare(publisher)
    answer = await ingest.post(body, **headers)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert problem["detail"]
    assert publisher.records == []
    if status == 422:
        assert all(set(error) == {"path", "code", "message"} for error in problem["errors"])
        assert problem["errors"]
    assert ("retry-after" in answer.headers) is (status == 503)


async def test_a_token_without_the_permission_is_forbidden(ingest: Ingest) -> None:
    secret = ingest.tokens.add("dr-lee", ["safety_officer"])
    answer = await ingest.post(lab(), authorization=f"Bearer {secret}")
    assert (answer.status_code, answer.json()["code"]) == (403, "role_forbidden")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_405(ingest: Ingest, method: str) -> None:
    async with ingest.client() as client:
        answer = await client.request(method, "/v1/events")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*", "application/json", "text/html, application/json;q=0.5"]
)
async def test_usual_accept_headers_are_fine(ingest: Ingest, accept: str) -> None:
    assert (await ingest.post(lab(), accept=accept)).status_code == 202


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (lab(unit="kg", value=-1), {"unit"}),
        ([lab(1, unit="kg"), 3], {"[0].unit", "[1]"}),
        (lines(lab(1, unit="kg"), 3), {"line 1.unit", "line 2"}),
    ],
)
async def test_paths_lead_to_the_field(ingest: Ingest, body: object, paths: set[str]) -> None:
    problem = (await ingest.post(body)).json()
    assert paths <= {error["path"] for error in problem["errors"]}


async def test_a_wholly_refused_request_has_receipts_too(ingest: Ingest) -> None:
    problem = (await ingest.post([lab(unit="kg"), 3])).json()
    assert [receipt["status"] for receipt in problem["receipts"]] == ["refused", "refused"]


async def test_ten_mebibytes_are_not_too_many(ingest: Ingest) -> None:
    body = lines(lab()) + b"\n" * (10 * MIB - len(lines(lab())))
    assert len(body) == 10 * MIB
    assert (await ingest.post(body)).status_code == 202


async def test_a_body_of_unknown_length_is_limited_too(ingest: Ingest) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"\n" * MIB

    async with ingest.client(**{"Content-Type": NDJSON}) as client:
        answer = await client.post("/v1/events", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_the_rate_is_per_token(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path, FakePublisher(), ingest_rate="2/hour")
    other = ingest.tokens.add("clinic-02", ["submitter"], ["S01"])
    answers = [await ingest.post(lab()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[-1].json()["code"] == "rate"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3600
    assert (await ingest.post(lab(), authorization=f"Bearer {other}")).status_code == 202


class Gate(FakePublisher):
    """A broker that acknowledges only once the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.entered = asyncio.Event()
        self.waiting = 0

    async def publish(self, records: Any, timestamp_ms: int) -> dict[str, str]:
        self.waiting += 1
        self.entered.set()
        await self.open.wait()
        return await super().publish(records, timestamp_ms)


class TestBackPressure:
    """A broker that is slow fills the window, not the memory."""

    @pytest.fixture
    def gate(self) -> Gate:
        return Gate()

    @pytest.fixture
    def narrow(self, tmp_path: Path, gate: Gate) -> Ingest:
        return Ingest(tmp_path, gate, ingest_window_mib=1, ingest_ack_seconds=0.2)

    async def test_beyond_the_window_callers_get_503_and_nothing_of_theirs_is_kept(
        self, narrow: Ingest, gate: Gate
    ) -> None:
        first = asyncio.create_task(narrow.post(padded(MIB)))
        await asyncio.wait_for(gate.entered.wait(), 5)
        refused = await asyncio.gather(*(narrow.post(lab(n)) for n in range(2, 6)))
        assert {(a.status_code, a.json()["code"], a.headers["retry-after"]) for a in refused} == {
            (503, "broker_unavailable", "1")
        }
        assert gate.waiting == 1
        gate.open.set()
        assert (await first).status_code == 202
        assert (await narrow.post(lab(9))).status_code == 202
        assert len(gate.records) == 2

    async def test_a_caller_that_waits_goes_on_when_there_is_room(self, tmp_path: Path, gate: Gate) -> None:
        ingest = Ingest(tmp_path, gate, ingest_window_mib=1, ingest_ack_seconds=30)
        posts = [asyncio.create_task(ingest.post(padded(MIB))) for _ in range(3)]
        await asyncio.wait_for(gate.entered.wait(), 5)
        gate.open.set()
        assert [(await post).status_code for post in posts] == [202, 202, 202]


class TestMetrics:
    async def test_events_are_counted_by_type_and_result(self, ingest: Ingest) -> None:
        await ingest.post([lab(1), lab(1), lab(2), lab(3, version=0, colour="red"), 3])
        for event_type, result, count in (
            ("lab", "accepted", 2), ("lab", "duplicate", 1), ("lab", "refused", 1), ("unknown", "refused", 1),
        ):  # fmt: skip
            labels = {"event_type": event_type, "result": result, "format": "json"}
            assert ingest.count("week12_ingest_events_total", **labels) == count
        for code in ("implausible", "unknown_field"):
            assert ingest.count("week12_ingest_refusals_total", event_type="lab", code=code) == 1

    async def test_what_kafka_did_not_acknowledge_is_not_counted_as_accepted(
        self, ingest: Ingest, publisher: FakePublisher
    ) -> None:
        publisher.error = BrokerUnavailable()
        await ingest.post(lab())
        labels = {"event_type": "lab", "result": "accepted", "format": "json"}
        assert ingest.count("week12_ingest_events_total", **labels) == 0

    @pytest.mark.parametrize(
        ("collected_on", "seconds"), [("2025-03-02", 0), ("2025-03-01", 86_400), ("2025-01-31", 30 * 86_400)]
    )
    async def test_lateness_is_from_the_clinical_day_to_the_recording(
        self, ingest: Ingest, collected_on: str, seconds: float
    ) -> None:
        await ingest.post(lab(collected_on=collected_on))
        assert ingest.count("week12_event_lateness_seconds_sum", event_type="lab") == seconds
        assert ingest.count("week12_event_lateness_seconds_count", event_type="lab") == 1


async def test_refusals_are_counted_by_centre_as_far_as_it_can_be_believed(ingest: Ingest) -> None:
    everywhere = ingest.tokens.add("hub", ["submitter"])

    async def refused(secret: str, **changes: object) -> dict[str, float]:
        answer = await ingest.post(
            [lab(unit="furlong", **changes), lab(2, unit="furlong", **changes)],
            authorization=f"Bearer {secret}",
        )
        assert answer.status_code in (403, 422)
        name = "week12_ingest_site_refusals_total"
        return {s: ingest.count(name, site=s, code="unit_unknown") for s in ("S01", "S02", "unknown")}

    assert await refused(ingest.secret) == {"S01": 2, "S02": 0, "unknown": 0}
    assert await refused(ingest.secret, site_id="S02") == {"S01": 4, "S02": 0, "unknown": 0}
    assert await refused(everywhere, site_id="S02") == {"S01": 4, "S02": 0, "unknown": 2}
    assert (await ingest.post(lab(site_id="S02"), authorization=f"Bearer {everywhere}")).status_code == 202
    assert await refused(everywhere, site_id="S02") == {"S01": 4, "S02": 2, "unknown": 2}


async def test_the_way_from_the_record_to_ingest_is_timed(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingest.api.now", lambda: datetime(2025, 3, 31, 12, 0, 30, tzinfo=UTC))
    for recorded_at, seconds in (("2025-03-31T14:00:00+02:00", 30), ("2025-03-31T13:00:00+00:00", 0)):
        before = ingest.count("week12_event_transmission_seconds_sum", event_type="lab")
        await ingest.post(lab(recorded_at=recorded_at, collected_on="2025-03-31"))
        assert ingest.count("week12_event_transmission_seconds_sum", event_type="lab") - before == seconds
    assert ingest.count("week12_event_transmission_seconds_count", event_type="lab") == 2


async def test_the_window_in_use_is_shown(ingest: Ingest) -> None:
    whole = ingest.settings.ingest_window_mib << 20
    assert ingest.count("week12_ingest_window_bytes", state="free") == whole
    assert ingest.count("week12_ingest_window_bytes", state="used") == 0


async def test_metrics_say_which_parts_are_well_and_how_full_the_disk_is(
    ingest: Ingest, publisher: FakePublisher
) -> None:
    for ready in (True, False):
        publisher.ready = ready
        async with ingest.client() as client:
            await client.get("/metrics")
        assert ingest.count("week12_part_up", service="ingest", part="kafka") == ready
    free, size = (ingest.count(f"week12_disk_{what}_bytes", service="ingest") for what in ("free", "size"))
    assert 0 < free < size


async def test_ready_follows_the_broker(ingest: Ingest, publisher: FakePublisher) -> None:
    async with ingest.client() as client:
        assert (await client.get("/health/ready")).json()["parts"] == {"kafka": "ok"}
        publisher.ready = False
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["parts"]) == (503, {"kafka": "away"})
        assert (await client.get("/health/live")).status_code == 200


async def test_openapi_describes_the_events(ingest: Ingest) -> None:
    async with ingest.client() as client:
        document = (await client.get("/openapi.json")).json()
    post = document["paths"]["/v1/events"]["post"]
    assert set(post["requestBody"]["content"]) == {"application/json", NDJSON}
    names = {model.__name__ for model in EVENT_MODELS.values()}
    assert names <= document["components"]["schemas"].keys()
    references = set(_references(document))
    assert references
    assert all(reference.startswith("#/components/schemas/") for reference in references)
    assert {ref.rpartition("/")[2] for ref in references} <= document["components"]["schemas"].keys()


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _references(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in _references(value)]
    return []

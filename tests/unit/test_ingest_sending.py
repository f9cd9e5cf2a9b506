"""The client of ingest: counts, rejects, patience, and when it gives up."""

from collections.abc import AsyncIterator, Callable, Sequence

import httpx
import orjson
import pytest
from ingest_helpers import lab, lines

from services.ingest import sending
from services.ingest.files import Chunk, Line, Reject
from services.ingest.sending import Sender
from services.runtime.errors import OperatorError

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(sending, "LONGEST_WAIT", 0.001)


class Sent:
    """One run of the sender against a service that is a function."""

    def __init__(self, answer: Answer, give_up_after: float = 30, in_flight: int = 2) -> None:
        self.rejects: list[Reject] = []
        self.reasons: list[str] = []
        client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://ingest")
        self.sender = Sender(
            client,
            in_flight=in_flight,
            give_up_after=give_up_after,
            waiting=lambda reason: self.reasons.append(reason) if reason else None,
            done=lambda chunk, rejects: self.rejects.extend(rejects),
        )

    async def run(self, *sizes: int) -> "Sent":
        await self.sender.send(chunks(sizes))
        return self


async def chunks(sizes: Sequence[int]) -> AsyncIterator[Chunk]:
    number = 0
    for size in sizes:
        texts = [orjson.dumps(lab(n)) for n in range(number + 1, number + size + 1)]
        yield Chunk(tuple(Line("f", n, text) for n, text in enumerate(texts, number + 1)), (), 0)
        number += size


def receipts(request: httpx.Request, status: int = 202) -> httpx.Response:
    accepted = [{"status": "accepted", "warnings": []} for _ in request.content.split(b"\n")]
    return httpx.Response(status, json={"receipts": accepted})


def in_turn(*answers: Answer | int | Exception) -> Answer:
    """Each answer once, the last one for ever."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, Exception):
            raise now
        return httpx.Response(now) if isinstance(now, int) else now(request)

    return answer


async def test_every_line_is_counted_once() -> None:
    sent = await Sent(receipts).run(3, 2, 0, 4)
    assert sent.sender.statuses == {"accepted": 9}


async def test_lines_go_as_ndjson_with_the_bytes_they_have() -> None:
    requests: list[httpx.Request] = []
    await Sent(lambda request: requests.append(request) or receipts(request)).run(2)
    assert requests[0].content == lines(lab(1), lab(2))
    assert requests[0].headers["content-type"] == "application/x-ndjson"
    assert requests[0].url.path == "/v1/events"


@pytest.mark.parametrize("status", [207, 422, 403, 409])
async def test_receipts_are_read_whatever_the_status(status: int) -> None:
    error = {"path": "unit", "code": "unit_unknown", "message": "is not recognised"}
    body = {
        "receipts": [
            {
                "status": "accepted",
                "warnings": [{"path": "ses_cd", "code": "total_disagrees", "message": ""}],
            },
            {"status": "refused", "code": "unit_unknown", "errors": [error]},
            {"status": "duplicate", "warnings": []},
        ]
    }
    sent = await Sent(lambda _: httpx.Response(status, json=body)).run(3)
    assert sent.sender.statuses == {"accepted": 1, "refused": 1, "duplicate": 1}
    assert sent.sender.warnings == {"total_disagrees": 1}
    assert [(r.line.number, r.errors[0].path, r.errors[0].code) for r in sent.rejects] == [
        (2, "unit", "unit_unknown")
    ]


@pytest.mark.parametrize(
    "trouble", [408, 429, 500, 502, 503, 504, httpx.ConnectError("x"), httpx.ReadTimeout("x")]
)
async def test_trouble_that_passes_is_waited_out(trouble: int | Exception) -> None:
    sent = await Sent(in_turn(trouble, trouble, receipts)).run(2)
    assert sent.sender.statuses == {"accepted": 2}
    assert len(sent.reasons) == 2


async def test_retry_after_is_honoured() -> None:
    def busy(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"code": "broker_unavailable"}, headers={"Retry-After": "30"})

    with pytest.raises(OperatorError, match="503 broker_unavailable"):
        await Sent(busy, give_up_after=29).run(1)


async def test_it_gives_up_after_a_while_and_says_what_to_do() -> None:
    with pytest.raises(OperatorError, match=r"ConnectError.*send the same again") as caught:
        await Sent(in_turn(httpx.ConnectError("x")), give_up_after=0.05).run(1, 1, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, {"code": "unauthenticated", "detail": "x"}, "does not know this token"),
        (403, {"code": "role_forbidden", "detail": "Your roles do not."}, "403 role_forbidden"),
        (404, {"code": "not_found", "detail": "x"}, "check --url"),
        (200, None, "check --url"),
        (400, {"code": "json_malformed", "detail": "x"}, "400 json_malformed"),
    ],
)
async def test_a_refusal_of_the_sender_ends_it_in_one_line(status: int, body: object, told: str) -> None:
    with pytest.raises(OperatorError, match=told) as caught:
        await Sent(lambda _: httpx.Response(status, json=body)).run(2)
    assert "\n" not in str(caught.value)


async def test_a_request_too_large_for_kafka_is_halved_down_to_the_line_at_fault() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        is_large = orjson.dumps(lab(3)) in request.content
        return httpx.Response(413, json={"code": "too_large"}) if is_large else receipts(request)

    sent = await Sent(answer).run(5)
    assert sent.sender.statuses == {"accepted": 4, "refused": 1}
    assert [(reject.line.number, reject.errors[0].code) for reject in sent.rejects] == [(3, "too_large")]

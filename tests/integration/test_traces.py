"""One id follows an event from the request to the commits of both stores, in the logs of all services."""

import re

from plugins.whole_run import PSEUDONYM, TRACE_ID, TRACEPARENT, WholeRun

from schemas.topics import ALERTS, DEAD_LETTERS, EVENT_TOPICS, OUTCOMES

FORM = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


def test_an_event_is_followed_from_the_post_to_the_commit_of_both_stores(whole_run: WholeRun) -> None:
    assert whole_run.answered_trace == TRACE_ID
    [answered] = [
        line for line in whole_run.log_lines("ingest") if line.get("trace_id") == TRACE_ID and "route" in line
    ]
    assert (answered["route"], answered["status"], answered["accepted"]) == ("/v1/events", 202, 2)
    assert len(answered["places"]) == 2
    for service in ("outcomes", "safety"):
        commits = [line for line in whole_run.log_lines(service) if TRACE_ID in line.get("trace_ids", ())]
        assert commits, service
        assert {line["message"] for line in commits} == {"committed"}
        # by the place of its record in Kafka, too
        places = {place: span for line in commits for place, span in line["places"].items()}
        for place, span in answered["places"].items():
            first, last = map(int, places[place].split("-"))
            assert first <= int(span.split("-")[0]) <= last


def test_records_carry_the_trace_of_their_request(whole_run: WholeRun) -> None:
    events = [
        record for record in whole_run.records if record.topic in EVENT_TOPICS.values() and record.headers
    ]
    assert all(FORM.fullmatch(record.headers["traceparent"].decode()) for record in events)
    followed = [record for record in events if TRACE_ID.encode() in record.headers["traceparent"]]
    assert [record.headers["ce_subject"].decode() for record in followed] == [PSEUDONYM] * 2
    assert TRACEPARENT.encode() not in {
        record.headers["traceparent"] for record in followed
    }  # a span of its own
    assert len({record.headers["traceparent"] for record in events}) > 5


def test_what_is_derived_goes_on_with_the_trace(whole_run: WholeRun) -> None:
    for topic in (OUTCOMES, ALERTS):
        traces = {
            FORM.fullmatch(record.headers["traceparent"].decode())[1]  # type: ignore[index]
            for record in whole_run.records
            if record.topic == topic and "traceparent" in record.headers
        }
        assert TRACE_ID in traces, topic


def test_dead_letters_of_records_without_a_trace_have_none(whole_run: WholeRun) -> None:
    letters = [record for record in whole_run.records if record.topic == DEAD_LETTERS and record.headers]
    assert len(letters) == 12
    assert all("traceparent" not in record.headers for record in letters)


def test_every_answer_to_a_change_has_one_line_with_its_trace(whole_run: WholeRun) -> None:
    lines = [line for line in whole_run.log_lines("ingest") if line["message"] == "answered"]
    posted = [line for line in lines if line["method"] == "POST"]
    assert len(posted) > 20
    assert all(re.fullmatch("[0-9a-f]{32}", line["trace_id"]) for line in posted)
    assert len({line["trace_id"] for line in posted}) == len(posted)
    assert {line["level"] for line in posted} == {"INFO"}

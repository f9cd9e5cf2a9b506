"""An explanation for reading on a terminal, from the JSON that the service gives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.outcomes.explain.wording import ANSWERS, quantity

Row = Mapping[str, Any]

TOGETHER = ("no_value", "before_window", "after_window")
"""Reasons that many records have: one line names them all."""


def to_text(document: Row) -> str:
    """The whole explanation; `alerts` are shown where the document has them (None: not asked for)."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Row) -> Iterator[str]:
    patient = document["patient"]
    known = f", as known on {document['known_at']}" if "known_at" in document else ""
    yield f"Patient {patient['patient_id']}, centre {patient['site_id']}, as of {document['as_of']}{known}"
    if patient["consent_withdrawn_on"]:
        yield f"Consent was withdrawn on {patient['consent_withdrawn_on']}: nothing dated later is used."
    yield "Days count from the first dose, which is day 0. R-numbers are those of docs/rules.md."
    for protocol in document["protocols"]:
        yield ""
        yield from _protocol(protocol, document["meanings"])
    yield from _uncounted(document)
    if document.get("alerts") is not None:
        yield from _alerts(document["alerts"])


def _protocol(protocol: Row, meanings: Row) -> Iterator[str]:
    yield f"Protocol {protocol['protocol']}, version {protocol['protocol_version']}"
    if protocol["drug"] is None:
        yield "  never started an index drug: nothing is judged"
    else:
        last = f"last dose on {protocol['last_dose_on']}" if protocol["last_dose_on"] else "still taken"
        yield f"  {protocol['drug']} since {protocol['first_dose_on']} (day 0), {last}"
    for event in protocol["intercurrent_events"]:
        drug = f", {event['drug']}" if event["drug"] else ""
        when = f"{event['on_date']} (day {event['study_offset']})"
        yield f"  intercurrent event: {event['text']}{drug} on {when}, {event['record']}"
    for told in protocol["steroids"]:
        drug = f"{told['drug']} " if told["drug"] else ""
        when = f"{told['on_date']} (day {told['study_offset']})"
        yield f"  corticosteroids: {drug}{told['text']}, {when}, {told['record']}"
    for timepoint in protocol["timepoints"]:
        yield ""
        yield f"  {timepoint['timepoint'].replace('_', ' ').upper()}"
        for value in timepoint["values"]:
            if protocol["drug"] is not None:
                yield from _value(value, meanings)
        yield from _outcomes(timepoint["outcomes"])


def _value(value: Row, meanings: Row) -> Iterator[str]:
    unit = f" in {value['unit']}" if value["unit"] else ""
    yield (
        f"    {value['label']}{unit}: window day {value['opens']} to {value['closes']} "
        f"({value['window_start']} to {value['window_end']}), target day {value['target']}"
    )
    for record in value["records"]:
        if record["observed"] == "used":
            yield f"      used: {_found(record)}"
        elif record["observed"] not in TOGETHER:
            yield f"      passed over: {_found(record)}: {_why(record, record['observed'], meanings)}"
    if not any(record["observed"] == "used" for record in value["records"]):
        yield "      no value used"
    for code in TOGETHER:
        there = [record for record in value["records"] if record["observed"] == code]
        if there:
            listed = "; ".join(map(_briefly, there))
            yield f"      {meanings[code]['text']} ({meanings[code]['rule']}): {listed}"


def _briefly(record: Row) -> str:
    place = f"day {record['study_offset']}, {record['record']}"
    return (
        place if record["value"] is None else f"{quantity(record['comparator'], record['value'])} ({place})"
    )


def _why(row: Row, code: str, meanings: Row) -> str:
    meaning = meanings[code]
    text = f"corrected by version {row['winning_version']}" if code == "superseded" else meaning["text"]
    return f"{text} ({meaning['rule']})"


def _found(record: Row) -> str:
    at = f" {record['at']}" if record["at"] else ""
    carried = ", haematocrit or weight carried from another record" if record["imputed"] else ""
    return (
        f"{quantity(record['comparator'], record['value'])} on {record['on']}{at} (day {record['study_offset']}), "
        f"{record['record']} version {record['version']}{carried}"
    )


def _outcomes(outcomes: Sequence[Row]) -> Iterator[str]:
    """Outcomes with something to tell one by one; those that lack everything together, by why."""
    lacking: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome["observed"] is None and not outcome["event_ids"]:
            lacking.setdefault(" ".join(outcome["because"]), []).append(outcome["endpoint"])
        else:
            yield from _outcome(outcome)
    for why, endpoints in lacking.items():
        yield f"    {', '.join(endpoints)}"
        yield f"      {why}"


def _outcome(outcome: Row) -> Iterator[str]:
    state = outcome["status"].replace("_", " ")
    yield (
        f"    {outcome['endpoint']}: {ANSWERS[outcome['observed']]} ({state}, {outcome['rule']}); "
        f"missing = failure: {_or_dash(outcome['nri'])}, carried forward: {_or_dash(outcome['locf'])}"
    )
    for clause in outcome["criteria"]:
        when = (
            f"response {clause['response']}, {clause['timepoint'].replace('_', ' ')}: "
            if "response" in clause
            else ""
        )
        yield f"      {when}{' or '.join(_comparison(c) for c in clause['any_of'])}"
    for clause in outcome["belongs_if"]:
        yield f"      counted if at baseline {' or '.join(_comparison(c) for c in clause['any_of'])}"
    for sentence in outcome["because"]:
        yield f"      {sentence}"


def _comparison(comparison: Row) -> str:
    return f"{comparison['criterion']}: {ANSWERS[comparison['met']]} ({comparison['numbers']})"


def _or_dash(answer: bool | None) -> str:
    return "–" if answer is None else ANSWERS[answer]


def _uncounted(document: Row) -> Iterator[str]:
    if not document["uncounted"]:
        return
    yield ""
    yield "Record versions that do not count"
    for row in document["uncounted"]:
        kind = row["event_type"].replace("_", " ")
        why = _why(row, row["why"], document["meanings"])
        yield f"  {row['record']} version {row['version']}, {kind} of {row['on_date']}: {why}"


def _alerts(alerts: Sequence[Row]) -> Iterator[str]:
    yield ""
    yield "Alerts" if alerts else "No alerts"
    for alert in alerts:
        yield f"  {alert['severity']}: {alert['title']} ({alert['state']})"
        evidence = f"; {alert['evidence']}" if alert["evidence"] else ""
        yield f"    rule {alert['rule']}{evidence}"
        yield f"    {alert['site_id']}/{alert['event_id']} of {alert['on_date']}, recorded {alert['event_recorded_at']}"
        if alert["acknowledged_by"]:
            yield f"    acknowledged by {alert['acknowledged_by']} at {alert['acknowledged_at']}"

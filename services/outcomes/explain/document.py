"""An explanation in order: protocol by protocol, timepoint by timepoint, values first and then what they decide."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from services.outcomes.explain import wording

Row = dict[str, Any]

BASELINE = 0
"""The number of the timepoint before treatment."""


class UnknownNameError(Exception):
    """Something was asked for that the store's protocols do not have: `field`, and what there is instead."""

    def __init__(self, field: str, there: Iterable[str]) -> None:
        super().__init__(f"{field}: is none of {', '.join(there)}")
        self.field = field


@dataclass(frozen=True)
class Wanted:
    """What of a patient is to be explained; None: everything."""

    protocol: str | None = None
    timepoint: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True)
class _Rows:
    """The one row of the query, its lists ready to be looked up."""

    schedule: Mapping[tuple[str, str, str], Row]
    outcomes: Sequence[Row]
    values: Mapping[tuple[int, int, int], Sequence[Row]]
    windows: Mapping[tuple[int, int, int], Row]
    criteria: Mapping[tuple[int, int], Sequence[Row]]
    clauses: Mapping[tuple[int, int], Sequence[Row]]
    steroids: Mapping[int, Sequence[Row]]
    treated: Mapping[int, Row]
    intercurrent: Mapping[int, Sequence[Row]]
    names: Mapping[int, str]


def explain(found: Row, cut: Mapping[str, date], wanted: Wanted) -> Row | None:
    """The explanation from the row that `relations.EXPLANATION` gives at `cut`; None for an unknown patient.

    `cut`: `as_of`, and `known_at` where it was asked for.

    Raises UnknownNameError for a protocol, timepoint or endpoint that the store does not evaluate.
    """
    patients = found["patients"] or []
    if not patients:
        return None
    rows = _arranged(found)
    protocols = sorted(found["protocols"] or [], key=lambda row: row["evaluated"])
    _check(protocols, found["schedule"] or [], wanted)
    shown = [row for row in protocols if wanted.protocol in (None, row["protocol"])]
    uncounted = sorted(
        found["uncounted"] or [], key=lambda row: (row["on_date"], row["record"], row["version"])
    )
    return {
        **cut,
        "patient": _without(patients[0], "patient_key", "partition"),
        "protocols": [_protocol(rows, row, wanted) for row in shown],
        "uncounted": uncounted,
        "meanings": {code: meaning._asdict() for code, meaning in wording.WEIGHED.items()},
    }


def _arranged(found: Row) -> _Rows:
    def by(name: str, *columns: str) -> dict[Any, list[Row]]:
        groups: dict[Any, list[Row]] = {}
        for row in found[name] or []:
            key = tuple(row[column] for column in columns)
            groups.setdefault(key if len(columns) > 1 else key[0], []).append(row)
        return groups

    def one(name: str, *columns: str) -> dict[Any, Row]:
        return {key: rows[0] for key, rows in by(name, *columns).items()}

    schedule = one("schedule", "protocol", "timepoint", "endpoint")
    place = ("protocol", "timepoint", "endpoint")
    outcomes = sorted(
        found["outcomes"] or [],
        key=lambda row: (
            schedule[tuple(row[c] for c in place)]["time"],
            schedule[tuple(row[c] for c in place)]["ordinal"],
        ),
    )
    return _Rows(
        schedule=schedule,
        outcomes=outcomes,
        values=by("weighed", "scheme", "time", "number"),
        windows=one("windows", "scheme", "time", "parameter"),
        criteria=by("criteria", "scheme", "time"),
        clauses=by("clauses", "scheme", "bit"),
        steroids=by("steroids", "scheme"),
        treated=one("treated", "scheme"),
        intercurrent=by("intercurrent_events", "scheme"),
        names={row["parameter"]: row["name"] for row in found["parameters"] or []},
    )  # fmt: skip


def _check(protocols: Sequence[Row], schedule: Sequence[Row], wanted: Wanted) -> None:
    there = {
        "protocol": [row["protocol"] for row in protocols],
        "timepoint": [row["timepoint"] for row in sorted(schedule, key=lambda row: row["time"])],
        "endpoint": [row["endpoint"] for row in sorted(schedule, key=lambda row: row["ordinal"])],
    }
    for field, names in there.items():
        if getattr(wanted, field) not in (None, *names):
            raise UnknownNameError(field, dict.fromkeys(names))


def _protocol(rows: _Rows, protocol: Row, wanted: Wanted) -> Row:
    """What one protocol makes of the patient."""
    scheme, name = protocol["scheme"], protocol["protocol"]
    outcomes = [
        row
        for row in rows.outcomes
        if row["protocol"] == name
        and wanted.timepoint in (None, row["timepoint"])
        and wanted.endpoint in (None, row["endpoint"])
    ]
    treated = rows.treated.get(scheme)
    events = sorted(rows.intercurrent.get(scheme, []), key=lambda row: (row["on_date"], row["record"]))
    steps = [rows.schedule[row["protocol"], row["timepoint"], row["endpoint"]] for row in outcomes]
    return {
        "protocol": name,
        "protocol_version": protocol["protocol_version"],
        "drug": treated and treated["drug"],
        "first_dose_on": treated and treated["first_dose_on"],
        "last_dose_on": treated and treated["last_dose_on"],
        "intercurrent_on": treated and treated["intercurrent_on"],
        "intercurrent_events": [
            {**_without(row, "scheme"), "text": wording.INTERCURRENT.get(row["kind"], row["kind"])}
            for row in events
        ],
        "steroids": [
            {
                **_without(row, "scheme"),
                "text": wording.STEROIDS.get(row["kind"], row["kind"].replace("_", " ")),
            }
            for row in sorted(rows.steroids.get(scheme, []), key=lambda row: (row["on_date"], row["record"]))
        ],
        "timepoints": [
            _timepoint(rows, treated, scheme, time, numbers, outcomes)
            for time, numbers in _looked_at(rows, steps).items()
        ],
    }


def _looked_at(rows: _Rows, steps: Iterable[Row]) -> dict[int, list[int]]:
    """The parameters that matter at each time: of the outcomes, of their baselines, and of earlier responses."""
    masks: dict[int, int] = {}
    for step in steps:
        masks[step["time"]] = masks.get(step["time"], 0) | step["parameters"]
        masks[BASELINE] = masks.get(BASELINE, 0) | step["parameters"] | step["population_parameters"]
        if step["after"] is not None:
            masks[step["after"]] = masks.get(step["after"], 0) | step["parameters"]
    return {time: [n for n in rows.names if masks[time] >> n & 1] for time in sorted(masks)}


def _timepoint(
    rows: _Rows, treated: Row | None, scheme: int, time: int, numbers: Sequence[int], outcomes: Sequence[Row]
) -> Row:
    values = {
        number: _value(rows, treated, scheme, time, number)
        for number in numbers
        if (scheme, time, number) in rows.windows
    }
    name = next(window["timepoint"] for key, window in rows.windows.items() if key[:2] == (scheme, time))
    return {
        "timepoint": name,
        "values": list(values.values()),
        "outcomes": [
            _outcome(rows, treated, outcome, values) for outcome in outcomes if outcome["timepoint"] == name
        ],
    }


def _value(rows: _Rows, treated: Row | None, scheme: int, time: int, number: int) -> Row:
    """One parameter at one time: its window, and every record weighed, the one used first."""
    window = rows.windows[scheme, time, number]
    start = treated and treated["first_dose_on"]
    weighed = sorted(
        rows.values.get((scheme, time, number), []),
        key=lambda row: (row["observed"] != "used", row["on_date"], row["record"], row["version"]),
    )
    name = rows.names[number]
    return {
        "parameter": name,
        "label": wording.label(name),
        "unit": wording.unit(name),
        **{bound: window[bound] for bound in ("opens", "closes", "target")},
        "window_start": start and start + timedelta(days=window["opens"]),
        "window_end": start and start + timedelta(days=window["closes"]),
        "target_on": start and start + timedelta(days=window["target"]),
        "records": [_record(row) for row in weighed],
    }


def _record(row: Row) -> Row:
    """A record as weighed; `observed` and `carried` are codes of `meanings`."""
    return {
        "record": row["record"],
        "version": row["version"],
        "winning_version": row["winning_version"],
        "on": row["on_date"],
        "at": row["at_time"],
        "study_offset": row["study_offset"],
        "study_day": wording.study_day(row["study_offset"]),
        "value": row["value"],
        "comparator": row["comparator"],
        "imputed": row["imputed"],
        "observed": row["observed"],
        "carried": row["carried"],
    }


def _outcome(rows: _Rows, treated: Row | None, outcome: Row, values: Mapping[int, Row]) -> Row:
    step = rows.schedule[outcome["protocol"], outcome["timepoint"], outcome["endpoint"]]
    own = [value for number, value in values.items() if step["parameters"] >> number & 1]
    return {
        **_without(outcome, "patient_id", "protocol", "timepoint"),
        "rule": step["rule"],
        "parameters": [rows.names[number] for number in rows.names if step["parameters"] >> number & 1],
        "criteria": list(_criteria(rows, step)),
        "belongs_if": list(_conditions(rows, step["scheme"], BASELINE, step["qualifies"])),
        "because": list(_because(outcome, treated, own)),
    }


def _criteria(rows: _Rows, step: Row) -> Iterator[Row]:
    """The clauses of an endpoint: every one has to hold, by one of its comparisons.

    Those of a delayed response (R4.9) stand there for the earlier timepoint too.
    """
    if step["after"] is not None:
        yield from _conditions(rows, step["scheme"], step["after"], step["answer"])
    yield from _conditions(rows, step["scheme"], step["time"], step["answer"])


def _conditions(rows: _Rows, scheme: int, time: int, answer: int | None) -> Iterator[Row]:
    """What stands behind an answer of the plan: a composite's clauses, or the only one; nothing where all count.

    `response` numbers alternatives of which the first that is known decides.
    """
    if answer is None:
        return
    known = rows.criteria.get((scheme, time), [])
    clauses = sorted(
        rows.clauses.get((scheme, answer), [{"response": 1, "clause": answer}]),
        key=lambda row: row["response"],
    )
    several = len({row["response"] for row in clauses}) > 1
    for row in clauses:
        among = [comparison for comparison in known if row["clause"] & comparison["bit"]]
        yield {
            "timepoint": among[0]["timepoint"] if among else None,
            **({"response": row["response"]} if several else {}),
            "met": _any(comparison["met"] for comparison in among),
            "any_of": [_comparison(comparison) for comparison in among],
        }


def _any(answers: Iterable[bool | None]) -> bool | None:
    """Three-valued or (R0.2)."""
    given = list(answers)
    return True if True in given else None if None in given or not given else False


def _comparison(row: Row) -> Row:
    shown = ("met", "carried_met", "parameter", "value", "comparator", "baseline_value", "baseline_comparator",
             "upper_limit", "baseline_upper_limit", "limit_value", "operator")  # fmt: skip
    return {
        "criterion": wording.comparison(row),
        "numbers": wording.numbers(row),
        **{name: row[name] for name in shown},
    }


def _because(outcome: Row, treated: Row | None, values: Sequence[Row]) -> Iterator[str]:
    """Why state, counting, missing = failure and carrying forward are as they are, in sentences."""
    yield wording.state(outcome)
    if outcome["reason"] and outcome["status"] not in ("not_applicable", "missed"):
        yield f"{'Undecided' if outcome['population'] else 'In no denominator'}: {wording.because(outcome['reason'])}."
    if outcome["nri"] is False:
        used = [record for value in values for record in value["records"] if record["observed"] == "used"]
        event = treated and treated["intercurrent_on"]
        if not used:
            yield "Missing = failure: no, for want of a value (R4.7)."
        elif event and any(record["on"] >= event for record in used):
            yield f"Missing = failure: no, as an intercurrent event on {event} came before the value or with it (R4.7)."
    yield from _carried(outcome, values)


def _carried(outcome: Row, values: Sequence[Row]) -> Iterator[str]:
    """Which value is carried forward, where it is another one than observed."""
    if outcome["locf"] is None and outcome["nri"] is None:
        return
    for value in values:
        of = {role: _used(value["records"], role) for role in ("observed", "carried")}
        if of["observed"] == of["carried"]:
            continue
        if of["carried"] is None:
            yield f"Carried forward: no {value['label']} before the intercurrent event (R4.7)."
        else:
            record = of["carried"]
            found = wording.quantity(record["comparator"], record["value"])
            when = f"day {record['study_offset']}, {record['record']}"
            yield f"Carried forward: {value['label']} {found} of {when} (R4.7)."


def _used(records: Iterable[Row], role: str) -> Row | None:
    return next((record for record in records if record[role] == "used"), None)


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}

"""What is found about records, and who kept the dose of induction: `data_quality`, `extended_inductions`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

from schemas import Lab, content_hash, parse_event
from schemas.analytes import conversion
from twin import carried
from twin.numbers import exact
from twin.patients import counting_enrolment, last_dose_on, start_order
from twin.protocols import Rules
from twin.records import Event, History, clinical_date
from twin.scores import Body, computed_cdai, endoscopy, hbi_of_components

Row = dict[str, Any]

INDUCTION_MG, INDUCTION_DAYS, GRACE_DAYS = 45, 84, 14


def recorded_at(event: Event) -> datetime:
    """When its site recorded it, in UTC as the tables show it."""
    return datetime.fromisoformat(event["recorded_at"]).astimezone(UTC).replace(tzinfo=None)


def finding_rows(events: Sequence[Event], patients: Sequence[tuple[History, Row]], rules: Rules) -> list[Row]:
    """`data_quality`, by the first protocol where one matters."""
    shown = {patient["patient_id"] for _, patient in patients}
    versions = [event for event in events if event["patient_id"] in shown]
    rows = [*_conflicts(versions), *_moved(versions)]
    for history, patient in patients:
        rows += _of_patient(history, patient)
        for visit in history.of_type("visit"):
            rows += [_row(visit, rule) for rule in _of_visit(history, patient, visit, rules)]
        rows += [_row(lab, "unit_mismatch") for lab in history.of_type("lab") if _mismatched(lab)]
        for report in history.of_type("adverse_event"):
            death = report.get("outcome") == "fatal" or report.get("grade") == 5
            if death and "death" not in report.get("seriousness", []):
                rows.append(_row(report, "death_not_serious"))
            if report.get("onset_precision", "day") != "day":
                rows.append(_row(report, "onset_partial"))
    return rows


def _row(event: Event, rule: str) -> Row:
    names = {name: event[name] for name in ("site_id", "patient_id", "event_id")}
    return {**names, "rule": rule, "found_at": recorded_at(event)}


def _conflicts(versions: Iterable[Event]) -> list[Row]:
    """R4.4: one version, several contents; found when the second was first recorded, or the third."""
    copies: dict[Any, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in versions:
        names = ("site_id", "patient_id", "event_id", "event_type")
        version = (*(event[name] for name in names), event.get("version", 1))
        copies[version][content_hash(parse_event(event))].append(event)
    return [
        _row(_last_of_the_first(contents.values()), "version_conflict")
        for contents in copies.values()
        if len(contents) > 1
    ]


def _last_of_the_first(groups: Iterable[list[Event]]) -> Event:
    """Of each group what was recorded first, and of these the last."""
    return max((min(group, key=recorded_at) for group in groups), key=recorded_at)


def _moved(versions: Iterable[Event]) -> list[Row]:
    """One record, several patients or types: a row for each patient."""
    records: dict[Any, dict[Any, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in versions:
        records[event["site_id"], event["event_id"]][event["patient_id"], event["event_type"]].append(event)
    return [
        _row(_last_of_the_first(identities.values()), "record_moved") | {"patient_id": patient_id}
        for identities in records.values()
        if len(identities) > 1
        for patient_id in {patient_id for patient_id, _ in identities}
    ]


def _of_patient(history: History, patient: Row) -> list[Row]:
    counting = counting_enrolment(history)
    rows = [_row(e, "second_enrolment") for e in history.of_type("enrolment") if e is not counting]
    if counting is None:
        latest = max(map(recorded_at, history.records))
        names = {name: patient[name] for name in ("site_id", "patient_id")}
        rows.append({**names, "event_id": None, "rule": "no_enrolment", "found_at": latest})
    rows += [
        _row(event, "treatment_interrupted")
        for event in history.of_type("treatment")
        if event["action"] == "interrupt"
        and event["drug"] == patient["drug"]
        and clinical_date(event) >= patient["first_dose_on"]
    ]
    return rows


def _of_visit(history: History, patient: Row, visit: Event, rules: Rules) -> list[str]:
    """R1.8, R1.9."""
    found = []
    haematocrit, weight = carried.haematocrit(history, visit, rules), carried.weight(history, visit, rules)
    enrolment = counting_enrolment(history)
    height = enrolment and enrolment.get("height_cm")
    body = Body(patient["reference_sex"], height, haematocrit[0], weight[0])
    components = visit.get("cdai_components")
    total = None if components is None else computed_cdai(components, body, rules)
    if total is not None and (haematocrit[1] or weight[1]):
        found.append("cdai_imputed")
    reported = visit.get("cdai")
    if total is not None and reported is not None and abs(exact(reported) - total) > 1:
        found.append("total_disagrees")
    index = hbi_of_components(visit)
    if index is not None and visit.get("hbi") is not None:
        found += ["total_disagrees"] if abs(exact(visit["hbi"]) - index) > 1 else []
    scope = endoscopy(visit)
    if scope is not None and scope.segments is not None and visit.get("ses_cd") is not None:
        found += ["total_disagrees"] if abs(exact(visit["ses_cd"]) - scope.total) > 1 else []
    return found


def _mismatched(lab: Event) -> bool:
    """R3.5: a unit that the LOINC code is not for."""
    parsed = parse_event(lab)
    assert isinstance(parsed, Lab)
    return not conversion(str(parsed.analyte), str(parsed.unit)).matches_code


def extended_rows(history: History, patient: Row, today: date, rules: Rules) -> list[Row]:
    """`extended_inductions`: 45 mg kept beyond day 84, and to the end of week 12's window at least (R4.9)."""
    drug, first_dose_on = patient["drug"], patient["first_dose_on"]
    if drug is None:
        return []
    doses = sorted(
        (
            event
            for event in history.of_type("treatment")
            if event["drug"] == drug
            and event["action"] in ("start", "dose_change", "resume")
            and event.get("dose_mg") is not None
            and clinical_date(event) >= first_dose_on
        ),
        key=start_order,
    )
    if not doses or doses[0]["dose_mg"] < INDUCTION_MG:
        return []
    meant_until = first_dose_on + timedelta(days=INDUCTION_DAYS)
    lowered = [clinical_date(e) - timedelta(days=1) for e in doses if e["dose_mg"] < INDUCTION_MG]
    stopped = last_dose_on(history, drug)
    ends = [end for end in (min(lowered, default=None), stopped) if end is not None]
    until = min(ends, default=None)
    last = min(today, history.last_day) if until is None else until
    if last < meant_until + timedelta(days=GRACE_DAYS):
        return []
    high = [e for e in doses if clinical_date(e) <= meant_until and e["dose_mg"] >= INDUCTION_MG]
    return [
        {
            "protocol": rules.name,
            **{name: patient[name] for name in ("patient_id", "site_id", "drug")},
            "dose_mg": Fraction(str(high[-1]["dose_mg"])),
            "extended_from": meant_until,
            "extended_until": until,
            "days": (last - meant_until).days + 1,
        }
    ]

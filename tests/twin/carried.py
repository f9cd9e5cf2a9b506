"""Haematocrit and weight of a visit that has none of its own (R1.8), and days on a corticosteroid (R2.5)."""

from datetime import date, timedelta
from typing import Any

from twin.biomarkers import result
from twin.numbers import Number, exact
from twin.patients import CORTICOSTEROIDS, counting_enrolment
from twin.protocols import Rules
from twin.records import Event, History, clinical_date
from twin.selection_order import tie_order


def haematocrit_of(visit: Event) -> Number | None:
    """The visit's own."""
    return (visit.get("cdai_components") or {}).get("haematocrit_pct")


def weight_of(visit: Event) -> Number | None:
    """The visit's own: that of the CDAI before that of the visit."""
    weight = (visit.get("cdai_components") or {}).get("weight_kg")
    return visit.get("weight_kg") if weight is None else weight


def haematocrit(history: History, visit: Event, rules: Rules) -> tuple[Number | None, bool]:
    """The haematocrit in % that counts at a visit, and whether it was carried forward (R1.8)."""
    own = haematocrit_of(visit)
    if own is not None:
        return own, False
    found: list[tuple[Event, Any]] = [(v, haematocrit_of(v)) for v in history.of_type("visit")]
    for lab in history.of_type("lab"):
        measured = result(lab)
        if measured.analyte == "haematocrit" and measured.comparator is None:
            found.append((lab, measured.value))
    return _last(found, clinical_date(visit), rules)


def weight(history: History, visit: Event, rules: Rules) -> tuple[Number | None, bool]:
    """The weight in kg that counts at a visit, and whether it was carried forward (R1.8)."""
    own = weight_of(visit)
    if own is not None:
        return own, False
    found: list[tuple[Event, Any]] = [(v, weight_of(v)) for v in history.of_type("visit")]
    enrolment = counting_enrolment(history)
    if enrolment is not None:
        found.append((enrolment, enrolment.get("weight_kg")))
    return _last(found, clinical_date(visit), rules)


def _last(found: list[tuple[Event, Any]], on: date, rules: Rules) -> tuple[Any, bool]:
    earliest = on - timedelta(days=rules.carried_days)
    usable = [pair for pair in found if pair[1] is not None and earliest <= clinical_date(pair[0]) <= on]
    if not usable:
        return None, False
    event, value = max(usable, key=lambda pair: (tie_order(pair[0]), exact(pair[1])))
    return value, (on - clinical_date(event)).days > rules.nearest_days


def steroid_days(history: History, *, budesonide: bool = True) -> list[tuple[date, date]]:
    """Spans of days on a systemic corticosteroid, both ends included; those still going on end with the history.

    A start, dose change, resumption or rescue opens a span; the next stop or interruption of the drug ends it. Without
    `budesonide` its days do not count, nor a visit's "on a steroid" on one of them.
    """
    ignored = [] if budesonide else _spans(history, frozenset({"budesonide"}))
    stated = [clinical_date(v) for v in history.of_type("visit") if v.get("corticosteroid")]
    counted = _spans(history, CORTICOSTEROIDS if budesonide else CORTICOSTEROIDS - {"budesonide"})
    return counted + [(on, on) for on in stated if not any(first <= on <= last for first, last in ignored)]


def _spans(history: History, drugs: frozenset[str]) -> list[tuple[date, date]]:
    steroids = [e for e in history.of_type("treatment") if e.get("drug") in drugs]
    spans = []
    for opening in steroids:
        if opening["action"] in ("stop", "interrupt"):
            continue
        first = clinical_date(opening)
        ends = [
            clinical_date(e)
            for e in steroids
            if e["action"] in ("stop", "interrupt")
            and e["drug"] == opening["drug"]
            and clinical_date(e) >= first
        ]
        spans.append((first, min(ends, default=date.max)))
    return spans


def steroid_free(history: History, on: date, days: int, *, budesonide: bool = True) -> bool | None:
    """No steroid day in the `days` days up to `on`; unknown without a steroid history (contract, section 7)."""
    earliest = on - timedelta(days=days)
    if any(first <= on and last >= earliest for first, last in steroid_days(history, budesonide=budesonide)):
        return False
    recorded = any(e.get("drug") in CORTICOSTEROIDS for e in history.of_type("treatment"))
    stated = any(
        v.get("corticosteroid") is not None and clinical_date(v) == on for v in history.of_type("visit")
    )
    return True if recorded or stated else None

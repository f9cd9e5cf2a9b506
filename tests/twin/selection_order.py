"""Which of several records speaks for a day (R4.2)."""

from typing import Any

from twin.records import Event, clinical_date, clock_time, record_id, time_order

VISIT_KINDS = ("unscheduled", "retest", "scheduled")  # the later wins


def tie_order(event: Event) -> tuple[Any, ...]:
    """R4.2 among equally near: later date, kind of visit, later clock time, greatest record id."""
    kind = VISIT_KINDS.index(event.get("visit_kind") or "scheduled")
    return (clinical_date(event), kind, time_order(clock_time(event)), record_id(event))

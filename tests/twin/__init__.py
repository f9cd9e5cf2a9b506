"""The oracle: every derived table computed slowly and plainly from a list of event dicts.

Written from the contract and the clinical rules alone, without SQL and without the services' code, so
that both being equal says something. Numbers are fractions and decimals throughout (R0.1); rates and
their limits are floats, to be compared with a tolerance. Rows are dicts; their order means nothing.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from twin.alerts import alert_rows
from twin.endpoints import known_at_baseline, outcome_rows
from twin.findings import extended_rows, finding_rows
from twin.incidence import adverse_event_rows, incidence_rows
from twin.patients import patient_row
from twin.protocols import FU2025, Rules
from twin.rates import cohort_rows
from twin.records import Event, histories
from twin.worklist import worklist_rows

Row = dict[str, Any]

__all__ = ["Row", "outcomes", "safety"]


def outcomes(
    events: Sequence[Event], today: date, protocols: Sequence[Rules] = (FU2025,)
) -> dict[str, list[Row]]:
    """The outcomes tables as of `today`."""
    people = [history for history in histories(events, today) if history.records]
    patients = [(history, patient_row(history)) for history in people]
    rows, worklist, extended = [], [], []
    for history, patient in patients:
        for rules in protocols:
            own = outcome_rows(history, patient, today, rules)
            rows += own
            known = known_at_baseline(history, patient, today, rules)
            worklist += worklist_rows(history, own, known, today, rules)
            extended += extended_rows(history, patient, today, rules)
    return {
        "patients": [patient for _, patient in patients],
        "patient_outcomes": rows,
        "cohort_rates": cohort_rows(rows),
        "worklist": worklist,
        "data_quality": finding_rows(events, patients, protocols[0]),
        "extended_inductions": extended,
    }


def safety(events: Sequence[Event], today: date) -> dict[str, list[Row]]:
    """The tables `adverse_events`, `alerts` and `incidence` as of `today`."""
    people = histories(events, today)
    return {
        "adverse_events": [row for history in people for row in adverse_event_rows(history)],
        "alerts": [row for history in people for row in alert_rows(history)],
        "incidence": incidence_rows(people, today),
    }

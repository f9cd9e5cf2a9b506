"""What has to be done for a patient: windows near, without a value (contract, section 7; R4.1, R4.6)."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from twin.criteria import endpoints_of
from twin.endpoints import DELAYED, DELAYED_ENDPOINT
from twin.patients import died_on
from twin.protocols import Rules
from twin.records import History

NEAR = timedelta(days=14)


def worklist_rows(
    history: History, outcomes: Sequence[dict[str, Any]], known: set[str], today: date, rules: Rules
) -> list[dict[str, Any]]:
    """The patient's rows of `worklist`, from their rows of `patient_outcomes` of one protocol.

    `known`: parameters with a baseline; of the others only those of the protocol's headline are asked for.
    """
    if died_on(history) is not None or history.withdrawn_on is not None:
        return []
    wanted = known | {parameter for name in rules.headline for parameter in _parameters(name, rules)}
    missing: dict[tuple[Any, ...], dict[str, bool]] = defaultdict(dict)
    for row in outcomes:
        if row["timepoint"] == "baseline" or row["status"] == "not_applicable" or row["value_on"] is not None:
            continue
        window = row["window_start"], row["window_end"]
        if window[0] - NEAR <= today <= window[1]:
            names = tuple(row[name] for name in ("patient_id", "site_id", "drug", "protocol", "timepoint"))
            found = missing[(*names, *window)]
            for parameter in _parameters(row["endpoint"], rules):
                if parameter in wanted:
                    found[parameter] = found.get(parameter, False) or row["population"]
    return [_row(key, parameters, today) for key, parameters in missing.items() if parameters]


def _parameters(endpoint: str, rules: Rules) -> tuple[str, ...]:
    return (DELAYED_ENDPOINT if endpoint == DELAYED else endpoints_of(rules)[endpoint]).parameters


def _row(key: tuple[Any, ...], parameters: dict[str, bool], today: date) -> dict[str, Any]:
    *_, window_start, window_end = key
    columns = ("patient_id", "site_id", "drug", "protocol", "timepoint", "window_start", "window_end")
    return {
        **dict(zip(columns, key, strict=True)),
        "state": "opens" if today < window_start else "closes" if window_end - today <= NEAR else "open",
        "missing": sorted(parameters),
        "counted": sorted(name for name, counts in parameters.items() if counts),
        "days_left": (window_end - today).days,
    }

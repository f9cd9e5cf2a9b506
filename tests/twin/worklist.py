"""What has to be done for a patient: windows near, without a value (contract, section 7; R4.1, R4.6)."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from twin.endpoints import ENDPOINTS
from twin.patients import died_on
from twin.records import History

NEAR = timedelta(days=14)


def worklist_rows(history: History, outcomes: Sequence[dict[str, Any]], today: date) -> list[dict[str, Any]]:
    """The patient's rows of `worklist`, from their rows of `patient_outcomes`."""
    if died_on(history) is not None or history.withdrawn_on is not None:
        return []
    missing: dict[tuple[Any, ...], dict[str, bool]] = defaultdict(dict)
    for row in outcomes:
        if row["status"] == "not_applicable" or row["value"] is not None:
            continue
        window = row["window_start"], row["window_end"]
        if window[0] - NEAR <= today <= window[1]:
            names = tuple(row[name] for name in ("patient_id", "site_id", "drug", "protocol", "timepoint"))
            parameter = ENDPOINTS[row["endpoint"]].parameter
            found = missing[(*names, *window)]
            found[parameter] = found.get(parameter, False) or row["population"]
    return [_row(key, parameters, today) for key, parameters in missing.items()]


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

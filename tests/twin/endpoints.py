"""One row per patient, timepoint and endpoint: `patient_outcomes` (contract, sections 4 and 7)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from twin.numbers import all_of, exact
from twin.patients import counting_enrolment
from twin.records import History, record_name
from twin.scores import ITEMS, Endoscopy, Segments, segment_score
from twin.selection import Measurement, Window, measurements, select, select_baseline

PROTOCOL = "fu2025"
CLINICAL, ENDOSCOPY = "clinical", "endoscopy"
BASELINE: dict[str, Window] = {CLINICAL: (-28, 0), ENDOSCOPY: (-90, 0)}


@dataclass(frozen=True)
class Timepoint:
    """An assessment time with its windows of offsets in days, both ends included (R4.1)."""

    name: str
    target: int
    windows: dict[str, Window]


WEEK_12 = Timepoint("week_12", 84, {CLINICAL: (70, 98), ENDOSCOPY: (56, 126)})
TIMEPOINTS = (
    Timepoint("week_2", 14, {CLINICAL: (7, 20)}),
    Timepoint("week_4", 28, {CLINICAL: (21, 41)}),
    Timepoint("week_8", 56, {CLINICAL: (42, 69)}),
    WEEK_12,
    Timepoint("week_16", 112, {CLINICAL: (99, 139)}),
    Timepoint("week_24", 168, {CLINICAL: (140, 196), ENDOSCOPY: (127, 224)}),
)


def response(baseline: Measurement | None, value: Measurement) -> bool | None:
    """cr100: a fall of the CDAI by at least 100 (R2.4)."""
    return None if baseline is None else exact(baseline.value) - exact(value.value) >= 100


def remission(_baseline: Measurement | None, value: Measurement) -> bool | None:
    """A CDAI below 150 (R2.4)."""
    return exact(value.value) < 150


def _scopes(baseline: Measurement | None, value: Measurement) -> tuple[Endoscopy | None, Endoscopy]:
    assert value.endoscopy is not None
    return (None if baseline is None else baseline.endoscopy), value.endoscopy


def lost_segment(before: Endoscopy, after: Endoscopy) -> bool:
    """Whether a segment that scored at baseline was not explored at follow-up (R2.7)."""
    if before.segments is None or after.segments is None:
        return False
    return any(segment_score(s) > 0 and name not in after.segments for name, s in before.segments.items())


def compared(before: Endoscopy, after: Endoscopy) -> tuple[Any, Any]:
    """b and f of R2.7; with a lost segment the best case, in which it healed.

    Where one of the visits has a total only, both are totals (contract, section 7).
    """
    if before.segments is None or after.segments is None:
        return before.total, after.total
    common = [name for name in before.segments if name in after.segments]
    f = sum(segment_score(after.segments[name]) for name in common)
    if lost_segment(before, after):
        return before.total, f
    return sum(segment_score(before.segments[name]) for name in common), f


def _unless_lost(verdict: bool | None, before: Endoscopy | None, after: Endoscopy) -> bool | None:
    """With a lost segment an endpoint may fail but is never met (R2.7)."""
    lost = before is not None and lost_segment(before, after)
    return None if verdict is True and lost else verdict


def endoscopic_response(baseline: Measurement | None, value: Measurement) -> bool | None:
    """gt50: a fall by more than half, or by 2 from a baseline of 4 (R2.7)."""
    before, after = _scopes(baseline, value)
    if before is None:
        return None
    b, f = compared(before, after)
    if b == 0:
        return None
    return _unless_lost(b - f >= 2 if b == 4 else 2 * f < b, before, after)


def endoscopic_remission(baseline: Measurement | None, value: Measurement) -> bool | None:
    """trial: total at most 4, fall of at least 2, no item above 1 (R2.7)."""
    before, after = _scopes(baseline, value)
    if before is None:
        return None
    b, f = compared(before, after)
    verdict = all_of(after.total <= 4, b - f >= 2, _no_item_above_1(after.segments))
    return _unless_lost(verdict, before, after)


def _no_item_above_1(segments: Segments | None) -> bool | None:
    if segments is None:
        return None
    return all(items[item] <= 1 for items in segments.values() for item in ITEMS)


def mucosal_healing(baseline: Measurement | None, value: Measurement) -> bool | None:
    """ses0: a total of 0 (R2.7)."""
    before, after = _scopes(baseline, value)
    return _unless_lost(after.total == 0, before, after)


def normalisation(baseline: Measurement | None, value: Measurement) -> bool | None:
    """Normal now, where it was raised at baseline (R3.2)."""
    return value.normal if baseline is not None and baseline.normal is False else None


def active(baseline: Measurement) -> str | None:
    """Why a baseline CDAI keeps a patient out of the denominator."""
    return None if exact(baseline.value) >= 150 else "baseline_inactive"


def diseased(baseline: Measurement) -> str | None:
    """Why a baseline SES-CD keeps a patient out of the denominator."""
    return None if exact(baseline.value) >= 3 else "baseline_below_3"


def raised(baseline: Measurement) -> str | None:
    """Why a baseline biomarker keeps a patient out of the denominator."""
    return {False: None, True: "baseline_normal", None: "baseline_unknown"}[baseline.normal]


@dataclass(frozen=True)
class Endpoint:
    """What is measured, in which window, who counts, and when it is met."""

    parameter: str
    window: str
    met: Callable[[Measurement | None, Measurement], bool | None]
    excluded: Callable[[Measurement], str | None]
    needs_baseline: bool = True


ENDPOINTS = {
    "clinical_response": Endpoint("cdai", CLINICAL, response, active),
    "clinical_remission": Endpoint("cdai", CLINICAL, remission, active, needs_baseline=False),
    "endoscopic_response": Endpoint("ses_cd", ENDOSCOPY, endoscopic_response, diseased),
    "endoscopic_remission": Endpoint("ses_cd", ENDOSCOPY, endoscopic_remission, diseased),
    "mucosal_healing": Endpoint("ses_cd", ENDOSCOPY, mucosal_healing, diseased, needs_baseline=False),
    "crp_normalisation": Endpoint("crp", CLINICAL, normalisation, raised),
    "esr_normalisation": Endpoint("esr", CLINICAL, normalisation, raised),
    "fcal_normalisation": Endpoint("fcal", CLINICAL, normalisation, raised),
}


def outcome_rows(
    history: History, patient: dict[str, Any], today: date, timepoints: Sequence[Timepoint]
) -> list[dict[str, Any]]:
    """The patient's rows of `patient_outcomes`."""
    enrolment = counting_enrolment(history)
    found = measurements(history, patient, enrolment and enrolment.get("height_cm"))
    return [
        {
            "patient_id": patient["patient_id"],
            "site_id": patient["site_id"],
            "drug": patient["drug"],
            "protocol": PROTOCOL,
            "timepoint": timepoint.name,
            "endpoint": name,
            **_outcome(history, patient, found[endpoint.parameter], endpoint, timepoint, today),
        }
        for timepoint in timepoints
        for name, endpoint in ENDPOINTS.items()
        if endpoint.window in timepoint.windows
    ]


UNTREATED: dict[str, Any] = {
    "status": "not_applicable",
    "observed": None,
    "nri": None,
    "baseline_value": None,
    "baseline_on": None,
    "value": None,
    "value_on": None,
    "study_offset": None,
    "window_start": None,
    "window_end": None,
    "reason": "no_treatment",
    "population": False,
    "event_ids": [],
}


def _outcome(
    history: History,
    patient: dict[str, Any],
    candidates: list[Measurement],
    endpoint: Endpoint,
    timepoint: Timepoint,
    today: date,
) -> dict[str, Any]:
    first_dose_on = patient["first_dose_on"]
    if first_dose_on is None:
        return UNTREATED
    window = timepoint.windows[endpoint.window]
    window_start, window_end = (first_dose_on + timedelta(days=offset) for offset in window)
    baseline = select_baseline(candidates, first_dose_on, patient["first_dose_at"], BASELINE[endpoint.window])
    value = select(candidates, first_dose_on, timepoint.target, window)

    not_applicable = None
    if history.withdrawn_on is not None and history.withdrawn_on < window_start:
        not_applicable = "consent_withdrawn"
    elif baseline is None and endpoint.needs_baseline:
        not_applicable = "no_baseline"
    status = "not_applicable" if not_applicable else _status(value, window_start, window_end, today)

    observed = None
    if value is not None and status in ("provisional", "final"):
        observed = endpoint.met(baseline, value)
    excluded = not_applicable or ("no_baseline" if baseline is None else endpoint.excluded(baseline))
    nri = None
    if excluded is None and status in ("final", "missed"):
        nri = _nri(value, observed, patient["intercurrent_on"])
    return {
        "status": status,
        "observed": observed,
        "nri": nri,
        "baseline_value": baseline and baseline.value,
        "baseline_on": baseline and baseline.on,
        "value": value and value.value,
        "value_on": value and value.on,
        "study_offset": value and (value.on - first_dose_on).days,
        "window_start": window_start,
        "window_end": window_end,
        "reason": excluded or _open_question(status, observed),
        "population": excluded is None,
        "event_ids": [record_name(m.event) for m in (baseline, value) if m is not None],
    }


def _status(value: Measurement | None, window_start: date, window_end: date, today: date) -> str:
    """R4.6; the window's last day counts as closed (due)."""
    if today < window_start:
        return "not_due"
    if today < window_end:
        return "open" if value is None else "provisional"
    return "missed" if value is None else "final"


def _nri(value: Measurement | None, observed: bool | None, intercurrent_on: date | None) -> bool | None:
    """R4.7: missing is failure, and so is any value on or after an intercurrent event."""
    if value is None or (intercurrent_on is not None and intercurrent_on <= value.on):
        return False
    return observed


def _open_question(status: str, observed: bool | None) -> str | None:
    """Why someone in the denominator's population has no answer."""
    if status == "missed":
        return "missed"
    return "value_unknown" if status in ("provisional", "final") and observed is None else None

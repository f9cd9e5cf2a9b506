"""Outcomes in words: what endpoints are called, how they are defined, and why patients do not count."""

from schemas.protocol import Endpoint, Protocol
from schemas.protocol_words import in_words
from services.runtime.pages.formats import title

SHORT = {"cdai": "CDAI", "ses_cd": "SES-CD", "crp": "CRP", "esr": "ESR", "fcal": "Faecal calprotectin"}
WRITTEN = SHORT | {
    "hbi": "HBI",
    "pro2": "PRO2",
    "sfap": "SF/AP",
    "cr70": "CR-70",
    "cr100": "CR-100",
    "stride2": "STRIDE-II",
    "gt50": "(over half)",
    "ge50": "(half or more)",
    "le2": "(2 or less)",
    "le4": "(4 or less)",
    "ses0": "(SES-CD 0)",
}
"""Parts of endpoints' names that are not words."""
ABBREVIATED = {"alt", "ast", "alp", "ggt", "ck", "ldl", "hdl", "wbc"}
CLINICAL = "Clinical activity"
GROUPS = {"ses_cd": "Endoscopy"} | dict.fromkeys(
    ("cdai", "hbi", "stool_frequency", "abdominal_pain", "pro2"), CLINICAL
)
"""Headings by parameter; every other parameter is a biomarker."""

HEADS = {
    "no_treatment": "Never treated",
    "consent_withdrawn": "Consent withdrawn",
    "no_baseline": "No baseline",
    "baseline_unknown": "Baseline unclear",
    "baseline_inactive": "Baseline CDAI below 150",
    "baseline_no_steroid": "No corticosteroid at baseline",
    "baseline_below_3": "Baseline SES-CD below 3",
    "baseline_not_ulcerated": "No ulcers at baseline",
    "baseline_not_trial_like": "Outside the trial's criteria",
    "baseline_normal": "Normal at baseline",
    "missed": "Not seen in the window",
    "value_unknown": "Value unclear",
    "week_12_responder": "Responded at week 12",
    "unknown": "Earlier response unclear",
}
"""Every reason as the head of a column; `REASONS` says it in full."""

GROUPS_OF_PATIENTS = {
    "treated": "all treated",
    "counted": "counted",
    "reached": "reached",
    "failed": "not reached",
    "left_out": "not counted",
    "awaited": "still to come",
    "pending": "pending",
}
"""Patients behind a figure."""

STATES = {
    "not_due": "not due",
    "open": "open",
    "provisional": "provisional",
    "final": "final",
    "missed": "missed",
    "not_applicable": "not applicable",
}


def endpoint_label(name: str) -> str:
    """`crp_normalisation` is `CRP normalisation`."""
    return title(" ".join(WRITTEN.get(part, part) for part in name.split("_")))


def analyte_label(name: str) -> str:
    """`crp` is `CRP`, `cholesterol_total` is `Cholesterol total`."""
    return name.upper() if name in ABBREVIATED else SHORT.get(name, title(name))


def head(reason: str) -> str:
    """A reason as the head of a column."""
    return HEADS.get(reason, title(reason))


def group_label(parameter: str) -> str:
    """The heading under which a parameter's endpoints stand."""
    return GROUPS.get(parameter, "Biomarkers")


def definition(endpoint: Endpoint, protocol: Protocol) -> str:
    """What a patient must reach, with the protocol's own limits."""
    text = in_words(protocol, endpoint.name)
    return text[:1].upper() + text[1:]

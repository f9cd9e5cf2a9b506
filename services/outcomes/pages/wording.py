"""Outcomes in words: what endpoints are called, how they are defined, and why patients do not count."""

from schemas.protocol import Endpoint, Protocol
from services.runtime.pages.formats import plain, title, words

SHORT = {"cdai": "CDAI", "ses_cd": "SES-CD", "crp": "CRP", "esr": "ESR", "fcal": "Faecal calprotectin"}
ABBREVIATED = {"alt", "ast", "alp", "ggt", "ck", "ldl", "hdl", "wbc"}
UNITS = {"crp": "mg/L", "esr": "mm/h", "fcal": "µg/g"}
GROUPS = {"cdai": "Clinical activity", "ses_cd": "Endoscopy"}
"""Headings by parameter; every other parameter is a biomarker."""

HEADS = {
    "no_treatment": "Never treated",
    "consent_withdrawn": "Consent withdrawn",
    "no_baseline": "No baseline",
    "baseline_unknown": "Baseline unclear",
    "baseline_inactive": "Baseline CDAI below 150",
    "baseline_below_3": "Baseline SES-CD below 3",
    "baseline_normal": "Normal at baseline",
    "missed": "Not seen in the window",
    "value_unknown": "Value unclear",
}
"""Every reason as the head of a column; `REASONS` says it in full."""

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
    first, _, rest = name.partition("_")
    return f"{SHORT[first]} {words(rest)}" if first in SHORT else title(name)


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
    name, limit = SHORT.get(endpoint.parameter, endpoint.parameter), plain(endpoint.limit)
    match endpoint.kind:
        case "fall":
            return f"{name} lower by {limit} or more"
        case "below":
            return f"{name} below {limit}"
        case "at_most":
            return f"{name} {limit}" + ("" if endpoint.limit == 0 else " or less")
        case "per_cent_fall":
            return f"{name} lower by more than {limit} %"
        case "endoscopic_remission":
            return (
                f"{name} {limit} or less, lower by {plain(endpoint.minimum_fall)} or more, "
                f"no item above {endpoint.maximum_item}"
            )
        case "normalisation":
            return f"raised at baseline, now {_normal(endpoint, protocol)}"


def _normal(endpoint: Endpoint, protocol: Protocol) -> str:
    rules = protocol.parameter[endpoint.parameter]
    if rules.upper_limit == "laboratory":
        return "within the laboratory's limit"
    sign = "at most" if rules.inclusive else "below"
    return f"{sign} {rules.upper_limit} {UNITS.get(endpoint.parameter, '')}".strip()

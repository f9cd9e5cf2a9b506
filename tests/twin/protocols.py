"""What the shipped protocols decide, stated a second time and by hand: the files are held to this."""

from dataclasses import dataclass, field, replace
from fractions import Fraction

Window = tuple[int, int]
CLINICAL, ENDOSCOPY = "clinical", "endoscopy"


@dataclass(frozen=True)
class Timepoint:
    """An assessment time with its windows of offsets in days, both ends included (R4.1)."""

    name: str
    target: int
    windows: dict[str, Window]


BASELINE = Timepoint("baseline", 0, {CLINICAL: (-28, 0), ENDOSCOPY: (-90, 0)})
WEEK_12 = Timepoint("week_12", 84, {CLINICAL: (70, 98), ENDOSCOPY: (56, 126)})
TIMEPOINTS = (
    Timepoint("week_2", 14, {CLINICAL: (7, 20)}),
    Timepoint("week_4", 28, {CLINICAL: (21, 41)}),
    Timepoint("week_8", 56, {CLINICAL: (42, 69)}),
    WEEK_12,
    Timepoint("week_16", 112, {CLINICAL: (99, 139)}),
    Timepoint("week_24", 168, {CLINICAL: (140, 196), ENDOSCOPY: (127, 224)}),
)

HEADLINE = {
    "clinical_response": "cr100",
    "endoscopic_response": "endoscopic_response_gt50",
    "endoscopic_remission": "endoscopic_remission_trial",
    "mucosal_healing": "mucosal_healing_ses0",
}


@dataclass(frozen=True)
class Rules:
    """A protocol's own decisions; everything else is the clinical rules'."""

    name: str
    headline: dict[str, str] = field(default_factory=lambda: HEADLINE)
    own: tuple[str, ...] = ()
    """Endpoints that only this protocol has."""
    timepoints: tuple[Timepoint, ...] = TIMEPOINTS
    hct_mode: str = "clip"
    component_rounding: bool = False
    nearest_days: int = 14
    carried_days: int = 84
    baseline4_rule: str = "any"
    fcal_limit: Fraction = Fraction(250)
    fcal_inclusive: bool = False


FU2025 = Rules("fu2025")
U_EXCEED = Rules("u_exceed", own=("trial_like_clinical_remission", "trial_like_endoscopic_response"))
STRIDE2 = Rules(
    "stride2",
    headline=HEADLINE
    | {"clinical_response": "stride2_pro2_response", "endoscopic_remission": "stride2_healing"},
    own=("stride2_clinical_remission",),
)


def _week_12(first: int, last: int) -> tuple[Timepoint, ...]:
    """R4.1: other windows of week 12, endoscopy aside."""
    windows = WEEK_12.windows | {CLINICAL: (first, last)}
    return tuple(replace(t, windows=windows) if t == WEEK_12 else t for t in TIMEPOINTS)


TRIAL_7 = Rules("trial_7", timepoints=_week_12(77, 91))
WIDE_28 = Rules("wide_28", timepoints=_week_12(56, 112))
CONTRARY = Rules(
    "contrary",
    headline={
        "clinical_response": "sfap_response",
        "endoscopic_response": "endoscopic_response_ge50",
        "endoscopic_remission": "endoscopic_remission_le4",
        "mucosal_healing": "ulcer_free",
    },
    timepoints=_week_12(56, 112),
    hct_mode="signed",
    component_rounding=True,
    nearest_days=7,
    carried_days=28,
    baseline4_rule="isolated_ileal",
    fcal_limit=Fraction(100),
    fcal_inclusive=True,
)
"""`tests/contrary.toml`: every setting that may be decided otherwise, decided otherwise."""

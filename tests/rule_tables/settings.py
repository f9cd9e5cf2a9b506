"""What a protocol may decide otherwise, each with a patient at the limit for whom it makes the difference."""

from dataclasses import dataclass
from typing import Any

from twin.builders import enrolment, lab, start, treatment, visit

from rule_tables.endpoints import scope, sfap
from rule_tables.tables import Case, Column, Page, Table

Events = list[dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """One alternative: `lines` are all that a protocol file extending fu2025 says."""

    rule: str
    name: str
    default: str
    instead: str
    lines: str
    seen: str
    events: Events
    endpoint: str
    by_default: bool | None
    otherwise: bool | None
    source: str

    @property
    def protocol(self) -> str:
        """A name for its file."""
        return "".join(c if c.isalnum() else "_" for c in f"{self.name} {self.instead}".lower())


def patient(
    before: dict[str, Any], after: dict[str, Any], *more: Any, day: int = 84, **person: Any
) -> Events:
    """A patient seen before treatment and about week 12."""
    return [enrolment(**person), start(), visit(-7, **before), visit(day, **after), *more]


def body(haematocrit: float, weight: float) -> dict[str, Any]:
    """28 + 35 + 49 + 20 = 132 points, and the haematocrit and weight of a man whose standard weight is 60 kg."""
    week = {"liquid_stools": 14, "abdominal_pain": 7, "wellbeing": 7}
    other = {
        "complications": ["fever"],
        "antidiarrhoeal": False,
        "abdominal_mass": 0,
        "standard_weight_kg": 60,
    }
    return {"cdai_components": week | other | {"haematocrit_pct": haematocrit, "weight_kg": weight}}


def calprotectin(value: float | str) -> Events:
    return [start(), lab("fcal", -7, 900), lab("fcal", 84, value)]


def steroid_stopped(offset: int) -> Any:
    drug = "prednisolone"
    return (treatment("start", -100, drug=drug), treatment("stop", offset, drug=drug, reason="other"))


ILEUM_4_2 = ({"cdai": 300} | scope(ileum=(1, 1, 2, 0)), scope(ileum=(0, 1, 1, 0)))
COLON_4_2 = ({"cdai": 300} | scope(rectum=(1, 1, 2, 0)), scope(rectum=(0, 1, 1, 0)))
HEADLINE = '[headline]\n{} = "{}"'
FELL_99 = ({"cdai": 300}, {"cdai": 201})
WITHOUT_BODY = {
    k: v for k, v in body(0, 0)["cdai_components"].items() if k not in ("haematocrit_pct", "weight_kg")
}


def _carried(days: int) -> Events:
    """Haematocrit and weight of another visit so many days earlier: 132 + 6 x (47 - 44.1) + 0 = 149.4."""
    other = visit(84 - days, "other", weight_kg=60, cdai_components={"haematocrit_pct": 44.1})
    return patient({"cdai": 300}, {"cdai_components": WITHOUT_BODY}, other, sex="male")


SETTINGS = (
    Setting(
        "R1.4", "hct_mode", "clip", "signed", '[settings]\nhct_mode = "signed"',
        "man, haematocrit 47.1: 132 + 0 + 18 = 150; signed 132 - 0.6 + 18 = 149.4",
        patient({"cdai": 300}, body(47.1, 49.2), sex="male"), "clinical_remission", False, True,
        "IG-IBD (signed); by hand",
    ),
    Setting(
        "R1.6", "component_rounding", "off", "on", "[settings]\ncomponent_rounding = true",
        "17.6 % below standard weight: 132 + 17.6 = 149.6; rounded 132 + 18 = 150",
        patient({"cdai": 300}, body(47, 49.44), sex="male"), "clinical_remission", True, False, "by hand",
    ),
    Setting(
        "R1.8", "carried_days", "84", "28", "[settings]\nnearest_days = 14\ncarried_days = 28",
        "haematocrit and weight of 29 days before; CDAI 149.4 with them, unknown without",
        _carried(29), "clinical_remission", True, None, "by hand",
    ),
    Setting(
        "R2.4", "clinical_response", "cr100", "cr70", HEADLINE.format("clinical_response", "cr70"),
        "CDAI 300, then 201", patient(*FELL_99), "clinical_response", False, True, "Loftus 2023",
    ),
    Setting(
        "R2.4", "clinical_response", "cr100", "cr100_or_remission",
        HEADLINE.format("clinical_response", "cr100_or_remission"),
        "CDAI 240, then 149", patient({"cdai": 240}, {"cdai": 149}), "clinical_response", False, True, "by hand",
    ),
    Setting(
        "R2.2", "clinical_response", "cr100", "sfap", HEADLINE.format("clinical_response", "sfap_response"),
        "CDAI 300, then 201; stools 3, then 2.1 a day",
        patient({"cdai": 300} | sfap(3, 2), {"cdai": 201} | sfap(2.1, 2)), "clinical_response", False, True,
        "U-EXCEL (30 %)",
    ),
    Setting(
        "R2.3", "clinical_response", "cr100", "hbi3", HEADLINE.format("clinical_response", "hbi_response"),
        "CDAI 300, then 201; HBI 8, then 5", patient({"cdai": 300, "hbi": 8}, {"cdai": 201, "hbi": 5}),
        "clinical_response", False, True, "IG-IBD (a fall of 3)",
    ),
    Setting(
        "R2.3", "clinical_response", "cr100", "hbi2", HEADLINE.format("clinical_response", "hbi_response_2"),
        "CDAI 300, then 201; HBI 8, then 6", patient({"cdai": 300, "hbi": 8}, {"cdai": 201, "hbi": 6}),
        "clinical_response", False, True, "a cohort with 2 points",
    ),
    Setting(
        "R2.7", "endoscopic_response", "gt50", "ge50",
        HEADLINE.format("endoscopic_response", "endoscopic_response_ge50"),
        "SES-CD 6, then 3", patient({"ses_cd": 6}, {"ses_cd": 3}), "endoscopic_response", False, True, "NCT06227910",
    ),
    Setting(
        "R2.7", "endoscopic_remission", "trial", "le2",
        HEADLINE.format("endoscopic_remission", "endoscopic_remission_le2"),
        "SES-CD 3, then 2: a fall of 1", patient({"ses_cd": 3}, {"ses_cd": 2}), "endoscopic_remission", False, True,
        "STRIDE-II",
    ),
    Setting(
        "R2.7", "endoscopic_remission", "trial", "le4",
        HEADLINE.format("endoscopic_remission", "endoscopic_remission_le4"),
        "SES-CD 5, then 4: a fall of 1", patient({"ses_cd": 5}, {"ses_cd": 4}), "endoscopic_remission", False, True,
        "a Canadian cohort",
    ),
    Setting(
        "R2.7", "endoscopic_remission", "trial", "stride2_healing",
        HEADLINE.format("endoscopic_remission", "stride2_healing"),
        "ileum 1 1 1 0, then 1 0 0 0: an ulcer is left",
        patient(scope(ileum=(1, 1, 1, 0)), scope(ileum=(1, 0, 0, 0))), "endoscopic_remission", True, False, "STRIDE-II",
    ),
    Setting(
        "R2.7", "baseline4_rule", "any", "isolated_ileal", '[settings]\nbaseline4_rule = "isolated_ileal"',
        "rectum 4, then 2", patient(*COLON_4_2), "endoscopic_response", True, False, "U-EXCEL",
    ),
    Setting(
        "R2.7", "baseline4_rule", "any", "off", '[settings]\nbaseline4_rule = "off"',
        "ileum 4, then 2: half, not more", patient(*ILEUM_4_2), "endoscopic_response", True, False, "by hand",
    ),
    Setting(
        "R2.5", "steroid_free_days", "0", "28",
        '[endpoint.steroid_free_remission]\nall_of = ["clinical_remission", "steroid_free_28"]',
        "CDAI 300, then 120; last steroid day 56, the 28th before day 84",
        patient({"cdai": 300}, {"cdai": 120}, *steroid_stopped(56)), "steroid_free_remission", True, False, "by hand",
    ),
    Setting(
        "R2.5", "steroid_free_days", "0", "90",
        '[endpoint.steroid_free_remission]\nall_of = ["clinical_remission", "steroid_free_90"]',
        "CDAI 300, then 120; last steroid day -6, the 90th before day 84",
        patient({"cdai": 300}, {"cdai": 120}, *steroid_stopped(-6)), "steroid_free_remission", True, False,
        "a Canadian cohort (90 days)",
    ),
    Setting(
        "R3.1", "fc_limit", "250, strict", "50, strict", "[parameter.fcal]\nupper_limit = 50",
        "calprotectin 900, then 50", calprotectin(50), "fcal_normalisation", True, False, "laboratories' normal limit",
    ),
    Setting(
        "R3.1", "fc_limit", "250, strict", "100, strict", "[parameter.fcal]\nupper_limit = 100",
        "calprotectin 900, then 100", calprotectin(100), "fcal_normalisation", True, False, "STRIDE-II, as often told",
    ),
    Setting(
        "R3.1", "fc_limit", "250, strict", "150, strict", "[parameter.fcal]\nupper_limit = 150",
        "calprotectin 900, then 150", calprotectin(150), "fcal_normalisation", True, False, "a guideline's limit",
    ),
    Setting(
        "R3.1", "fc_limit", "250, strict", "250, inclusive", "[parameter.fcal]\ninclusive = true",
        "calprotectin 900, then 250", calprotectin(250), "fcal_normalisation", False, True, "ECCO P786",
    ),
    Setting(
        "R3.1", "CRP limit", "the laboratory's, else 5", "always 5", "[parameter.crp]\nupper_limit = 5",
        "CRP 40, then 8 with the laboratory's limit of 8",
        [start(), lab("crp", -7, 40), lab("crp", 84, 8, ref_high=8)], "crp_normalisation", True, False, "ECCO P786",
    ),
    Setting(
        "R4.1", "week12_window", "70 to 98", "trial_7: 77 to 91", 'extends = ["trial_7"]',
        "CDAI 300, then 120 on day 76", patient({"cdai": 300}, {"cdai": 120}, day=76), "clinical_remission", True, None,
        "by hand",
    ),
    Setting(
        "R4.1", "week12_window", "70 to 98", "wide_28: 56 to 112", 'extends = ["wide_28"]',
        "CDAI 300, then 120 on day 112", patient({"cdai": 300}, {"cdai": 120}, day=112), "clinical_remission", None,
        True, "by hand",
    ),
)  # fmt: skip


def _code(lines: str) -> str:
    return " <br> ".join(f"`{line}`" for line in lines.splitlines())


TABLE = Table(
    "R0.3, R4.1",
    "settings",
    (
        "rule", "setting", "default", "instead", Column("a protocol file says", _code), "seen",
        Column("endpoint", lambda name: f"`{name}`"), "by default", "instead: met",
    ),
    [
        Case((s.rule, s.name, s.default, s.instead, s.lines, s.seen, s.endpoint, s.by_default, s.otherwise), s.source)
        for s in SETTINGS
    ],
    "by hand",
    note="Also: `missing = [\"observed\"]` in `[settings]` leaves out rates with missing as failure or carried forward "
    "(R4.7); `all_of = []` in `[population.active]` counts patients not active at baseline too (R4.8).",
)  # fmt: skip

PAGE = Page(
    "settings",
    "What a protocol may decide otherwise",
    """
Where the rules leave a choice, `fu2025` has the default and a protocol file may state the other. A file begins with
`extends = ["fu2025"]` and says only what differs. Each row shows a patient at the limit, for whom the choice decides.
Written by `make rules` from the tables that the tests run.
""",
    [TABLE],
)

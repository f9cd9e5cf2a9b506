"""Rates, their limits and regression: counts and what follows from them (R4.8, R7)."""

from typing import Any

from twin.builders import enrolment, start, visit

from rule_tables.tables import Column, Page, Table, case, or_nothing, said

Event = dict[str, Any]


def _per_cent(limits: tuple[float, float]) -> str:
    return f"{limits[0]:.1f} to {limits[1]:.1f} %"


LIMITS = Table(
    "R7.3",
    "95 % limits of a share",
    (
        "n",
        "of",
        Column("Wilson", or_nothing(_per_cent)),
        Column("exact (Clopper-Pearson)", or_nothing(_per_cent)),
    ),
    [
        case(33, 77, (32.4, 54.0), (31.6, 54.6), source="R7.3"),
        case(0, 18, (0.0, 17.6), (0.0, 18.5), source="R7.3"),
        case(18, 18, (82.4, 100.0), (81.5, 100.0), source="mirror of 0 of 18"),
        case(41, 77, None, (41.5, 64.7), source="Fu 2025, response"),
        case(9, 18, None, (26.0, 74.0), source="Fu 2025, endoscopic response"),
        case(7, 18, None, (17.3, 64.3), source="Fu 2025, endoscopic remission"),
        case(5, 18, None, (9.7, 53.5), source="Fu 2025, complete healing"),
        case(37, 59, None, (49.1, 75.0), source="Fu 2025, CRP"),
        case(39, 55, None, (57.1, 82.4), source="Fu 2025, ESR"),
        case(8, 27, None, (13.8, 50.2), source="Fu 2025, calprotectin"),
        case(32, 94, None, (24.6, 44.5), source="Fu 2025, adverse events"),
    ],
    "R7.3",
)


def person(number: int, site_id: str, baseline: dict[str, Any], week_12: dict[str, Any]) -> list[Event]:
    """A patient of a centre, seen before treatment and perhaps at week 12."""
    who = {"patient_id": f"W12-{number:04}", "site_id": site_id}
    visits = [visit(offset, **values, **who) for offset, values in ((-7, baseline), (84, week_12)) if values]
    return [enrolment(**who), start(**who), *visits]


COHORT = [
    *person(1, "site-a", {"cdai": 300, "ses_cd": 10}, {"cdai": 120, "ses_cd": 4}),
    *person(2, "site-a", {"cdai": 300, "ses_cd": 10}, {"cdai": 200}),
    *person(3, "site-b", {"cdai": 300, "ses_cd": 2}, {"ses_cd": 0}),
    *person(4, "site-b", {"cdai": 149}, {"cdai": 100}),
]
RATES = Table(
    "R4.8",
    "numerators, denominators and who is still open",
    (Column("endpoint", lambda name: f"`{name}`"), "counted", "as of day", Column("centre", or_nothing(said, "all")),
     "n", "of", "open"),
    [
        case("clinical_remission", "observed", 98, None, 1, 2, 0),
        case("clinical_remission", "nri", 98, None, 1, 3, 0, source="the one without a CDAI has failed"),
        case("clinical_remission", "observed", 98, "site-b", 0, 0, 0, source="nobody: no rate, not 0 %"),
        case("clinical_remission", "nri", 98, "site-b", 0, 1, 0),
        case("clinical_remission", "observed", 97, None, 0, 0, 3, source="not due yet"),
        case("clinical_remission", "nri", 97, None, 0, 0, 3),
        case("endoscopic_response", "observed", 98, None, 1, 1, 2, source="in the window, not yet due"),
        case("endoscopic_response", "nri", 98, None, 0, 0, 2),
        case("endoscopic_response", "observed", 126, None, 1, 1, 0),
        case("endoscopic_response", "nri", 126, None, 1, 2, 0),
        case("mucosal_healing", "nri", 126, None, 0, 2, 0, source="the third has too little disease at baseline"),
    ],
    "by hand",
    note="Four patients. Centre a: CDAI 300 then 120 with SES-CD 10 then 4; CDAI 300 then 200 with SES-CD 10 before. "
    "Centre b: CDAI 300 and SES-CD 2 before, SES-CD 0 after; CDAI 149 then 100.",
)  # fmt: skip

REMISSION_BY_CDAI = {
    180: 1, 195: 1, 205: 1, 210: 0, 220: 1, 230: 1, 240: 0, 245: 1, 255: 0, 260: 1, 270: 0, 280: 0, 290: 1, 300: 0,
    315: 0, 330: 0, 350: 0, 380: 0,
}  # fmt: skip
"""Baseline CDAI -> remission, as R7.2 gives them."""
SEPARATED = {**dict.fromkeys((4, 5, 6, 7, 8), 1), **dict.fromkeys((10, 11, 12, 14, 16), 0)}
"""Baseline SES-CD -> remission: one value parts all who are in remission from all who are not."""


def _data(data: dict[int, int]) -> str:
    return ", ".join(f"{value} {'yes' if met else 'no'}" for value, met in data.items())


REGRESSION = Table(
    "R7.2",
    "odds of remission by a baseline score, with 95 % limits of the profile likelihood",
    (Column("score and remission", _data), "per", "method", Column("odds ratio", or_nothing(said, "none")),
     Column("limits", or_nothing(lambda limits: f"{limits[0]:.3f} to {limits[1]:.3f}", "-"))),
    [
        case(REMISSION_BY_CDAI, 10, "maximum likelihood", 0.704, None, source="slope -0.3504"),
        case(REMISSION_BY_CDAI, 10, "Firth", 0.760, (0.530, 0.949), source="slope -0.2739"),
        case(SEPARATED, 1, "maximum likelihood", None, None, source="diverges"),
        case(SEPARATED, 1, "Firth", 0.437, (0.041, 0.847)),
    ],
    "R7.2; two implementations agree",
)  # fmt: skip

PAGE = Page(
    "statistics",
    "Rates and regression, case by case",
    """
Which patients are counted, the limits of their share, and the models. [statistics.md](../statistics.md) says what the
figures mean. Written by `make rules` from the tables that the tests run.
""",
    [LIMITS, RATES, REGRESSION],
)

"""Scores of one visit at every limit: CDAI and its terms, stools and pain, SES-CD, what is refused (R1, R2.1, R2.6)."""

from typing import Any

from rule_tables.endpoints import scope
from rule_tables.tables import Column, Page, Table, case, or_nothing, said

Components = dict[str, Any]
UNKNOWN = or_nothing(said, "unknown")

SHORT = {
    "liquid_stools": "stools", "abdominal_pain": "pain", "wellbeing": "well-being", "complications": "complications",
    "antidiarrhoeal": "antidiarrhoeal", "abdominal_mass": "mass", "haematocrit_pct": "haematocrit", "weight_kg": "kg",
    "standard_weight_kg": "standard kg",
}  # fmt: skip
WELL: Components = {"complications": [], "antidiarrhoeal": False, "abdominal_mass": 0}
ZERO: Components = WELL | {"liquid_stools": 0, "abdominal_pain": 0, "wellbeing": 0}
"""Nothing but the haematocrit and weight terms is left of the CDAI."""
WOMAN: Components = {
    "liquid_stools": [5, 6, 5, 7, 6, 5, 6],
    "abdominal_pain": [2, 2, 1, 2, 2, 1, 2],
    "wellbeing": [2, 2, 2, 1, 2, 2, 2],
    "complications": ["arthritis", "anal_fistula_abscess"],
    "antidiarrhoeal": True,
    "abdominal_mass": 2,
    "haematocrit_pct": 34,
    "weight_kg": 51,
}
WOMAN_WEEK_12: Components = WELL | {
    "liquid_stools": [2, 2, 1, 2, 2, 1, 2],
    "abdominal_pain": [1, 0, 1, 0, 0, 1, 0],
    "wellbeing": [1, 1, 1, 0, 1, 0, 1],
    "haematocrit_pct": 39,
    "weight_kg": 54,
}
MAN: Components = WELL | {
    "liquid_stools": 14, "abdominal_pain": 4, "wellbeing": 7, "haematocrit_pct": 49, "weight_kg": 92,
}  # fmt: skip
FIVE_DAYS: Components = WELL | {
    "liquid_stools": [3, None, 4, 3, None, 2, 3],
    "abdominal_pain": [1, None, 1, 1, None, 1, 1],
    "wellbeing": [1, None, 1, 1, None, 1, 1],
    "haematocrit_pct": 44,
    "weight_kg": 71.604,
}


def days(week: Any) -> str:
    """A diary as its days, a sum as a sum."""
    if isinstance(week, list):
        return ", ".join("-" if day is None else said(day) for day in week)
    return "not known" if week is None else f"sum {said(week)}"


def _components(given: Components) -> str:
    parts = []
    for name in filter(given.__contains__, SHORT):
        value = given[name]
        if isinstance(value, list) and name != "complications":
            value = days(value)
        parts.append(f"{SHORT[name]} {said(value)}")
    return "; ".join(parts)


def _person(person: tuple[str | None, float | None]) -> str:
    sex, height = person
    return f"{sex or 'sex not known'}, {'height not known' if height is None else f'{said(height)} cm'}"


def _without(name: str) -> Components:
    return {part: value for part, value in WOMAN.items() if part != name}


WORKED = Table(
    "R1.1, R1.4, R1.7",
    "the CDAI from its eight components",
    (Column("patient", _person), Column("components", _components), "haematocrit", Column("CDAI", UNKNOWN)),
    [
        case(("female", 165), WOMAN, "clip", "378.9385", source="80 + 60 + 91 + 40 + 30 + 20 + 48 + 9.9385"),
        case(("female", 165), WOMAN_WEEK_12, "clip", "96.6408", source="24 + 15 + 35 + 0 + 0 + 0 + 18 + 4.6408"),
        case(("male", 178), MAN, "clip", "87", source="28 + 20 + 49 + 0 - 10"),
        case(("male", 178), MAN, "signed", "75", source="28 + 20 + 49 - 12 - 10"),
        case(("male", 180), FIVE_DAYS, "clip", "144", source="42 + 35 + 49 + 18 + 0"),
        case(("female", None), WOMAN | {"standard_weight_kg": 60}, "clip", "384",
             source="80 + 60 + 91 + 40 + 30 + 20 + 48 + 15"),
        case(("male", None), ZERO | {"haematocrit_pct": 47, "weight_kg": 66, "standard_weight_kg": 60}, "clip", "-10",
             source="not floored at 0"),
        case((None, 165), WOMAN, "clip", None, source="R0.6: sex is never guessed"),
        case(("female", None), WOMAN, "clip", None, source="R1.5: no height, no standard weight"),
        *(case(("female", 165), _without(name), "clip", None, source=f"{SHORT[name]} missing") for name in WOMAN),
    ],
    "weights: IG-IBD, mudr.org, Merck Manual",
)  # fmt: skip

DIARIES = Table(
    "R1.3",
    "a diary item: the mean of at least 4 of 7 days, times 7",
    (Column("days", days), Column("counts as", UNKNOWN)),
    [
        case([1, 2, 3, 4, 5, 6, 7], "28", source="the sum itself"),
        case([3, None, 4, 3, None, 2, 3], "21", source="15 / 5 x 7"),
        case([1, 1, 1, 1, None, None, None], "7", source="4 / 4 x 7"),
        case([1, 1, 1, None, None, None, None], None, source="three days are too few"),
        case([None] * 7, None, source="no day"),
        case([0] * 7, "0"),
        case(14, "14", source="sent as a sum"),
    ],
    "by hand",
    note="Days of bowel preparation or endoscopy are sent as missing.",
)

COMPLICATIONS = Table(
    "R1.2",
    "complications: 20 points for each category, however many manifestations",
    (Column("categories", said), "points"),
    [
        case([], 0),
        case(["arthritis"], 20),
        case(["arthritis", "arthritis"], 20, source="arthralgia and arthritis"),
        case(
            ["arthritis", "skin_mouth"], 40, source="erythema nodosum, aphthous ulcers, arthralgia, arthritis"
        ),
        case(
            ["arthritis", "iritis_uveitis", "skin_mouth", "anal_fistula_abscess", "other_fistula", "fever"],
            120,
        ),
    ],
    "IG-IBD, Merck Manual",
)

HAEMATOCRITS = Table(
    "R1.4",
    "points for the haematocrit: 6 times reference minus measured, reference 47 % (male) or 42 % (female)",
    ("sex", "haematocrit, %", "points (clip)", "points (signed)"),
    [
        case("male", 46.9, "0.6", "0.6"),
        case("male", 47, "0", "0"),
        case("male", 47.1, "0", "-0.6"),
        case("female", 41.9, "0.6", "0.6"),
        case("female", 42, "0", "0"),
        case("female", 42.1, "0", "-0.6"),
    ],
    "6 x the difference; signed: IG-IBD",
)

WEIGHTS = Table(
    "R1.5",
    "points for the weight: per cent below the standard weight, not below -10",
    (
        "sex",
        Column("height, cm", or_nothing()),
        Column("standard weight sent, kg", or_nothing()),
        "weight, kg",
        "points",
    ),
    [
        case("male", 180, None, 71.604, "0", source="1.8^2 x 22.1 = 71.604"),
        case("male", 180, None, 64.4436, "10", source="90 % of 71.604"),
        case("female", 165, None, 56.628, "0", source="1.65^2 x 20.8 = 56.628"),
        case("female", 165, 60, 57, "5", source="the weight sent counts: 57 of 60"),
        case("male", None, 60, 65.9, "-9.833333333", source="100 x (1 - 65.9 / 60)"),
        case("male", None, 60, 66, "-10"),
        case("male", None, 60, 66.1, "-10", source="floor"),
        case("male", None, 60, 30, "50", source="no upper cap"),
    ],
    "by hand",
)

ROUNDING = Table(
    "R1.6",
    "points of haematocrit and weight, exact and with each rounded half up first (a setting)",
    ("haematocrit of a man, %", "weight, kg (standard 60)", "points", "points (rounded)"),
    [
        case(46.6, 60, "2.4", "0", source="0.4 to 0"),
        case(46.5, 60, "3", "6", source="0.5 to 1"),
        case(46.4, 60, "3.6", "6", source="0.6 to 1"),
        case(47, 59.76, "0.4", "0", source="0.4 to 0"),
        case(47, 59.7, "0.5", "1", source="0.5 to 1"),
        case(47, 60.3, "-0.5", "0", source="-0.5 to 0"),
        case(47, 60.36, "-0.6", "-1", source="-0.6 to -1"),
    ],
    "by hand",
)

COMPLAINTS = Table(
    "R2.1, R2.1c",
    "stools and pain a day, and PRO2 = 2 x stools + 5 x pain",
    (
        Column("sent as means (stools, pain)", lambda sent: " and ".join(map(or_nothing(), sent))),
        Column("stools of the diary", days), Column("pain of the diary", days),
        *(Column(name, UNKNOWN) for name in ("stools a day", "pain a day", "PRO2")),
    ),
    [
        case((1.5, 1), None, None, "1.5", "1", "8"),
        case((1.6, 1), None, None, "1.6", "1", "8.2"),
        case((3, None), None, None, "3", None, None, source="one item known"),
        case((None, None), [3, 3, 3, 3, 2, None, None], [1] * 7, "2.8", "1", "10.6", source="14 / 5"),
        case((None, None), [3, 3, 3, 3, 3, 3, 2], [1] * 7, "2.857142857", "1", "10.714285714", source="20 / 7"),
        case((None, None), 21, 7, "3", "1", "11", source="7-day sums"),
        case((2, None), 21, 7, "2", "1", "9", source="what is sent as a mean counts first"),
        case((None, None), [2, 2, 2, None, None, None, None], [1] * 7, None, "1", None,
             source="three days are too few"),
    ],
    "by hand",
)  # fmt: skip


def _segments(given: dict[str, Any]) -> str:
    parts = []
    for name, items in given["ses_cd_segments"].items():
        scores = (
            "not explored"
            if items is None
            else " ".join("-" if item is None else str(item) for item in items.values())
        )
        parts.append(f"{name.replace('_', ' ')} {scores}")
    return "; ".join(parts)


def _partly(**segments: tuple[int | None, ...] | None) -> dict[str, Any]:
    names = ("ulcer_size", "ulcerated_surface", "affected_surface", "narrowing")
    return {
        "ses_cd_segments": {
            name: None if items is None else dict(zip(names, items, strict=True))
            for name, items in segments.items()
        }
    }


def hbi_items(
    wellbeing: int | None, pain: int, stools: int, mass: int, *complications: str
) -> dict[str, Any]:
    """`hbi_components`; an item of None is left out."""
    items = {"wellbeing": wellbeing, "abdominal_pain": pain, "liquid_stools": stools, "abdominal_mass": mass}
    return {name: item for name, item in items.items() if item is not None} | {
        "complications": [*complications]
    }


def _items(given: dict[str, Any] | None) -> str:
    return (
        "; ".join(f"{name.replace('_', ' ')} {said(value)}" for name, value in (given or {}).items())
        or "none sent"
    )


EVERYTHING = (
    *("arthralgia", "uveitis", "erythema_nodosum", "aphthous_ulcers", "pyoderma_gangrenosum"),
    *("anal_fissure", "new_fistula", "abscess"),
)
HBI = Table(
    "R2.3",
    "HBI: well-being, pain, stools and mass of a day, and a point for each complication",
    (Column("items", _items), Column("total sent", or_nothing()), Column("HBI", UNKNOWN)),
    [
        case(hbi_items(1, 1, 2, 0), None, 4, source="1 + 1 + 2 + 0 + 0"),
        case(hbi_items(1, 1, 2, 0, "arthralgia"), None, 5, source="1 + 1 + 2 + 0 + 1"),
        case(hbi_items(0, 0, 0, 0), None, 0, source="the lowest"),
        case(hbi_items(4, 3, 60, 3, *EVERYTHING), None, 78, source="the highest: 4 + 3 + 60 + 3 + 8"),
        case(hbi_items(0, 0, 0, 0, "erythema_nodosum", "aphthous_ulcers"), None, 2,
             source="each by itself, though one category of the CDAI"),
        case(hbi_items(0, 0, 0, 0, "uveitis", "uveitis"), None, 1, source="each once"),
        case(hbi_items(None, 1, 2, 0), None, None, source="an item missing"),
        case(hbi_items(None, 1, 2, 0), 7, 7, source="an item missing: as sent"),
        case(hbi_items(1, 1, 2, 0), 7, 4, source="complete items replace the total"),
        case(None, 7, 7, source="as sent"),
    ],
    "IG-IBD; by hand",
)  # fmt: skip

HEALTHY = (0, 0, 0, 0)
SES_CD = Table(
    "R2.6",
    "SES-CD: the sum over explored segments (ulcer size, ulcerated surface, affected surface, narrowing)",
    (Column("segments", _segments), Column("total", UNKNOWN), "segments explored"),
    [
        case(scope(ileum=(2, 2, 3, 0), right_colon=(1, 1, 2, 0), transverse_colon=HEALTHY, left_colon=(0, 0, 1, 1),
                   rectum=HEALTHY), 13, 5, source="7 + 4 + 0 + 2 + 0"),
        case(scope(ileum=(3, 3, 3, 3), right_colon=(3, 3, 3, 2), transverse_colon=(3, 3, 3, 2), left_colon=(3, 3, 3, 2),
                   rectum=(3, 3, 3, 2)), 56, 5, source="the highest: 12 + 4 x 11"),
        case(scope(ileum=(2, 2, 2, 0)), 6, 1, source="no correction for what was not seen"),
        case(_partly(ileum=None, rectum=HEALTHY), 0, 1, source="not explored is not 0"),
        case(_partly(ileum=None), None, 0, source="nothing explored"),
        case(_partly(ileum=(1, 1, 1, None), rectum=HEALTHY), None, 2, source="an item missing"),
    ],
    "by hand",
)  # fmt: skip


def _visit(**components: Any) -> dict[str, Any]:
    return {"cdai_components": components}


def _bare(value: Any) -> str:
    """The innermost value, for a reader."""
    while isinstance(value, dict):
        value = (
            next(iter(value.values()))
            if len(value) == 1
            else " ".join(_bare(part) for part in value.values())
        )
    return days(value) if isinstance(value, list) else said(value)


REFUSED = Table(
    "R1.10, R2.6",
    "what cannot be is refused, and reaches no score",
    ("what", Column("taken", _bare), Column("refused", _bare)),
    [
        case("stools a day", {"pro2": {"stool_frequency": 60}}, {"pro2": {"stool_frequency": 60.1}}),
        case("stools a day in a diary", _visit(liquid_stools=[60] * 7), _visit(liquid_stools=[60] * 6 + [61])),
        case("pain of a day", _visit(abdominal_pain=[3] * 7), _visit(abdominal_pain=[3] * 6 + [4])),
        case("pain, lower end", _visit(abdominal_pain=[0] * 7), _visit(abdominal_pain=[0] * 6 + [-1])),
        case("well-being of a day", _visit(wellbeing=[4] * 7), _visit(wellbeing=[4] * 6 + [5])),
        case("abdominal mass", _visit(abdominal_mass=5), _visit(abdominal_mass=3)),
        case("haematocrit, lower end", _visit(haematocrit_pct=10), _visit(haematocrit_pct=9.9)),
        case("haematocrit, upper end", _visit(haematocrit_pct=70), _visit(haematocrit_pct=70.1)),
        case("weight, lower end", {"weight_kg": 20}, {"weight_kg": 19.9}),
        case("weight, upper end", {"weight_kg": 250}, {"weight_kg": 250.1}),
        case("HBI mass", {"hbi_components": {"abdominal_mass": 3}}, {"hbi_components": {"abdominal_mass": 4}}),
        case("HBI well-being", {"hbi_components": {"wellbeing": 4}}, {"hbi_components": {"wellbeing": 5}}),
        case("HBI pain", {"hbi_components": {"abdominal_pain": 3}}, {"hbi_components": {"abdominal_pain": 4}}),
        case("HBI stools", {"hbi_components": {"liquid_stools": 60}}, {"hbi_components": {"liquid_stools": 61}}),
        case("SES-CD item", scope(ileum=(3, 3, 3, 3)), scope(ileum=(4, 3, 3, 3))),
        case("impassable narrowings", scope(ileum=(3, 3, 3, 3)), scope(ileum=(3, 3, 3, 3), rectum=(3, 3, 3, 3)),
             source="R2.6: at most one"),
    ],
    "R1.10",
)  # fmt: skip


CARRIED = Table(
    "R1.8",
    "a haematocrit and weight of another record",
    ("days before the visit", Column("CDAI", UNKNOWN), "carried forward"),
    [
        case(0, 136, False),
        case(14, 136, False),
        case(15, 136, True),
        case(84, 136, True),
        case(85, None, False),
        case(-1, None, False, source="a day after the visit: never"),
    ],
    "28 + 35 + 49 + 6 x (42 - 38) + 0",
)

TABLES: tuple[Table, ...] = (
    WORKED, DIARIES, COMPLICATIONS, HAEMATOCRITS, WEIGHTS, ROUNDING, CARRIED, COMPLAINTS, HBI, SES_CD, REFUSED,
)  # fmt: skip

PAGE = Page(
    "scores",
    "Scores, case by case",
    """
How scores follow from what a centre records, below, at and above every limit. What is not known makes a score unknown,
never 0. Written by `make rules` from the tables that the tests run.
""",
    TABLES,
)

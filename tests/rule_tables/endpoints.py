"""Every endpoint at its limits: what was seen before treatment and in the window of week 12, and what follows (R2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rule_tables.tables import Case, Column, Page, Table, said

Seen = dict[str, Any] | None


@dataclass(frozen=True)
class Rule:
    """One table: `endpoints` are its columns, each case ends in one answer for each."""

    rule: str
    title: str
    endpoints: tuple[str, ...]
    cases: Sequence[tuple[Any, ...]]
    """Before, after, answers...; both are fields of a visit, None where there was none."""
    source: str
    protocol: str = "fu2025"


def sfap(stools: float | None, pain: float | None) -> dict[str, Any]:
    means = {"stool_frequency": stools, "abdominal_pain": pain}
    return {"pro2": {name: value for name, value in means.items() if value is not None}}


def diary(*stools: int | None) -> dict[str, Any]:
    return {"cdai_components": {"liquid_stools": list(stools), "abdominal_pain": [1] * 7}}


def scope(**segments: tuple[int, int, int, int]) -> dict[str, Any]:
    items = ("ulcer_size", "ulcerated_surface", "affected_surface", "narrowing")
    return {
        "ses_cd_segments": {name: dict(zip(items, scores, strict=True)) for name, scores in segments.items()}
    }


ENDOSCOPIC = (
    "endoscopic_response_gt50", "endoscopic_response_ge50", "endoscopic_remission_trial", "endoscopic_remission_le2",
    "endoscopic_remission_le4", "mucosal_healing_ses0", "ulcer_free", "stride2_healing",
)  # fmt: skip

TABLES = (
    Rule(
        "R2.4",
        "CDAI: remission below 150, response by points",
        ("clinical_remission", "cr70", "cr100", "cr100_or_remission", "cr100_and_remission"),
        [
            ({"cdai": 250}, {"cdai": 150}, False, True, True, True, False),
            ({"cdai": 250}, {"cdai": 149.9}, True, True, True, True, True),
            ({"cdai": 230}, {"cdai": 140}, True, True, False, True, False),
            ({"cdai": 220}, {"cdai": 150}, False, True, False, False, False),
            ({"cdai": 219.9}, {"cdai": 150}, False, False, False, False, False),
            ({"cdai": 200.2}, {"cdai": 100.2}, True, True, True, True, True),
            ({"cdai": 200.2}, {"cdai": 100.3}, True, True, False, True, False),
            (None, {"cdai": 120}, True, None, None, True, None),
            (None, {"cdai": 150}, False, None, None, None, False),
        ],
        source="Loftus 2023 (below 150, falls of 70 and 100)",
    ),
    Rule(
        "R2.1, R2.1b, R2.1c",
        "Stools and pain: remission",
        ("sfap_remission", "stride2_sfap_remission", "pro2_remission"),
        [
            (sfap(5, 2), sfap(2.8, 1), True, True, False),  # 5.6 + 5 = 10.6
            (sfap(5, 2), sfap(2.9, 1), False, True, False),
            (sfap(5, 2), sfap(3, 1), False, True, False),
            (sfap(5, 2), sfap(3.1, 1), False, False, False),
            (sfap(5, 2), sfap(2.8, 1.1), False, False, False),
            (sfap(5, 2), sfap(1.5, 1), True, True, True),  # 8.0
            (sfap(5, 2), sfap(1.6, 1), True, True, False),  # 8.2
            (sfap(2, 1), sfap(2, 1), True, True, False),  # equal to baseline is not worse
            (sfap(2, 1), sfap(2.1, 1), False, True, False),  # stools above baseline
            (sfap(5, 2), sfap(3, None), False, None, None),  # one limit failed decides
            (sfap(5, 2), sfap(2, None), None, None, None),
            (sfap(5, None), sfap(2, 1), None, True, False),
            (sfap(5, 2), diary(3, 3, 3, 3, 2, None, None), True, True, False),  # 14 / 5 = 2.8
            (sfap(5, 2), diary(3, 3, 3, 3, 3, 3, 2), False, True, False),  # 20 / 7 = 2.857
            (sfap(5, 2), diary(2, 2, 2, None, None, None, None), None, None, None),  # three days are too few
        ],
        source="U-EXCEL (2.8 and 1); STRIDE-II (3 and 1); NCT06045754 (PRO2 of 8)",
    ),
    Rule(
        "R2.2",
        "Stools and pain: response",
        ("sfap_response", "stride2_pro2_response"),
        [
            (sfap(3, 2), sfap(2.1, 2), True, False),  # exactly 30 %
            (sfap(3, 2), sfap(2.11, 2), False, False),
            (sfap(3, 2), sfap(3, 1.4), True, False),
            (sfap(6, 1), sfap(3, 1.2), False, False),  # pain above baseline
            (sfap(6, 2), sfap(3, 1), True, True),
            (sfap(6, 2), sfap(3.1, 1), True, False),
            (sfap(0, 2), sfap(0, 1), True, False),  # from 0 nothing falls
            (diary(3, 3, 3, 3, 3, 3, 2), diary(2, 2, 2, 2, 2, 2, 2), True, False),  # 20 to 14 of a week: 30 %
            (sfap(6, 2), sfap(3, None), None, None),
        ],
        source="U-EXCEL (30 %); STRIDE-II (50 %)",
    ),
    Rule(
        "R2.3",
        "Harvey-Bradshaw index",
        ("hbi_remission", "hbi_response", "hbi_response_2"),
        [
            ({"hbi": 8}, {"hbi": 4}, True, True, True),
            ({"hbi": 8}, {"hbi": 5}, False, True, True),
            ({"hbi": 7}, {"hbi": 5}, False, False, True),
            ({"hbi": 6}, {"hbi": 5}, False, False, False),
            (None, {"hbi": 4}, True, None, None),
        ],
        source="IG-IBD (below 5, a fall of 3); a cohort with 2",
    ),
    Rule(
        "R2.7",
        "SES-CD; each segment: ulcer size, ulcerated surface, affected surface, narrowing",
        ENDOSCOPIC,
        [
            (scope(ileum=(2, 2, 2, 0)), scope(ileum=(1, 1, 1, 0)), False, True, True, False, True, False, False, False),
            (scope(ileum=(1, 1, 2, 0)), scope(ileum=(0, 1, 1, 0)), True, True, True, True, True, False, False, False),
            (
                scope(ileum=(3, 3, 3, 0), right_colon=(1, 1, 1, 0)),
                scope(ileum=(1, 1, 2, 0), right_colon=(0, 0, 0, 0)),
                True, True, False, False, True, False, False, False,
            ),
            (scope(ileum=(1, 1, 1, 0)), scope(ileum=(0, 0, 1, 1)), False, False, False, True, True, False, True, True),
            (
                scope(ileum=(1, 1, 2, 0)), scope(ileum=(1, 1, 1, 0)),
                False, False, False, False, True, False, False, False,
            ),
            (scope(ileum=(2, 2, 2, 0)), scope(ileum=(0, 0, 0, 0)), True, True, True, True, True, True, True, True),
            # a segment lost: what was seen may fail an endpoint, never meet it
            (
                scope(ileum=(2, 2, 2, 0), rectum=(2, 1, 1, 0)), scope(ileum=(1, 1, 0, 0)),
                None, None, None, None, None, False, False, False,
            ),
            ({"ses_cd": 6}, {"ses_cd": 3}, False, True, None, False, True, False, None, False),
            ({"ses_cd": 4}, {"ses_cd": 2}, True, True, None, True, True, False, None, None),
            (
                {"ses_cd": 12}, {"ses_cd": 2, "ulcers_present": False},
                True, True, None, True, True, False, True, True,
            ),
            ({"ses_cd": 12}, {"ses_cd": 0}, True, True, None, True, True, True, True, True),
            ({"ses_cd": 12}, {"ses_cd": 5}, True, True, False, False, False, False, None, False),
        ],
        source="Loftus 2023 (more than half, 2 from 4); STRIDE-II (2 or less, no ulcers); sums by hand",
    ),
    Rule(
        "R2.1b, R2.3",
        "STRIDE-II's clinical target: stools and pain, or the index",
        ("stride2_clinical_remission",),
        [
            (sfap(5, 2), sfap(3, 1), True),
            (sfap(5, 2) | {"hbi": 8}, sfap(4, 1) | {"hbi": 4}, True),
            (sfap(5, 2) | {"hbi": 8}, sfap(4, 1) | {"hbi": 5}, False),
            (sfap(5, 2) | {"hbi": 8}, sfap(4, 1), None),
            ({"hbi": 8}, {"hbi": 4}, True),
        ],
        source="STRIDE-II, as tabulated in WJG 2024;30:50",
        protocol="stride2",
    ),
)  # fmt: skip

NAMES = {"cdai": "CDAI", "hbi": "HBI", "ses_cd": "SES-CD", "ulcers_present": "ulcers seen"}


def in_words(seen: Seen) -> str:
    """What was seen at a visit, shortly."""
    if seen is None:
        return "nothing"
    return "; ".join(part for name, value in seen.items() for part in _parts(name, value))


def _parts(name: str, value: Any) -> list[str]:
    match name:
        case "pro2":
            return [f"{'stools' if part[0] == 's' else 'pain'} {mean}" for part, mean in value.items()]
        case "cdai_components":
            days = ", ".join("-" if day is None else str(day) for day in value["liquid_stools"])
            return [f"stools {days}; pain 1 a day"]
        case "ses_cd_segments":
            return [f"{part.replace('_', ' ')} {' '.join(map(str, i.values()))}" for part, i in value.items()]
        case _:
            return [f"{NAMES[name]} {said(value)}"]


def _table(rule: Rule) -> Table:
    columns = (
        Column("before", in_words),
        Column("week 12", in_words),
        *(f"`{name}`" for name in rule.endpoints),
    )
    return Table(rule.rule, rule.title, columns, [Case(tuple(values)) for values in rule.cases], rule.source)


PAGE = Page(
    "endpoints",
    "Endpoints, case by case",
    """
Each table shows what was seen before treatment and in the window of week 12, and whether each endpoint is met: yes, no,
or unknown (?). Cases stand below, at and above every limit. Written by `make rules` from the tables that the tests run.
""",
    [_table(rule) for rule in TABLES],
)

"""What `data_quality` finds, and who kept the dose of induction: what was sent, and what follows."""

from typing import Any

from twin.builders import adverse_event, enrolment, lab, on, start, stop, treatment, visit

from rule_tables.scores import hbi_items
from rule_tables.tables import Case, Column, Page, Table, or_nothing, said

Events = list[dict[str, Any]]
SEGMENT = {"ulcer_size": 1, "ulcerated_surface": 1, "affected_surface": 1, "narrowing": 0}
DIARY = {"liquid_stools": 14, "abdominal_pain": 7, "wellbeing": 7, "complications": [], "antidiarrhoeal": False,
         "abdominal_mass": 0, "standard_weight_kg": 60}  # fmt: skip
BODY = {"haematocrit_pct": 42, "weight_kg": 60}


def patient(*events: Any) -> Events:
    return [enrolment(), start(), *events]


def _carried(days: int) -> Events:
    """A haematocrit and weight of another visit so many days before."""
    other = visit(84 - days, "other", weight_kg=60, cdai_components={"haematocrit_pct": 42})
    return patient(other, visit(84, cdai_components=DIARY))


def _paused(*more: Any) -> Events:
    return patient(treatment("interrupt", 20), *more)


def _dose(action: str, offset: int, dose_mg: float | None, **fields: Any) -> dict[str, Any]:
    return treatment(action, offset, **({} if dose_mg is None else {"dose_mg": dose_mg}), **fields)


FOUND: list[tuple[str, Events, tuple[str, ...], str]] = [
    ("CDAI 113 sent, 112 by its components (28 + 35 + 49)", patient(visit(84, cdai=113, cdai_components=DIARY | BODY)),
     (), "R1.9"),
    ("CDAI 113.1 sent, 112 by its components", patient(visit(84, cdai=113.1, cdai_components=DIARY | BODY)),
     ("total_disagrees",), "R1.9"),
    ("CDAI 110.9 sent, 112 by its components", patient(visit(84, cdai=110.9, cdai_components=DIARY | BODY)),
     ("total_disagrees",), "R1.9"),
    ("CDAI 200 sent, components without a haematocrit", patient(visit(84, cdai=200, cdai_components=DIARY)), (),
     "R1.9"),
    ("HBI 5 sent, 4 by its items", patient(visit(84, hbi=5, hbi_components=hbi_items(1, 1, 2, 0))), (), "R2.3"),
    ("HBI 6 sent, 4 by its items", patient(visit(84, hbi=6, hbi_components=hbi_items(1, 1, 2, 0))),
     ("total_disagrees",), "R2.3"),
    ("SES-CD 4 sent, 3 by its segments", patient(visit(84, ses_cd=4, ses_cd_segments={"ileum": SEGMENT})), (), "R1.9"),
    ("SES-CD 5 sent, 3 by its segments", patient(visit(84, ses_cd=5, ses_cd_segments={"ileum": SEGMENT})),
     ("total_disagrees",), "R1.9"),
    ("haematocrit and weight of the visit itself", patient(visit(84, cdai_components=DIARY | BODY)), (), "R1.8"),
    ("haematocrit and weight of 14 days before", _carried(14), (), "R1.8"),
    ("haematocrit and weight of 15 days before", _carried(15), ("cdai_imputed",), "R1.8"),
    ("haematocrit and weight of 84 days before", _carried(84), ("cdai_imputed",), "R1.8"),
    ("haematocrit and weight of 85 days before: no CDAI", _carried(85), (), "R1.8"),
    ("CRP code with mg/dL", patient(lab("1988-5", 84, 0.4, unit="mg/dL")), (), "R3.5"),
    ("molar code of bilirubin with mg/dL", patient(lab("14631-6", 84, 1, unit="mg/dL")), ("unit_mismatch",), "R3.5"),
    ("mass code of bilirubin with umol/L", patient(lab("1975-2", 84, 17, unit="umol/L")), ("unit_mismatch",), "R3.5"),
    ("adverse event, day of onset known", patient(adverse_event(31)), (), "R4.3"),
    ("adverse event, month of onset known", patient(adverse_event(31, onset_precision="month")), ("onset_partial",),
     "R4.3"),
    ("fatal adverse event, serious by another criterion", patient(adverse_event(31, outcome="fatal", serious=True)),
     ("death_not_serious",), "contract"),
    ("visit sent twice alike", patient(visit(84, cdai=120), visit(84, cdai=120)), (), "R4.4"),
    ("visit sent twice, CDAI 120 and 121", patient(visit(84, cdai=120), visit(84, cdai=121)), ("version_conflict",),
     "R4.4"),
    ("visit corrected by version 2", patient(visit(84, cdai=120), visit(84, cdai=121, version=2)), (), "R4.4"),
    ("the same record as a visit and as an adverse event", patient(visit(84, "x", cdai=120), adverse_event(31, "x")),
     ("record_moved",), "contract"),
    ("no enrolment", [start(), visit(84, cdai=120)], ("no_enrolment",), "contract"),
    ("two enrolments", [enrolment(-14), enrolment(-10, "again"), start()], ("second_enrolment",), "contract"),
    ("interrupted on day 20, resumed on day 27", _paused(treatment("resume", 27)), ("treatment_interrupted",), "R4.7"),
    ("interrupted on day 20, not resumed", _paused(), ("treatment_interrupted",), "R4.7"),
    ("another drug interrupted", patient(treatment("interrupt", 20, drug="azathioprine")), (), "R4.7"),
]  # fmt: skip

EXTENDED: list[tuple[str, Events, tuple[int, int | None, int, int] | None]] = [
    # expected: first and last day, days, mg
    ("45 mg, 30 mg from day 84", [_dose("start", 0, 45), _dose("dose_change", 84, 30)], None),
    ("45 mg, 30 mg from day 98", [_dose("start", 0, 45), _dose("dose_change", 98, 30)], None),
    ("45 mg, 30 mg from day 99", [_dose("start", 0, 45), _dose("dose_change", 99, 30)], (84, 98, 15, 45)),
    ("45 mg, 30 mg from day 112", [_dose("start", 0, 45), _dose("dose_change", 112, 30)], (84, 111, 28, 45)),
    ("45 mg, stopped on day 112", [_dose("start", 0, 45), stop(112)], (84, 112, 29, 45)),
    ("45 mg, stopped on day 97", [_dose("start", 0, 45), stop(97)], None),
    ("45 mg, and no change up to day 120", [_dose("start", 0, 45)], (84, None, 37, 45)),
    ("30 mg, and no change", [_dose("start", 0, 30)], None),
    ("no dose stated", [start()], None),
    ("45 mg, 15 mg from day 84, 45 mg again from day 100",
     [_dose("start", 0, 45), _dose("dose_change", 84, 15), _dose("dose_change", 100, 45)], None),
]  # fmt: skip
EXTENDED_ON = on(120)


def _span(expected: tuple[int, int | None, int, int] | None) -> str:
    if expected is None:
        return "no"
    first, last, days, dose = expected
    return f"{dose} mg from day {first} to {or_nothing(said, 'now')(last)}: {days} days"


PAGE = Page(
    "findings",
    "What is found about records",
    """
What was sent, and what `data_quality` says about it. A finding changes no result; it asks the centre to look. The
second table shows who has an extended induction: recorded with dose and days, and no window moves for it. Written by
`make rules` from the tables that the tests run.
""",
    [
        Table(
            "R1.8, R1.9, R3.5, R4.3, R4.4, R4.7",
            "findings",
            (
                "what was sent",
                Column("found", lambda rules: ", ".join(f"`{rule}`" for rule in rules) or "nothing"),
            ),
            [Case((words, rules), source) for words, _, rules, source in FOUND],
            "contract",
        ),
        Table(
            "R4.9",
            "extended induction, as of day 120",
            ("doses", Column("extended", _span)),
            [Case((words, expected)) for words, _, expected in EXTENDED],
            "by hand: induction is 45 mg for 84 days, and may end up to 14 days late",
        ),
    ],
)

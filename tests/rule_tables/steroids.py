"""Corticosteroids and remission: what was taken, and who is in steroid-free remission at week 12 (R2.5)."""

from typing import Any

from twin.builders import enrolment, rescue, start, treatment, visit

from rule_tables.tables import Case, Page, Table

Events = list[dict[str, Any]]

COLUMNS = {
    "steroid_free_remission": "free on day 84",
    "steroid_free_remission_28": "free for 28 days",
    "steroid_free_remission_90": "free for 90 days",
    "steroid_free_remission_budesonide_allowed": "free on day 84, budesonide aside",
}
BASELINE_USERS = "steroid_free_remission_baseline_users"


def steroid(action: str, offset: int, drug: str = "prednisolone") -> Any:
    more = {"reason": "other"} if action == "stop" else {}
    return treatment(action, offset, drug=drug, **more)


def taken(first: int, last: int | None = None, drug: str = "prednisolone") -> Events:
    """A course: first and last day."""
    return [steroid("start", first, drug), *([] if last is None else [steroid("stop", last, drug)])]


def patient(*more: Any, before: bool | None = None, now: bool | None = None, cdai: float = 120) -> Events:
    """CDAI 300 on day -7 and 120 on day 84, a remission; `before`, `now`: what these visits say of steroids."""
    said = [{} if answer is None else {"corticosteroid": answer} for answer in (before, now)]
    return [enrolment(), start(), visit(-7, cdai=300, **said[0]), visit(84, cdai=cdai, **said[1]), *more]


BUDESONIDE = taken(-100, drug="budesonide")
CASES: list[tuple[str, Events, bool | None, bool | None, bool | None, bool | None, bool | None]] = [
    # free on day 84, for 28 days, for 90 days, budesonide aside; counts among baseline users
    ("nothing known", patient(), None, None, None, None, None),
    ("day -100 to -8", patient(*taken(-100, -8)), True, True, True, True, False),
    ("day -100 to -7", patient(*taken(-100, -7)), True, True, True, True, True),
    ("day -100 to -6, the 90th before day 84", patient(*taken(-100, -6)), True, True, False, True, True),
    ("day -100 to 55", patient(*taken(-100, 55)), True, True, False, True, True),
    ("day -100 to 56, the 28th before day 84", patient(*taken(-100, 56)), True, False, False, True, True),
    ("day -100 to 83", patient(*taken(-100, 83)), True, False, False, True, True),
    ("day -100 to 84", patient(*taken(-100, 84)), False, False, False, False, True),
    ("since day -100", patient(*taken(-100)), False, False, False, False, True),
    ("since day 85", patient(*taken(85)), True, True, True, True, False),
    ("interrupted on day 50", patient(steroid("start", -100), steroid("interrupt", 50)), True, True, False, True, True),
    ("stopped and started on day 84", patient(*taken(-100, 84), steroid("start", 84)),
     False, False, False, False, True),
    ("a rescue on day 40, not stopped", patient(rescue(40)), False, False, False, False, False),
    ("a rescue on day 40, stopped on day 50", patient(rescue(40), steroid("stop", 50)), True, True, False, True, False),
    ("budesonide since day -100", patient(*BUDESONIDE), False, False, False, True, True),
    ("budesonide since day -100; the visit says: on a steroid", patient(*BUDESONIDE, now=True),
     False, False, False, True, True),
    ("budesonide and prednisolone since day -100", patient(*BUDESONIDE, *taken(-100)),
     False, False, False, False, True),
    ("the visit of day 84 says: none", patient(now=False), True, True, True, True, None),
    ("the visit of day 84 says: on a steroid", patient(now=True), False, False, False, False, None),
    ("a visit on day 70 says: on a steroid", patient(visit(70, corticosteroid=True)), None, False, False, None, None),
    ("on one at baseline, none on day 84, by the visits", patient(before=True, now=False),
     True, True, True, True, True),
    ("none at baseline, none on day 84, by the visits", patient(before=False, now=False),
     True, True, True, True, False),
    ("nothing known, and CDAI 150: no remission", patient(cdai=150), False, False, False, False, None),
]  # fmt: skip

PAGE = Page(
    "steroids",
    "Steroid-free remission, case by case",
    """
Every patient has a CDAI of 300 on day -7 and of 120 on day 84, a remission, unless said otherwise. A course is
prednisolone unless it names budesonide. Both ends of a span count. The last column says who is in the second
denominator, those on a steroid on the day of the baseline CDAI: yes, no, or unknown (?). Written by `make rules` from
the tables that the tests run.
""",
    [
        Table(
            "R2.5",
            "corticosteroids",
            ("taken", *COLUMNS.values(), "counts among baseline users"),
            [Case((words, *answers)) for words, _, *answers in CASES],
            "by hand",
        )
    ],
)

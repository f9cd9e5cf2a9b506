"""Which value speaks for a timepoint, when an outcome is due, what missing values and other treatment do to it (R4)."""

from datetime import date
from typing import Any

from twin.builders import adverse_event, consent, enrolment, on, rescue, start, stop, treatment, visit

from rule_tables.endpoints import in_words, scope
from rule_tables.tables import Column, Page, Table, case, or_nothing, said

Event = dict[str, Any]


def _span(bounds: tuple[int, int] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]} to {bounds[1]}"


TIMEPOINTS = Table(
    "R4.1",
    "windows in days from the first dose, which is day 0; both ends belong to them",
    (
        "timepoint",
        Column("target", or_nothing()),
        Column("clinical and laboratory", _span),
        Column("endoscopy", _span),
    ),
    [
        case("baseline", 0, (-28, 0), (-90, 0)),
        case("week_2", 14, (7, 20), None),
        case("week_4", 28, (21, 41), None),
        case("week_8", 56, (42, 69), None),
        case("week_12", 84, (70, 98), (56, 126)),
        case("week_16", 112, (99, 139), None),
        case("week_24", 168, (140, 196), (127, 224)),
    ],
    "R4.1; no window of the study was published",
    note="The tests place a value on the day before each window, on its first and last day, and on the day after.",
)


def _seen(visits: list[Event]) -> str:
    return "; ".join(map(_one_visit, visits))


def _one_visit(event: Event) -> str:
    day = f"day {_offset(event)}"
    parts = [
        event.get("visited_at", ""),
        event.get("visit_kind", ""),
        "" if "cdai" in event else "without a CDAI",
    ]
    record = (
        "" if event["event_id"].startswith("visit-") else f"record {event['site_id']}/{event['event_id']}"
    )
    return " ".join(part for part in (day, *parts, record) if part)


def _offset(event: Event) -> int:
    return (date.fromisoformat(event["visited_on"]) - on(0)).days


def seen(offset: int, event_id: str | None = None, **fields: Any) -> Event:
    return visit(offset, event_id, cdai=120, **fields)


CHOICE = Table(
    "R4.2",
    "several CDAIs about week 12: nearest to day 84, then later, then scheduled, later by the clock, last by name",
    (Column("CDAIs", _seen), Column("counts", lambda event: "none" if event is None else _one_visit(event))),
    [
        case([seen(70), seen(98)], seen(98), source="equally near: the later"),
        case([seen(80), seen(88)], seen(88), source="equally near: the later"),
        case([seen(83), seen(86)], seen(83), source="nearer"),
        case([seen(69)], None),
        case([seen(99)], None),
        case([visit(84, hbi=3), seen(95)], seen(95), source="a visit without the value hides none with it"),
        case([seen(84, "a", visit_kind="scheduled"), seen(84, "z", visit_kind="retest", at="23:00:00")],
             seen(84, "a", visit_kind="scheduled"), source="scheduled before retest, whatever the hour"),
        case([seen(84, "a", visit_kind="retest"), seen(84, "z", visit_kind="unscheduled", at="23:00:00")],
             seen(84, "a", visit_kind="retest"), source="retest before unscheduled"),
        case([seen(84, "a"), seen(84, "z", visit_kind="retest")], seen(84, "a"), source="nothing said is scheduled"),
        case([seen(84, "a", at="09:01:00"), seen(84, "z", at="09:00:00")], seen(84, "a", at="09:01:00"),
             source="later by the clock"),
        case([seen(84, "a", at="00:00:00"), seen(84, "z")], seen(84, "a", at="00:00:00"),
             source="no time is the earliest"),
        case([seen(84, "b"), seen(84, "a")], seen(84, "b"), source="last by name"),
        case([seen(84, "a"), seen(84, "Z")], seen(84, "a"), source="byte order, not the dictionary's"),
        case([seen(84, "10"), seen(84, "1")], seen(84, "10"), source="the longer name"),
        case([seen(84, "a", site_id="site-b"), seen(84, "z", site_id="site-a")], seen(84, "a", site_id="site-b"),
             source="the centre before the record"),
        case([seen(84, "é"), seen(84, "z")], seen(84, "é"), source="byte order in UTF-8"),
    ],
    "R4.2: closest, tie to the last, scheduled before retest before unscheduled",
)  # fmt: skip

DAY_0 = Table(
    "R4.5",
    "a value on the day of the first dose",
    (
        Column("value at", or_nothing(said, "no time")),
        Column("first dose at", or_nothing(said, "no time")),
        "is a baseline",
    ),
    [
        case(None, None, True),
        case("10:00:00", None, True),
        case(None, "09:00:00", True),
        case("08:59:59", "09:00:00", True),
        case("09:00:00", "09:00:00", True),
        case("09:00:01", "09:00:00", False),
    ],
    "R4.5",
)

STATES = Table(
    "R4.6",
    "clinical remission at week 12 (window: day 70 to 98), as of a day",
    ("as of day", Column("CDAI of 120 on day", or_nothing()), "status", "observed", "missing as failure"),
    [
        case(69, None, "not_due", None, None),
        case(70, None, "open", None, None),
        case(70, 70, "provisional", True, None),
        case(97, None, "open", None, None),
        case(97, 97, "provisional", True, None),
        case(97, 98, "open", None, None, source="dated later than the day asked about"),
        case(98, None, "missed", None, False, source="the last day closes the window"),
        case(98, 98, "final", True, True),
    ],
    "R4.6; due is the last day of the window",
)

ENDOSCOPIC_STATES = Table(
    "R4.6",
    "endoscopic response at week 12 (window: day 56 to 126) without an endoscopy, as of a day",
    ("as of day", "status"),
    [case(55, "not_due"), case(56, "open"), case(125, "open"), case(126, "missed")],
    "R4.6",
)


def _cdais(values: dict[int, float]) -> str:
    return ", ".join(f"{value} on day {day}" for day, value in values.items()) or "none"


DEATH = adverse_event(50, outcome="fatal", grade=5, serious=True, seriousness=["death"])
ESTIMANDS = Table(
    "R4.7",
    "clinical remission at week 12, baseline CDAI 300: what missing values and other treatment do",
    (Column("CDAI", _cdais), Column("intercurrent", lambda told: told[0]), "observed", "missing as failure",
     "last value carried forward"),
    [
        case({84: 120, 28: 200}, ("none", []), True, True, True, source="R4.7"),
        case({28: 140}, ("none", []), None, False, True, source="R4.7"),
        case({84: 120}, ("rescue steroid on day 40", [rescue(40)]), True, False, None, source="R4.7"),
        case({84: 120}, ("surgery on day 95", [rescue(95, "surgery")]), True, True, True, source="R4.7"),
        case({49: 200}, ("death on day 50", [DEATH]), None, False, False, source="R4.7"),
        case({}, ("none", []), None, False, None, source="R4.7: a baseline is never carried forward"),
        case({84: 200}, ("none", []), False, False, False),
        case({84: 120, 28: 200}, ("rescue steroid on day 40", [rescue(40)]), True, False, False),
        case({75: 120, 90: 200}, ("rescue steroid on day 90", [rescue(90)]), False, False, True,
             source="carried forward: the window's value before it"),
        case({84: 120}, ("rescue steroid on day 84", [rescue(84)]), True, False, None, source="on the very day"),
        case({84: 120}, ("rescue steroid on day 85", [rescue(85)]), True, True, True, source="the day after"),
        case({84: 120}, ("rescue steroids on days 40 and 95", [rescue(40), rescue(95)]), True, False, None,
             source="the earliest counts"),
        case({84: 120}, ("rescue steroid on day 0", [rescue(0)]), True, False, None),
        case({84: 120}, ("rescue steroid on day -1", [rescue(-1)]), True, True, True, source="before the first dose"),
        case({84: 120}, ("stopped on day 40, adverse event", [stop(40, "adverse_event")]), True, False, None),
        case({84: 120}, ("stopped on day 40, lack of efficacy", [stop(40, "lack_of_efficacy")]), True, False, None),
        case({84: 120}, ("stopped on day 40, patient's choice", [stop(40, "patient_choice")]), True, True, True),
        case({84: 120}, ("infliximab started on day 40", [start(40, drug="infliximab")]), True, False, None),
        case({84: 120}, ("infliximab started on day -40", [start(-40, drug="infliximab")]), True, True, True),
        case({84: 120}, ("azathioprine started on day 40", [start(40, drug="azathioprine")]), True, True, True,
             source="no advanced therapy"),
        case({84: 120}, ("azathioprine stopped on day 40, adverse event",
                         [stop(40, "adverse_event", drug="azathioprine")]), True, True, True, source="another drug"),
        case({84: 120}, ("interrupted on day 40", [treatment("interrupt", 40)]), True, True, True,
             source="an interruption is found, not counted"),
    ],
    "by hand",
)  # fmt: skip


def _ulcers(size: int, surface: int) -> dict[str, Any]:
    return scope(ileum=(size, surface, 3, 0))


WHO_COUNTS = Table(
    "R4.8, R2.7",
    "who is in a denominator",
    (Column("baseline", lambda seen: in_words(seen) if seen else "none"),
     Column("endpoint", lambda name: f"`{name}`"), "counts", Column("reason", or_nothing())),
    [
        case({"cdai": 149.9}, "clinical_remission", False, "baseline_inactive"),
        case({"cdai": 150}, "clinical_remission", True, None),
        case({}, "clinical_remission", False, "no_baseline", source="remission needs none, its denominator does"),
        case({}, "clinical_response", False, "no_baseline"),
        case({"ses_cd": 2}, "endoscopic_response", False, "baseline_below_3"),
        case({"ses_cd": 3}, "endoscopic_response", True, None),
        case({"cdai": 100, "ses_cd": 3}, "endoscopic_response", True, None, source="an inactive CDAI does not matter"),
        case(_ulcers(1, 1), "ulcer_free", True, None, source="trials: ulcerated surface 1 or more somewhere"),
        case(_ulcers(1, 0), "ulcer_free", False, "baseline_not_ulcerated", source="size without surface"),
        case({"ses_cd": 5, "ulcers_present": True}, "ulcer_free", True, None),
        case({"ses_cd": 5, "ulcers_present": False}, "ulcer_free", False, "baseline_not_ulcerated"),
        case({"ses_cd": 5}, "ulcer_free", False, "baseline_unknown", source="a total alone says nothing of ulcers"),
    ],
    "R4.8; a Korean cohort left out remission at baseline",
)  # fmt: skip

CONSENT = Table(
    "contract",
    "consent withdrawn: nothing dated later is used (CDAI of 120 on day 84, window from day 70)",
    ("withdrawn on day", "status", Column("reason", or_nothing())),
    [
        case(69, "not_applicable", "consent_withdrawn", source="before the window opens"),
        case(70, "missed", "missed"),
        case(83, "missed", "missed"),
        case(84, "final", None, source="the value of that day still counts"),
    ],
    "contract",
)


def _week(said_of: Event | None) -> str:
    if said_of is None:
        return "nothing"
    means = said_of.get("pro2")
    extra = f", stools {means['stool_frequency']}, pain {means['abdominal_pain']}" if means else ""
    return f"CDAI {said_of['cdai']}{extra}"


NOT_BETTER = {"pro2": {"stool_frequency": 6, "abdominal_pain": 2}}
DELAYED = Table(
    "R4.9",
    "delayed response at week 24, of a patient with a CDAI of 300, 6 stools and pain 2 before treatment",
    (Column("week 12", _week), Column("week 24", _week), "delayed response", Column("reason", or_nothing())),
    [
        case({"cdai": 250}, {"cdai": 200}, True, None, source="50 lower, then 100 lower"),
        case({"cdai": 250}, {"cdai": 201}, False, None, source="99 lower"),
        case({"cdai": 200}, {"cdai": 100}, None, "week_12_responder", source="100 lower at week 12 already"),
        case(None, {"cdai": 100}, None, "unknown"),
        case({"cdai": 250}, None, None, "missed"),
        case({"cdai": 200} | NOT_BETTER, {"cdai": 100}, True, None,
             source="stools and pain count first: no response at week 12"),
    ],
    "U-EXCEED's extended induction; by hand",
)  # fmt: skip

TABLES: tuple[Table, ...] = (
    TIMEPOINTS, CHOICE, DAY_0, STATES, ENDOSCOPIC_STATES, ESTIMANDS, WHO_COUNTS, CONSENT, DELAYED,
)  # fmt: skip

PAGE = Page(
    "windows",
    "Windows and missing values, case by case",
    """
Which record speaks for a timepoint, when an outcome is due, who counts, and what a missing value or another treatment
does to it. Days are counted from the first dose, which is day 0. Written by `make rules` from the tables that the tests
run.
""",
    TABLES,
)


def patient(*more: Event) -> list[Event]:
    return [enrolment(), start(), *more]


def withdrawn(offset: int) -> Event:
    return consent("withdrawn", offset)

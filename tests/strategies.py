"""Small, nasty sets of events for Hypothesis: what a registry sends on its worst days, all of it valid.

Most patients have what an endpoint needs, a record before treatment and one about week 12, so that something
is decided; around them come corrections, conflicts, retractions and rivals for the same windows. Dates
cluster at the edges of windows and around the doses. The order means nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from twin import builders
from twin.builders import FIRST_DOSE_ON, RECORDED_AT, on, segment
from twin.records import Event

SITES = ("site-a", "site-B")
OTHER_IDS = ("1", "10", "2", "B", "é")
RECORDED = (
    *(RECORDED_AT, "2026-01-01T13:00:00+01:00", "2026-01-01T11:59:59Z", "2026-02-01T00:00:00.5+00:00"),
    *("2025-12-31T23:59:59.999999Z", "2026-01-02T00:30:00+01:00", "2026-01-02T00:00:00Z"),
)
KNOWN_DAYS = (date(2026, 1, 1), date(2025, 12, 30), date(2025, 12, 31), date(2026, 1, 2), date(2026, 2, 1))
"""Days to ask what was known on: `recorded_at` lies before, on and after the ends of them."""
TIMES = (None, "00:00:00", "08:59:59", "09:00:00", "09:00:01")

# Offsets from day 0. The first of each is what Hypothesis shrinks to.
BASELINE_DAYS = (-1, -27, -28, -29, -89, -90, -91, 0, 0, 0, 1)
WEEK_12_DAYS = (84, 80, 83, 85, 88, 70, 71, 97, 98, 69, 99, 55, 56, 57, 125, 126, 127)
OTHER_DAYS = (168, 14, 139, 140, 196, 197, 224, 225, 6, 7, 28, 41, 42, 112)
DOSE_DAYS = (40, -40, -1, 0, 1, 69, 70, 84, 85, 98, 99)
ONSET_DAYS = (40, -1, 0, 1, 39, 41, 69, 70, 71, 84, 98, 99, 100, 114, 115, 127, 129)
TODAYS = (400, 400, 200, 127, 126, 125, 99, 98, 98, 97, 84, 70, 69, 56, 55, 1, 0)


@dataclass(frozen=True)
class Case:
    """Events in the order they arrive, and the day that is asked about."""

    events: list[Event]
    today: date


@dataclass(frozen=True)
class Person:
    """Whose record it is, and where the patient is seen."""

    patient_id: str
    home: str


@dataclass(frozen=True)
class Topic:
    """What is measured: how an event of it is built, and what it says before and after treatment."""

    build: Callable[..., Event]
    before: SearchStrategy[dict[str, Any]]
    after: SearchStrategy[dict[str, Any]]


def _stated(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    """The fields that are not None."""
    return st.fixed_dictionaries(fields).map(lambda given: {k: v for k, v in given.items() if v is not None})


def _one_of(*values: Any) -> SearchStrategy[Any]:
    return st.sampled_from(values)


DIARY = st.lists(st.none() | st.integers(0, 3), min_size=7, max_size=7)
COMPONENTS = _stated(
    liquid_stools=_one_of(14, 0, 42, None) | DIARY,
    abdominal_pain=_one_of(7, 0, 20.5) | DIARY,
    wellbeing=_one_of(7, 0, 27.9) | DIARY,
    complications=_one_of([], ["arthritis"], ["arthritis", "fever", "fever"], None),
    antidiarrhoeal=_one_of(False, True, True, None),
    abdominal_mass=_one_of(0, 2, 5, None),
    haematocrit_pct=_one_of(34, 41.9, 42, 47, 49.5, None),
    weight_kg=_one_of(51, 54.3, 92, None),
    standard_weight_kg=_one_of(None, None, 56.6),
)


def _cdai(*totals: float) -> SearchStrategy[dict[str, Any]]:
    total = _one_of(*totals)
    return _stated(cdai=total, corticosteroid=STEROID) | _stated(
        cdai=total | st.none(),
        cdai_components=COMPONENTS,
        weight_kg=_one_of(None, 51),
        corticosteroid=STEROID,
    )


def _ses_cd(totals: Sequence[int], items: Sequence[int]) -> SearchStrategy[dict[str, Any]]:
    item = st.sampled_from(items)
    explored = st.builds(segment, item, item, item, st.integers(0, 1))
    segments = st.dictionaries(
        _one_of("ileum", "right_colon", "rectum"), explored | explored | st.none(), min_size=1
    )
    broken = segments.map(lambda some: some | {"ileum": {"ulcer_size": 1}})
    total = st.sampled_from(totals)
    itemised = _stated(ses_cd_segments=segments)
    alone = _stated(ses_cd=total, ulcers_present=_one_of(None, False, True))
    return itemised | itemised | alone | _stated(ses_cd=total, ses_cd_segments=segments | broken)


def _complaints(
    stools: Sequence[float], pain: Sequence[float], cdai: int | None = None
) -> SearchStrategy[dict[str, Any]]:
    """Stools and pain as means, as a diary, or both."""
    means = _stated(stool_frequency=_one_of(*stools), abdominal_pain=_one_of(*pain, *pain, None))
    diary = _stated(liquid_stools=DIARY | _one_of(14, 42), abdominal_pain=DIARY | _one_of(7, 14))
    total = _one_of(cdai, cdai, None)
    return (
        _stated(pro2=means, cdai=total)
        | _stated(pro2=means, cdai_components=diary, cdai=total)
        | _stated(cdai_components=diary, hbi=_one_of(4, 5), cdai=total)
    )


STEROID = _one_of(None, None, False, False, True)


def _lab(analyte: str, *values: float | str, **limits: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return _stated(analyte=st.just(analyte), value=_one_of(*values), **limits)


HBI_ITEMS = _stated(
    wellbeing=_one_of(0, 1, None),
    abdominal_pain=_one_of(0, 1),
    liquid_stools=_one_of(2, 3),
    abdominal_mass=_one_of(0, 1),
    complications=_one_of([], ["arthralgia"], ["arthralgia", "uveitis"]),
)
HEALTHY = segment(0, 0, 0, 0)
HEALED = _one_of(
    {"ses_cd": 0},
    {"ses_cd": 2, "ulcers_present": False},
    {"ses_cd_segments": {"ileum": HEALTHY, "right_colon": HEALTHY, "rectum": HEALTHY}},
)
CRP_LIMIT, ESR_LIMIT, COUNT_LIMIT = _one_of(None, 5, 8), _one_of(None, None, 20), _one_of(None, 0.6, 1)
CRP_BY_CODE = _lab("1988-5", 0.5, 0.51, 4, unit=st.just("mg/dL"), ref_high=_one_of(None, 0.8))
COUNTS = _lab(
    "lymphocytes",
    *(0.79, 0.19, 0.2, 0.49, 0.5, 0.8, 0.99, 1, 2, "<0.2", "<0.6", "<=0.2", ">1"),
    ref_low=COUNT_LIMIT,
)
TOPICS = {
    "cdai": Topic(
        builders.visit,
        _cdai(300, 250, 219.9, 200.2, 150.1, 150, 149.9),
        _cdai(120, 149.9, 150, 150.1, 100.2, 200),
    ),
    "ses": Topic(
        builders.visit,
        _ses_cd((8, 2, 3, 4, 6, 12), items=(1, 2, 0)),
        _ses_cd((2, 0, 3, 4, 5, 6), items=(0, 0, 0, 1, 2)) | HEALED,
    ),
    "hbi": Topic(
        builders.visit,
        _stated(hbi=_one_of(9, 8, 7), cdai=_one_of(300, 300, None)),
        _stated(hbi=_one_of(4, 5, 6, 7, 9)) | _stated(hbi=_one_of(None, 4, 6), hbi_components=HBI_ITEMS),
    ),
    "pro": Topic(
        builders.visit,
        _complaints((6, 5, 4, 3, 0), (2, 2.5, 1, 0), cdai=300),
        _complaints((1.5, 2.8, 2.81, 3, 4.2, 4.21, 6), (1, 0, 1.4, 1.1, 2)),
    ),
    "body": Topic(
        builders.visit,
        _stated(weight_kg=_one_of(51, 60), cdai_components=_stated(haematocrit_pct=_one_of(None, 34, 42))),
        _stated(weight_kg=_one_of(54, 60), cdai_components=_stated(haematocrit_pct=_one_of(None, 39, 47))),
    ),
    "hct": Topic(
        builders.lab,
        _lab("haematocrit", 34, 42, "<30", unit=st.just("%")),
        _lab("haematocrit", 0.39, unit=st.just("L/L")) | _lab("71833-8", 39, unit=st.just("%")),
    ),
    "crp": Topic(
        builders.lab,
        _lab("crp", 40, 5.1, 5, "<10", ">= 5", "≥40", ref_high=CRP_LIMIT) | CRP_BY_CODE,
        _lab("crp", 1, 4.9, 5, 5.1, 10, "<5", "<10", "<=5", ">20", ref_high=CRP_LIMIT) | CRP_BY_CODE,
    ),
    "esr": Topic(
        builders.lab,
        _lab("esr", 60, 60, 45, 31, 30.5, 22, 22.1, "<40", ">50", ref_high=ESR_LIMIT),
        _lab("esr", 10, 40, 20, 22, 22.1, 30.5, 31, "<20", "<40", ref_high=ESR_LIMIT),
    ),
    "fcal": Topic(
        builders.lab,
        _lab("fcal", 900, 250, 249.9, ">1800", ">200", ">=250"),
        _lab("fcal", 30, 249.9, 250, 250.1, "<30", "<250", "<=250", ">200", ">1800"),
    ),
    "alc": Topic(builders.lab, COUNTS, COUNTS),
}


@st.composite
def _sent(
    draw: st.DrawFn,
    /,
    build: Callable[..., Event],
    person: Person,
    event_id: str,
    version: int,
    **fields: Any,
) -> Event:
    """One version of one record, mostly by the patient's own site."""
    return build(
        patient_id=person.patient_id,
        site_id=draw(_one_of(*[person.home] * 6, *SITES)),
        event_id=event_id,
        version=version,
        recorded_at=draw(st.sampled_from(RECORDED)),
        **fields,
    )


@st.composite
def _measured(
    draw: st.DrawFn,
    /,
    person: Person,
    name: str,
    *,
    before: bool,
    event_id: str,
    version: int,
    days: Sequence[int] = WEEK_12_DAYS,
) -> Event:
    """A value of one topic, before treatment or about week 12."""
    topic = TOPICS[name]
    fields = {
        **draw(topic.before if before else topic.after),
        "offset": draw(st.sampled_from(BASELINE_DAYS if before else days)),
        "at": draw(st.sampled_from(TIMES)),
        "visit_kind": draw(_one_of("scheduled", "scheduled", "retest", "unscheduled")),
    }
    return draw(_sent(topic.build, person, event_id, version, **fields))


@st.composite
def _topic(draw: st.DrawFn, /, person: Person, name: str) -> list[Event]:
    """What an endpoint needs, and what competes with it or corrects it."""
    core = [
        draw(_measured(person, name, before=before, event_id=f"{name}-{before}", version=1))
        for before in (True, False)
        if draw(_one_of(*[True] * 9, False))
    ]
    if draw(_one_of(False, False, True)):
        core.append(
            draw(_measured(person, name, before=False, event_id=f"{name}-other", version=1, days=OTHER_DAYS))
        )
    rivals = [
        draw(
            _measured(
                person,
                name,
                before=draw(st.booleans()),
                event_id=draw(_one_of(*OTHER_IDS, *[f"{name}-True", f"{name}-False"] * 3)),
                version=draw(_one_of(2, 1, 3)),
            )
        )
        for _ in range(draw(_one_of(0, 0, 1, 2, 3)))
    ]
    return core + rivals


@st.composite
def _treatment(draw: st.DrawFn, /, person: Person) -> Event:
    action = draw(_one_of("stop", "start", "stop", "resume", "rescue", "interrupt", "dose_change"))
    drug = draw(
        _one_of("upadacitinib", "upadacitinib", "infliximab", "azathioprine", "prednisolone", "budesonide")
    )
    offset, clock = draw(st.sampled_from((*DOSE_DAYS, 56, 55))), draw(st.sampled_from(TIMES))
    fields = {"action": action, "drug": drug, "offset": offset, "at": clock}
    if action == "stop":
        fields["reason"] = draw(_one_of("patient_choice", "adverse_event", "lack_of_efficacy", "death"))
    if action == "rescue":
        fields["rescue_kind"] = draw(_one_of("corticosteroid", "surgery"))
    if action in ("start", "dose_change", "resume") and (dose := draw(_one_of(None, 45, 30, 15))):
        fields["dose_mg"] = dose
    event_id = draw(_one_of(*OTHER_IDS, "start"))
    version = draw(_one_of(1, 1, 1, 2))
    return draw(_sent(builders.treatment, person, event_id, version, **fields))


@st.composite
def _start(draw: st.DrawFn, /, person: Person) -> Event:
    offset, clock = draw(_one_of(0, 0, 0, 0, 1, -1)), draw(st.sampled_from(TIMES))
    event_id = draw(_one_of("start", "start", "restart"))
    dose = draw(_one_of({}, {"dose_mg": 45}, {"dose_mg": 45}, {"dose_mg": 30}))
    return draw(_sent(builders.start, person, event_id, 1, offset=offset, at=clock, **dose))


@st.composite
def _adverse_event(draw: st.DrawFn, /, person: Person) -> Event:
    fields = draw(
        _stated(
            term=_one_of("Headache", "HEADACHE", "Lymphopenia"),
            grade=st.integers(1, 5),
            serious=st.booleans(),
            outcome=_one_of("recovered", "unknown", "not_recovered", "fatal"),
            drug=_one_of(None, None, "upadacitinib", "infliximab"),
            onset_precision=_one_of("day", "day", "day", "month", "year"),
        )
    )
    onset = on(draw(st.sampled_from(ONSET_DAYS)))
    if fields["onset_precision"] != "day":
        onset = onset.replace(day=1)
    if fields["onset_precision"] == "year":
        onset = onset.replace(month=1)
    offset = (onset - FIRST_DOSE_ON).days
    if (lasted := draw(_one_of(None, None, 0, 14))) is not None:
        fields["resolved_on"] = on(offset + lasted).isoformat()
    event_id, version = draw(st.sampled_from(OTHER_IDS)), draw(_one_of(1, 1, 2))
    return draw(_sent(builders.adverse_event, person, event_id, version, offset=offset, **fields))


@st.composite
def _enrolment(draw: st.DrawFn, /, person: Person) -> Event:
    fields = draw(
        _stated(
            sex=_one_of("female", "male", "female", "male", "other"),
            reference_sex=_one_of(None, None, "female"),
            birth_year=_one_of(1963, 1990, 1992),
            height_cm=_one_of(165, 180),
            weight_kg=_one_of(None, None, 51, 60),
        )
    )
    event_id = draw(_one_of("enrolment", "enrolment", "a"))
    return draw(_sent(builders.enrolment, person, event_id, 1, offset=draw(_one_of(-14, -13, 0)), **fields))


@st.composite
def _consent(draw: st.DrawFn, /, person: Person) -> Event:
    status = draw(_one_of("given", "withdrawn", "withdrawn", "withdrawn", "erase"))
    offset = draw(_one_of(70, 69, 84, 98, 0, -1))
    event_id, version = draw(_one_of("1", "2")), draw(_one_of(1, 1, 2))
    return draw(_sent(builders.consent, person, event_id, version, status=status, offset=offset))


@st.composite
def patients(draw: st.DrawFn, /, patient_id: str) -> list[Event]:
    """Everything that is sent about one patient."""
    person = Person(patient_id, draw(st.sampled_from(SITES)))

    def some(of: SearchStrategy[Event], *counts: int) -> list[Event]:
        return [draw(of) for _ in range(draw(_one_of(*counts)))]

    events = [
        *some(_enrolment(person), 1, 1, 1, 2, 0),
        *some(_start(person), 1, 1, 1, 1, 1, 1, 1, 2, 2, 0),
        *some(_treatment(person), 0, 0, 1, 2, 3),
        *some(_adverse_event(person), 0, 1, 1, 2, 3),
        *some(_consent(person), 0, 0, 0, 0, 0, 0, 1, 2),
    ]
    for name in draw(st.lists(st.sampled_from(sorted(TOPICS)), min_size=3, max_size=5, unique=True)):
        events += draw(_topic(person, name))
    if events and draw(_one_of(False, True)):
        withdrawn = draw(st.sampled_from(events))
        events.append(builders.retraction(withdrawn, draw(_one_of(1, 2, 4))))
    return events


@st.composite
def event_sets(draw: st.DrawFn, /, max_patients: int = 3) -> list[Event]:
    """The events of a few patients, at times one record claimed for two of them."""
    ids = [f"W12-{number:04}" for number in range(1, draw(st.integers(1, max_patients)) + 1)]
    events = [event for patient_id in ids for event in draw(patients(patient_id))]
    if events and draw(_one_of(False, False, False, True)):
        claimed = draw(st.sampled_from(events))
        events.append(claimed | {"patient_id": draw(st.sampled_from(ids)), "version": 5})
    return events


def cases(max_patients: int = 3) -> SearchStrategy[Case]:
    """A set of events and a day to ask about, often late enough to decide something."""
    todays = st.sampled_from(TODAYS).map(on)
    return st.builds(Case, events=event_sets(max_patients), today=todays)


@st.composite
def disorder(draw: st.DrawFn, /, events: Sequence[Event]) -> list[Event]:
    """The same set in another order, some of it sent again, as it was or recorded later."""
    again = draw(st.lists(st.sampled_from(list(events)), max_size=5)) if events else []
    later = [
        event | {"recorded_at": draw(st.sampled_from(["2026-03-01T00:00:00Z", event["recorded_at"]]))}
        for event in again
    ]
    return draw(st.permutations([*events, *later]))


@st.composite
def batches(draw: st.DrawFn, /, events: Sequence[Event]) -> list[list[Event]]:
    """The same order, cut into batches, empty ones included."""
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=6)))
    return [list(events[i:j]) for i, j in zip([0, *cuts], [*cuts, len(events)], strict=True)]

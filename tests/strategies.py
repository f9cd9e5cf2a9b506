"""Small, nasty sets of events for Hypothesis: what a registry sends on its worst days, all of it valid.

Dates cluster at the edges of windows and around the doses, record ids come from a small pool, so that
versions, conflicts and corrections arise by themselves, and the order means nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from twin import builders
from twin.builders import RECORDED_AT, on, segment
from twin.records import Event

SITES = ("site-a", "site-B")
EVENT_IDS = ("1", "10", "2", "a", "B", "é")
RECORDED = (RECORDED_AT, "2026-01-01T13:00:00+01:00", "2026-01-01T11:59:59Z", "2026-02-01T00:00:00.5+00:00")
TIMES = (None, "00:00:00", "08:59:59", "09:00:00", "09:00:01")

BASELINE_DAYS = (-91, -90, -89, -30, -29, -28, -27, -1, 0, 0, 0, 1)
WEEK_12_DAYS = (55, 56, 57, 69, 70, 71, 80, 83, 84, 85, 88, 97, 98, 99, 125, 126, 127)
DOSE_DAYS = (-1, 0, 1, 40, 69, 70, 84, 85, 98, 99)
ONSET_DAYS = (-1, 0, 1, 39, 40, 41, 69, 70, 71, 84, 98, 99, 100, 114, 115, 127, 129)
TODAYS = (0, 1, 55, 56, 69, 70, 84, 97, 98, 99, 125, 126, 127, 200, 400)


@dataclass(frozen=True)
class Case:
    """Events in the order they arrive, and the day that is asked about."""

    events: list[Event]
    today: date


def _maybe(values: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.none() | values


def _stated(**fields: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    """The fields that are not None."""
    return st.fixed_dictionaries(fields).map(lambda given: {k: v for k, v in given.items() if v is not None})


DIARY = st.lists(_maybe(st.integers(0, 3)), min_size=7, max_size=7)
COMPONENTS = _stated(
    liquid_stools=st.sampled_from([None, 0, 14, 42]) | DIARY,
    abdominal_pain=st.sampled_from([0, 7, 20.5]) | DIARY,
    wellbeing=st.sampled_from([0, 7, 27.9]) | DIARY,
    complications=_maybe(st.lists(st.sampled_from(["arthritis", "fever", "skin_mouth"]), max_size=4)),
    antidiarrhoeal=st.sampled_from([False, True, True, None]),
    abdominal_mass=st.sampled_from([0, 2, 5, None]),
    haematocrit_pct=st.sampled_from([34, 41.9, 42, 47, 49.5, None]),
    weight_kg=st.sampled_from([51, 54.3, 92, None]),
    standard_weight_kg=st.sampled_from([None, None, 56.6]),
)
SEGMENT = st.builds(
    segment, st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)
) | st.sampled_from([segment(0, 0, 0, 0), segment(1, 1, 2, 0), {"ulcer_size": 1}])
SEGMENTS = st.dictionaries(st.sampled_from(["ileum", "right_colon", "rectum"]), _maybe(SEGMENT), min_size=1)
SEEN = _stated(
    cdai=_maybe(st.sampled_from([100.2, 120, 149.9, 150, 150.1, 200.2, 219.9, 250, 300])),
    cdai_components=_maybe(COMPONENTS),
    ses_cd=_maybe(st.sampled_from([0, 2, 3, 4, 6, 8, 12])),
    ses_cd_segments=_maybe(SEGMENTS),
    weight_kg=_maybe(st.just(51)),
    hbi=st.just(5),  # so that every visit says something
)

CRP = _stated(
    analyte=st.sampled_from(["crp", "1988-5"]),
    value=st.sampled_from([1, 4.9, 5, 5.1, 10, 40, "<5", "<10", "<=5", ">= 5", "≥40", ">20"]),
    ref_high=st.sampled_from([None, 5, 8]),
)
CRP_MG_DL = _stated(
    analyte=st.just("crp"),
    unit=st.just("mg/dL"),
    value=st.sampled_from([0.5, 0.51, 4]),
    ref_high=st.sampled_from([None, 0.8]),
)
ESR = _stated(
    analyte=st.just("esr"),
    value=st.sampled_from([10, 20, 22, 22.1, 30.5, 31, 60, "<20", ">50", "<40"]),
    ref_high=st.sampled_from([None, None, 20]),
)
FCAL = _stated(
    analyte=st.just("fcal"),
    value=st.sampled_from([30, 249.9, 250, 250.1, 900, "<30", "<250", "<=250", ">1800", ">200", ">=250"]),
)
LYMPHOCYTES = _stated(
    analyte=st.just("lymphocytes"),
    value=st.sampled_from([0.19, 0.2, 0.49, 0.5, 0.79, 0.8, 0.99, 1, 2, "<0.2", "<0.6", "<=0.2", ">1"]),
    ref_low=st.sampled_from([None, 0.6, 1]),
)
RESULTS = CRP | CRP_MG_DL | ESR | FCAL | LYMPHOCYTES


@st.composite
def _version(
    draw: st.DrawFn, build: Callable[..., Event], patient_id: str, home: str, **fields: Any
) -> Event:
    """One version of one record, mostly the first of a record of the patient's own site."""
    return build(
        patient_id=patient_id,
        site_id=draw(st.sampled_from([home, home, home, *SITES])),
        event_id=draw(st.sampled_from(EVENT_IDS)),
        version=draw(st.sampled_from([1, 1, 1, 2, 3])),
        recorded_at=draw(st.sampled_from(RECORDED)),
        **fields,
    )


@st.composite
def _visit(draw: st.DrawFn, patient_id: str, home: str, days: Sequence[int]) -> Event:
    seen = draw(SEEN)
    kind = draw(st.sampled_from(["scheduled", "scheduled", "retest", "unscheduled"]))
    clock = draw(st.sampled_from(TIMES))
    offset = draw(st.sampled_from(days))
    return draw(_version(builders.visit, patient_id, home, offset=offset, at=clock, visit_kind=kind, **seen))


@st.composite
def _lab(draw: st.DrawFn, patient_id: str, home: str, days: Sequence[int]) -> Event:
    clock = draw(st.sampled_from(TIMES))
    offset = draw(st.sampled_from(days))
    return draw(_version(builders.lab, patient_id, home, offset=offset, at=clock, **draw(RESULTS)))


@st.composite
def _treatment(draw: st.DrawFn, patient_id: str, home: str) -> Event:
    action = draw(st.sampled_from(["start", "stop", "stop", "resume", "rescue", "interrupt", "dose_change"]))
    drugs = ["upadacitinib", "upadacitinib", "infliximab", "azathioprine", "prednisolone"]
    fields: dict[str, Any] = {"action": action, "drug": draw(st.sampled_from(drugs))}
    if action == "stop":
        fields["reason"] = draw(
            st.sampled_from(["adverse_event", "lack_of_efficacy", "patient_choice", "death"])
        )
    if action == "rescue":
        fields["rescue_kind"] = draw(st.sampled_from(["corticosteroid", "surgery"]))
    offset = draw(st.sampled_from(DOSE_DAYS))
    clock = draw(st.sampled_from(TIMES))
    return draw(_version(builders.treatment, patient_id, home, offset=offset, at=clock, **fields))


@st.composite
def _start(draw: st.DrawFn, patient_id: str, home: str) -> Event:
    offset = draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
    clock = draw(st.sampled_from(TIMES))
    return draw(_version(builders.start, patient_id, home, offset=offset, at=clock))


@st.composite
def _adverse_event(draw: st.DrawFn, patient_id: str, home: str) -> Event:
    serious = draw(st.booleans())
    fields = draw(
        _stated(
            term=st.sampled_from(["Headache", "HEADACHE", "Lymphopenia"]),
            grade=st.integers(1, 5),
            outcome=st.sampled_from(["recovered", "unknown", "not_recovered", "fatal"]),
            drug=st.sampled_from([None, None, "upadacitinib", "infliximab"]),
        )
    )
    offset = draw(st.sampled_from(ONSET_DAYS))
    event = draw(_version(builders.adverse_event, patient_id, home, offset=offset, serious=serious, **fields))
    precision = draw(st.sampled_from(["day", "day", "day", "month", "year"]))
    first_day = {
        "day": on(offset),
        "month": on(offset).replace(day=1),
        "year": on(offset).replace(month=1, day=1),
    }
    event |= {"onset_precision": precision, "onset_on": first_day[precision].isoformat()}
    resolved = draw(st.sampled_from([None, None, 0, 14]))
    return event if resolved is None else event | {"resolved_on": on(offset + resolved).isoformat()}


@st.composite
def _enrolment(draw: st.DrawFn, patient_id: str, home: str) -> Event:
    fields = draw(
        _stated(
            sex=st.sampled_from(["female", "male", "other"]),
            reference_sex=st.sampled_from([None, None, "female"]),
            birth_year=st.sampled_from([1963, 1990, 1992]),
            height_cm=st.sampled_from([165, 180]),
        )
    )
    offset = draw(st.sampled_from([-14, -13, 0]))
    return draw(_version(builders.enrolment, patient_id, home, offset=offset, **fields))


@st.composite
def _consent(draw: st.DrawFn, patient_id: str, home: str) -> Event:
    status = draw(st.sampled_from(["given", "withdrawn", "withdrawn", "erase"]))
    offset = draw(st.sampled_from([-1, 0, 69, 70, 84, 98]))
    return draw(_version(builders.consent, patient_id, home, status=status, offset=offset))


def _some(of: SearchStrategy[Event], at_most: int, at_least: int = 0) -> SearchStrategy[list[Event]]:
    return st.lists(of, min_size=at_least, max_size=at_most)


@st.composite
def patients(draw: st.DrawFn, patient_id: str) -> list[Event]:
    """Everything that is sent about one patient; usually treated, with values before and after."""
    home = draw(st.sampled_from(SITES))
    person = (patient_id, home)
    events = [
        *draw(_some(_enrolment(*person), 2)),
        *draw(st.just([]) | _some(_start(*person), 2, at_least=1)),
        *draw(_some(_treatment(*person), 3)),
        *draw(_some(_visit(*person, BASELINE_DAYS), 3)),
        *draw(_some(_visit(*person, WEEK_12_DAYS), 4)),
        *draw(_some(_lab(*person, BASELINE_DAYS), 3)),
        *draw(_some(_lab(*person, WEEK_12_DAYS), 3)),
        *draw(_some(_adverse_event(*person), 3)),
    ]
    if draw(st.integers(0, 5)) == 5:
        events += draw(_some(_consent(*person), 2, at_least=1))
    retracted = draw(st.lists(st.sampled_from(events), max_size=2)) if events else []
    return events + [builders.retraction(of, draw(st.sampled_from([1, 2, 4]))) for of in retracted]


@st.composite
def event_sets(draw: st.DrawFn, max_patients: int = 3) -> list[Event]:
    """The events of a few patients, at times one record claimed for two of them."""
    ids = [f"W12-{number:04}" for number in range(1, draw(st.integers(1, max_patients)) + 1)]
    events = [event for patient_id in ids for event in draw(patients(patient_id))]
    swapped = draw(st.lists(st.sampled_from(events), max_size=1)) if events else []
    return events + [event | {"patient_id": draw(st.sampled_from(ids)), "version": 5} for event in swapped]


def cases(max_patients: int = 3) -> SearchStrategy[Case]:
    """A set of events and a day to ask about, mostly late enough to decide something."""
    todays = st.sampled_from(TODAYS).map(on)
    return st.builds(Case, events=event_sets(max_patients), today=todays)


@st.composite
def disorder(draw: st.DrawFn, events: Sequence[Event]) -> list[Event]:
    """The same set in another order, some of it sent again, as it was or recorded later."""
    again = draw(st.lists(st.sampled_from(list(events)), max_size=5)) if events else []
    later = [
        event | {"recorded_at": draw(st.sampled_from(["2026-03-01T00:00:00Z", event["recorded_at"]]))}
        for event in again
    ]
    return draw(st.permutations([*events, *later]))


@st.composite
def batches(draw: st.DrawFn, events: Sequence[Event]) -> list[list[Event]]:
    """The same order, cut into batches, empty ones included."""
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=6)))
    return [list(events[i:j]) for i, j in zip([0, *cuts], [*cuts, len(events)], strict=True)]

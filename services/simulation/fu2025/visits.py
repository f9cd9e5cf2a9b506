"""Clinical visits of one patient: CDAI as the centre sends it, and visits that must not count."""

from typing import Final

from services.simulation.fu2025.person import Person, Visit
from services.simulation.fu2025.plan import Absence, Decoy
from services.simulation.records import RawEvent
from services.simulation.scores import bedside_points, draw_components

_EFFECT: Final = {0: 0.0, 2: 0.4, 4: 0.6, 8: 0.9, 12: 1.0, 16: 1.0, 24: 1.0}
"""Share of the change to week 12 that has been reached."""
_LOWEST_FROM_COMPONENTS: Final = 60


def write_visit(person: Person, visit: Visit) -> None:
    """One visit of the schedule."""
    plan = person.plan
    fields: RawEvent = {"visit_name": f"Week {visit.week}" if visit.week else "Baseline"}
    if plan.absence is Absence.NOT_SCORED and visit.week == 12:
        fields["weight_kg"] = person.body.weight_kg
    else:
        fields |= _activity(person, visit)
    if plan.site_id != "S02" or visit.week == 12:
        fields["corticosteroid"] = any(first <= visit.day <= last for first, last in person.steroid_spans())
    person.record_visit(visit.day, fields | _DETAILS.get((plan.decoy, visit.week), {}))


def write_decoy(person: Person) -> None:
    """The visit that the rules pass over, saying the opposite of the one that counts."""
    plan = person.plan
    week_12 = next((visit.day for visit in person.visits if visit.week == 12), 84)
    opposite: RawEvent = {"cdai": 288 if plan.remission else 96}
    match plan.decoy:
        case Decoy.TIE_LATER_COUNTS:
            person.record_visit(80, opposite)
        case Decoy.TIE_AT_THE_EDGES:
            person.record_visit(70, opposite)
        case Decoy.NEAREST_COUNTS:
            person.record_visit(86, opposite)
        case Decoy.EMPTY_ON_TARGET:
            person.record_visit(84, {"visit_name": "Week 12", "weight_kg": person.body.weight_kg})
        case Decoy.SCHEDULED_FIRST | Decoy.RETEST_FIRST:
            person.record_visit(week_12, opposite | {"visit_kind": "unscheduled"})
        case Decoy.LATER_CLOCK:
            person.record_visit(week_12, opposite | {"visited_at": "08:50:00"})
        case Decoy.LAST_BASELINE:
            person.record_visit(-21, {"visit_name": "Screening", "cdai": 148})
        case Decoy.AFTER_FIRST_DOSE:
            person.record_visit(0, {"visited_at": "15:00:00", "visit_kind": "unscheduled", "cdai": 148})


_DETAILS: Final[dict[tuple[Decoy | None, int], RawEvent]] = {
    (Decoy.AFTER_FIRST_DOSE, 0): {"visited_at": "09:00:00"},
    (Decoy.LATER_CLOCK, 12): {"visited_at": "14:40:00"},
    (Decoy.RETEST_FIRST, 12): {"visit_kind": "retest"},
}


def _activity(person: Person, visit: Visit) -> RawEvent:
    """The clinical scores as the centre sends them: components (S03), with PRO2 (S02) or HBI (S04)."""
    cdai = _cdai(person, visit.week)
    match person.plan.site_id:
        case "S03":
            return _components(person, visit, max(cdai, _LOWEST_FROM_COMPONENTS))
        case "S02":
            stools, pain = round(cdai / 72, 1), round(min(cdai / 190, 3), 1)
            return {"cdai": cdai, "pro2": {"stool_frequency": stools, "abdominal_pain": pain}}
        case "S04":
            return {"cdai": cdai, "hbi": round(cdai / 27)}
    return {"cdai": cdai, "weight_kg": person.body.weight_kg if visit.week in (0, 12) else None}


def _cdai(person: Person, week: int) -> float:
    baseline, week_12 = person.plan.cdai
    if week in (0, 12):
        return week_12 if week else baseline
    drawn = baseline + _EFFECT[week] * (week_12 - baseline) + person.rng.gauss(0, 14)
    return max(round(drawn), 25)


def _components(person: Person, visit: Visit, target: float) -> RawEvent:
    """Blood count and weight recover with the disease, so that the diary's share stays the larger one."""
    gain = 2.5 * _EFFECT[visit.week] if person.plan.remission else 0.4
    body = person.body._replace(weight_kg=round(person.body.weight_kg + gain, 1))
    while bedside_points(body) > 0.6 * target and body.haematocrit_pct < 46:
        body = body._replace(haematocrit_pct=round(body.haematocrit_pct + 1, 1))
    components, total = draw_components(person.rng, target, body, daily=person.plan.number % 2 == 0)
    reported: int | None = round(total) if person.plan.number % 3 == 0 else None
    if person.plan.misreported and visit.week == 12:
        reported = round(total) + 25
    return {"cdai": reported, "cdai_components": components}

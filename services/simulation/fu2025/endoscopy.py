"""Endoscopies of one patient: SES-CD at baseline and follow-up."""

from services.simulation.chance import bell
from services.simulation.fu2025.person import Person
from services.simulation.fu2025.plan import Endoscopic
from services.simulation.records import RawEvent
from services.simulation.scores import SEGMENTS, Items, draw_segments, named_segment

_TOO_OLD = -110
_DAYS = {
    Endoscopic.FOLLOW_UP_TOO_EARLY: 55,
    Endoscopic.BOTH: 56,
    Endoscopic.REMISSION_ONLY: 126,
    Endoscopic.FOLLOW_UP_TOO_LATE: 130,
}


def draw_baseline(person: Person) -> RawEvent | None:
    """The segments at baseline, or None without an endoscopy."""
    rng, number = person.rng, person.plan.number
    match person.plan.endoscopic:
        case Endoscopic.NONE:
            return None
        case Endoscopic.BOTH:
            return _ileum((1, 1, 2, 0))
        case Endoscopic.REMISSION_ONLY:
            return _ileum((2, 2, 2, 0))
        case Endoscopic.BASELINE_INACTIVE:
            return _ileum((0, 0, 1, 1))
        case Endoscopic.NEITHER | Endoscopic.RESPONSE_ONLY:
            return draw_segments(rng, rng.choice((14, 16, 18, 20)), SEGMENTS)
        case Endoscopic.HEALED:
            # An ileum not reached at baseline is seen at follow-up only: left out of the fall.
            explored = SEGMENTS if number % 2 else SEGMENTS[1:]
            return draw_segments(rng, round(bell(rng, 8.5, 2, 6, 13)), explored)
    mean = 10 if person.plan.remission else 16
    explored = SEGMENTS if rng.random() < 0.8 else SEGMENTS[1:]
    return draw_segments(rng, round(bell(rng, mean, 4, 6, 28)), explored)


def write_endoscopies(person: Person, before: RawEvent | None) -> None:
    """The endoscopy at baseline with the segments `before`, and the follow-up if one is planned."""
    if before is None:
        return
    too_old = person.plan.endoscopic is Endoscopic.BASELINE_TOO_OLD
    _write(person, _TOO_OLD if too_old else -person.rng.randint(0, 45), before)
    after = _draw_follow_up(person, _total(before))
    if after is not None:
        _write(person, _DAYS.get(person.plan.endoscopic, person.rng.randint(76, 120)), after)


def montreal_location(segments: RawEvent) -> str | None:
    """Ileum L1, colon L2, both L3; None without a lesion."""
    affected = [name for name, items in segments.items() if items and any(items.values())]
    if not affected:
        return None
    if "ileum" not in affected:
        return "L2"
    return "L1" if len(affected) == 1 else "L3"


def _draw_follow_up(person: Person, before: int) -> RawEvent | None:
    match person.plan.endoscopic:
        case Endoscopic.BASELINE_ONLY:
            return None
        case Endoscopic.BOTH:
            return _ileum((0, 1, 1, 0))
        case Endoscopic.REMISSION_ONLY:
            return _ileum((1, 1, 1, 0))
        case Endoscopic.RESPONSE_ONLY:
            return draw_segments(person.rng, before // 2 - 1, SEGMENTS)
        case Endoscopic.NEITHER:
            return draw_segments(person.rng, before // 2 + person.rng.choice((0, 2, 4)), SEGMENTS)
    return draw_segments(person.rng, 0, SEGMENTS)


def _write(person: Person, day: int, segments: RawEvent) -> None:
    """S02 sends totals only, S01 totals beside segments, the others segments."""
    score: RawEvent = {"ses_cd_segments": segments}
    if person.plan.site_id == "S01":
        score = {"ses_cd": _total(segments), "ses_cd_segments": segments}
    if person.plan.site_id == "S02":
        score = {"ses_cd": _total(segments), "ulcers_present": _ulcerated(segments)}
    person.record_visit(day, {"visit_name": "Ileocolonoscopy", **score})


def _ileum(items: Items) -> RawEvent:
    healthy = named_segment((0, 0, 0, 0))
    return {name: named_segment(items) if name == "ileum" else healthy for name in SEGMENTS}


def _total(segments: RawEvent) -> int:
    return sum(sum(items.values()) for items in segments.values() if items)


def _ulcerated(segments: RawEvent) -> bool:
    return any(items["ulcer_size"] > 0 for items in segments.values() if items)

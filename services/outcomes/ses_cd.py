"""The SES-CD of one endoscopy (R2.6)."""

from typing import NamedTuple

from schemas import Visit

SEGMENTS = ("ileum", "right_colon", "transverse_colon", "left_colon", "rectum")


class SesCd(NamedTuple):
    """A total, and where segments were recorded their scores (None = not explored) and single items."""

    total: float | None
    segments: tuple[int | None, ...] | None = None
    highest_item: int | None = None
    ulceration: int | None = None
    """The highest ulcer item (R2.7); of a total alone 1 or 0 as ulcers were seen or not, and 0 where it is 0."""
    ulcerated_surface: int | None = None
    """The highest item of that name alone; of a total as `ulceration`."""
    narrowing: int | None = None
    """The sum of the narrowing items, which trials leave out of their criteria of entry (R2.8)."""


def compute_ses_cd(visit: Visit) -> SesCd:
    """The sum over explored segments; the reported total where none was recorded.

    An item missing in an explored segment makes the total unknown, whatever total was reported: forms often
    sum a missing item as 0. There is no correction for unseen segments.
    """
    explored = visit.ses_cd_segments
    if explored is None:
        return _total_alone(visit)
    scores: list[int | None] = []
    highest = ulceration = surface = -1
    narrowing = 0
    for segment in (getattr(explored, name) for name in SEGMENTS):
        if segment is None:
            scores.append(None)
            continue
        ulcers = (segment.ulcer_size, segment.ulcerated_surface)
        items = (*ulcers, segment.affected_surface, segment.narrowing)
        if None in items:
            return SesCd(None)
        scores.append(sum(items))
        highest, ulceration = max(highest, *items), max(ulceration, *ulcers)
        surface = max(surface, segment.ulcerated_surface)
        narrowing += segment.narrowing
    if highest < 0:
        return _total_alone(visit)
    total = float(sum(score for score in scores if score is not None))
    return SesCd(total, tuple(scores), highest, ulceration, surface, narrowing)


def _total_alone(visit: Visit) -> SesCd:
    if visit.ses_cd is None:
        return SesCd(None)
    seen = None if visit.ulcers_present is None else int(visit.ulcers_present)
    ulcers = 0 if visit.ses_cd == 0 else seen
    return SesCd(visit.ses_cd, ulceration=ulcers, ulcerated_surface=ulcers)

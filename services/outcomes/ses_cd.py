"""The SES-CD of one endoscopy (R2.6)."""

from typing import NamedTuple

from schemas import Visit

SEGMENTS = ("ileum", "right_colon", "transverse_colon", "left_colon", "rectum")


class SesCd(NamedTuple):
    """A total, and where segments were recorded their scores (None = not explored) and the highest item."""

    total: float | None
    segments: tuple[int | None, ...] | None = None
    highest_item: int | None = None


def compute_ses_cd(visit: Visit) -> SesCd:
    """The sum over explored segments; the reported total where none was recorded.

    An item missing in an explored segment makes the total unknown, whatever total was reported: forms often
    sum a missing item as 0. There is no correction for unseen segments.
    """
    explored = visit.ses_cd_segments
    if explored is None:
        return SesCd(visit.ses_cd)
    scores: list[int | None] = []
    highest: int | None = None
    for segment in (getattr(explored, name) for name in SEGMENTS):
        if segment is None:
            scores.append(None)
            continue
        items = (segment.ulcer_size, segment.ulcerated_surface, segment.affected_surface, segment.narrowing)
        if None in items:
            return SesCd(None)
        scores.append(sum(items))
        highest = max(items) if highest is None else max(highest, *items)
    if highest is None:
        return SesCd(visit.ses_cd)
    return SesCd(float(sum(score for score in scores if score is not None)), tuple(scores), highest)

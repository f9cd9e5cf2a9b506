"""Scores built backwards: CDAI components and SES-CD segments that add up to a wanted total."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from services.simulation.chance import bell
from services.simulation.records import RawEvent

SEGMENTS: Final = ("ileum", "right_colon", "transverse_colon", "left_colon", "rectum")
_ITEMS: Final = ("ulcer_size", "ulcerated_surface", "affected_surface", "narrowing")
Items = tuple[int, int, int, int]

_HEALED: Final[Items] = (0, 0, 0, 0)
_MILD: Final[tuple[Items, ...]] = ((0, 0, 1, 0), (1, 1, 1, 0), (0, 0, 0, 1), (1, 1, 1, 1))
_LESIONS: Final[tuple[Items, ...]] = (
    *_MILD,
    (1, 1, 2, 0),
    (2, 1, 2, 0),
    (2, 2, 2, 0),
    (2, 2, 3, 0),
    (2, 2, 2, 1),
    (3, 2, 3, 0),
    (3, 2, 2, 1),
    (3, 3, 3, 1),
)
_BY_SEVERITY: Final = (_HEALED, *sorted(_LESIONS, key=sum))


def named_segment(items: Items) -> RawEvent:
    """One explored segment as the contract spells it."""
    return dict(zip(_ITEMS, items, strict=True))


def draw_segments(rng: Random, total: int, explored: Sequence[str]) -> RawEvent:
    """SES-CD segments of the given total (0..30) over the `explored` ones; the others are null."""
    if total == 0:
        drawn = dict.fromkeys(explored, _HEALED)
    else:
        drawn = {}
        while sum(map(sum, drawn.values())) != total:
            drawn = {name: rng.choice((_HEALED, *_LESIONS)) for name in explored}
    return {name: named_segment(drawn[name]) if name in drawn else None for name in SEGMENTS}


class Body(NamedTuple):
    """What the CDAI takes from the person: reference sex, height and weight (cm, kg), haematocrit (%)."""

    sex: str
    height_cm: int
    weight_kg: float
    haematocrit_pct: float


def bedside_points(body: Body) -> Decimal:
    """The CDAI's haematocrit and weight terms (R1.4 clip, R1.5)."""
    reference, factor = (
        (Decimal(47), Decimal("22.1")) if body.sex == "male" else (Decimal(42), Decimal("20.8"))
    )
    metres = Decimal(body.height_cm) / 100
    deficit = 100 * (1 - Decimal(str(body.weight_kg)) / (metres * metres * factor))
    return 6 * max(Decimal(0), reference - Decimal(str(body.haematocrit_pct))) + max(Decimal(-10), deficit)


def draw_components(rng: Random, target: float, body: Body, *, daily: bool) -> tuple[RawEvent, Decimal]:
    """CDAI components whose total is within 1.5 points of `target`, and that total (R1.1).

    The diary's share is spread over stools, pain and well-being; complications, antidiarrhoeals and a mass
    appear only where the activity leaves room for them. `daily`: seven daily values, else 7-day sums.
    """
    complications, antidiarrhoeal, mass = _signs(rng, target)
    fixed = bedside_points(body) + 20 * len(complications) + 30 * antidiarrhoeal + 10 * mass
    diary = Decimal(str(target)) - fixed
    wellbeing = _within(round(float(diary) * 0.45 / 7), 28)
    pain = _within(round(float(diary) * 0.28 / 5), 21)
    stools = _within(round((diary - 7 * wellbeing - 5 * pain) / 2), 70)
    total = fixed + 2 * stools + 5 * pain + 7 * wellbeing
    components: RawEvent = {
        "liquid_stools": _spread(rng, stools, 12) if daily else stools,
        "abdominal_pain": _spread(rng, pain, 3) if daily else pain,
        "wellbeing": _spread(rng, wellbeing, 4) if daily else wellbeing,
        "complications": complications,
        "antidiarrhoeal": antidiarrhoeal,
        "abdominal_mass": mass,
        "haematocrit_pct": body.haematocrit_pct,
        "weight_kg": body.weight_kg,
    }
    return components, total


def _signs(rng: Random, target: float) -> tuple[list[str], bool, int]:
    if target < 170:
        return [], False, 0
    likely = ["arthritis", "skin_mouth", "anal_fistula_abscess", "fever"]
    complications = sorted(rng.sample(likely, rng.randint(0, 2 if target > 260 else 1)))
    return complications, rng.random() < 0.25, rng.choice((0, 0, 2)) if target > 300 else 0


def _within(value: int, limit: int) -> int:
    return min(max(value, 0), limit)


def _spread(rng: Random, total: int, most: int) -> list[int]:
    days = [total // 7 + (day < total % 7) for day in range(7)]
    if max(days) > most:
        raise ValueError(f"a diary of 7 days cannot hold {total} at {most} a day")
    rng.shuffle(days)
    return days


def draw_body(rng: Random, sex: str) -> Body:
    """A thin adult with mild anaemia, as active Crohn's disease leaves one."""
    height = round(bell(rng, 171 if sex == "male" else 160, 6, 148, 188))
    index = bell(rng, 19.2, 2.2, 15.5, 25)
    haematocrit = round(bell(rng, 39 if sex == "male" else 36, 3, 30, 46), 1)
    return Body(sex, height, round(index * (height / 100) ** 2, 1), haematocrit)


def draw_plain_segments(rng: Random, severity: float) -> RawEvent:
    """All five segments with lesions as grave as `severity` (0 healed .. 1 severe) allows; any total."""
    chance = rng.random
    most = severity * len(_BY_SEVERITY)
    return {
        name: named_segment(_BY_SEVERITY[min(int(chance() * most), len(_BY_SEVERITY) - 1)])
        for name in SEGMENTS
    }

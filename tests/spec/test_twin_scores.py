"""CDAI and SES-CD of one visit: the worked examples of R1 and R2.6."""

from decimal import Decimal
from typing import Any

import pytest
from twin import scores
from twin.builders import segment, visit
from twin.carried import haematocrit_of, weight_of
from twin.numbers import stored
from twin.protocols import FU2025, Rules
from twin.scores import Body, endoscopy, week_sum

WOMAN = {
    "liquid_stools": [5, 6, 5, 7, 6, 5, 6],
    "abdominal_pain": [2, 2, 1, 2, 2, 1, 2],
    "wellbeing": [2, 2, 2, 1, 2, 2, 2],
    "complications": ["arthritis", "anal_fistula_abscess"],
    "antidiarrhoeal": True,
    "abdominal_mass": 2,
    "haematocrit_pct": 34,
    "weight_kg": 51,
}


def cdai(event: Any, sex: str | None, height_cm: Any, rules: Rules = FU2025) -> Decimal | None:
    """The CDAI of a visit with what it states itself."""
    score = scores.cdai(event, Body(sex, height_cm, haematocrit_of(event), weight_of(event)), rules)
    return None if score is None else stored(score)


WELL = {"complications": [], "antidiarrhoeal": False, "abdominal_mass": 0}


@pytest.mark.parametrize(
    ("components", "sex", "height_cm", "total"),
    [
        pytest.param(WOMAN, "female", 165, "378.9385", id="A"),
        pytest.param(
            {
                "liquid_stools": [2, 2, 1, 2, 2, 1, 2],
                "abdominal_pain": [1, 0, 1, 0, 0, 1, 0],
                "wellbeing": [1, 1, 1, 0, 1, 0, 1],
                "haematocrit_pct": 39,
                "weight_kg": 54,
                **WELL,
            },
            "female",
            165,
            "96.6408",
            id="B",
        ),
        pytest.param(
            {"liquid_stools": 14, "abdominal_pain": 4, "wellbeing": 7, "haematocrit_pct": 49, "weight_kg": 92}
            | WELL,
            "male",
            178,
            "87.0000",
            id="C, clipped haematocrit",
        ),
        pytest.param(
            {
                "liquid_stools": [3, None, 4, 3, None, 2, 3],
                "abdominal_pain": [1, None, 1, 1, None, 1, 1],
                "wellbeing": [1, None, 1, 1, None, 1, 1],
                "haematocrit_pct": 44,
                "weight_kg": 71.604,
                **WELL,
            },
            "male",
            180,
            "144.0000",
            id="D, five valid days",
        ),
    ],
)
def test_worked_examples(components: dict[str, Any], sex: str, height_cm: int, total: str) -> None:
    score = cdai(visit(0, cdai_components=components), sex, height_cm)
    assert score is not None
    assert score.quantize(Decimal("0.0001")) == Decimal(total)


@pytest.mark.parametrize(
    ("days", "total"),
    [
        ([1, 2, 3, 4, 5, 6, 7], 28),
        ([3, None, 4, 3, None, 2, 3], 21),
        ([1, 1, 1, 1, None, None, None], 7),
        ([1, 1, 1, None, None, None, None], None),
        (14, 14),
        (0, 0),
        (None, None),
    ],
)
def test_a_week_needs_four_valid_days(days: Any, total: int | None) -> None:
    assert week_sum(days) == total


@pytest.mark.parametrize(
    "missing",
    [
        "liquid_stools",
        "abdominal_pain",
        "wellbeing",
        "complications",
        "antidiarrhoeal",
        "abdominal_mass",
        "haematocrit_pct",
        "weight_kg",
    ],
)
def test_incomplete_components_leave_the_reported_total(missing: str) -> None:
    components = {name: value for name, value in WOMAN.items() if name != missing}
    assert cdai(visit(0, cdai=200, cdai_components=components), "female", 165) == 200
    assert cdai(visit(0, cdai_components=components), "female", 165) is None


@pytest.mark.parametrize(("sex", "height_cm"), [(None, 165), ("female", None)])
def test_without_sex_or_height_only_the_total_speaks(sex: str | None, height_cm: int | None) -> None:
    assert cdai(visit(0, cdai=200, cdai_components=WOMAN), sex, height_cm) == 200


def test_computed_beats_reported() -> None:
    score = cdai(visit(0, cdai=200, cdai_components=WOMAN), "female", 165)
    assert score is not None
    assert score.quantize(Decimal("0.0001")) == Decimal("378.9385")


def test_a_supplied_standard_weight_needs_no_height() -> None:
    # R1.5: 51 of 60 kg is 15 % below; 80 + 60 + 91 + 40 + 30 + 20 + 48 + 15.
    assert cdai(visit(0, cdai_components=WOMAN | {"standard_weight_kg": 60}), "female", None) == 384


def test_the_weight_of_the_visit_stands_in() -> None:
    components = {name: value for name, value in WOMAN.items() if name != "weight_kg"}
    given = visit(0, weight_kg=51, cdai_components=components | {"standard_weight_kg": 60})
    assert cdai(given, "female", None) == 384


@pytest.mark.parametrize(
    ("weight_kg", "below_standard"),
    [(65.9, "-9.833333333"), (66, "-10"), (66.1, "-10"), (60, "0")],
)
def test_weight_floor(weight_kg: float, below_standard: str) -> None:
    # R1.5: standard weight 60 kg, everything else 0 (haematocrit at the male reference).
    zeros = {"liquid_stools": 0, "abdominal_pain": 0, "wellbeing": 0, "haematocrit_pct": 47}
    components = WELL | zeros | {"weight_kg": weight_kg, "standard_weight_kg": 60}
    assert cdai(visit(0, cdai_components=components), "male", None) == Decimal(below_standard)


@pytest.mark.parametrize(
    ("segments", "total"),
    [
        pytest.param(
            {
                "ileum": segment(2, 2, 3, 0),
                "right_colon": segment(1, 1, 2, 0),
                "left_colon": segment(0, 0, 1, 1),
            },
            13,
            id="three segments",
        ),
        pytest.param(
            {
                "ileum": segment(3, 3, 3, 3),
                "right_colon": segment(3, 3, 3, 2),
                "transverse_colon": segment(3, 3, 3, 2),
                "left_colon": segment(3, 3, 3, 2),
                "rectum": segment(3, 3, 3, 2),
            },
            56,
            id="highest",
        ),
        pytest.param(
            {"ileum": None, "rectum": segment(0, 0, 0, 0)}, 0, id="unexplored is not zero but healed is"
        ),
        pytest.param({"ileum": segment(1, 1, 1, 0) | {"narrowing": None}}, None, id="item missing"),
        pytest.param({"ileum": None}, None, id="nothing explored"),
    ],
)
def test_ses_cd(segments: dict[str, Any], total: int | None) -> None:
    score = endoscopy(visit(0, ses_cd_segments=segments))
    assert (score.total if score else None) == total


def test_ses_cd_total_only() -> None:
    score = endoscopy(visit(0, ses_cd=7))
    assert score is not None
    assert (score.total, score.segments) == (7, None)


def test_a_missing_item_is_not_healed_by_a_total() -> None:
    assert endoscopy(visit(0, ses_cd=7, ses_cd_segments={"ileum": {"ulcer_size": 1}})) is None

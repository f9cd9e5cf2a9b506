"""Scores of one visit: twin, schemas and stores against the tables that clinicians read (R1, R2.1, R2.6)."""

from decimal import Decimal
from typing import Any

import pytest
import twin
from rule_tables import scores as tables
from stores import CONTRARY, OUTCOMES, emptied, load, rows
from twin import scores
from twin.builders import enrolment, lab, on, start, visit
from twin.carried import haematocrit_of, weight_of
from twin.numbers import stored
from twin.protocols import FU2025, Rules
from twin.scores import Body, endoscopy, week_sum

from schemas import EventRefused, parse_event

CLOSED = on(365)
SIGNED, ROUNDED = Rules("signed", hct_mode="signed"), Rules("rounded", component_rounding=True)
TENTH_OF_A_THOUSANDTH = Decimal("0.0001")
"""To so many decimals the worked examples are printed."""


def cdai(
    components: Any, sex: str | None, height_cm: Any, rules: Rules = FU2025, **fields: Any
) -> Decimal | None:
    """The CDAI of a visit with what it states itself."""
    event = visit(84, cdai_components=components, **fields)
    score = scores.cdai(event, Body(sex, height_cm, haematocrit_of(event), weight_of(event)), rules)
    return None if score is None else stored(score)


def number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def in_stores(
    cases: list[tuple[dict[str, Any], dict[str, Any]]], protocol: str = "fu2025"
) -> list[Decimal | None]:
    """What a store makes of visits, each of a patient of its own: fields of the enrolment, fields of the visit."""
    events = []
    for count, (person, fields) in enumerate(cases):
        who = {"patient_id": f"W12-{count:04}"}
        events += [enrolment(**person, **who), start(**who), visit(84, **fields, **who)]
    store = load(emptied(OUTCOMES, CLOSED, ("fu2025", CONTRARY)), [events])
    remission = "timepoint = 'week_12' AND endpoint = 'clinical_remission'"
    found = rows(
        store, f"FROM patient_outcomes WHERE {remission} AND protocol = '{protocol}' ORDER BY patient_id"
    )
    return [row["value"] for row in found]


def person(sex: str | None, height_cm: float | None) -> dict[str, Any]:
    return {"sex": sex or "other", "height_cm": height_cm}


@pytest.mark.parametrize(("who", "components", "hct_mode", "total"), tables.WORKED.params())
def test_worked_examples(who: Any, components: Any, hct_mode: str, total: str | None) -> None:
    score = cdai(components, *who, rules=Rules("x", hct_mode=hct_mode))
    assert (score and score.quantize(TENTH_OF_A_THOUSANDTH)) == number(total)


def test_worked_examples_in_a_store() -> None:
    clipped = [case.values for case in tables.WORKED.cases if case.values[2] == "clip"]
    found = in_stores([(person(*who), {"cdai_components": components}) for who, components, *_ in clipped])
    assert [value and value.quantize(TENTH_OF_A_THOUSANDTH) for value in found] == [
        number(c[3]) for c in clipped
    ]


@pytest.mark.parametrize(("days", "total"), tables.DIARIES.params())
def test_a_week_needs_four_valid_days(days: Any, total: str | None) -> None:
    assert week_sum(days) == number(total)


@pytest.mark.parametrize(("categories", "points"), tables.COMPLICATIONS.params())
def test_each_category_of_complications_counts_once(categories: list[str], points: int) -> None:
    components = tables.ZERO | {"complications": categories, "haematocrit_pct": 47, "weight_kg": 60}
    assert cdai(components | {"standard_weight_kg": 60}, "male", None) == points


@pytest.mark.parametrize(("sex", "haematocrit", "clipped", "signed"), tables.HAEMATOCRITS.params())
def test_points_of_the_haematocrit(sex: str, haematocrit: float, clipped: str, signed: str) -> None:
    components = tables.ZERO | {"haematocrit_pct": haematocrit, "weight_kg": 60, "standard_weight_kg": 60}
    assert cdai(components, sex, None) == number(clipped)
    assert cdai(components, sex, None, SIGNED) == number(signed)


def _weighed(sex: str, sent: float | None, weight: float) -> dict[str, Any]:
    standard = {} if sent is None else {"standard_weight_kg": sent}
    return tables.ZERO | standard | {"haematocrit_pct": {"male": 47, "female": 42}[sex], "weight_kg": weight}


@pytest.mark.parametrize(("sex", "height", "sent", "weight", "points"), tables.WEIGHTS.params())
def test_points_of_the_weight(sex: str, height: Any, sent: Any, weight: float, points: str) -> None:
    assert cdai(_weighed(sex, sent, weight), sex, height) == number(points)


@pytest.mark.parametrize(("haematocrit", "weight", "exact", "rounded"), tables.ROUNDING.params())
def test_rounding_of_components(haematocrit: float, weight: float, exact: str, rounded: str) -> None:
    components = tables.ZERO | {"haematocrit_pct": haematocrit, "weight_kg": weight, "standard_weight_kg": 60}
    assert cdai(components, "male", None) == number(exact)
    assert cdai(components, "male", None, ROUNDED) == number(rounded)


def test_the_terms_in_a_store() -> None:
    weights = [case.values for case in tables.WEIGHTS.cases]
    cases = [(person(s, h), {"cdai_components": _weighed(s, sent, w)}) for s, h, sent, w, _ in weights]
    assert in_stores(cases) == [number(case[-1]) for case in weights]
    rounding = [case.values for case in tables.ROUNDING.cases]
    body = tables.ZERO | {"standard_weight_kg": 60}
    cases = [
        (person("male", None), {"cdai_components": body | {"haematocrit_pct": h, "weight_kg": w}})
        for h, w, *_ in rounding
    ]
    assert in_stores(cases) == [number(case[2]) for case in rounding]
    assert in_stores(cases, "contrary") == [
        number(case[3]) for case in rounding
    ]  # signed, which changes nothing here


DIARY = tables.ZERO | {"liquid_stools": 14, "abdominal_pain": 7, "wellbeing": 7, "standard_weight_kg": 60}


@pytest.mark.parametrize(("days_before", "total", "carried"), tables.CARRIED.params())
def test_haematocrit_and_weight_of_another_record(days_before: int, total: int | None, carried: bool) -> None:
    other = [
        visit(84 - days_before, "other", weight_kg=60),
        lab("haematocrit", 84 - days_before, 38, unit="%"),
    ]
    events = [enrolment(), start(), *other, visit(84, "diary", cdai_components=DIARY)]
    told = twin.outcomes(events, CLOSED)
    store = load(emptied(OUTCOMES, CLOSED), [events])
    names = ("patient_outcomes", "data_quality")
    for found in (told, {name: rows(store, f"FROM {name}") for name in names}):
        (row,) = [
            r
            for r in found["patient_outcomes"]
            if (r["timepoint"], r["endpoint"]) == ("week_12", "clinical_remission")
        ]
        assert row["value"] == total
        assert ("cdai_imputed" in {r["rule"] for r in found["data_quality"]}) is carried


@pytest.mark.parametrize(
    ("sent", "stools", "pain", "stools_a_day", "pain_a_day", "pro2"), tables.COMPLAINTS.params()
)
def test_stools_and_pain(
    sent: Any, stools: Any, pain: Any, stools_a_day: Any, pain_a_day: Any, pro2: str | None
) -> None:
    event = _complaints(sent, stools, pain)
    found = scores.complaints(event)
    assert tuple(None if mean is None else stored(mean) for mean in found) == (
        number(stools_a_day),
        number(pain_a_day),
    )
    if None not in found:
        assert stored(2 * found[0] + 5 * found[1]) == number(pro2)  # type: ignore[operator]


def _complaints(sent: Any, stools: Any, pain: Any) -> dict[str, Any]:
    names = ("stool_frequency", "abdominal_pain")
    means = {name: mean for name, mean in zip(names, sent, strict=True) if mean is not None}
    diary = {
        name: week for name, week in (("liquid_stools", stools), ("abdominal_pain", pain)) if week is not None
    }
    return visit(84, **({"pro2": means} if means else {}), **({"cdai_components": diary} if diary else {}))


@pytest.mark.parametrize(("items", "sent", "total"), tables.HBI.params())
def test_hbi(items: dict[str, Any] | None, sent: int | None, total: int | None) -> None:
    assert scores.hbi(_hbi_visit(items, sent)) == total


def test_hbi_in_a_store() -> None:
    cases = [case.values for case in tables.HBI.cases]
    events = []
    for count, (items, sent, _) in enumerate(cases):
        who = {"patient_id": f"W12-{count:04}"}
        events += [enrolment(**who), start(**who), {**_hbi_visit(items, sent), **who}]
    store = load(emptied(OUTCOMES, CLOSED), [events])
    found = rows(
        store,
        "SELECT value FROM patient_outcomes WHERE timepoint = 'week_12' AND endpoint = 'hbi_remission' "
        "ORDER BY patient_id",
    )
    assert [row["value"] for row in found] == [total for *_, total in cases]


def _hbi_visit(items: dict[str, Any] | None, sent: int | None) -> dict[str, Any]:
    given = {name: value for name, value in (("hbi", sent), ("hbi_components", items)) if value is not None}
    return visit(84, **given)


@pytest.mark.parametrize(("segments", "total", "explored"), tables.SES_CD.params())
def test_ses_cd(segments: dict[str, Any], total: int | None, explored: int) -> None:
    score = endoscopy(visit(0, **segments))
    assert (score.total if score else None) == total
    parsed: Any = parse_event(visit(0, **segments))
    assert len(parsed.ses_cd_segments.explored()) == explored


@pytest.mark.parametrize(("what", "taken", "refused"), tables.REFUSED.params())
def test_what_cannot_be_is_refused(what: str, taken: dict[str, Any], refused: dict[str, Any]) -> None:
    parse_event(visit(0, **taken))
    with pytest.raises(EventRefused):
        parse_event(visit(0, **refused))


def test_computed_beats_reported_where_it_can_be_computed() -> None:
    assert cdai(tables.WOMAN, "female", None, cdai=200) == 200
    score = cdai(tables.WOMAN, "female", 165, cdai=200)
    assert score is not None
    assert score.quantize(TENTH_OF_A_THOUSANDTH) == Decimal("378.9385")


def test_the_weight_of_the_visit_stands_in() -> None:
    components = {name: value for name, value in tables.WOMAN.items() if name != "weight_kg"}
    assert cdai(components | {"standard_weight_kg": 60}, "female", None, weight_kg=51) == 384


def test_ses_cd_total_only() -> None:
    score = endoscopy(visit(0, ses_cd=7))
    assert score is not None
    assert (score.total, score.segments) == (7, None)


def test_a_missing_item_is_not_healed_by_a_total() -> None:
    assert endoscopy(visit(0, ses_cd=7, ses_cd_segments={"ileum": {"ulcer_size": 1}})) is None

"""No limit is decided by rounding (R0.1): proofs over everything that scales, rulers and diaries can say.

The stores keep nine decimals. A rounded score can only be wrong about a limit if the exact one lies within half of the
ninth decimal of it and is not the limit itself. Of diary counts, haematocrits to 0.1 and the weight term of R1.5 all
but the last are multiples of 1/30, and so is every limit in use: what matters is how near the weight term comes to
one of those without being it.
"""

import duckdb
import numpy as np
import pytest
import twin
from stores import OUTCOMES, emptied, load, rows
from twin.builders import enrolment, on, start, visit

STEP = 30  # 1/6 from the mean of six days, 1/5 from six times a tenth of a haematocrit
KEPT = 1e-9


@pytest.mark.parametrize("tenths", [221, 208])
def test_no_weight_and_height_put_a_cdai_on_the_wrong_side(tenths: int) -> None:
    # B = 100 - 100 x weight / (height^2 x 22.1): every weight to 10 g, every height to 1 mm, both sexes.
    weights = np.arange(1, 25_001, dtype=np.int64)  # of 10 g; also every difference of two weights
    nearest = [_nearest(weights, millimetres, tenths) for millimetres in range(1000, 2301)]
    assert min(nearest) > KEPT / 2


@pytest.mark.parametrize("tenths", [221, 208])
def test_no_two_weights_put_a_fall_on_the_wrong_side(tenths: int) -> None:
    # Two scores are rounded: weights to 100 g and heights to 1 mm, or weights to 10 g and heights to 5 mm.
    rough = np.arange(10, 25_001, 10, dtype=np.int64)
    fine = np.arange(1, 25_001, dtype=np.int64)
    assert min(_nearest(rough, millimetres, tenths) for millimetres in range(1000, 2301)) > KEPT
    assert min(_nearest(fine, millimetres, tenths) for millimetres in range(1000, 2301, 5)) > KEPT


def _nearest(weights: "np.ndarray[tuple[int], np.dtype[np.int64]]", millimetres: int, tenths: int) -> float:
    """How near 100 x weight / standard weight comes to a multiple of 1/30 without being one."""
    whole = millimetres * millimetres * tenths
    rest = STEP * 10**7 * weights % whole
    distance = np.minimum(rest, whole - rest)
    return float(distance[distance > 0].min(initial=whole)) / whole / STEP


def test_a_fall_of_a_little_less_than_100_is_no_response() -> None:
    # A man of 176.9 cm: 14.8 kg less are 21.40000012... points more. 116 + 5.4 - 21.40000012... = 99.99999987...
    ill: dict[str, object] = {"complications": [], "antidiarrhoeal": False, "abdominal_mass": 5}
    before = ill | {"liquid_stools": 40, "abdominal_pain": 14, "wellbeing": 14}
    after = ill | {"liquid_stools": 37, "abdominal_pain": 6, "wellbeing": 4}
    events = [
        enrolment(sex="male", height_cm=176.9),
        start(),
        visit(-7, cdai_components=before | {"haematocrit_pct": 44.1, "weight_kg": 70}),
        visit(84, cdai_components=after | {"haematocrit_pct": 45, "weight_kg": 55.2}),
    ]
    store = load(emptied(OUTCOMES, on(365)), [events])
    wanted = "endpoint IN ('cr70', 'cr100') AND timepoint = 'week_12'"
    found = rows(store, f"SELECT endpoint, observed FROM patient_outcomes WHERE {wanted} ORDER BY endpoint")
    assert found == [{"endpoint": "cr100", "observed": False}, {"endpoint": "cr70", "observed": True}]
    assert [
        r["observed"]
        for r in twin.outcomes(events, on(365))["patient_outcomes"]
        if (r["endpoint"], r["timepoint"]) == ("cr100", "week_12")
    ] == [False]


@pytest.mark.parametrize(("most_a_day", "per_cent"), [(15, 30), (15, 50), (3, 30), (3, 50)])
def test_no_pair_of_diaries_is_rounded_over_a_limit(most_a_day: int, per_cent: int) -> None:
    # Every mean of 4 to 7 whole numbers against every other: integers on one side, the store's macros on the other.
    con = duckdb.connect()
    con.execute(OUTCOMES.macros)
    con.execute(
        "CREATE TABLE means AS SELECT total, days, (total::DOUBLE * 7 / days / 7)::DECIMAL(18, 9) AS mean "
        f"FROM range(4, 8) AS d(days), range(0, 7 * {most_a_day} + 1) AS t(total) WHERE total <= {most_a_day} * days"
    )
    exact = "b.total * v.days", "v.total * b.days"  # over b.days * v.days
    wrong = con.execute(
        f"""SELECT count(*) FILTER (reaches(b.mean - v.mean, '>=', 0) <> ({exact[0]} >= {exact[1]})),
            count(*) FILTER (b.total > 0 AND
                fell_per_cent(b.mean, v.mean, '>=', {per_cent}, NULL, NULL, NULL, true)
                <> (100 * ({exact[0]} - {exact[1]}) >= {per_cent} * {exact[0]})),
            count(*) FILTER (b.total > 0 AND
                fell_per_cent(b.mean, v.mean, '>', {per_cent}, NULL, NULL, NULL, true)
                <> (100 * ({exact[0]} - {exact[1]}) > {per_cent} * {exact[0]})),
            count(*) > 3000
        FROM means AS b, means AS v"""
    ).fetchone()
    assert wrong == (0, 0, 0, True)

"""Laboratory values: what is normal, censored results, limits by age and sex, units, and what is refused (R3)."""

from typing import Any

from rule_tables.tables import Column, Page, Table, case, or_nothing, said

CENSORED = Table(
    "R3.4",
    "is a result normal, with a limit of 10?",
    ("result", Column("normal if at most 10", said), Column("normal if below 10", said)),
    [
        case("9", True, True),
        case("10", True, False),
        case("11", False, False),
        case("<9", True, True),
        case("<10", True, True),
        case("<11", None, None, source="10 or 10.9, who knows"),
        case("<=9", True, True),
        case("<=10", True, None, source="10 itself is the question"),
        case("<=11", None, None),
        case(">9", None, None),
        case(">10", False, False),
        case(">11", False, False),
        case(">=9", None, None),
        case(">=10", None, False, source="10 itself is the question"),
        case(">=11", False, False),
    ],
    "by logic: what holds for every value that the result may stand for",
)  # fmt: skip

LIMITS = Table(
    "R3.1, R3.3",
    "where the upper limit comes from, for a woman of 34 at sampling",
    ("analyte", "unit", Column("limit sent by the laboratory", or_nothing()), "upper limit"),
    [
        case("crp", "mg/L", 8, "8"),
        case("crp", "mg/L", None, "5", source="fallback"),
        case("esr", "mm/h", 12, "12"),
        case("esr", "mm/h", None, "22", source="Miller: (34 + 10) / 2"),
        case("fcal", "ug/g", 50, "250", source="the protocol's, whatever the laboratory's"),
        case("fcal", "ug/g", None, "250"),
    ],
    "R3.1, R3.3",
)

MILLER = Table(
    "R3.3",
    "upper limit of the ESR by age and sex: age/2 for men, (age + 10)/2 for women",
    (Column("reference sex", or_nothing(said, "not known")), Column("age", or_nothing(said, "not known")),
     Column("limit, mm/h", or_nothing(said, "unknown"))),
    [
        case("male", 61, "30.5"),
        case("female", 30, "20"),
        case("female", 45, "27.5"),
        case(None, 45, None, source="R0.6: sex is never guessed"),
        case("female", None, None),
    ],
    "Miller, as cited by medicalalgorithms.com",
)  # fmt: skip

RESULTS = Table(
    "R3.1",
    "results against the default limits (CRP 5, inclusive; calprotectin 250, strict)",
    ("analyte", "result", Column("normal", said)),
    [
        case("crp", "<5", True),
        case("crp", "<10", None),
        case("crp", 4.9, True),
        case("crp", 5, True),
        case("crp", 5.1, False),
        case("fcal", 249.9, True),
        case("fcal", 250, False),
        case("fcal", 250.1, False),
        case("fcal", "<250", True),
        case("fcal", ">200", None),
        case("fcal", ">1800", False),
    ],
    "STRIDE-II and a Canadian cohort (below 250); 5 mg/L by convention",
)

NORMALISATION = Table(
    "R3.2",
    "normalisation of CRP: raised at baseline, normal at week 12",
    (Column("baseline, mg/L", or_nothing()), Column("week 12, mg/L", or_nothing()), "status",
     Column("normalised", said), "in the denominator", Column("reason", or_nothing())),
    [
        case(5.1, 5, "final", True, True, None),
        case(5.1, 5.1, "final", False, True, None),
        case(5, 1, "final", None, False, "baseline_normal"),
        case(None, 1, "not_applicable", None, False, "no_baseline"),
        case("<10", 1, "final", None, False, "baseline_unknown"),
        case(">20", "<10", "final", None, True, "value_unknown"),
        case(">20", "<5", "final", True, True, None),
        case(20, None, "missed", None, True, "missed"),
    ],
    "cohorts: 'initially abnormal' (Scribano 2022)",
)  # fmt: skip

CONVERSIONS = Table(
    "R3.5",
    "codes and units",
    ("analyte or LOINC code", "value", "unit", "canonical value", "canonical unit"),
    [
        case("crp", 12, "mg/L", 12, "mg/L"),
        case("crp", 12, "ug/mL", 12, "mg/L"),
        case("30522-7", 0.32, "mg/dL", 3.2, "mg/L"),
        case("esr", 22, "mm/h", 22, "mm/h"),
        case("fcal", 212, "mg/kg", 212, "ug/g"),
        case("38445-3", 212, "ng/mg", 212, "ug/g"),
        case("albumin", 3.9, "g/dL", 39, "g/L"),
        case("54347-0", 600, "umol/L", 39.9, "g/L", source="600 x 0.0665"),
        case("haemoglobin", 12.9, "g/dL", 129, "g/L"),
        case("59260-0", 8.1, "mmol/L", 130.5234, "g/L", source="8.1 x 16.114"),
        case("haematocrit", 0.39, "L/L", 39, "%"),
        case("71833-8", 0.39, "1", 39, "%"),
        case("wbc", 6.4, "10*3/uL", 6.4, "10*9/L"),
        case("lymphocytes", 900, "/uL", 0.9, "10*9/L"),
        case("neutrophils", 3200, "10*6/L", 3.2, "10*9/L"),
        case("platelets", 250, "10*9/L", 250, "10*9/L"),
        case("alt", 0.5, "ukat/L", 30, "U/L"),
        case("ast", 31, "[IU]/L", 31, "U/L"),
        case("bilirubin", 1, "mg/dL", 17.104, "umol/L"),
        case("creatinine", 1, "mg/dL", 88.4, "umol/L"),
        case("ck", 2, "ukat/L", 120, "U/L"),
        case("cholesterol_total", 193.35, "mg/dL", 5, "mmol/L", source="193.35 / 38.67"),
        case("ldl", 38.67, "mg/dL", 1, "mmol/L"),
        case("hdl", 77.34, "mg/dL", 2, "mmol/L"),
        case("triglycerides", 88.57, "mg/dL", 1, "mmol/L"),
    ],
    "LOINC 2.67 units; factors by hand",
)

PLAUSIBLE = Table(
    "R3.6",
    "plausible limits: what lies outside is refused",
    ("analyte", "unit", "last value taken", "first value refused"),
    [
        case("crp", "mg/L", 0, -0.001),
        case("crp", "mg/L", 600, 600.001),
        case("crp", "mg/dL", 60, 60.001),
        case("esr", "mm/h", 200, 200.5),
        case("fcal", "ug/g", 60_000, 60_000.1),
        case("haemoglobin", "g/L", 20, 19.9),
        case("haemoglobin", "g/L", 250, 250.1),
        case("haemoglobin", "g/dL", 25, 25.01),
        case("haemoglobin", "g/L", 130, 13, source="13 is g/dL sent as g/L"),
        case("haematocrit", "%", 10, 9.9),
        case("haematocrit", "%", 42, 0.42, source="0.42 is a fraction sent as %"),
        case("haematocrit", "L/L", 0.7, 0.701),
        case("wbc", "10*9/L", 200, 200.1),
        case("lymphocytes", "10*9/L", 100, 100.1),
        case("neutrophils", "/uL", 100_000, 100_001),
        case("platelets", "10*9/L", 3000, 3000.1),
        case("alt", "U/L", 20_000, 20_000.1),
        case("ast", "U/L", 20_000, 20_000.1),
        case("bilirubin", "umol/L", 1000, 1000.1),
        case("creatinine", "umol/L", 5, 4.99),
        case("creatinine", "umol/L", 3000, 3000.1),
        case("ck", "U/L", 500_000, 500_001),
    ],
    "R3.6",
)

NOT_TAKEN = Table(
    "R3.5",
    "codes and units that lead to no canonical value are refused",
    ("analyte or LOINC code", "unit", "reason"),
    [
        case("736-9", "%", "unit_not_convertible", source="lymphocytes in per cent are no count"),
        case("770-8", "%", "unit_not_convertible", source="neutrophils in per cent are no count"),
        case("26511-6", "%", "unit_not_convertible", source="neutrophils in per cent are no count"),
        case("18184-2", "mm/(2.h)", "unit_not_convertible", source="the rate over two hours"),
        case("50756-6", "ng/mL", "unit_not_convertible", source="CK as mass"),
        case("crp", "nmol/L", "unit_not_convertible", source="published factors differ"),
        case("lymphocytes", "%", "unit_not_convertible"),
        case("crp", "furlong", "unit_unknown"),
        case("1234-5", "mg/L", "code_unknown"),
    ],
    "R3.5",
)

TABLES: tuple[Table, ...] = (
    CENSORED,
    LIMITS,
    MILLER,
    RESULTS,
    NORMALISATION,
    CONVERSIONS,
    NOT_TAKEN,
    PLAUSIBLE,
)

PAGE = Page(
    "biomarkers",
    "Biomarkers, case by case",
    """
What is normal, what stays unknown, which codes and units are taken. A censored result (`<5`) stays a bound: nothing is
put in its place. Written by `make rules` from the tables that the tests run.
""",
    TABLES,
)


def result_text(result: Any) -> tuple[str | None, float]:
    """`<=10` as comparator and number."""
    text = str(result)
    bound = text.lstrip("<>=")
    return text[: len(text) - len(bound)] or None, float(bound)

"""The synthetic study cohort gives the published counts, by a count of its own.

Written from the clinical rules (R1, R2, R3, R4, R6) in plain Python and exact decimals; it shares nothing
with the services, nor with the generator.
"""

import json
from collections import Counter, defaultdict
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.simulation.disorder import disorder

COHORT = Path(__file__).parents[2] / "examples" / "fu2025" / "cohort.jsonl"
CUT = date(2025, 2, 28)
KINDS = {"scheduled": 2, "retest": 1, "unscheduled": 0}
Event = dict[str, Any]


@pytest.fixture(scope="module")
def cohort() -> list[Event]:
    return [json.loads(line) for line in COHORT.read_text(encoding="utf-8").splitlines()]


def current_records(events: list[Event]) -> list[Event]:
    """Of every record the highest version, where that does not withdraw it (R4.4)."""
    records: dict[tuple[str, str], Event] = {}
    for event in sorted(events, key=lambda e: (e["version"], e["recorded_at"]), reverse=True):
        best = records.setdefault((event["site_id"], event["event_id"]), event)
        if best["version"] == event["version"]:
            records[event["site_id"], event["event_id"]] = event
    return [record for record in records.values() if not record.get("retracted")]


class Patient:
    def __init__(self, events: list[Event]) -> None:
        self.by_type: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            self.by_type[event["event_type"]].append(event)
        self.enrolment = self.by_type["enrolment"][0]
        self.sex = self.enrolment.get("reference_sex", self.enrolment["sex"])
        starts = [t for t in self.treatments("upadacitinib") if t["action"] == "start"]
        self.start = min(starts, key=lambda t: t["effective_on"])
        self.first_dose = date.fromisoformat(self.start["effective_on"])

    def treatments(self, drug: str) -> list[Event]:
        return [t for t in self.by_type["treatment"] if t["drug"] == drug]

    def offset(self, day: str) -> int:
        return (date.fromisoformat(day) - self.first_dose).days

    def choose(self, rows: list[tuple[int, Event, Any]], first: int, last: int) -> Any:
        """R4.2 around day 84."""
        fitting = [row for row in rows if first <= row[0] <= last]
        return (
            max(fitting, key=lambda row: (-abs(row[0] - 84), row[0], *rank(row[1])))[2] if fitting else None
        )

    def baseline(self, rows: list[tuple[int, Event, Any]], first: int) -> Any:
        """R4.5: the last value by the first dose."""
        fitting = [row for row in rows if first <= row[0] <= 0 and not self.after_first_dose(*row[:2])]
        return max(fitting, key=lambda row: (row[0], *rank(row[1])))[2] if fitting else None

    def after_first_dose(self, offset: int, event: Event) -> bool:
        at, dose_at = clock(event), self.start.get("effective_at")
        return offset == 0 and bool(at and dose_at and at > dose_at)

    def cdai(self) -> list[tuple[int, Event, Decimal]]:
        rows = ((self.offset(v["visited_on"]), v, self.cdai_of(v)) for v in self.by_type["visit"])
        return [(offset, visit, value) for offset, visit, value in rows if value is not None]

    def cdai_of(self, visit: Event) -> Decimal | None:
        parts = visit.get("cdai_components")
        if parts is None:
            return Decimal(str(visit["cdai"])) if "cdai" in visit else None
        male = self.sex == "male"
        metres = Decimal(str(self.enrolment["height_cm"])) / 100
        standard = metres**2 * Decimal("22.1" if male else "20.8")
        under = 100 * (1 - Decimal(str(parts["weight_kg"])) / standard)
        anaemia = max(Decimal(0), (47 if male else 42) - Decimal(str(parts["haematocrit_pct"])))
        return (
            2 * week(parts["liquid_stools"])
            + 5 * week(parts["abdominal_pain"])
            + 7 * week(parts["wellbeing"])
            + 20 * len(set(parts["complications"]))
            + 30 * parts["antidiarrhoeal"]
            + 10 * parts["abdominal_mass"]
            + 6 * anaemia
            + max(Decimal(-10), under)
        )

    def endoscopies(self) -> list[tuple[int, Event, Event]]:
        scored = (v for v in self.by_type["visit"] if "ses_cd" in v or "ses_cd_segments" in v)
        return [(self.offset(v["visited_on"]), v, v) for v in scored]

    def labs(self, *names: str) -> list[tuple[int, Event, Event]]:
        labs = (lab for lab in self.by_type["lab"] if lab["analyte"] in names)
        return [(self.offset(lab["collected_on"]), lab, lab) for lab in labs]

    def esr_limit(self, lab: Event) -> Decimal:
        """R3.3: the laboratory's, else Miller."""
        if "ref_high" in lab:
            return Decimal(str(lab["ref_high"]))
        age = int(lab["collected_on"][:4]) - self.enrolment["birth_year"]
        return Decimal(age if self.sex == "male" else age + 10) / 2

    def chosen_day(self) -> int:
        """Offset of the CDAI that counts at week 12."""
        return self.choose([(offset, visit, offset) for offset, visit, _ in self.cdai()], 70, 98)

    def intercurrent(self) -> list[int]:
        """Offsets of R4.7's events: rescue, a stop that is one, another advanced therapy."""
        days = []
        for given in self.by_type["treatment"]:
            rescue = given["action"] == "rescue"
            failed = given["drug"] == "upadacitinib" and given.get("reason") in (
                "adverse_event",
                "lack_of_efficacy",
            )
            switch = given["action"] == "start" and given["drug"] not in ("upadacitinib", "prednisolone")
            if rescue or failed or switch:
                days.append(self.offset(given["effective_on"]))
        return days

    def treatment_emergent(self) -> list[Event]:
        """R6.6: from the first dose to 30 days after the last."""
        stops = [t["effective_on"] for t in self.treatments("upadacitinib") if t["action"] == "stop"]
        last = date.fromisoformat(max(stops)) + timedelta(days=30) if stops else CUT
        return [ae for ae in self.by_type["adverse_event"] if self.first_dose <= latest_onset(ae) <= last]


def clock(event: Event) -> str | None:
    return event.get("visited_at") or event.get("collected_at")


def rank(event: Event) -> tuple[int, str, str, str]:
    kind = KINDS[event.get("visit_kind", "scheduled")]
    return kind, clock(event) or "", event["site_id"], event["event_id"]


def week(item: int | list[int]) -> int:
    return item if isinstance(item, int) else sum(item)


def latest_onset(ae: Event) -> date:
    """A month alone: the last day that it may mean (emergent unless impossible)."""
    onset = date.fromisoformat(ae["onset_on"])
    if ae.get("onset_precision") == "month":
        return (onset.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return onset


def number(lab: Event, factor: Decimal = Decimal(1)) -> tuple[str, Decimal]:
    """Operator and bound (R3.4), in canonical units."""
    text = str(lab["value"])
    operator = text[0] if text[0] in "<>" else "="
    return operator, Decimal(text.lstrip("<>")) * factor


def within(result: tuple[str, Decimal], limit: Decimal, *, strict: bool = False) -> bool:
    operator, bound = result
    if operator == "<":
        assert bound <= limit, "the cohort has no undecidable result"
        return True
    if operator == ">":
        assert bound >= limit, "the cohort has no undecidable result"
        return False
    return bound < limit if strict else bound <= limit


def crp_normal(patient: Patient, lab: Event) -> bool:
    factor = Decimal({"mg/L": 1, "ug/mL": 1, "mg/dL": 10}[lab["unit"]])
    limit = Decimal(str(lab["ref_high"])) * factor if "ref_high" in lab else Decimal(5)
    return within(number(lab, factor), limit)


def esr_normal(patient: Patient, lab: Event) -> bool:
    return within(number(lab), patient.esr_limit(lab))


def fcal_normal(patient: Patient, lab: Event) -> bool:
    assert lab["unit"] in ("ug/g", "mg/kg", "ng/mg")
    return within(number(lab), Decimal(250), strict=True)


MARKERS = {
    "crp": (crp_normal, ("crp", "1988-5")),
    "esr": (esr_normal, ("esr", "4537-7")),
    "fcal": (fcal_normal, ("fcal", "38445-3")),
}


def total(visit: Event, explored: set[str] | None = None) -> int:
    segments = visit.get("ses_cd_segments")
    if segments is None:
        return int(visit["ses_cd"])
    return sum(
        sum(items.values()) for name, items in segments.items() if items and name in (explored or segments)
    )


def endoscopic_outcomes(before: Event, after: Event) -> Counter[str]:
    """R2.7 over the segments explored both times; the follow-up's own total for remission and healing."""
    both = None
    if "ses_cd_segments" in before and "ses_cd_segments" in after:
        seen = [{n for n, items in v["ses_cd_segments"].items() if items} for v in (before, after)]
        both = seen[0] & seen[1]
        assert all(not sum(before["ses_cd_segments"][n].values()) for n in seen[0] - seen[1])
    b, f, whole = total(before, both), total(after, both), total(after)
    items = [i for s in (after.get("ses_cd_segments") or {}).values() if s for i in s.values()]
    remission = whole <= 4 and b - f >= 2 and max(items, default=9) <= 1
    return Counter(
        endoscopic_response=2 * f < b or (b == 4 and b - f >= 2),
        endoscopic_remission=remission,
        mucosal_healing=whole == 0,
    )


def count(events: list[Event]) -> dict[str, tuple[int, int]]:
    """Every published rate as (n, N)."""
    grouped: dict[str, list[Event]] = defaultdict(list)
    for record in current_records(events):
        grouped[record["patient_id"]].append(record)
    n: Counter[str] = Counter()
    of: Counter[str] = Counter()
    for patient in map(Patient, grouped.values()):
        count_patient(patient, n, of)
    return {name: (n[name], of[name]) for name in of}


def count_patient(patient: Patient, n: Counter[str], of: Counter[str]) -> None:
    assert patient.first_dose + timedelta(days=126) <= CUT
    baseline, value = patient.baseline(patient.cdai(), -28), patient.choose(patient.cdai(), 70, 98)
    assert baseline >= 150
    if value is not None:
        of.update(clinical_response=1, clinical_remission=1)
        n.update(clinical_response=baseline - value >= 100, clinical_remission=value < 150)
    before = patient.baseline(patient.endoscopies(), -90)
    after = patient.choose(patient.endoscopies(), 56, 126)
    if before and after and total(before) >= 3:
        outcomes = endoscopic_outcomes(before, after)
        n.update(outcomes)
        of.update(dict.fromkeys(outcomes, 1))
    for marker, (normal, names) in MARKERS.items():
        first, week_12 = (
            patient.baseline(patient.labs(*names), -28),
            patient.choose(patient.labs(*names), 70, 98),
        )
        if first and week_12 and not normal(patient, first):
            of[f"{marker}_normalisation"] += 1
            n[f"{marker}_normalisation"] += normal(patient, week_12)
    failed = [day for day in patient.intercurrent() if value is not None and day <= patient.chosen_day()]
    of.update(response_nri=1, remission_nri=1)
    if value is not None and not failed:
        n.update(response_nri=baseline - value >= 100, remission_nri=value < 150)
    of["adverse_events"] += 1
    n["adverse_events"] += bool(patient.treatment_emergent())


PUBLISHED = {
    "clinical_response": (41, 77),
    "clinical_remission": (33, 77),
    "endoscopic_response": (9, 18),
    "endoscopic_remission": (7, 18),
    "mucosal_healing": (5, 18),
    "crp_normalisation": (37, 59),
    "esr_normalisation": (39, 55),
    "fcal_normalisation": (8, 27),
    "adverse_events": (32, 94),
    "response_nri": (41, 94),
    "remission_nri": (33, 94),
}


def test_final_records_give_the_published_counts(cohort: list[Event]) -> None:
    assert count(cohort) == PUBLISHED


@pytest.mark.parametrize("seed", range(6))
def test_disorder_changes_no_count(cohort: list[Event], seed: int) -> None:
    assert count(disorder(cohort, seed)) == PUBLISHED

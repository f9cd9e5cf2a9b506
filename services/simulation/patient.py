"""One patient of a synthetic registry, quickly: as many records as asked for, the telling ones first."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from random import Random
from typing import Final

from services.simulation.laboratory import ASSAYS
from services.simulation.records import RawEvent
from services.simulation.scores import SEGMENTS, Body, draw_components, draw_plain_segments

ASSESSMENTS_FROM: Final = -25
"""No record of a patient is dated earlier (offset in days)."""
_HABITS: Final = tuple(ASSAYS)
_HABIT_OF_COMPONENTS: Final = "S03"
_HABIT_OF_TOTALS: Final = "S02"
_FOLLOW_UP_VISITS: Final = (14, 28, 56, 112, 168)
_DOSES: Final = {"upadacitinib": 45, "risankizumab": 600, "vedolizumab": 300, "ustekinumab": 390}
_STOP_REASONS: Final = ("lack_of_efficacy", "adverse_event", "patient_choice", "lost_to_follow_up")
_TERMS: Final = (
    ("Lymphopenia", 2),
    ("Lymphopenia", 1),
    ("Acne", 1),
    ("Upper respiratory tract infection", 2),
    ("Headache", 1),
    ("Herpes zoster", 2),
    ("Alanine aminotransferase increased", 1),
    ("Anaemia", 2),
    ("Pneumonia", 3),
    ("Intestinal obstruction", 3),
)
_SERIOUS_FROM: Final = 3
_RANGES: Final = {
    "lymphocytes": (1.75, 0.42),
    "haemoglobin": (123, 12),
    "alt": (21, 8),
    "neutrophils": (4.4, 1.1),
    "ck": (95, 40),
    "creatinine": (66, 11),
    "cholesterol_total": (4.4, 0.7),
}
"""Mean and spread in canonical units, with the findings that such a spread brings."""
_MONITORED: Final = tuple(_RANGES)
MINUTES_A_DAY: Final = 1440
_DAY_NAMES: Final[dict[int, str]] = {}
_DAY_NUMBERS: Final[dict[str, int]] = {}
_MINUTES: Final = tuple(f"T{minute // 60:02d}:{minute % 60:02d}:00Z" for minute in range(MINUTES_A_DAY))


def day_name(ordinal: int) -> str:
    """ISO date of a proleptic day number; remembered, as a registry names the same days again and again."""
    if ordinal not in _DAY_NAMES:
        _DAY_NAMES[ordinal] = date.fromordinal(ordinal).isoformat()
    return _DAY_NAMES[ordinal]


def minute_of(recorded_at: str) -> int:
    """Minutes from day number 0 to a time (UTC) as written here."""
    day = recorded_at[:10]
    if day not in _DAY_NUMBERS:
        _DAY_NUMBERS[day] = date.fromisoformat(day).toordinal()
    return _DAY_NUMBERS[day] * MINUTES_A_DAY + int(recorded_at[11:13]) * 60 + int(recorded_at[14:16])


@dataclass(slots=True)
class Patient:
    """Draws the records of one patient; days are offsets from the first dose, `until` the last of them."""

    rng: Random
    patient_id: str
    site_id: str
    habit: int
    drug: str
    start: int
    until: int
    _written: int = 0
    _sex: str = "male"
    _born: int = 0
    _height: int = 170
    _weight: float = 58.0
    _baseline: int = 0
    _effect: float = 0.0

    def records(self, wanted: int) -> list[RawEvent]:
        """The first `wanted` records; after the planned ones come further safety samples without end."""
        return list(islice(self._all(), wanted))

    def _all(self) -> Iterator[RawEvent]:
        self._draw_person()
        chance = self.rng.random
        before = -int(chance() * 15)
        yield self._enrolment(before - 1 - int(chance() * 9))
        yield self._treatment(0, "start", dose_mg=_DOSES[self.drug])
        yield self._visit(before, 0.0)
        yield self._marker(before, "crp", 0.0)
        comes = chance() < 0.85
        week_12 = 84 + int(chance() * 21) - 10
        if comes and week_12 <= self.until:
            yield self._visit(week_12, 1.0)
            yield self._marker(week_12, "crp", 1.0)
        yield self._record("consent", before, {"status": "given", "effective_on": self._on(before)})
        yield from self._adverse_events()
        yield from self._later_treatment()
        yield from self._endoscopies()
        days = [before, *((week_12,) if comes and week_12 <= self.until else ())]
        for day in days:
            yield self._marker(day, "esr", float(day > 0))
            yield self._sample(day, "lymphocytes")
        for target in _FOLLOW_UP_VISITS:
            day = target + int(chance() * 9) - 4
            if day <= self.until and chance() < 0.75:
                days.append(day)
                yield self._visit(day, min(day / 56, 1.0))
                yield self._marker(day, "crp", min(day / 56, 1.0))
                yield self._sample(day, "lymphocytes")
        if chance() < 0.4:
            for day in days[:2]:
                yield self._marker(day, "fcal", float(day > 0))
        for analyte in _MONITORED[1:]:
            for day in days:
                yield self._sample(day, analyte)
        while True:
            yield self._sample(min(int(chance() * 190), self.until), _MONITORED[int(chance() * 7)])

    def _draw_person(self) -> None:
        chance = self.rng.random
        self._sex = "female" if chance() < 0.4 else "male"
        self._height = (155 if self._sex == "female" else 165) + int(chance() * 15)
        self._weight = round((17 + 6 * chance()) * (self._height / 100) ** 2, 1)
        self._baseline = 222 + int(100 * (chance() + chance()))
        # The share of the baseline CDAI that week 12 takes away: more where it started low.
        self._effect = 0.05 + 0.75 * chance() ** (0.6 if self._baseline < 300 else 1.2)

    def _on(self, day: int) -> str:
        return day_name(self.start + day)

    def _record(self, event_type: str, day: int, fields: RawEvent) -> RawEvent:
        """A record of `day`, written down within days of it, and by the end of `until`."""
        self._written += 1
        lag = int(self.rng.random() ** 3 * 9)
        written_on = self.start + min(day + lag, self.until)
        return {
            "event_type": event_type,
            "site_id": self.site_id,
            "event_id": f"{self.patient_id}-{self._written}",
            "version": 1,
            "patient_id": self.patient_id,
            "recorded_at": day_name(written_on) + _MINUTES[480 + int(self.rng.random() * 600)],
            **fields,
        }

    def _enrolment(self, day: int) -> RawEvent:
        chance = self.rng.random
        year = int(self._on(day)[:4])
        self._born = year - 18 - int(45 * chance() ** 1.5)
        return self._record(
            "enrolment",
            day,
            {
                "enrolled_on": self._on(day),
                "diagnosis": "CD",
                "sex": self._sex,
                "birth_year": self._born,
                "height_cm": self._height,
                "weight_kg": self._weight,
                "disease_location": ("L1", "L2", "L3", "L3")[int(chance() * 4)],
                "disease_behaviour": ("B1", "B1", "B2", "B3")[int(chance() * 4)],
                "perianal": chance() < 0.35,
                "disease_duration_years": round(0.5 + 14 * chance(), 1),
                "prior_biologics": ["infliximab", "ustekinumab"][: int(chance() * 3)],
            },
        )

    def _treatment(self, day: int, action: str, **fields: object) -> RawEvent:
        drug: RawEvent = {"drug": self.drug, "action": action, "effective_on": self._on(day)}
        return self._record("treatment", day, drug | fields)

    def _later_treatment(self) -> Iterator[RawEvent]:
        drawn = self.rng.random()
        if drawn < 0.14:
            day = 40 + int(drawn * 1000)
            if day <= self.until:
                yield self._treatment(day, "stop", reason=_STOP_REASONS[day % 4])
        elif self.until >= 85 and drawn < 0.6:
            yield self._treatment(85, "dose_change", dose_mg=_DOSES[self.drug] // 3 * 2)
        elif self.until >= 40 and drawn > 0.96:
            rescue = {"drug": "prednisolone", "rescue_kind": "corticosteroid", "dose_mg": 40}
            yield self._treatment(40, "rescue", **rescue)

    def _visit(self, day: int, reached: float) -> RawEvent:
        """CDAI as the centre sends it; `reached` is the share of the effect, 0 at baseline, 1 from week 8."""
        cdai = int(self._baseline * (1 - reached * self._effect) + 30 * (self.rng.random() - 0.5))
        fields: RawEvent = {
            "visited_on": self._on(day),
            "corticosteroid": reached < 0.5 and self._height % 3 == 0,
        }
        if _HABITS[self.habit] == _HABIT_OF_COMPONENTS:
            body = Body(self._sex, self._height, self._weight, 37.0 + int(5 * reached))
            fields["cdai_components"] = draw_components(self.rng, cdai, body, daily=self._height % 2 == 0)[0]
        else:
            fields["cdai"] = cdai
        return self._record("visit", day, fields)

    def _endoscopies(self) -> Iterator[RawEvent]:
        if self.rng.random() > 0.55:
            return
        severity = self._baseline / 420
        yield self._endoscopy(ASSESSMENTS_FROM + int(self.rng.random() * 25), severity)
        follow_up = 70 + int(self.rng.random() * 50)
        if follow_up <= self.until and self.rng.random() < 0.5:
            yield self._endoscopy(follow_up, severity * max(0.0, 1 - 1.25 * self._effect))

    def _endoscopy(self, day: int, severity: float) -> RawEvent:
        segments = draw_plain_segments(self.rng, severity)
        fields: RawEvent = {"visited_on": self._on(day), "visit_name": "Ileocolonoscopy"}
        if _HABITS[self.habit] == _HABIT_OF_TOTALS:
            fields["ses_cd"] = sum(sum(segments[name].values()) for name in SEGMENTS)
        else:
            fields["ses_cd_segments"] = segments
        return self._record("visit", day, fields)

    def _marker(self, day: int, marker: str, reached: float) -> RawEvent:
        """CRP, ESR or calprotectin, falling with the disease."""
        chance = self.rng.random
        left = 1 - reached * self._effect * 1.2
        scale = {"crp": 34.0, "esr": 58.0, "fcal": 1700.0}[marker]
        return self._lab(day, marker, max(scale * (0.1 + 0.9 * chance()) * left, scale * 0.012))

    def _sample(self, day: int, analyte: str) -> RawEvent:
        mean, spread = _RANGES[analyte]
        drawn = self.rng.random() + self.rng.random() + self.rng.random() - 1.5
        return self._lab(day, analyte, max(mean + 2 * spread * drawn, mean / 8))

    def _lab(self, day: int, analyte: str, value: float) -> RawEvent:
        report = ASSAYS[_HABITS[self.habit]][analyte].report(value, self._sex)
        known = {name: field for name, field in report.items() if field is not None}
        return self._record("lab", day, {"collected_on": self._on(day), **known})

    def _adverse_events(self) -> Iterator[RawEvent]:
        chance = self.rng.random
        while chance() < 0.36:
            term, grade = _TERMS[int(chance() * len(_TERMS))]
            day = int(chance() * 200)
            if day > self.until:
                return
            serious = grade >= _SERIOUS_FROM
            yield self._record(
                "adverse_event",
                day,
                {
                    "term": term,
                    "onset_on": self._on(day),
                    "grade": grade,
                    "serious": serious,
                    "seriousness": ["hospitalisation"] if serious else [],
                    "related": ("related", "possible", "unlikely")[int(chance() * 3)],
                    "expected": True,
                    "action_taken": "interrupted" if serious else "none",
                    "outcome": "recovering",
                },
            )

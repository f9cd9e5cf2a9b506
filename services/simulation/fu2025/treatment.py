"""Enrolment, consent and treatment of one patient."""

from services.simulation.chance import bell
from services.simulation.fu2025.person import STOP_REASONS, Person
from services.simulation.fu2025.plan import Absence, Decoy, Later

_DRUG = "upadacitinib"
_PRIOR = ("infliximab", "adalimumab", "ustekinumab", "vedolizumab")
_CONSENT_ENDS = 135


def write_enrolment(person: Person, location: str | None) -> None:
    """Consent and enrolment; `location` is the Montreal location that the endoscopy found."""
    rng = person.rng
    enrolled = person.on(person.visits[0].day - rng.randint(20, 27))
    _consent(person, "given", (enrolled - person.plan.first_dose_on).days)
    person.scribe.write(
        "enrolment",
        enrolled,
        {
            "enrolled_on": enrolled.isoformat(),
            "diagnosis": "CD",
            "sex": "other" if person.other_sex else person.reference_sex,
            "reference_sex": person.reference_sex if person.other_sex else None,
            "birth_year": enrolled.year - person.age,
            "height_cm": person.body.height_cm,
            "weight_kg": person.body.weight_kg,
            "disease_location": location or rng.choice(("L1", "L2", "L3", "L3")),
            "disease_behaviour": rng.choices(("B1", "B2", "B3"), (50, 32, 18))[0],
            "perianal": rng.random() < 0.45,
            "disease_duration_years": round(bell(rng, 5.5, 3.5, 0.6, 18), 1),
            "prior_biologics": sorted(rng.sample(_PRIOR, rng.choice((1, 1, 2, 2, 2, 3)))),
        },
    )
    if person.plan.later is Later.WITHDRAWS_CONSENT:
        _consent(person, "withdrawn", _CONSENT_ENDS)


def write_treatments(person: Person) -> None:
    """Everything taken: the index drug, steroids, and what was done about adverse events."""
    timed = person.plan.site_id == "S01" or person.plan.decoy is Decoy.AFTER_FIRST_DOSE
    _treat(person, "start", 0, dose_mg=45, schedule="once daily", effective_at="10:30:00" if timed else None)
    if person.stop_day is not None:
        reason = STOP_REASONS.get(person.plan.absence) if person.plan.absence else "lack_of_efficacy"
        _treat(person, "stop", person.stop_day, reason=reason)
    elif person.plan.absence is not Absence.SKIPPED:
        _step_down(person)
    _write_steroids(person)
    if person.plan.later is Later.SWITCHES and person.stop_day is not None:
        _treat(person, "start", person.stop_day + 14, drug="risankizumab", dose_mg=600)
    for complaint, onset in person.complaints:
        if complaint.pauses and complaint.lasts is not None:
            _treat(person, "interrupt", onset + 1)
            _treat(person, "resume", onset + complaint.lasts)


def _step_down(person: Person) -> None:
    """From 45 mg to 30 or 15 mg at the week-12 visit, else by day 99."""
    day = next((visit.day for visit in person.visits if visit.week == 12), 99)
    low = person.plan.remission and person.rng.random() < 0.4
    _treat(person, "dose_change", day, dose_mg=15 if low else 30)


def _write_steroids(person: Person) -> None:
    for first, last in person.steroid_spans():
        if (first, last) == person.steroid_days:
            _treat(person, "start", first, drug="prednisolone", dose_mg=20)
        else:
            _treat(person, "rescue", first, drug="prednisolone", rescue_kind="corticosteroid", dose_mg=40)
        _treat(person, "stop", last, drug="prednisolone", reason="other")


def _treat(person: Person, action: str, day: int, *, drug: str = _DRUG, **fields: object) -> None:
    on = person.on(day)
    person.scribe.write(
        "treatment", on, {"drug": drug, "action": action, "effective_on": on.isoformat(), **fields}
    )


def _consent(person: Person, status: str, day: int) -> None:
    on = person.on(day)
    person.scribe.write("consent", on, {"status": status, "effective_on": on.isoformat()})

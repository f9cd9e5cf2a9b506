"""One patient's whole course, written down as events."""

from collections.abc import Sequence

from services.simulation.fu2025.complaints import Complaint
from services.simulation.fu2025.endoscopy import draw_baseline, montreal_location, write_endoscopies
from services.simulation.fu2025.laboratory import safety_value, write_decoy_lab, write_labs
from services.simulation.fu2025.person import Person
from services.simulation.fu2025.plan import PatientPlan
from services.simulation.fu2025.treatment import write_enrolment, write_treatments
from services.simulation.fu2025.visits import write_decoy, write_visit
from services.simulation.records import RawEvent

_CONTROL_AFTER = 28


def write_course(plan: PatientPlan, complaints: Sequence[Complaint], seed: int) -> list[RawEvent]:
    """The patient's records in their final version, by kind, then by date."""
    person = Person(plan, complaints, seed)
    segments = draw_baseline(person)
    write_enrolment(person, montreal_location(segments) if segments else None)
    write_treatments(person)
    for visit in person.visits:
        write_visit(person, visit)
        write_labs(person, visit)
    write_decoy(person)
    write_decoy_lab(person)
    write_endoscopies(person, segments)
    for complaint, onset in person.complaints:
        _write_findings(person, complaint, onset)
        _write_adverse_event(person, complaint, onset)
    return person.scribe.events


def _write_findings(person: Person, complaint: Complaint, onset: int) -> None:
    """The abnormal result that a laboratory event is about, and the normal one at its end."""
    if complaint.analyte is None or complaint.level is None:
        return
    control = onset + (complaint.lasts or _CONTROL_AFTER)
    person.record_lab(complaint.analyte, onset, complaint.level, visit_kind="unscheduled")
    normal = safety_value(person, complaint.analyte, control)
    person.record_lab(complaint.analyte, control, normal, visit_kind="unscheduled")


def _write_adverse_event(person: Person, complaint: Complaint, onset: int) -> None:
    ends = None if complaint.lasts is None else person.on(onset + complaint.lasts)
    serious = bool(complaint.seriousness)
    person.scribe.write(
        "adverse_event",
        person.on(onset),
        {
            "term": complaint.term,
            "onset_on": person.on(onset).isoformat(),
            "onset_precision": "month" if complaint.month_only else None,
            "resolved_on": ends.isoformat() if ends else None,
            "aware_on": person.on(onset + 1).isoformat() if serious else None,
            "grade": complaint.grade,
            "serious": serious,
            "seriousness": list(complaint.seriousness),
            "related": complaint.related,
            "expected": complaint.expected,
            "action_taken": complaint.action,
            "outcome": "recovered" if ends else "not_recovered",
        },
        known_from=person.on(20) if complaint.month_only else ends,
    )

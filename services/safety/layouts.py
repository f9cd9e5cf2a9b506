"""Every layout that a file of safety may have, oldest first (`services.stream.migration`)."""

from schemas import EventType
from services.stream.event_tables import split
from services.stream.migration import Layout

COMMON = (
    "patient_key, record_key, version, content, retracted, recorded_at, received_at, on_date, at_time, patient_id, "
    "site_id, event_id, partition, batch"
)
COLUMNS_2 = {
    EventType.ENROLMENT: COMMON,
    EventType.TREATMENT: f"{COMMON}, drug, action, reason",
    EventType.VISIT: COMMON,
    EventType.LAB: f"{COMMON}, analyte, value, comparator, unit, lab_grade",
    EventType.ADVERSE_EVENT: f"{COMMON}, drug, term, meddra_pt, meddra_code, onset_precision, resolved_on, aware_on, "
    "grade, grade_source, serious, seriousness, related, expected, action_taken, outcome, fatal",
    EventType.CONSENT: f"{COMMON}, consent_status",
}
"""What layout 2 keeps of each type; a later layout leaves it as it is."""

LAYOUTS = (
    Layout(1, "the oldest that can be brought up", mark="4b24a6c93dfafee7"),
    Layout(2, "a table for each event type, in place of one with the columns of all", split(COLUMNS_2)),
)

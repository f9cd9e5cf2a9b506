"""Every layout that a file of safety may have, oldest first (`services.stream.migration`)."""

from schemas import EventType
from services.stream.event_tables import split
from services.stream.migration import Layout

COLUMNS_2 = {
    EventType.ENROLMENT: "",
    EventType.TREATMENT: "drug, action, reason",
    EventType.VISIT: "",
    EventType.LAB: "analyte, value, comparator, unit, lab_grade",
    EventType.ADVERSE_EVENT: "drug, term, meddra_pt, meddra_code, onset_precision, resolved_on, aware_on, "
    "grade, grade_source, serious, seriousness, related, expected, action_taken, outcome, fatal",
    EventType.CONSENT: "consent_status",
}
"""What layout 2 keeps of each type beside the common columns; a later layout leaves it as it is."""

LAYOUTS = (
    Layout(1, "the oldest that can be brought up", mark="4b24a6c93dfafee7"),
    Layout(2, "a table for each event type, in place of one with the columns of all", split(COLUMNS_2)),
)

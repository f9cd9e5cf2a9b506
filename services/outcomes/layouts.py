"""Every layout that a file of outcomes may have, oldest first (`services.stream.migration`)."""

from schemas import EventType
from services.stream.event_tables import split
from services.stream.migration import Layout

COLUMNS_5 = {
    EventType.ENROLMENT: "sex, reference_sex, birth_year, height_cm, disease_location, disease_behaviour, "
    "perianal, disease_duration_years, prior_biologics, weight_kg",
    EventType.TREATMENT: "drug, action, reason, dose_mg",
    EventType.VISIT: "visit_rank, cdai_reported, cdai_points, haematocrit_pct, weight_kg, "
    "standard_weight_kg, ses_cd_reported, ses_cd, ses_segments, ses_highest_item, ses_ulceration, "
    "ses_ulcerated_surface, ses_narrowing, hbi_reported, hbi, stool_frequency, abdominal_pain, pro2, corticosteroid",
    EventType.LAB: "warnings, visit_rank, analyte, value, comparator, unit, ref_low, ref_high",
    EventType.ADVERSE_EVENT: "warnings, fatal, resolved_on",
    EventType.CONSENT: "consent_status",
}
"""What layout 5 keeps of each type beside the common columns; a later layout leaves it as it is."""

LAYOUTS = (
    Layout(1, "the oldest that can be brought up", mark="511b5cd9f0a3a78b"),
    Layout(
        2,
        "ulcerated surface of each endoscopy (R2.7)",
        ("ALTER TABLE store.events ADD COLUMN ses_ulcerated_surface TINYINT",),
        from_log=True,
        mark="076ff0f190f93bf6",
    ),
    Layout(3, "the HBI as reported", ("ALTER TABLE store.events ADD COLUMN hbi_reported DECIMAL(18, 9)",)),
    Layout(
        4,
        "of visits already stored: until now only totals came, and what disagrees is seen from the columns",
        (
            "UPDATE store.events SET hbi_reported = hbi WHERE hbi IS NOT NULL",
            "UPDATE store.events SET warnings = NULL WHERE event_type = 'visit' AND warnings IS NOT NULL",
        ),
    ),
    Layout(5, "a table for each event type, in place of one with the columns of all", split(COLUMNS_5)),
)

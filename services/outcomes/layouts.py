"""Every layout that a file of outcomes may have, oldest first (`services.stream.migration`)."""

from services.stream.migration import Layout

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
)

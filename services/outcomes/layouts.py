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
)

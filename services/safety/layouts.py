"""Every layout that a file of safety may have, oldest first (`services.stream.migration`)."""

from services.stream.migration import Layout

LAYOUTS = (Layout(1, "the oldest that can be brought up", mark="4b24a6c93dfafee7"),)

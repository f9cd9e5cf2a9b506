"""What the patient allows."""

from typing import Literal

from schemas.event import Event, EventType
from schemas.fields import Day


class Consent(Event):
    """Consent given or withdrawn, or the wish to be erased."""

    required = ("status", "effective_on")
    dates = ("effective_on",)

    event_type: Literal[EventType.CONSENT]
    """Always `consent`."""
    status: Literal["given", "withdrawn", "erase"] | None = None
    """`withdrawn`: nothing dated later is used; `erase`: the patient leaves every store."""
    effective_on: Day | None = None
    """The day from which it holds."""

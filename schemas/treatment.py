"""What was given, changed, interrupted or stopped, and what was needed to rescue."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.event import Event, EventType, stated
from schemas.fields import ClockTime, Day, GenericName, Text128
from schemas.refusals import Problem


class Treatment(Event):
    """One step of one drug. The index drug's first `start` is day 0 (R0.4)."""

    required = ("action", "effective_on")
    dates = ("effective_on",)

    event_type: Literal[EventType.TREATMENT]
    """Always `treatment`."""
    drug: GenericName | None = None
    """Generic name in lower case; only a surgical or other rescue has none."""
    action: Literal["start", "dose_change", "interrupt", "resume", "stop", "rescue"] | None = None
    """What happened."""
    effective_on: Day | None = None
    """The day it took effect; for `stop` the last day of intake."""
    effective_at: ClockTime | None = None
    """Local time, where it matters on day 0 (R4.5)."""
    dose_mg: Annotated[float, Field(ge=0, le=100_000)] | None = None
    """A single dose in mg."""
    schedule: Text128 | None = None
    """How often, as the site writes it."""
    reason: (
        Literal[
            "adverse_event",
            "lack_of_efficacy",
            "patient_choice",
            "remission",
            "pregnancy",
            "lost_to_follow_up",
            "death",
            "other",
        ]
        | None
    ) = None
    """Why it was stopped: needed for `stop`, and only there."""
    rescue_kind: Literal["corticosteroid", "advanced_therapy", "surgery", "other"] | None = None
    """What rescued: needed for `rescue`, and only there."""

    def _problems(self) -> Iterable[Problem]:
        if self.retracted:
            return
        if self.drug is None and self.rescue_kind not in ("surgery", "other"):
            yield ("drug",), "missing", "is required unless a rescue was surgery or other"
        yield from self._belongs_to("stop", "reason", self.reason)
        yield from self._belongs_to("rescue", "rescue_kind", self.rescue_kind)

    def _belongs_to(self, action: str, name: str, value: str | None) -> Iterable[Problem]:
        if self.action == action and value is None:
            yield (name,), "missing", f"is required for {action}"
        if self.action != action and value is not None:
            yield (name,), "inconsistent", f"is for {action} only"

    @classmethod
    def schema_rules(cls) -> list[dict[str, Any]]:
        without_drug = {
            "properties": {"rescue_kind": {"enum": ["surgery", "other"]}},
            "required": ["rescue_kind"],
        }
        return [
            *super().schema_rules(),
            _only_for("stop", "reason"),
            _only_for("rescue", "rescue_kind"),
            {"anyOf": [stated("drug"), without_drug]},
        ]


def _only_for(action: str, name: str) -> dict[str, Any]:
    return {
        "if": {"properties": {"action": {"const": action}}, "required": ["action"]},
        "then": stated(name),
        "else": {"properties": {name: {"type": "null"}}},
    }

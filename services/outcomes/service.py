"""The outcomes service: its parts in one place."""

from schemas import EventType
from schemas.topics import EVENT_TOPICS
from services.outcomes.api import create_outcomes_api
from services.outcomes.definition import OUTCOMES
from services.outcomes.gauges import OutcomesGauges
from services.outcomes.outbox import OutcomesOutbox
from services.stream.erasure_outbox import ErasureOutbox
from services.stream.node import Patience
from services.stream.publisher import DeadLetters
from services.stream.service import Design

DESIGN = Design(
    definition=OUTCOMES,
    port=lambda settings: settings.outcomes_port,
    api=lambda node, tokens, _: create_outcomes_api(node, tokens),
    # Both services read the same records: this one writes the letters of those they refuse, and tells of erasures.
    outboxes=(DeadLetters(), ErasureOutbox(), OutcomesOutbox()),
    gauges=OutcomesGauges,
    # Of adverse events only fatal ones count here.
    patience=Patience(1, {EVENT_TOPICS[EventType.ADVERSE_EVENT]: 5}),
)

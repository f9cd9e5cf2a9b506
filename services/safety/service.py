"""The safety service: its parts in one place."""

from schemas import EventType
from schemas.topics import ERASURES, EVENT_TOPICS
from services.safety.action_log import KafkaActions, read_actions
from services.safety.api import create_safety_api
from services.safety.definition import SAFETY
from services.safety.gauges import SafetyGauges, count_alerts
from services.safety.outbox import AlertsOutbox
from services.stream.erasure_outbox import ErasureOutbox
from services.stream.node import Patience
from services.stream.service import Design

DESIGN = Design(
    definition=SAFETY,
    port=lambda settings: settings.safety_port,
    api=lambda node, tokens, holder: create_safety_api(node, tokens, KafkaActions(node, holder)),
    outboxes=(ErasureOutbox(), AlertsOutbox()),
    agents=read_actions,
    patience=Patience(5, {EVENT_TOPICS[EventType.ADVERSE_EVENT]: 0, ERASURES: 0}),
    gauges=SafetyGauges,
    tell=count_alerts,
)

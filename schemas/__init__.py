"""The contract: what may travel between the sites, Kafka and the stores."""

from schemas.adverse_event import AdverseEvent
from schemas.analytes import LabResult
from schemas.canonical import RecordKey, canonical_json, content_hash, parse_record_key, record_key
from schemas.consent import Consent
from schemas.enrolment import Enrolment
from schemas.event import Event, EventType
from schemas.lab import Lab, canonical_result
from schemas.parsing import EVENT_MODELS, parse_batch, parse_event
from schemas.refusals import EventRefused, Refusal
from schemas.treatment import Treatment
from schemas.visit import Visit

__all__ = [
    "EVENT_MODELS",
    "AdverseEvent",
    "Consent",
    "Enrolment",
    "Event",
    "EventRefused",
    "EventType",
    "Lab",
    "LabResult",
    "RecordKey",
    "Refusal",
    "Treatment",
    "Visit",
    "canonical_json",
    "canonical_result",
    "content_hash",
    "event_warnings",
    "parse_batch",
    "parse_event",
    "parse_record_key",
    "record_key",
]


def event_warnings(event: Event) -> tuple[Refusal, ...]:
    """What is accepted but flagged: codes of `schemas.refusals.WARNING_CODES`, such as `total_disagrees`."""
    return event.warnings()

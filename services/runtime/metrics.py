"""Every metric of week12, once: name, type, labels, meaning.

An attribute of `Metrics` is the metric's name without `week12_`. Labels never hold a patient, an event id
or free text: they would betray people and grow without limit.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

# A second series beside every counter, which nothing here reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = CONTENT_TYPE_LATEST
FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds: requests, batches, commits."""
STATE = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Seconds: from receipt to durable state."""
LATENESS = tuple(hours * 3600 for hours in (1, 6, 24, 72, 168, 336, 720, 1440, 2160, 4320))
"""Seconds: 1 hour to 180 days."""
TRANSMISSION = (1, 60, 900, *LATENESS)
"""Seconds: 1 second to 180 days."""
HUMAN = (60, 300, 900, 3600, 14_400, 28_800, 86_400, 259_200, 604_800)
"""Seconds: a minute to a week, how long people take."""


MOST_SITES = 1_000
"""Centres that a service tells apart in labels."""
OTHER_SITES = "other"


class SiteLabels:
    """Centres as values of a label: they come from outside, so that beyond a thousand they share one."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __contains__(self, site_id: object) -> bool:
        return site_id in self._known

    def label(self, site_id: str) -> str:
        """The centre itself where it is among the first thousand, else `other`."""
        if site_id not in self._known:
            if len(self._known) >= MOST_SITES:
                return OTHER_SITES
            self._known.add(site_id)
        return site_id


@dataclass(frozen=True)
class Definition:
    """What documentation and dashboards read about a metric."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]


class Metrics:
    """The metrics of one service, in a registry of its own, so that several live in one process."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.registry = CollectorRegistry()
        self.definitions: list[Definition] = []
        ProcessCollector(registry=self.registry)

        gauge, counter, histogram = self._gauge, self._counter, self._histogram
        self.build_info = gauge("build_info", "Always 1; what is running.", "version", "commit")
        self.http_request_duration_seconds = histogram(
            "http_request_duration_seconds",
            "Time to answer a request; route is the template, never the path asked for.",
            FAST,
            "service",
            "route",
            "method",
            "status",
        )
        self.auth_failures_total = counter(
            "auth_failures_total", "Requests without the credential or the role they need.", "reason"
        )
        self.part_up = gauge(
            "part_up", "Whether this part of /health/ready is well (1) or not (0).", "service", "part"
        )
        self.disk_free_bytes = gauge(
            "disk_free_bytes", "Free space of the disk of WEEK12_DATA_DIR.", "service"
        )
        self.disk_size_bytes = gauge("disk_size_bytes", "Size of the disk of WEEK12_DATA_DIR.", "service")

        self.ingest_events_total = counter(
            "ingest_events_total",
            "Events received, by what became of them (accepted, duplicate, refused).",
            "event_type",
            "result",
            "format",
        )
        self.ingest_refusals_total = counter(
            "ingest_refusals_total", "Reasons for which events were refused.", "event_type", "code"
        )
        self.ingest_site_refusals_total = counter(
            "ingest_site_refusals_total",
            "Events refused, by centre and by the first reason.",
            "site",
            "code",
        )
        self.ingest_window_bytes = gauge(
            "ingest_window_bytes", "Room for requests that are being worked on (used, free).", "state"
        )
        self.kafka_produce_duration_seconds = histogram(
            "kafka_produce_duration_seconds",
            "A request's records of one topic, from handing over to acks=all of the last.",
            FAST,
            "topic",
        )
        self.kafka_produce_errors_total = counter(
            "kafka_produce_errors_total", "Records that Kafka did not acknowledge.", "topic"
        )
        self.event_lateness_seconds = histogram(
            "event_lateness_seconds", "Clinical date to recorded_at.", LATENESS, "event_type"
        )
        self.event_transmission_seconds = histogram(
            "event_transmission_seconds",
            "Time from recorded_at to receipt by ingest.",
            TRANSMISSION,
            "event_type",
        )

        self.stream_records_total = counter(
            "stream_records_total",
            "Records read, by what became of them (applied, unchanged, superseded, dead_letter).",
            "service",
            "topic",
            "result",
        )
        self.stream_batch_duration_seconds = histogram(
            "stream_batch_duration_seconds", "One batch, from records to committed state.", FAST, "service"
        )
        self.store_commit_duration_seconds = histogram(
            "store_commit_duration_seconds", "The COMMIT of a batch alone.", FAST, "service"
        )
        self.event_to_state_seconds = histogram(
            "event_to_state_seconds", "Receipt by ingest to durable state.", STATE, "service", "event_type"
        )
        self.consumer_lag_records = gauge(
            "consumer_lag_records", "Records not yet in the store.", "service", "topic", "partition"
        )
        self.consumer_last_record_timestamp_seconds = gauge(
            "consumer_last_record_timestamp_seconds",
            "Unix time of the newest record in the store.",
            "service",
            "topic",
            "partition",
        )
        self.dead_letters_total = counter(
            "dead_letters_total", "Records that could not be used, by reason.", "service", "code"
        )
        self.corrections_total = counter(
            "corrections_total", "Versions that replaced an earlier one.", "event_type"
        )
        self.retractions_total = counter("retractions_total", "Records withdrawn.", "event_type")

        self.site_last_received_timestamp_seconds = gauge(
            "site_last_received_timestamp_seconds", "Unix time when a centre last sent something new.", "site"
        )
        self.patients = gauge("patients", "Patients (enrolled, on_drug, stopped, erased).", "site", "status")
        self.outcomes = gauge(
            "outcomes",
            "Outcome rows by status and whether achieved.",
            "protocol",
            "timepoint",
            "endpoint",
            "status",
            "achieved",
        )
        self.outcome_rate_ratio = gauge(
            "outcome_rate_ratio",
            "Share who achieved the endpoint, 0..1, all sites.",
            "protocol",
            "timepoint",
            "endpoint",
            "estimand",
        )
        self.outcome_changes_total = counter(
            "outcome_changes_total",
            "Outcomes of week 12 that changed, by cause (new, late, corrected, retracted, calendar, protocol).",
            "endpoint",
            "from",
            "to",
            "cause",
        )
        self.alerts_raised_total = counter("alerts_raised_total", "Alerts raised.", "rule", "severity")
        self.alerts_withdrawn_total = counter(
            "alerts_withdrawn_total", "Alerts whose cause was corrected away.", "rule", "severity"
        )
        self.alerts_open = gauge("alerts_open", "Alerts nobody has acknowledged.", "severity")
        self.alert_oldest_open_timestamp_seconds = gauge(
            "alert_oldest_open_timestamp_seconds", "Unix time of the oldest open alert.", "severity"
        )
        self.alert_latency_seconds = histogram(
            "alert_latency_seconds", "Receipt by ingest to the alert's row.", STATE, "severity"
        )
        self.alert_acknowledge_seconds = histogram(
            "alert_acknowledge_seconds", "Alert raised to acknowledged.", HUMAN, "severity"
        )
        self.verify_differences = gauge(
            "verify_differences", "Rows that differed at the last verification.", "store"
        )
        self.verify_last_run_timestamp_seconds = gauge(
            "verify_last_run_timestamp_seconds", "Unix time of the last verification.", "store"
        )
        self.verify_last_success_timestamp_seconds = gauge(
            "verify_last_success_timestamp_seconds", "Unix time of the last clean verification.", "store"
        )
        self.sse_clients = gauge("sse_clients", "Open event streams to pages.", "service")
        self.store_size_bytes = gauge("store_size_bytes", "DuckDB file and its log on disk.", "service")

        self.build_info.labels(_version(), os.environ.get("WEEK12_COMMIT", "unknown")).set(1)

    def render(self) -> bytes:
        """The registry in Prometheus' text format; its media type is `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _define(self, name: str, kind: str, meaning: str, labels: Sequence[str]) -> str:
        full = f"week12_{name}"
        self.definitions.append(Definition(full, kind, meaning, tuple(labels)))
        return full

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(
            self._define(name, "counter", meaning, labels), meaning, labels, registry=self.registry
        )

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(self._define(name, "gauge", meaning, labels), meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
        full = self._define(name, "histogram", meaning, labels)
        return Histogram(full, meaning, labels, buckets=buckets, registry=self.registry)


def _version() -> str:
    try:
        return version("week12")
    except PackageNotFoundError:
        return "unknown"

"""The metrics have the names, types and labels that dashboards and alert rules rely on."""

import re

import pytest

from services.runtime.metrics import Metrics

NAMED = {
    "week12_build_info": ("gauge", "version commit"),
    "week12_http_request_duration_seconds": ("histogram", "service route method status"),
    "week12_auth_failures_total": ("counter", "reason"),
    "week12_part_up": ("gauge", "service part"),
    "week12_disk_free_bytes": ("gauge", "service"),
    "week12_disk_size_bytes": ("gauge", "service"),
    "week12_ingest_events_total": ("counter", "event_type result format"),
    "week12_ingest_refusals_total": ("counter", "event_type code"),
    "week12_ingest_site_refusals_total": ("counter", "site code"),
    "week12_ingest_window_bytes": ("gauge", "state"),
    "week12_kafka_produce_duration_seconds": ("histogram", "topic"),
    "week12_kafka_produce_errors_total": ("counter", "topic"),
    "week12_event_lateness_seconds": ("histogram", "event_type"),
    "week12_event_transmission_seconds": ("histogram", "event_type"),
    "week12_stream_records_total": ("counter", "service topic result"),
    "week12_stream_batch_duration_seconds": ("histogram", "service"),
    "week12_store_commit_duration_seconds": ("histogram", "service"),
    "week12_event_to_state_seconds": ("histogram", "service event_type"),
    "week12_consumer_lag_records": ("gauge", "service topic partition"),
    "week12_consumer_last_record_timestamp_seconds": ("gauge", "service topic partition"),
    "week12_dead_letters_total": ("counter", "service code"),
    "week12_corrections_total": ("counter", "event_type"),
    "week12_retractions_total": ("counter", "event_type"),
    "week12_site_last_received_timestamp_seconds": ("gauge", "site"),
    "week12_patients": ("gauge", "site status"),
    "week12_outcomes": ("gauge", "protocol timepoint endpoint status achieved"),
    "week12_outcome_rate_ratio": ("gauge", "protocol timepoint endpoint estimand"),
    "week12_outcome_changes_total": ("counter", "endpoint from to cause"),
    "week12_alerts_raised_total": ("counter", "rule severity"),
    "week12_alerts_withdrawn_total": ("counter", "rule severity"),
    "week12_alerts_open": ("gauge", "severity"),
    "week12_alert_oldest_open_timestamp_seconds": ("gauge", "severity"),
    "week12_alert_latency_seconds": ("histogram", "severity"),
    "week12_alert_acknowledge_seconds": ("histogram", "severity"),
    "week12_verify_differences": ("gauge", "store"),
    "week12_verify_last_run_timestamp_seconds": ("gauge", "store"),
    "week12_verify_last_success_timestamp_seconds": ("gauge", "store"),
    "week12_sse_clients": ("gauge", "service"),
    "week12_store_size_bytes": ("gauge", "service"),
}


def test_names_types_and_labels() -> None:
    found = {d.name: (d.kind, " ".join(d.labels)) for d in Metrics("test").definitions}
    assert found == NAMED


@pytest.mark.parametrize("name", NAMED)
def test_each_is_an_attribute_under_its_name(name: str) -> None:
    assert hasattr(Metrics("test"), name.removeprefix("week12_"))


def test_every_metric_says_what_it_means() -> None:
    for definition in Metrics("test").definitions:
        assert re.fullmatch(r"[A-Z].*\.", definition.meaning), definition.name


def test_two_services_in_one_process_do_not_mix() -> None:
    first, second = Metrics("outcomes"), Metrics("safety")
    first.retractions_total.labels("lab").inc()
    assert second.registry.get_sample_value("week12_retractions_total", {"event_type": "lab"}) is None


def test_rendering_gives_the_text_format_with_build_info() -> None:
    text = Metrics("test").render().decode()
    assert re.search(r'^week12_build_info\{commit="[^"]+",version="[^"]+"\} 1\.0$', text, re.MULTILINE)
    assert "_created" not in text


@pytest.mark.parametrize(
    ("metric", "first", "last"),
    [
        ("event_to_state_seconds", 0.01, 60),
        ("event_lateness_seconds", 3600, 180 * 86_400),
        ("event_transmission_seconds", 1, 180 * 86_400),
    ],
)
def test_buckets_span_what_is_asked(metric: str, first: float, last: float) -> None:
    metrics = Metrics("test")
    histogram = getattr(metrics, metric)
    labels = ["x"] * len(histogram._labelnames)
    histogram.labels(*labels).observe(0)
    bounds = [
        float(sample.labels["le"])
        for family in metrics.registry.collect()
        if family.name == f"week12_{metric}"
        for sample in family.samples
        if sample.name.endswith("_bucket")
    ]
    assert (min(bounds), sorted(bounds)[-2]) == (first, last)

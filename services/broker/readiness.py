"""Whether a broker takes records: metadata names leaders well before they have opened their partitions."""

from collections.abc import Collection

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import KafkaError

_RETRY_WITHIN_MS = 200


def all_led(admin: KafkaAdminClient, topics: Collection[str] | None = None) -> bool:
    """Whether the leader of every partition of these topics (None: of all topics) is at work.

    After topics are made or a broker has started that takes up to some seconds; a record sent before is
    refused with NotLeaderForPartition.
    """
    try:
        described = admin.describe_topics(None if topics is None else list(topics))
        if any(topic["error_code"] for topic in described):
            return False
        parts = [TopicPartition(t["name"], p["partition_index"]) for t in described for p in t["partitions"]]
        admin.list_partition_offsets(dict.fromkeys(parts, OffsetSpec.LATEST), timeout_ms=_RETRY_WITHIN_MS)
    except KafkaError:
        return False
    return True

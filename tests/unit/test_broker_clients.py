"""kafka-python's clients leave nothing running where they find no broker."""

import gc
import os
import threading
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError

from services.broker.clients import connect

NOWHERE = {"bootstrap_servers": "127.0.0.1:9", "bootstrap_timeout_ms": 60}


@pytest.mark.parametrize("kind", [KafkaAdminClient, KafkaConsumer, KafkaProducer])
def test_a_client_without_a_broker_leaves_nothing(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "kafka")  # captured records would hold the sockets
    try_in_vain(kind)
    before = open_files_and_threads()
    for _ in range(3):
        try_in_vain(kind)
    assert open_files_and_threads() == before


def try_in_vain(kind: Any) -> None:
    with pytest.raises(KafkaError):
        connect(kind, NOWHERE)


def open_files_and_threads() -> tuple[int, int]:
    gc.collect()  # kafka-python leaves the sockets of refused connections to it
    return len(os.listdir("/proc/self/fd")), threading.active_count()

"""What only the local broker has: a folder of data that belongs to one broker at a time."""

from pathlib import Path

import pytest

from services.broker import Broker, BrokerProblem
from services.broker.local import LocalKafka

pytestmark = pytest.mark.real_kafka


def test_a_second_broker_on_the_same_folder_is_refused_and_harms_nothing(local_kafka: Broker) -> None:
    assert isinstance(local_kafka, LocalKafka)
    settings = local_kafka.data_dir / "server.properties"
    before = settings.read_text()
    with pytest.raises(BrokerProblem, match="another Kafka uses the folder"):
        LocalKafka(local_kafka.data_dir).start()
    assert settings.read_text() == before
    local_kafka.start()


def test_a_server_that_does_not_come_up_is_told_with_its_reason_and_its_log(
    local_kafka: Broker, tmp_path: Path
) -> None:
    broken = LocalKafka(tmp_path, properties={"num.io.threads": "none"})
    with pytest.raises(BrokerProblem, match=r"num\.io\.threads.*local-broker\.log") as problem:
        broken.start()
    assert "\n" not in str(problem.value)
    assert broken.pid is None

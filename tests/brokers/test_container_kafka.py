"""What only the broker in a container has: Docker, an image, and a volume that belongs to a folder."""

import sys
from pathlib import Path

import pytest

from services.broker import Broker, BrokerProblem, BrokerUnavailable
from services.broker.container import ContainerKafka


@pytest.mark.real_kafka
def test_a_second_broker_on_the_same_folder_is_refused_and_harms_nothing(container_kafka: Broker) -> None:
    assert isinstance(container_kafka, ContainerKafka)
    with pytest.raises(BrokerProblem, match="another Kafka uses the folder"):
        ContainerKafka(container_kafka.data_dir).start()
    assert container_kafka.pid is not None
    container_kafka.start()


@pytest.mark.real_kafka
@pytest.mark.usefixtures("container_kafka")  # skips by name where there is no Docker
def test_an_image_that_cannot_be_had_is_one_line_with_what_helps(tmp_path: Path) -> None:
    broker = ContainerKafka(tmp_path, image="127.0.0.1:9/nobody/kafka:0")
    with pytest.raises(
        BrokerUnavailable, match=r"neither here nor can it be pulled.*WEEK12_KAFKA_IMAGE"
    ) as told:
        broker.start()
    assert "\n" not in str(told.value)
    assert broker.pid is None


def test_a_missing_package_is_named_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("docker", "docker.errors", "testcontainers", "testcontainers.core.container"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        BrokerUnavailable, match=r"needs the package testcontainers: pip install 'week12\[contain"
    ):
        ContainerKafka(tmp_path).start()


def test_the_image_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEEK12_KAFKA_IMAGE", raising=False)
    assert ContainerKafka(tmp_path).image == "apache/kafka:4.3.0"
    monkeypatch.setenv("WEEK12_KAFKA_IMAGE", "registry.example/kafka:1")
    assert ContainerKafka(tmp_path).image == "registry.example/kafka:1"


def test_a_folder_names_its_container_and_its_volume(tmp_path: Path) -> None:
    assert ContainerKafka(tmp_path / "a").docker_name == ContainerKafka(tmp_path / "a").docker_name
    assert ContainerKafka(tmp_path / "a").docker_name != ContainerKafka(tmp_path / "b").docker_name

"""kafka-python's clients, which leave nothing running where they find no broker."""

from collections.abc import Callable, Mapping
from typing import Any

from kafka.net.compat import KafkaNetClient


def connect(kind: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """A KafkaAdminClient, KafkaConsumer or KafkaProducer with these options, connected; to be closed.

    Raises what the client itself raises, a KafkaError where it finds no broker. The originals keep a thread and its
    files then: whoever tries again and again through an hour without a broker would use up all there are.
    """
    made: list[Any] = []

    def remember(**configs: Any) -> Any:
        made.append(KafkaNetClient(**configs))
        return made[-1]

    try:
        return kind(**options, kafka_client=remember)
    except BaseException:
        for client in made:
            client.close()
        raise

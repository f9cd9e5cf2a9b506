"""Waits until the stores hold every event that was acknowledged, and the topics what the tables show."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from schemas.topics import EVENT_TOPICS
from services.broker import BrokerProblem
from services.broker.topics import end_offsets
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings

POLL_SECONDS = 0.05

Offsets = Mapping[tuple[str, int], int]


@dataclass(frozen=True)
class Progress:
    """How far one service is: next offset to read by (topic, partition), and what it has yet to publish."""

    offsets: Offsets
    waiting_to_publish: int


def events_end(settings: Settings) -> dict[tuple[str, int], int]:
    """Where the event topics end now: everything acknowledged so far lies before.

    Raises OperatorError where Kafka does not answer or has no such topics.
    """
    try:
        return end_offsets(settings.kafka_python_options(), list(EVENT_TOPICS.values()))
    except BrokerProblem as problem:
        raise OperatorError(str(problem)) from None


def read_progress(client: httpx.Client, url: str) -> Progress | None:
    """What `GET /v1/progress` says; None where nobody answers there.

    Raises OperatorError where something else than a service of week12 answers.
    """
    try:
        body: dict[str, Any] = client.get(f"{url}/v1/progress").raise_for_status().json()
        offsets = {
            (topic, int(partition)): offset
            for topic, partitions in body["offsets"].items()
            for partition, offset in partitions.items()
        }
        return Progress(offsets, body["waiting_to_publish"])
    except httpx.TransportError:
        return None
    except (httpx.HTTPStatusError, ValueError, KeyError, AttributeError):
        raise OperatorError(f"{url} does not answer as a service of week12: check the address") from None


def behind(progress: Progress | None, ends: Offsets, *, published: bool) -> str:
    """In a few words what is missing; empty where nothing is."""
    if progress is None:
        return "does not answer"
    short: dict[str, int] = {}
    for (topic, partition), end in ends.items():
        missing = end - progress.offsets.get((topic, partition), 0)
        if missing > 0:
            short[topic] = short.get(topic, 0) + missing
    if short:
        return "is behind on " + ", ".join(f"{topic} by {missing}" for topic, missing in short.items())
    if published and progress.waiting_to_publish:
        return f"has {progress.waiting_to_publish} changes yet to publish"
    return ""


def wait_until_done(
    urls: Mapping[str, str],
    ends: Offsets,
    *,
    published: bool,
    timeout: float,
    meanwhile: Callable[[Iterable[Progress]], None] = lambda _: None,
) -> None:
    """Return when every service of `urls` (name -> address) is beyond `ends`, and has published.

    `meanwhile` is called after every look with what the services said. Raises OperatorError after `timeout`
    seconds with a line that names the service and the topics it is behind on.
    """
    deadline = time.monotonic() + timeout
    with httpx.Client(timeout=10, trust_env=False) as client:
        while True:
            found = {name: read_progress(client, url) for name, url in urls.items()}
            meanwhile([progress for progress in found.values() if progress])
            short = {name: behind(progress, ends, published=published) for name, progress in found.items()}
            if not any(short.values()):
                return
            if time.monotonic() > deadline:
                told = "; ".join(f"{name} ({urls[name]}) {what}" for name, what in short.items() if what)
                raise OperatorError(f"not done after {timeout:g} s: {told}")
            time.sleep(POLL_SECONDS)

"""A registry's centres sending: several clients that send on until everything is acknowledged, whatever dies."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import httpx
from ingest_helpers import NDJSON, lines

SENDERS = 3
A_REQUEST = 25
"""Events a request: few, so that each disturbance meets some requests under way."""

Event = dict[str, Any]
Version = tuple[str, str, int]


class Sending(Protocol):
    """Where clients send to."""

    secret: str
    """Of a token that may send for all centres."""

    def client(self, service: str, secret: str | None = None) -> httpx.Client:
        """An HTTP client of a service; to be closed."""

    def tail(self, name: str) -> str:
        """The end of a service's log, for a failure's message."""


class Load:
    """Clients that send until everything is acknowledged.

    They send at most `allowed` events, so that there is something to send at every disturbance; without a limit,
    all.
    """

    def __init__(self, services: Sending, events: Sequence[Event], allowed: int | None = None) -> None:
        self.acknowledged: set[Version] = set()
        self.taken = 0
        """Events of the given ones in acknowledged requests, copies included."""
        self._total = len(events)
        self.allowed = self._total if allowed is None else allowed
        self._services = services
        self._requests = iter([events[i : i + A_REQUEST] for i in range(0, len(events), A_REQUEST)])
        self._changed = threading.Condition()
        self._given = 0
        self._failures: list[BaseException] = []
        self._stopped = False

    @contextmanager
    def sending(self) -> Iterator["Load"]:
        """Send in the background; at the end wait until all is acknowledged."""
        threads = [threading.Thread(target=self._send_all) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
            self.send_until(self._total + 1)
            for thread in threads:
                thread.join(90)
            assert not any(thread.is_alive() for thread in threads), "not everything was taken"
        finally:
            self._stopped = True
            self.send_until(self._total + 1)
            for thread in threads:
                thread.join()
        assert self._failures == []

    def wait_for(self, count: int) -> None:
        """Wait until so many events, copies included, are acknowledged, or all."""
        count = min(count, self._total)
        with self._changed:
            enough = self._changed.wait_for(lambda: self._failures or self.taken >= count, 60)
        assert not self._failures, self._failures
        assert enough, f"{self.taken} of {count} acknowledged: {self._services.tail('ingest')}"

    def send_until(self, count: int) -> None:
        """Let the clients send as many events as that."""
        with self._changed:
            self.allowed = max(self.allowed, count)
            self._changed.notify_all()

    def post(self, client: httpx.Client, events: Sequence[Event]) -> bool:
        """Send one request; whether it was acknowledged. Any answer but 202 and 503 is a failure."""
        try:
            answer = client.post("/v1/events", content=lines(*events), headers={"Content-Type": NDJSON})
        except httpx.TransportError:
            return False
        assert answer.status_code in (202, 503), answer.text[:500]
        if answer.status_code != 202:
            return False
        with self._changed:
            self.acknowledged.update(map(version_of, events))
        return True

    def _send_all(self) -> None:
        try:
            with self._services.client("ingest", self._services.secret) as client:
                while request := self._next():
                    while not self._stopped and not self.post(client, request):
                        time.sleep(0.05)
                    with self._changed:
                        self.taken += len(request)
                        self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._failures.append(error)
                self._changed.notify_all()

    def _next(self) -> Sequence[Event]:
        with self._changed:
            self._changed.wait_for(lambda: self._given < self.allowed or self._stopped)
            request = [] if self._stopped else next(self._requests, [])
            self._given += len(request)
            return request


def version_of(event: Event) -> Version:
    """What tells one version of one record from all others."""
    return event["site_id"], event["event_id"], event["version"]

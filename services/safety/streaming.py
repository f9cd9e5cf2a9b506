"""Server-sent events: the feed's news to one listener, in whatever words that listener wants."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator

from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from services.runtime.problems import Problem
from services.runtime.tokens import Caller
from services.runtime.web import require
from services.safety.feed import AlertFeed, News
from services.stream.http import to_json
from services.stream.node import Node

HEARTBEAT_SECONDS = 10
STALLED_SECONDS = 30.0
"""A listener that takes nothing for so long is let go; it comes back with its Last-Event-ID."""
RETRY_MILLISECONDS = 1_000

Write = Callable[[News], Iterator[ServerSentEvent]]

# It would write every alert it sends into a debug log.
logging.getLogger("sse_starlette").setLevel(logging.INFO)


class Listening:
    """Answers those who listen to alerts, for as long as their login and the service last."""

    def __init__(self, node: Node, feed: AlertFeed, stop: asyncio.Event) -> None:
        self.feed = feed
        self._clients = node.metrics.sse_clients.labels(node.name)
        self._stop = stop
        self._permitted = require("read_alerts")

    def respond(self, request: Request, caller: Caller, last: str, write: Write) -> Response:
        """The stream after the event id `last`, as `write` puts it."""
        return EventSourceResponse(
            self._events(request, caller, last, write), ping=HEARTBEAT_SECONDS, send_timeout=STALLED_SECONDS
        )

    async def _events(
        self, request: Request, caller: Caller, last: str, write: Write
    ) -> AsyncIterator[ServerSentEvent]:
        async def still() -> bool:
            return not self._stop.is_set() and await self._is_permitted(request)

        self._clients.inc()
        try:
            yield ServerSentEvent(comment="alerts", retry=RETRY_MILLISECONDS)
            async for news in self.feed.listen(caller, last, still):
                for event in write(news):
                    yield event
        finally:
            self._clients.dec()

    async def _is_permitted(self, request: Request) -> bool:
        try:
            await self._permitted(request)
        except Problem:
            return False
        return True


def json_events(news: News) -> Iterator[ServerSentEvent]:
    """The news for programs."""
    if news.reset:
        yield ServerSentEvent("{}", event="reset")
    for event_id, change in news.changes:
        if change.alert is None:
            yield _event("removed", {"alert_id": change.alert_id}, event_id)
        else:
            yield _event("alert", change.alert, event_id)
    yield _event("counts", news.counts, news.cursor)


def _event(name: str, data: object, event_id: str) -> ServerSentEvent:
    return ServerSentEvent(to_json(data).decode(), event=name, id=event_id)

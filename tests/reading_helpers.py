"""The HTTP side of a processing service on a store of its own, without Kafka."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from stores import OUTCOMES, SAFETY, kafka_records, load, open_store

from services.outcomes.api import create_outcomes_api
from services.runtime.metrics import Metrics
from services.runtime.sessions import COOKIE
from services.runtime.settings import load_settings
from services.runtime.tokens import TokenStore
from services.safety.actions import AlertAction
from services.safety.api import create_safety_api
from services.stream.decode import decode_records
from services.stream.node import Node
from services.stream.store import EventStore

Row = dict[str, Any]

COHORT = Path(__file__).parents[1] / "examples" / "fu2025" / "cohort.jsonl"
CUT = date(2025, 2, 28)
"""The day that the study cohort is read as of: every window has closed."""

CALLERS: dict[str, tuple[list[str], list[str] | None]] = {
    "lead": (["registry_lead"], None),
    "officer": (["safety_officer"], None),
    "analyst": (["analyst"], None),
    "clinic": (["site_user"], ["S01"]),
    "sender": (["submitter"], ["S01"]),
}


def cohort_events() -> list[Row]:
    """The study cohort, every record in its final version."""
    return [json.loads(line) for line in COHORT.read_text(encoding="utf-8").splitlines()]


class FakeActions:
    """Kafka and the agent behind it, as far as the API sees them: applies an action at once, or fails as told."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.taken: list[AlertAction] = []
        self.error: Exception | None = None

    async def record(self, action: AlertAction) -> None:
        if self.error:
            raise self.error
        self.taken.append(action)
        await self.node.write(self._apply, action)
        self.node.committed.beat()

    def _apply(self, action: AlertAction) -> None:
        acted_at = action.acted_at.astimezone(UTC).replace(tzinfo=None)
        values = [
            str(action.action_id), action.alert_id, action.action, action.actor, action.note, acted_at,
        ]  # fmt: skip
        store = self.node.store
        store.execute("INSERT INTO store.alert_actions VALUES (?, ?, ?, ?, ?, ?)", values)
        store.execute(
            "INSERT INTO store.alert_changes SELECT max(seq) + 1, ?, false FROM store.alert_changes",
            [action.alert_id],
        )


class Reading:
    """One service: its node, its app, and a token for each kind of caller."""

    def __init__(
        self, store: EventStore, folder: Path, beside: "Reading | None" = None, **settings: Any
    ) -> None:
        """`beside`: a service whose tokens this one takes too."""
        self.settings = load_settings(data_dir=folder, **settings)
        self.metrics = Metrics(store.definition.name)
        self.tokens = beside.tokens if beside else TokenStore(folder / f"{store.definition.name}.toml")
        self.secrets = beside.secrets if beside else _add_callers(self.tokens)
        self.node = Node(self.settings, store, self.metrics)
        self.node.parts["kafka"] = "ok"
        self.actions = FakeActions(self.node)
        self.stopping = asyncio.Event()
        self.app: FastAPI = (
            create_outcomes_api(self.node, self.tokens)
            if store.definition is OUTCOMES
            else create_safety_api(self.node, self.tokens, self.actions, self.stopping)
        )

    async def commit(self, *events: Row) -> None:
        """Commit events as the processor does."""
        store = self.node.store
        batch = decode_records(kafka_records(events), store.definition.extract)
        self.node.note(await self.node.write(store.apply, batch))

    @asynccontextmanager
    async def client(self, who: str | None = "lead", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client with the token of one of CALLERS; None: without."""
        credential = {"Authorization": f"Bearer {self.secrets[who]}"} if who else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://week12:81", headers={**credential, **headers}
        ) as client:
            yield client

    @asynccontextmanager
    async def browser(self, who: str) -> AsyncIterator[httpx.AsyncClient]:
        """A client that is logged in on the pages."""
        async with self.client(None) as client:
            answer = await client.post("/login", data={"token": self.secrets[who]})
            client.cookies.set(COOKIE, answer.cookies[COOKIE])
            yield client

    async def get(self, path: str, who: str | None = "lead", **parameters: object) -> httpx.Response:
        """The answer to a GET."""
        async with self.client(who) as client:
            return await client.get(path, params=parameters)  # type: ignore[arg-type]

    async def rows(self, path: str, who: str = "lead", **parameters: object) -> list[Row]:
        """The rows of an answer that must be good."""
        answer = await self.get(path, who, **parameters)
        assert answer.status_code == 200, answer.text
        rows: list[Row] = answer.json()["rows"]
        return rows

    async def page(self, path: str, who: str = "lead") -> httpx.Response:
        """A page, as a visitor who is logged in sees it."""
        async with self.browser(who) as client:
            return await client.get(path)

    def count(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where it was never touched."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def stop(self) -> None:
        """Let the node's threads end; the store stays open."""
        for threads in (self.node._writer, self.node._readers, self.node._decoder):
            threads.shutdown()


def _add_callers(tokens: TokenStore) -> dict[str, str]:
    return {name: tokens.add(name, roles, sites) for name, (roles, sites) in CALLERS.items()}


def filled(definition: Any, events: Iterable[Row] | Sequence[Row], today: date = CUT) -> EventStore:
    """A store with these events, committed at once."""
    return load(open_store(definition, today), [list(events)])


__all__ = ["CUT", "OUTCOMES", "SAFETY", "Reading", "cohort_events", "filled"]

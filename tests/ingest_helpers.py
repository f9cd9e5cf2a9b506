"""Events to send, a publisher without a broker, and the ingest API around either."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from fastapi import FastAPI

from services.ingest.api import create_ingest_api
from services.ingest.publisher import Publisher
from services.ingest.records import Record
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings, load_settings
from services.runtime.tokens import TokenStore

NDJSON = "application/x-ndjson"


def lab(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A good lab event of site S01."""
    event = {
        "event_type": "lab",
        "site_id": "S01",
        "event_id": f"S01:lab:{number}",
        "patient_id": f"S01-{number:04}",
        "recorded_at": "2025-03-02T09:30:00+01:00",
        "collected_on": "2025-03-01",
        "analyte": "crp",
        "value": 12.5,
        "unit": "mg/L",
    }
    return {**event, **changes}


def lines(*events: object) -> bytes:
    """Events as NDJSON."""
    return b"\n".join(orjson.dumps(event) for event in events)


class FakePublisher:
    """Kafka as the HTTP side sees it: keeps what is published, or fails as told."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.timestamps: list[int] = []
        self.ready = True
        self.error: Exception | None = None

    async def publish(self, records: Sequence[Record], timestamp_ms: int) -> dict[str, str]:
        if self.error:
            raise self.error
        self.records.extend(records)
        self.timestamps.extend([timestamp_ms] * len(records))
        return {}


class Ingest:
    """The API on some publisher, with a token for S01, and what is needed to look inside."""

    def __init__(self, folder: Path, publisher: Publisher, **settings: Any) -> None:
        self.settings: Settings = load_settings(data_dir=folder, **settings)
        self.metrics = Metrics("ingest")
        self.tokens = TokenStore(self.settings.tokens_path)
        self.erased: set[str] = set()
        self.secret = self.tokens.add("clinic-01", ["submitter"], ["S01"])
        self.app: FastAPI = create_ingest_api(
            self.settings, self.metrics, self.tokens, publisher, lambda patient_id: patient_id in self.erased
        )

    def count(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where it was never touched."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client with the token and JSON as the content type; `headers` replace them."""
        usual = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://ingest", headers={**usual, **headers}
        ) as client:
            yield client

    async def post(self, body: object, **headers: str) -> httpx.Response:
        """POST a body: bytes as NDJSON, anything else as JSON; header names with `_` for `-`."""
        is_lines = isinstance(body, bytes)
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        kind = {"Content-Type": NDJSON} if is_lines else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client(**kind) as client:
            return await client.post("/v1/events", content=content, headers=named)

"""Stores behind the HTTP side of a service, for tests that ask; a module may put its own store in their place."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from reading_helpers import OUTCOMES, Reading, cohort_events, filled
from stores import emptied
from twin.builders import on

from services.stream.store import EventStore


@pytest.fixture(scope="module")
def cohort_store() -> Iterator[EventStore]:
    """The study cohort in an outcomes store."""
    store = filled(OUTCOMES, cohort_events())
    yield store
    store.close()


@pytest.fixture
async def cohort(cohort_store: EventStore, tmp_path: Path) -> AsyncIterator[Reading]:
    """The study cohort; not to be changed."""
    reading = Reading(cohort_store, tmp_path)
    yield reading
    reading.stop()


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Reading]:
    """An empty outcomes store of the test's own, as of day 200 of the usual patient."""
    reading = Reading(emptied(OUTCOMES, on(200)), tmp_path)
    yield reading
    reading.stop()

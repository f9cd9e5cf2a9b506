"""Bad input leaves no patient's data in logs, metrics or error bodies."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from ingest_helpers import FakePublisher, Ingest, lab, lines

from services.ingest.publisher import BrokerUnavailable
from services.runtime.logs import configure_logs

# Recognisable wherever they turn up; a name, an id, values, a free text, a trace of a line that is no JSON.
SECRETS = ["Quxmarillo", "ZZ-PATIENT-77", "-987654.321", "1913-12-31", "xylopain", "brokenZZ", "furlongZZ"]
BODIES: list[Any] = [
    lab(patient_id="Quxmarillo Lopez"),
    lab(patient_id="ZZ-PATIENT-77", value=-987654.321),
    lab(patient_id="ZZ-PATIENT-77", collected_on="1913-12-31T00:00"),
    lab(patient_id="ZZ-PATIENT-77", unit="furlongZZ"),
    lab(patient_id="ZZ-PATIENT-77", analyte="xylopain"),
    lab(patient_id="ZZ-PATIENT-77", version="xylopain"),
    lab(patient_id="ZZ-PATIENT-77", site_id="S02"),
    lab(patient_id={"ZZ-PATIENT-77": "Quxmarillo"}),
    lab(recorded_at="1913-12-31"),
    [lab(patient_id="ZZ-PATIENT-77"), lab(patient_id="ZZ-PATIENT-77", value=1)],
    [lab(patient_id="ZZ-PATIENT-77"), "xylopain", {"event_type": "xylopain"}],
    lines(lab(patient_id="ZZ-PATIENT-77")) + b'\n{"patient_id": brokenZZ}',
    b'{"patient_id": "brokenZZ',
    {"event_type": "adverse_event", "term": "xylopain", "patient_id": "ZZ-PATIENT-77"},
]


@contextmanager
def json_logs() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure_logs("ingest", "DEBUG")
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)


async def test_nothing_of_bad_input_is_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with json_logs():
        seen = await answers_to_bad_input(tmp_path)
    logged = capsys.readouterr().err
    assert "request failed" in logged
    assert all(orjson.loads(line)["service"] == "ingest" for line in logged.splitlines())
    for secret in SECRETS:
        assert secret not in seen + logged, f"{secret} was repeated"


async def answers_to_bad_input(folder: Path) -> str:
    """Every answer and the metrics after them, in one text."""
    publisher = FakePublisher()
    ingest = Ingest(folder, publisher)
    seen = []
    for error in (None, BrokerUnavailable(), RuntimeError("ZZ-PATIENT-77")):
        publisher.error = error
        for body in BODIES:
            answer = await ingest.post(body)
            assert answer.status_code != 202
            seen.append(answer.text)
    assert (await ingest.post(lab(patient_id="ZZ-PATIENT-77"))).status_code == 500
    async with ingest.client() as client:
        seen.append((await client.get("/metrics")).text)
    return "".join(seen)

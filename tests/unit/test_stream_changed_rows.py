"""Stored rows are replaced when a patient's derived rows differ: also when several change in the same way."""

from datetime import date
from typing import Any

import pytest
from stores import SAFETY, load, open_store, rows

from services.stream import store as module


def event(event_type: str, event_id: str, **fields: Any) -> dict[str, Any]:
    common = {"site_id": "S01", "patient_id": "W12-0001", "recorded_at": "2025-03-01T00:00:00Z"}
    return {"event_type": event_type, "event_id": event_id, **common, **fields}


def test_two_rows_that_change_alike_are_both_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL_BATCH", 0)  # so that rows are compared, as of many patients
    monkeypatch.setattr(module, "FEW_PATIENTS", 0)
    start = event("treatment", "start", drug="upadacitinib", action="start", effective_on="2025-01-01")
    low = {"analyte": "lymphocytes", "value": 0.7, "unit": "10*9/L", "ref_low": 1.0}
    labs = [event("lab", f"lab-{day}", collected_on=f"2025-02-0{day}", **low) for day in (1, 2)]
    report = event("adverse_event", "ae", term="Lymphopenia", onset_on="2025-02-01", grade=2, serious=False)
    store = load(open_store(SAFETY, date(2025, 3, 1)), [[start, *labs], [report]])
    assert [row["reported_event_id"] for row in rows(store, "FROM lab_toxicities")] == ["ae", "ae"]
    store.close()

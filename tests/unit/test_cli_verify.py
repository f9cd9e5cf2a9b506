"""What `week12 verify` prints, and what it keeps to itself."""

import pytest

from services.cli.verify import report
from services.stream.verify import Comparison

EQUAL = Comparison("patients", 94, 94, 0, 0)
DIFFERENT = Comparison("biomarkers", 3273, 3272, 1, 0, [{"patient_id": "CD-0001", "event_id": None}])


@pytest.mark.parametrize(
    ("comparison", "equal"),
    [(EQUAL, True), (DIFFERENT, False), (Comparison("patients", 94, 95, 0, 1), False)],
)
def test_any_row_on_one_side_only_is_a_difference(comparison: Comparison, equal: bool) -> None:
    assert comparison.equal is equal


def test_nobody_is_named_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    report([("outcomes", EQUAL), ("outcomes", DIFFERENT)], show=False)
    out = capsys.readouterr().out
    assert "CD-0001" not in out
    assert out.endswith("1 of 2 relations differ; --show names the first rows.\n")


def test_ids_are_shown_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    report([("outcomes", EQUAL), ("outcomes", DIFFERENT)], show=True)
    assert "outcomes.biomarkers: patient_id CD-0001\n" in capsys.readouterr().out


def test_all_equal_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    report([("outcomes", EQUAL)], show=False)
    assert capsys.readouterr().out.endswith("The live stores equal a recomputation from Kafka.\n")

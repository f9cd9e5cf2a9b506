"""Every row of docs/reliability.md. In CI one disturbance of each kind; `make reliability` runs and writes them all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from reliability import report
from reliability.driver import Row, run
from reliability.rows import ROWS

from services.testing.plugin import or_skip

pytestmark = [pytest.mark.real_kafka, pytest.mark.crash]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    full = metafunc.config.getoption("--reliability")
    rows = [row for row in ROWS if full or row.in_ci]
    metafunc.parametrize("row", rows, ids=[row.name for row in rows])


@pytest.fixture(scope="module")
def measured(pytestconfig: pytest.Config) -> Iterator[dict[str, str]]:
    """Lines of the table by what happened; written into the document at the end of a full run."""
    lines: dict[str, str] = {}
    yield lines
    if pytestconfig.getoption("--reliability"):
        report.write(lines, [row.said for row in ROWS])


def test_nothing_acknowledged_is_lost(
    row: Row, measured: dict[str, str], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    times = row.times if pytestconfig.getoption("--reliability") else row.in_ci
    with or_skip("local"):
        result = run(row, times, tmp_path)
    assert result.in_state == result.acknowledged
    measured[row.said] = report.line_of(row, result)

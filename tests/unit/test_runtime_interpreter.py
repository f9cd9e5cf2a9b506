"""What a service's process asks of Python and of the C library."""

import subprocess
import sys
from pathlib import Path

from services.runtime.memory import MALLOC_TUNABLES

WITHOUT_PANDAS = """
import sys
from services.runtime.interpreter import leave_out_pandas
leave_out_pandas()
import duckdb, pyarrow
arrived = pyarrow.table({"a": [1, 2]})
assert duckdb.execute("SELECT sum(a) + ? FROM arrived", [3]).fetchall() == [(6,)]
assert "pandas" not in sys.modules
"""


def test_duckdb_and_arrow_work_without_pandas() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_image_starts_services_as_week12_up_does() -> None:
    dockerfile = Path(__file__).parents[2] / "deploy" / "Dockerfile"
    assert f"GLIBC_TUNABLES={MALLOC_TUNABLES}" in dockerfile.read_text(encoding="utf-8")

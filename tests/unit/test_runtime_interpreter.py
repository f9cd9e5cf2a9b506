"""What a service's process asks of Python and of the C library."""

import os
import subprocess
import sys
from pathlib import Path

from services.runtime.memory import JEMALLOC, allocator_variables

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


def test_the_image_starts_services_with_jemalloc_as_week12_up_does_where_it_is() -> None:
    dockerfile = (Path(__file__).parents[2] / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    for name, value in JEMALLOC.items():
        assert f" {name}={value} " in dockerfile


def test_a_process_takes_the_allocator_that_this_machine_has() -> None:
    variables = {**os.environ, **allocator_variables()}
    code = "print(open('/proc/self/maps').read().count('jemalloc'))"
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert (int(done.stdout) > 0) == ("LD_PRELOAD" in variables)
    assert done.stderr == ""  # the loader tells there of what it did not find

"""What a service asks of Python itself."""

import os
import sys
import threading
from importlib.abc import MetaPathFinder

SWITCH_SECONDS = 0.0005
"""A tenth of Python's default."""
NICE = 5
"""A third of the others' share where there is not enough for all; with less it would keep Python's lock too long."""


def hand_over_sooner() -> None:
    """Let a thread that waits for the lock have it sooner.

    The writing thread leaves Python for each of some forty short statements a transaction and comes back for the
    lock after each; what answers questions meanwhile would hold it for 5 ms every time.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out of this process", name=fullname)


def leave_out_pandas() -> None:
    """Let this process do without pandas, which only the export of SAS transport files needs.

    DuckDB and PyArrow import it wherever it is installed, to recognise its types: 30 MiB and a quarter of a second.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())


def step_back() -> None:
    """Let every other thread of the machine go before this one, as far as the system knows such a thing."""
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)

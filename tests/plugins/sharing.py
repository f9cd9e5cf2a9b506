"""How files of tests are shared out among processes: the longest first, those of the same brokers together."""

import pytest
from xdist.scheduler import LoadFileScheduling

LONGEST = (
    "tests/reliability/",
    "tests/integration/test_end_to_end.py",
    "tests/integration/test_operating.py",
    "tests/brokers/",
    "tests/integration/test_ingest_kafka.py",
    "tests/integration/",
    "tests/properties/",
    "tests/unit/test_export_files.py",
    "tests/unit/test_stream_erasure.py",
)
"""A long file that comes last is waited for by all others."""
ON_SHARED_BROKERS = ("tests/brokers/", "tests/integration/test_ingest_kafka.py")
"""Each process starts brokers of its own, and Apache Kafka takes its time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; otherwise in the order in which they were found."""
    items.sort(key=lambda item: _rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> "ByFile":
    """Give out files in the order of the collection; pytest-xdist itself takes those with most tests first."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


class ByFile(LoadFileScheduling):
    """A file is run by one process, and so are all files on the shared brokers."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return ON_SHARED_BROKERS[0] if file.startswith(ON_SHARED_BROKERS) else file


def _rank(nodeid: str) -> int:
    return next((rank for rank, start in enumerate(LONGEST) if nodeid.startswith(start)), len(LONGEST))

"""What every test shares."""

from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
WITH_PROCESSES = ("brokers", "integration", "reliability", "scenarios")
"""Folders whose tests share brokers and services: where tests run in several processes, all of them run in one."""

pytest_plugins = [
    "services.testing.plugin",
    "plugins.brokers",
    "plugins.readings",
    "plugins.services",
    "plugins.whole_run",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--reliability`: everything that docs/reliability.md tells of, written there at the end."""
    parser.addoption(
        "--reliability", action="store_true", help="run every row of docs/reliability.md in full"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has to stay together with `--dist loadgroup`: tests of one file, and those that share processes."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        item.add_marker(pytest.mark.xdist_group("processes" if folder in WITH_PROCESSES else item.path.stem))


# Repeatable by default, for a failure must not come and go; a longer, random search is one option away:
# pytest --hypothesis-profile=explore
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("explore", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile("repeatable")

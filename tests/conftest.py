"""What every test shares."""

import pytest
from hypothesis import settings

pytest_plugins = [
    "services.testing.plugin",
    "plugins.brokers",
    "plugins.readings",
    "plugins.services",
    "plugins.sharing",
    "plugins.whole_run",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--reliability`: everything that docs/reliability.md tells of, written there at the end."""
    parser.addoption(
        "--reliability", action="store_true", help="run every row of docs/reliability.md in full"
    )


# Repeatable by default, for a failure must not come and go; a longer, random search is one option away:
# pytest --hypothesis-profile=explore
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("explore", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile("repeatable")

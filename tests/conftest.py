"""What every test shares."""

from hypothesis import settings

pytest_plugins = [
    "services.testing.plugin",
    "plugins.brokers",
    "plugins.readings",
    "plugins.services",
    "plugins.whole_run",
]

# Repeatable by default, for a failure must not come and go; a longer, random search is one option away:
# pytest --hypothesis-profile=explore
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("explore", deadline=None, max_examples=1_000, print_blob=True)
settings.load_profile("repeatable")

"""What this registry's tests have in common: the day on which they look."""

import pytest


@pytest.fixture(scope="module")
def week12_environment() -> dict[str, str]:
    """Long after every window of the cohorts has closed."""
    return {"WEEK12_TODAY": "2024-12-31"}

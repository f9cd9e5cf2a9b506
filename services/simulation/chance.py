"""Seeded chance: the same seed gives the same numbers on every machine."""

from random import Random
from typing import Final

_SEPARATOR: Final = "/"


def seeded(*parts: object) -> Random:
    """A generator of its own for each purpose, so that a change in one place moves nothing elsewhere."""
    return Random(_SEPARATOR.join(map(str, parts)))  # noqa: S311 (synthetic data, not a secret)


def bell(rng: Random, mean: float, spread: float, low: float, high: float) -> float:
    """A normal draw kept within `low`..`high` by drawing again, so that the limits do not pile up."""
    while not low <= (value := rng.gauss(mean, spread)) <= high:
        pass
    return value

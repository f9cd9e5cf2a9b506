"""The data cut that an answer is of: two clocks, clinical time and what was known."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Cut:
    """As of the clinical day `as_of`, from versions recorded up to the end of `known_at` (UTC; None: from all)."""

    as_of: date
    known_at: date | None = None

    def source(self, name: str) -> str:
        """The macro call that gives the rows of relation `name` at this cut."""
        if self.known_at is None:
            return f"{name}_at(DATE '{self.as_of}')"
        return f"{name}_known(DATE '{self.as_of}', DATE '{self.known_at}')"


def source_at(name: str, cut: Cut | None) -> str:
    """Where the rows of relation `name` stand at `cut`; None: today, all that is known."""
    return name if cut is None else cut.source(name)

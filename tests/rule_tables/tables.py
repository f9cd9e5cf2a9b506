"""A clinical rule as a table: what was seen, what follows, and where the expected answer comes from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

Words = Callable[[Any], str]


def said(value: Any) -> str:
    """A value as a reader sees it; None is what is not known."""
    match value:
        case None:
            return "?"
        case bool():
            return "yes" if value else "no"
        case Fraction():
            return f"{float(value):.10g}"
        case float():
            return f"{value:.10g}"
        case Decimal():
            return f"{value.normalize():f}"
        case date() | time():
            return value.isoformat()
        case tuple() | list():
            return ", ".join(map(said, value)) or "none"
        case _:
            return str(value)


def or_nothing(words: Words = said, nothing: str = "-") -> Words:
    """What is not there is shown as `nothing`."""
    return lambda value: nothing if value is None else words(value)


@dataclass(frozen=True)
class Column:
    """A heading, and how its values read."""

    heading: str
    words: Words = said


@dataclass(frozen=True)
class Case:
    """One row; `source` where its expected answer does not come from the source of the table."""

    values: tuple[Any, ...]
    source: str | None = None


def case(*values: Any, source: str | None = None) -> Case:
    return Case(values, source)


@dataclass(frozen=True)
class Table:
    """One rule; the values of each case stand in the order of the columns, given ones before expected ones."""

    rule: str
    title: str
    columns: tuple[Column | str, ...]
    cases: Sequence[Case]
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        assert all(len(case.values) == len(self.columns) for case in self.cases), self.title

    def params(self) -> list[Any]:
        """The cases for pytest."""
        return [
            pytest.param(*one.values, id=f"{self.rule}-{number}")
            for number, one in enumerate(self.cases, start=1)
        ]

    def lines(self) -> Iterator[str]:
        """The table as Markdown."""
        columns = [column if isinstance(column, Column) else Column(column) for column in self.columns]
        yield f"\n## {self.rule}: {self.title}\n"
        if self.note:
            yield f"{self.note}\n"
        yield _row(*(column.heading for column in columns), "source")
        yield _row(*("---" for _ in columns), "---")
        for one in self.cases:
            cells = [column.words(value) for column, value in zip(columns, one.values, strict=True)]
            yield _row(*cells, one.source or self.source)


@dataclass(frozen=True)
class Page:
    """Tables that a clinician reads together: `docs/rules/<name>.md`."""

    name: str
    title: str
    introduction: str
    tables: Sequence[Table]

    def text(self) -> str:
        """The page as Markdown."""
        head = [f"# {self.title}\n", self.introduction.strip()]
        return "\n".join([*head, *(line for table in self.tables for line in table.lines())]) + "\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', ' or ') for cell in cells)} |"

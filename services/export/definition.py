"""What the data sets hold: `datasets/*.toml` name the variables, `sql/*.sql` derive them, `codes.toml` says terms."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

HERE = Path(__file__).parent
NAMES = ("adsl", "adrs", "adlb", "adae")

Type = Literal["text", "integer", "decimal", "float", "date"]
SQL_TYPES: Mapping[Type, str] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "decimal": "DECIMAL(18, 9)",
    "float": "DOUBLE",
    "date": "DATE",
}

Name = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9]{0,7}$")]
"""What SAS transport files hold: 8 characters."""
Label = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,40}$")]
"""What SAS transport files hold: 40 characters of ASCII."""


class Variable(BaseModel):
    """A column: what it is called and means, and where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    label: Label
    type: Type
    source: str
    rule: str = ""


class DataSet(BaseModel):
    """A data set: its variables in order, and those that tell its records apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    label: Label
    structure: str
    keys: tuple[Name, ...]
    variables: Annotated[tuple[Variable, ...], Field(min_length=1)]
    sql: str

    @property
    def select(self) -> str:
        """Its records as defined: variables in order and of their types, sorted by the keys."""
        columns = ", ".join(f"{v.name}::{SQL_TYPES[v.type]} AS {v.name}" for v in self.variables)
        order = ", ".join(f"{key} NULLS FIRST" for key in self.keys)
        return f"SELECT {columns} FROM (\n{self.sql}\n) ORDER BY {order}"


def load_data_sets() -> tuple[DataSet, ...]:
    """The data sets, patients first. Raises ValidationError for a definition that a file could not hold."""
    return tuple(_load(name) for name in NAMES)


def _load(name: str) -> DataSet:
    fields = tomllib.loads((HERE / "datasets" / f"{name}.toml").read_text(encoding="utf-8"))
    sql = (HERE / "sql" / f"{name}.sql").read_text(encoding="utf-8").strip()
    return DataSet(name=name.upper(), sql=sql, **fields)


def value_sets() -> Iterator[tuple[str, str, str | None, str]]:
    """(list, word, code or None, term) of every word that is said differently in the data sets."""
    for name, words in tomllib.loads((HERE / "codes.toml").read_text(encoding="utf-8")).items():
        for word, said in words.items():
            code, term = (None, said) if isinstance(said, str) else said
            yield name, word, code, term

"""Protocols: timepoints, windows, endpoints, limits and reference rates as data (`protocols/*.toml`).

A protocol is read once into a frozen model; a mistake in the file is a `ProtocolError` that names the file
and the field. Nothing clinical is decided here: the rules that use these numbers are in the services.
"""

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

PROTOCOLS_DIR = Path(__file__).parent / "protocols"

Window = Literal["clinical", "endoscopy"]
Kind = Literal["fall", "below", "at_most", "per_cent_fall", "endoscopic_remission", "normalisation"]
Number = Annotated[Decimal, BeforeValidator(lambda value: str(value) if isinstance(value, float) else value)]
Predictor = Literal[
    "baseline_cdai", "baseline_ses_cd", "baseline_crp", "baseline_fcal", "age", "male_sex", "disease_duration",
    "prior_biologics", "perianal_disease", "complicated_behaviour", "colonic_disease",
]  # fmt: skip
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class ProtocolError(Exception):
    """A protocol file that cannot be used; the message names the file, the field and the reason."""


class Part(BaseModel):
    """Base of every part: frozen, and unknown fields are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Windows(Part):
    """First and last offset in days, both included, for each kind of window (R4.1)."""

    clinical: tuple[int, int] | None = None
    endoscopy: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for bounds in (self.clinical, self.endoscopy):
            if bounds and bounds[0] > bounds[1]:
                raise ValueError("a window's first day lies after its last")
        return self


class Timepoint(Windows):
    """An assessment time: `target` is the offset in days that R4.2 measures distance from."""

    name: Name
    target: int


class Parameter(Part):
    """What is measured: the window it follows and, for laboratory values, its upper limit (R3.1, R3.3)."""

    window: Window
    upper_limit: Number | Literal["laboratory"] | None = None
    fallback: Number | Literal["miller"] | None = None
    inclusive: bool = True


class Population(Part):
    """Who counts in a denominator, judged at baseline; `reason` is given for those who do not."""

    parameter: str | None = None
    baseline_at_least: Number | None = None
    baseline_raised: bool = False
    observed_when_due: bool = False
    reason: Name


class Endpoint(Part):
    """One endpoint: a `kind` of comparison applied to one parameter, with its limits."""

    name: Name
    parameter: str
    kind: Kind
    population: str
    rule: str
    limit: Number | None = None
    baseline4_fall: Number | None = None
    minimum_fall: Number | None = None
    maximum_item: int | None = None

    @property
    def needs_baseline(self) -> bool:
        """Whether the endpoint itself (not only its denominator) compares with baseline."""
        return self.kind not in ("below", "at_most")

    @model_validator(mode="after")
    def _limited(self) -> Self:
        if self.limit is None and self.kind != "normalisation":
            raise ValueError(f"kind {self.kind!r} needs a limit")
        return self


class Reference(Part):
    """A published rate, shown beside the live one."""

    endpoint: str | None = None
    timepoint: str | None = None
    event_group: str | None = None
    n: int
    denominator: int
    per_cent: Number


class Regression(Part):
    """Which outcomes are explained by what was known at baseline, by logistic regression (R7.1, R7.2).

    `univariable`: each by itself. `multivariable`: these together.
    """

    timepoints: tuple[Name, ...]
    endpoints: tuple[Name, ...]
    univariable: tuple[Predictor, ...]
    multivariable: tuple[Predictor, ...] = ()


class Protocol(Part):
    """A whole protocol; `name` is the file's stem."""

    name: str
    title: str
    version: str
    author: str
    checked_by: str
    dated: date
    source: str
    drugs: tuple[str, ...] | Literal["any"]
    advanced_therapies: tuple[str, ...]
    corticosteroids: tuple[str, ...]
    baseline: Windows
    timepoint: tuple[Timepoint, ...]
    parameter: dict[Name, Parameter]
    population: dict[Name, Population]
    endpoint: tuple[Endpoint, ...]
    reference: tuple[Reference, ...] = ()
    regression: Regression | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for endpoint in self.endpoint:
            if endpoint.parameter not in self.parameter:
                raise ValueError(f"endpoint {endpoint.name}: no parameter {endpoint.parameter!r}")
            if endpoint.population not in self.population:
                raise ValueError(f"endpoint {endpoint.name}: no population {endpoint.population!r}")
            if self.population[endpoint.population].parameter not in (None, endpoint.parameter):
                raise ValueError(f"endpoint {endpoint.name}: its population judges another parameter")
        for name, population in self.population.items():
            if population.parameter and population.parameter not in self.parameter:
                raise ValueError(f"population {name}: no parameter {population.parameter!r}")
        if self.regression:
            for timepoint in set(self.regression.timepoints) - {t.name for t in self.timepoint}:
                raise ValueError(f"regression: no timepoint {timepoint!r}")
            for endpoint_name in set(self.regression.endpoints) - {e.name for e in self.endpoint}:
                raise ValueError(f"regression: no endpoint {endpoint_name!r}")
        names = [endpoint.name for endpoint in self.endpoint]
        if len(set(names)) < len(names):
            raise ValueError("two endpoints have the same name")
        return self


def load_protocol(name_or_path: str | Path) -> Protocol:
    """Read a shipped protocol by name (`fu2025`) or a file by path.

    Raises `ProtocolError` for a missing file, broken TOML or a definition that does not hold together.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = PROTOCOLS_DIR / f"{name_or_path}.toml"
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        shipped = ", ".join(sorted(p.stem for p in PROTOCOLS_DIR.glob("*.toml")))
        raise ProtocolError(f"no protocol file {path}; shipped: {shipped}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path}: {error}") from None
    try:
        return Protocol(name=path.stem, **fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ProtocolError(f"{path}: {where}: {first['msg']}") from None

"""What a protocol says: timepoints, windows, criteria, endpoints, populations, limits and published rates.

Frozen pydantic models. They check that a protocol holds together (R0.3: every variant is its own endpoint, the
headline only chooses among them); nothing clinical is computed here.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.analytes import ANALYTES

SCORES = ("cdai", "hbi", "stool_frequency", "abdominal_pain", "pro2", "ses_cd")
"""Parameters that visits give; every other one is a laboratory analyte."""
BASELINE = "baseline"
"""The timepoint before treatment (R4.5)."""
MOST_CRITERIA = 63
"""A store keeps the answers of one patient at one time in the bits of one number."""

Window = Literal["clinical", "endoscopy"]
Estimand = Literal["observed", "nri", "locf"]
Measure = Literal[
    "total", "highest_item", "ulceration", "ulcerated_surface", "without_narrowing", "isolated_ileal", "systemic",
]  # fmt: skip
Number = Annotated[Decimal, BeforeValidator(lambda value: str(value) if isinstance(value, float) else value)]
Predictor = Literal[
    "baseline_cdai", "baseline_ses_cd", "baseline_crp", "baseline_fcal", "age", "male_sex", "disease_duration",
    "prior_biologics", "perianal_disease", "complicated_behaviour", "colonic_disease",
]  # fmt: skip
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


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

    target: int

    @model_validator(mode="after")
    def _has_a_window(self) -> Self:
        if self.clinical is None and self.endoscopy is None:
            raise ValueError("needs a window: clinical, endoscopy or both")
        return self


class Settings(Part):
    """Conventions that the rules leave open (clinical rules, section 9)."""

    hct_mode: Literal["clip", "signed"] = "clip"
    """R1.4: whether a haematocrit above the reference lowers the CDAI (`signed`) or not (`clip`)."""
    component_rounding: bool = False
    """R1.6: round the haematocrit and weight terms of the CDAI half up to whole numbers."""
    nearest_days: Annotated[int, Field(ge=0, le=84)] = 14
    """R1.8: haematocrit and weight of another visit up to so many days before stand in for a missing one."""
    carried_days: Annotated[int, Field(ge=0, le=366)] = 84
    """R1.8: the last one is carried forward so many days at most."""
    baseline4_rule: Literal["any", "isolated_ileal", "off"] = "any"
    """R2.7: for whom a fall of `baseline4_fall` points from a SES-CD of 4 is a response."""
    missing: Annotated[tuple[Estimand, ...], Field(min_length=1)] = ("observed", "nri", "locf")
    """R4.7: the estimands that rates are reported for."""


class Parameter(Part):
    """What is measured: the window it follows and, for laboratory values, its upper limit (R3.1, R3.3)."""

    window: Window
    upper_limit: Number | Literal["laboratory"] | None = None
    fallback: Number | Literal["miller"] | None = None
    inclusive: bool = True


class Bound(NamedTuple):
    """A limit and how a number is held against it."""

    operator: Literal["<", "<=", ">", ">="]
    limit: Decimal


BOUNDS: Mapping[str, Literal["<", "<=", ">", ">="]] = {
    "below": "<",
    "at_most": "<=",
    "more_than": ">",
    "at_least": ">=",
}


class Shape(NamedTuple):
    """Which fields a kind of criterion takes: all of `needs`, one of `one_of`, and perhaps `may`."""

    meaning: str
    needs: tuple[str, ...]
    one_of: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


KINDS: Mapping[str, Shape] = {
    "threshold": Shape("the value against a limit", ("parameter",), tuple(BOUNDS), ("measure",)),
    "fall": Shape("how much lower than at baseline", ("parameter",), ("at_least", "more_than")),
    "per_cent_fall": Shape(
        "how many per cent lower than at baseline",
        ("parameter",),
        ("at_least", "more_than"),
        ("baseline4_fall", "baseline_zero"),
    ),
    "normalisation": Shape("raised at baseline, normal now (R3.2)", ("parameter",)),
    "raised": Shape("above the parameter's upper limit", ("parameter",)),
    "steroid_free": Shape(
        "no corticosteroid in so many days up to the parameter's assessment (R2.5)",
        ("parameter", "days"),
        may=("measure",),
    ),
    "steroid_use": Shape(
        "a corticosteroid in so many days up to the parameter's assessment (R2.5)",
        ("parameter", "days"),
        may=("measure",),
    ),
    "composite": Shape("all, or any, of other criteria (R0.2)", (), ("all_of", "any_of")),
    "delayed_response": Shape(
        "a response now in whoever had none at an earlier timepoint (R4.9); by the first of `response` that is known",
        ("response", "after"),
    ),
}
"""Every kind of criterion, in words."""
NEEDS_BASELINE = frozenset({"fall", "per_cent_fall", "normalisation"})


class Criterion(Part):
    """One comparison, true, false or unknown: a `kind` with the fields that `KINDS` gives it."""

    kind: Literal[
        "threshold",
        "fall",
        "per_cent_fall",
        "normalisation",
        "raised",
        "steroid_free",
        "steroid_use",
        "composite",
        "delayed_response",
    ]
    parameter: Name | None = None
    measure: Measure | None = None
    below: Number | None = None
    at_most: Number | None = None
    more_than: Number | None = None
    at_least: Number | None = None
    baseline4_fall: Number | None = None
    baseline_zero: Literal["unknown", "no"] | None = None
    days: Annotated[int, Field(ge=0, le=366)] | None = None
    all_of: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    any_of: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    response: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    after: Name | None = None

    @property
    def bound(self) -> Bound | None:
        """The limit, where the kind has one."""
        given = [(name, getattr(self, name)) for name in BOUNDS]
        return next((Bound(BOUNDS[name], limit) for name, limit in given if limit is not None), None)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the criteria that a composite puts together."""
        return self.all_of or self.any_of or ()

    @property
    def references(self) -> tuple[str, ...]:
        """Names of all other criteria that this one looks at."""
        return self.parts or self.response or ()

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        shape = KINDS[self.kind]
        given = {name for name in Criterion.model_fields if getattr(self, name) is not None} - {"kind"}
        for name in shape.needs:
            if name not in given:
                raise ValueError(f"kind {self.kind!r} needs {name!r}")
        if shape.one_of and len(given & set(shape.one_of)) != 1:
            raise ValueError(f"kind {self.kind!r} needs one of {', '.join(shape.one_of)}")
        for name in sorted(given - {*shape.needs, *shape.one_of, *shape.may}):
            raise ValueError(f"kind {self.kind!r} has no {name!r}")
        if (self.measure == "systemic") > (self.kind in ("steroid_free", "steroid_use")):
            raise ValueError("only steroid_free and steroid_use have a measure 'systemic'")
        if self.measure not in (None, "total", "systemic") and self.parameter != "ses_cd":
            raise ValueError(f"only ses_cd has a measure {self.measure!r}")
        return self


class Endpoint(Criterion):
    """A criterion that is reported: who counts, and by which rule."""

    name: Name
    population: Name
    rule: str
    timepoints: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Where it is judged; without it wherever its parameters have a window."""


class Population(Part):
    """Who counts in a denominator: whoever meets `all_of` at baseline; `reason` is given for the others."""

    all_of: tuple[Name, ...] = ()
    reason: Name | None = None
    observed_when_due: bool = False
    """Whether an observed value counts only once its window has closed (R4.8)."""

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.all_of and self.reason is None:
            raise ValueError("needs a reason for those who do not count")
        return self


class Reference(Part):
    """A published rate, shown beside the live one; counts where they were printed."""

    endpoint: str | None = None
    timepoint: str | None = None
    event_group: str | None = None
    n: int | None = None
    denominator: int | None = None
    per_cent: Number
    source: str | None = None

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if (self.endpoint is None) == (self.event_group is None):
            raise ValueError("needs an endpoint with its timepoint, or an event_group")
        if (self.endpoint is None) != (self.timepoint is None):
            raise ValueError("an endpoint needs a timepoint")
        if (self.n is None) != (self.denominator is None):
            raise ValueError("needs n and denominator, or neither")
        return self


class Regression(Part):
    """Which outcomes are explained by what was known at baseline, by logistic regression (R7.1, R7.2).

    `univariable`: each by itself. `multivariable`: these together.
    """

    timepoints: tuple[Name, ...]
    endpoints: tuple[Name, ...]
    univariable: tuple[Predictor, ...]
    multivariable: tuple[Predictor, ...] = ()


class Induction(Part):
    """How induction is meant to go: whoever keeps its dose longer has an extended one (R4.9)."""

    dose_mg: Number
    days: Annotated[int, Field(ge=1)]
    """From the first dose to the day on which the dose is to go down."""
    grace_days: Annotated[int, Field(ge=0)] = 0
    """How late the visit may be that lowers it."""


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
    corticosteroids_apart: tuple[str, ...] = ()
    """Those of them that the measure `systemic` leaves out: budesonide (R2.5)."""
    settings: Settings = Settings()
    induction: Induction | None = None
    baseline: Windows
    timepoint: dict[Name, Timepoint]
    parameter: dict[Name, Parameter]
    criterion: dict[Name, Criterion] = {}
    population: dict[Name, Population]
    endpoint: dict[Name, Endpoint]
    headline: dict[Name, Name] = {}
    """Endpoints that are a choice among others: `clinical_response` = `cr100`."""
    reference: tuple[Reference, ...] = ()
    regression: Regression | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: object) -> object:
        """Endpoints carry their names."""
        if isinstance(fields, dict) and isinstance(endpoints := fields.get("endpoint"), dict):
            named = {k: {"name": k, **v} if isinstance(v, dict) else v for k, v in endpoints.items()}
            return {**fields, "endpoint": named}
        return fields

    @cached_property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint that is reported: the protocol's headline first, each as the one it chooses."""
        chosen = [
            Endpoint(
                name=name,
                kind="composite",
                all_of=(choice,),
                **self.endpoint[choice].model_dump(include={"population", "rule", "timepoints"}),
            )
            for name, choice in self.headline.items()
        ]
        return (*chosen, *self.endpoint.values())

    @cached_property
    def criteria(self) -> dict[str, Criterion]:
        """Every criterion by its name, endpoints among them."""
        return {**self.criterion, **{endpoint.name: endpoint for endpoint in self.endpoints}}

    def atoms(self, name: str) -> tuple[str, ...]:
        """The criteria of one comparison each that a criterion rests on, in the order of the file."""
        criterion = self.criteria[name]
        if not criterion.references:
            return (name,)
        found = [atom for part in criterion.references for atom in self.atoms(part)]
        return tuple(dict.fromkeys(found))

    def parameters(self, name: str) -> tuple[str, ...]:
        """The parameters that a criterion looks at; a row shows the value of the first."""
        found = [self.criteria[atom].parameter for atom in self.atoms(name)]
        return tuple(dict.fromkeys(parameter for parameter in found if parameter is not None))

    def needs_baseline(self, name: str) -> bool:
        """Whether nothing can be said without a baseline: so for a fall, not for a remission (R2.4)."""
        return all(self.criteria[atom].kind in NEEDS_BASELINE for atom in self.atoms(name))

    def scheduled(self, endpoint: Endpoint) -> Iterator[str]:
        """The timepoints at which an endpoint is judged, baseline where it compares nothing with it."""
        windows = {self.parameter[name].window for name in self.parameters(endpoint.name)}
        times: dict[str, Windows] = {BASELINE: self.baseline, **self.timepoint}
        for name, bounds in times.items():
            if endpoint.timepoints is not None and name not in endpoint.timepoints:
                continue
            if name == BASELINE and not self._stands_alone(endpoint):
                continue
            if all(getattr(bounds, window) is not None for window in windows):
                yield name

    def _stands_alone(self, endpoint: Endpoint) -> bool:
        return not any(self.criteria[atom].kind in NEEDS_BASELINE for atom in self.atoms(endpoint.name))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """What does not hold together, each as `path: reason`."""
        known = {*SCORES, *ANALYTES}
        for name in self.parameter.keys() - known:
            yield f"parameter.{name}: no such parameter; scores are {', '.join(SCORES)}, the others analytes"
        if BASELINE in self.timepoint:
            yield f"timepoint.{BASELINE}: baseline has a table of its own, [baseline]"
        for name, choice in self.headline.items():
            if choice not in self.endpoint:
                yield f"headline.{name}: no endpoint {choice!r}"
            if name in self.endpoint or name in self.criterion:
                yield f"headline.{name}: an endpoint or criterion has this name already"
        for name in self.endpoint.keys() & self.criterion.keys():
            yield f"endpoint.{name}: a criterion has this name already"
        yield from self._criterion_problems()
        for name, population in self.population.items():
            for part in population.all_of:
                if part not in self.criterion and part not in self.endpoint:
                    yield f"population.{name}.all_of: no criterion {part!r}"
                elif not self._stands_alone_at_baseline(part):
                    yield f"population.{name}.all_of: {part!r} compares with baseline, and is judged there"
        if len(names := {*self.criterion, *self.endpoint}) > MOST_CRITERIA:
            yield f"endpoint: {len(names)} criteria and endpoints; {MOST_CRITERIA} is the most"
        for number, reference in enumerate(self.reference):
            if reference.endpoint and reference.endpoint not in {**self.endpoint, **self.headline}:
                yield f"reference.{number}.endpoint: no endpoint {reference.endpoint!r}"
            if reference.timepoint and reference.timepoint not in self.timepoint:
                yield f"reference.{number}.timepoint: no timepoint {reference.timepoint!r}"

        if self.regression:
            for timepoint in self.regression.timepoints:
                if timepoint not in self.timepoint:
                    yield f"regression.timepoints: no timepoint {timepoint!r}"
            for endpoint in self.regression.endpoints:
                if endpoint not in {**self.endpoint, **self.headline}:
                    yield f"regression.endpoints: no endpoint {endpoint!r}"

    def _criterion_problems(self) -> Iterator[str]:
        tables: tuple[tuple[str, Mapping[str, Criterion]], ...] = (
            ("criterion", self.criterion),
            ("endpoint", self.endpoint),
        )
        both = {**self.criterion, **self.endpoint}
        for table, criteria in tables:
            for name, criterion in criteria.items():
                where = f"{table}.{name}"
                if criterion.parameter and criterion.parameter not in self.parameter:
                    yield f"{where}.parameter: no parameter {criterion.parameter!r}"
                elif (
                    criterion.kind in ("normalisation", "raised")
                    and self.parameter[criterion.parameter or ""].upper_limit is None
                ):
                    yield f"{where}: parameter {criterion.parameter!r} has no upper_limit"
                for part in criterion.references:
                    if part not in both:
                        yield f"{where}: no criterion or endpoint {part!r}"
                if _circular(name, both):
                    yield f"{where}: leads back to itself"
                if criterion.after and criterion.after not in self.timepoint:
                    yield f"{where}.after: no timepoint {criterion.after!r}"
        for name, endpoint in self.endpoint.items():
            if endpoint.population not in self.population:
                yield f"endpoint.{name}.population: no population {endpoint.population!r}"
            for timepoint in endpoint.timepoints or ():
                if timepoint not in {BASELINE, *self.timepoint}:
                    yield f"endpoint.{name}.timepoints: no timepoint {timepoint!r}"

    def _stands_alone_at_baseline(self, name: str) -> bool:
        criteria = {**self.criterion, **self.endpoint}
        criterion = criteria[name]
        if criterion.references:
            return all(self._stands_alone_at_baseline(part) for part in criterion.references)
        return criterion.kind not in NEEDS_BASELINE


def _circular(name: str, criteria: Mapping[str, Criterion], above: tuple[str, ...] = ()) -> bool:
    if name in above:
        return True
    if name not in criteria:
        return False
    return any(_circular(part, criteria, (*above, name)) for part in criteria[name].references)

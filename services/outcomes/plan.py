"""Protocols made ready for the store: what they share, and every endpoint as sets of bits.

Protocols that choose values alike (drugs, windows, conventions of the CDAI) are one *scheme*: values are chosen
once for all of them. A criterion of one comparison is an *atom*; an endpoint is true when each of its clauses has a
true atom, and false when one has only false ones (conjunctive normal form; it holds for three values, R0.2).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from schemas.protocol_model import BASELINE, SCORES, Criterion, Parameter, Protocol

MOST_ATOMS = 63
"""A store keeps what a value decides as the bits of one number."""

Clause = frozenset["Atom"]


class Limit(NamedTuple):
    """Where an upper limit of normal comes from (R3.1, R3.3)."""

    laboratory: bool = False
    fixed: Decimal | None = None
    miller: bool = False
    inclusive: bool = True


class Atom(NamedTuple):
    """One comparison, with all that decides it."""

    parameter: str
    kind: str
    measure: str = "total"
    operator: str | None = None
    limit: Decimal | None = None
    baseline4_fall: Decimal | None = None
    baseline4_rule: str | None = None
    baseline_zero_fails: bool = False
    days: int | None = None
    laboratory: bool = False
    fixed: Decimal | None = None
    miller: bool = False
    inclusive: bool = True


@dataclass
class Scheme:
    """What protocols share that choose the same values."""

    number: int
    first: Protocol
    atoms: dict[Atom, int] = field(default_factory=dict)
    """Atoms and the numbers of their bits."""

    @property
    def times(self) -> dict[str, int]:
        """Timepoints by number; baseline is 0."""
        return {name: number for number, name in enumerate((BASELINE, *self.first.timepoint))}

    def windows(self, parameters: Mapping[str, int]) -> Iterator[tuple[int, int, int, int, int, str, str]]:
        """For each timepoint and parameter: time, parameter, target, first and last offset, and their names.

        Baseline is the value nearest to day 0 in a window that ends there: the last one (R4.5).
        """
        for timepoint, time in self.times.items():
            visit = self.first.timepoint.get(timepoint)
            bounds, target = (visit, visit.target) if visit else (self.first.baseline, 0)
            for name, rules in self.first.parameter.items():
                window = getattr(bounds, rules.window)
                if window is not None:
                    yield time, parameters[name], target, *window, timepoint, name

    def mask(self, clause: Clause) -> int:
        """The bits of a clause."""
        return sum(1 << self.atoms[atom] for atom in clause)


class Step(NamedTuple):
    """One endpoint of one protocol at one timepoint."""

    protocol: str
    scheme: int
    time: int
    timepoint: str
    endpoint: str
    bit: int
    ordinal: int
    rule: str
    lead: int
    parameters: int
    opens: int
    closes: int
    needs_baseline: bool
    clauses: list[int]
    responses: list[list[int]]
    after: int | None
    population: list[int]
    population_parameters: int
    baseline_reason: str | None
    observed_when_due: bool
    headline_parameters: int


@dataclass(frozen=True)
class Plan:
    """All protocols, in order of evaluation."""

    protocols: tuple[Protocol, ...]
    schemes: tuple[Scheme, ...]
    scheme_of: dict[str, Scheme]
    parameters: dict[str, int]
    """Parameters by number, the scores first."""
    steps: tuple[Step, ...]


def make_plan(protocols: Sequence[Protocol]) -> Plan:
    """Compile protocols: schemes, numbered parameters, atoms and endpoints."""
    names = [*SCORES, *(name for protocol in protocols for name in protocol.parameter)]
    parameters = {name: number for number, name in enumerate(dict.fromkeys(names))}
    schemes: list[Scheme] = []
    scheme_of = {}
    for protocol in protocols:
        scheme = _scheme_for(protocol, schemes)
        scheme_of[protocol.name] = scheme
        for atom in _atoms(protocol):
            scheme.atoms.setdefault(atom, len(scheme.atoms))
    steps = tuple(
        step for protocol in protocols for step in _steps(protocol, scheme_of[protocol.name], parameters)
    )
    return Plan(tuple(protocols), tuple(schemes), scheme_of, parameters, steps)


def clauses_of(protocol: Protocol, name: str) -> list[Clause]:
    """A criterion in conjunctive normal form."""
    criterion = protocol.criteria[name]
    if criterion.kind != "composite":
        return [frozenset({_atom(protocol, criterion)})]
    parts = [clauses_of(protocol, part) for part in criterion.parts]
    if criterion.all_of:
        return list(dict.fromkeys(clause for part in parts for clause in part))
    spread: list[Clause] = [frozenset()]
    for part in parts:
        spread = list(dict.fromkeys(one | other for one in spread for other in part))
    return spread


def limit_of(rules: Parameter) -> Limit:
    """The upper limit of a parameter."""
    laboratory = rules.upper_limit == "laboratory"
    fixed = rules.fallback if laboratory else rules.upper_limit
    return Limit(
        laboratory, fixed if isinstance(fixed, Decimal) else None, fixed == "miller", rules.inclusive
    )


def _scheme_for(protocol: Protocol, schemes: list[Scheme]) -> Scheme:
    atoms = _atoms(protocol)
    for scheme in schemes:
        if _choosing(scheme.first) == _choosing(protocol) and len({*scheme.atoms, *atoms}) <= MOST_ATOMS:
            return scheme
    schemes.append(Scheme(len(schemes), protocol))
    return schemes[-1]


def _choosing(protocol: Protocol) -> tuple[object, ...]:
    """All that decides which values are chosen, and what they are."""
    settings = protocol.settings.model_dump(exclude={"baseline4_rule", "missing"})
    windows = sorted((name, rules.window) for name, rules in protocol.parameter.items())
    lists = (protocol.drugs, protocol.advanced_therapies, protocol.corticosteroids)
    return settings, windows, protocol.baseline, list(protocol.timepoint.items()), lists


def _atoms(protocol: Protocol) -> list[Atom]:
    """Every atom of a protocol, once, in the order of the file: bits must not change from run to run."""
    wanted = [endpoint.name for endpoint in protocol.endpoints]
    wanted += [part for population in protocol.population.values() for part in population.all_of]
    simple = [atom for name in wanted for atom in protocol.atoms(name)]
    return list(dict.fromkeys(_atom(protocol, protocol.criteria[name]) for name in simple))


def _atom(protocol: Protocol, criterion: Criterion) -> Atom:
    parameter = criterion.parameter or ""
    bound = criterion.bound
    judged = criterion.kind in ("normalisation", "raised")
    limit = limit_of(protocol.parameter[parameter]) if judged else Limit()
    return Atom(
        parameter=parameter,
        kind=criterion.kind,
        measure=criterion.measure or "total",
        operator=bound and bound.operator,
        limit=bound and bound.limit,
        baseline4_fall=criterion.baseline4_fall,
        baseline4_rule=protocol.settings.baseline4_rule if criterion.baseline4_fall is not None else None,
        baseline_zero_fails=criterion.baseline_zero == "no",
        days=criterion.days,
        laboratory=limit.laboratory,
        fixed=limit.fixed,
        miller=limit.miller,
        inclusive=limit.inclusive,
    )


def _steps(protocol: Protocol, scheme: Scheme, parameters: dict[str, int]) -> list[Step]:
    """Every endpoint at every timepoint where it is judged."""

    def bits(names: Sequence[str]) -> int:
        return sum(1 << parameters[name] for name in names)

    def masks(name: str) -> list[int]:
        return [scheme.mask(clause) for clause in clauses_of(protocol, name)]

    headline = bits(tuple({p for name in protocol.headline for p in protocol.parameters(name)}))
    steps = []
    for ordinal, endpoint in enumerate(protocol.endpoints):
        seen = protocol.parameters(endpoint.name)
        population = protocol.population[endpoint.population]
        judged = [name for part in population.all_of for name in protocol.parameters(part)]
        delayed = _delayed(protocol, endpoint)
        for timepoint in protocol.scheduled(endpoint):
            bounds = protocol.baseline if timepoint == BASELINE else protocol.timepoint[timepoint]
            opens, closes = getattr(bounds, protocol.parameter[seen[0]].window)
            steps.append(
                Step(
                    protocol=protocol.name,
                    scheme=scheme.number,
                    time=scheme.times[timepoint],
                    timepoint=timepoint,
                    endpoint=endpoint.name,
                    bit=1 << ordinal,
                    ordinal=ordinal,
                    rule=endpoint.rule,
                    lead=parameters[seen[0]],
                    parameters=bits(seen),
                    opens=opens,
                    closes=closes,
                    needs_baseline=protocol.needs_baseline(endpoint.name),
                    clauses=[] if delayed else masks(endpoint.name),
                    responses=[masks(name) for name in delayed.response or ()] if delayed else [],
                    after=scheme.times[delayed.after] if delayed and delayed.after else None,
                    population=[mask for part in population.all_of for mask in masks(part)],
                    population_parameters=bits(tuple(dict.fromkeys(judged))),
                    baseline_reason=population.reason,
                    observed_when_due=population.observed_when_due,
                    headline_parameters=headline,
                )
            )
    return steps


def _delayed(protocol: Protocol, endpoint: Criterion) -> Criterion | None:
    """The criterion of a delayed response, also where a headline stands for it."""
    if endpoint.kind == "delayed_response":
        return endpoint
    only = protocol.criteria[endpoint.parts[0]] if len(endpoint.parts) == 1 else None
    return only if only is not None and only.kind == "delayed_response" else None

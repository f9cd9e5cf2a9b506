"""Protocols made ready for the store: what they share, and every endpoint as sets of bits.

Protocols that choose values alike (drugs, windows, conventions of the CDAI) are one *scheme*: values are chosen
once for all of them. A criterion of one comparison is an *atom*, and has a bit. A clause, several atoms, is true when
one of them is, and false when all are; an endpoint is true when all of its clauses are, and false when one is
(conjunctive normal form; it holds for three values, R0.2). An endpoint of one clause is told from its atoms' bits;
any other is a *composite* with a bit of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from schemas.protocol_model import BASELINE, SCORES, Criterion, Endpoint, Parameter, Protocol

MOST_BITS = 63
"""A store keeps what a patient's values decide at a time as the bits of one number."""

Clause = frozenset["Atom"]
Composite = tuple[tuple[Clause, ...], ...]
"""Endpoints in conjunctive normal form, of which the first that is known decides (R4.9); mostly one."""


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
    bits: "dict[Atom | Composite, int]" = field(default_factory=dict)
    """Atoms and composites, and the numbers of their bits."""

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

    @property
    def atoms(self) -> dict[Atom, int]:
        """Atoms and the numbers of their bits."""
        return {of: number for of, number in self.bits.items() if isinstance(of, Atom)}

    @property
    def composites(self) -> dict[Composite, int]:
        """Composites and the numbers of their bits."""
        return {of: number for of, number in self.bits.items() if not isinstance(of, Atom)}

    def mask(self, clause: Clause) -> int:
        """The bits of a clause."""
        return sum(1 << self.bits[atom] for atom in clause)

    def answer(self, of: Composite) -> int:
        """The clause that tells whether it holds: its only one, or its own bit."""
        return self.mask(of[0][0]) if _is_clause(of) else 1 << self.bits[of]


class Step(NamedTuple):
    """One endpoint of one protocol at one timepoint."""

    protocol: str
    scheme: int
    time: int
    timepoint: str
    endpoint: str
    answer: int
    ordinal: int
    rule: str
    lead: int
    parameters: int
    opens: int
    closes: int
    needs_baseline: bool
    after: int | None
    qualifies: int | None
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
        for part in _parts(protocol):
            scheme.bits.setdefault(part, len(scheme.bits))
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
    parts = _parts(protocol)
    for scheme in schemes:
        if _choosing(scheme.first) == _choosing(protocol) and len({*scheme.bits, *parts}) <= MOST_BITS:
            return scheme
    schemes.append(Scheme(len(schemes), protocol))
    return schemes[-1]


def _choosing(protocol: Protocol) -> tuple[object, ...]:
    """All that decides which values are chosen, and what they are."""
    settings = protocol.settings.model_dump(exclude={"baseline4_rule", "missing"})
    windows = sorted((name, rules.window) for name, rules in protocol.parameter.items())
    lists = (
        *(
            protocol.drugs,
            protocol.advanced_therapies,
            protocol.corticosteroids,
            protocol.corticosteroids_apart,
        ),
    )
    return settings, windows, protocol.baseline, list(protocol.timepoint.items()), lists


def _parts(protocol: Protocol) -> "list[Atom | Composite]":
    """Every atom and composite of a protocol, once, in the order of the file: bits must not change from run to run."""
    wanted = [_composite(protocol, endpoint) for endpoint in protocol.endpoints]
    wanted += [_population(protocol, endpoint) for endpoint in protocol.endpoints]
    parts: list[Atom | Composite] = []
    for composite in wanted:
        parts += [atom for clauses in composite for clause in clauses for atom in sorted(clause, key=repr)]
        parts += [] if _is_clause(composite) else [composite]
    return [part for part in dict.fromkeys(parts) if part]


def _composite(protocol: Protocol, endpoint: Endpoint) -> Composite:
    delayed = _delayed(protocol, endpoint)
    names = (delayed.response or ()) if delayed else (endpoint.name,)
    return tuple(tuple(clauses_of(protocol, name)) for name in names)


def _population(protocol: Protocol, endpoint: Endpoint) -> Composite:
    """What a baseline must fulfil for its patient to count; nothing where all count."""
    parts = protocol.population[endpoint.population].all_of
    clauses = dict.fromkeys(clause for part in parts for clause in clauses_of(protocol, part))
    return (tuple(clauses),) if clauses else ()


def _is_clause(of: Composite) -> bool:
    return len(of) == 1 and len(of[0]) == 1


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
                    answer=scheme.answer(_composite(protocol, endpoint)),
                    ordinal=ordinal,
                    rule=endpoint.rule,
                    lead=parameters[seen[0]],
                    parameters=bits(seen),
                    opens=opens,
                    closes=closes,
                    needs_baseline=protocol.needs_baseline(endpoint.name),
                    after=scheme.times[delayed.after] if delayed and delayed.after else None,
                    qualifies=scheme.answer(judging)
                    if (judging := _population(protocol, endpoint))
                    else None,
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

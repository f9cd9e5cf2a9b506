"""Protocols compiled to SQL macros: what a value decides, and what several decide together, as bits.

A store has too many endpoint rows to look each one's definition up. The macros carry the definitions as constants
instead, so that all comparisons of a value and all endpoints of a patient at a time cost one expression each.

- `criteria_met(…)`, `criteria_failed(…)`: the comparisons (`Atom`) of a scheme that a value meets or fails.
- `endpoints_met(…)`, `endpoints_failed(…)`: the endpoints of a protocol, from those.
- `populations_met(…)`, `populations_failed(…)`: the endpoints whose population a baseline belongs to.

What is neither met nor failed is unknown (R0.2).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal

from schemas.protocol_model import SCORES
from services.outcomes.plan import Atom, Plan, Step

VALUE = (
    *("value", "comparator", "ref_high", "age_limit", "highest_item", "ulceration", "without_narrowing"),
    *("isolated_ileal", "baseline_value", "baseline_comparator", "baseline_ref_high", "baseline_age_limit"),
    *("baseline_isolated_ileal", "baseline_common", "value_common", "steroid_gap", "steroids_known"),
)
"""What the macros of criteria take of a value and its baseline, behind the scheme and the parameter."""

MEASURES = {
    "total": "value",
    "highest_item": "highest_item",
    "ulceration": "ulceration",
    "without_narrowing": "without_narrowing",
    "isolated_ileal": "isolated_ileal::TINYINT",
}


def macros(plan: Plan) -> str:
    """The statements that create all of them."""
    return (
        _criteria("criteria_met", plan, lambda holds: holds)
        + _criteria("criteria_failed", plan, lambda holds: f"NOT ({holds})")
        + _endpoints("endpoints", plan, lambda step: step.responses or [step.clauses])
        + _endpoints("populations", plan, lambda step: [step.population])
    )


# -- criteria of one value -----------------------------------------------------------------------------------


def _criteria(name: str, plan: Plan, told: Callable[[str], str]) -> str:
    schemes = []
    for scheme in plan.schemes:
        bits: dict[int, list[str]] = {}
        for atom, number in scheme.atoms.items():
            bit = f"CASE WHEN {told(_holds(atom))} THEN {1 << number} ELSE 0 END"
            bits.setdefault(plan.parameters[atom.parameter], []).append(bit)
        schemes.append((scheme.number, _choice("parameter", ((p, _union(each)) for p, each in bits.items()))))
    return _macro(name, ("scheme", "parameter", *VALUE), _choice("scheme", schemes))


def _holds(atom: Atom) -> str:
    """Whether one comparison holds: true, false or null."""
    match atom.kind:
        case "threshold":
            return _compared(atom)
        case "fall":
            return _call(
                "reaches", "baseline_common - value_common", _literal(atom.operator), _literal(atom.limit)
            )
        case "per_cent_fall":
            ways = (atom.operator, atom.limit, atom.baseline4_fall, atom.baseline4_rule)
            return _call(
                "fell_per_cent", "baseline_common", "value_common", *map(_literal, ways),
                "baseline_isolated_ileal", _literal(atom.baseline_zero_fails),
            )  # fmt: skip
        case "normalisation":
            return f"CASE WHEN NOT {_normal(atom, 'baseline_')} THEN {_normal(atom)} END"
        case "raised":
            return f"NOT {_normal(atom)}"
        case "steroid_free":
            return f"CASE WHEN steroid_gap <= {atom.days} THEN false WHEN steroids_known THEN true END"
    raise ValueError(f"no comparison of kind {atom.kind}")


def _compared(atom: Atom) -> str:
    """A threshold. Only laboratory results can be censored: all others are plain numbers."""
    measure, bound = MEASURES[atom.measure], _literal(atom.limit)
    if atom.parameter in SCORES:
        return f"{measure} {atom.operator} {bound}"
    relation = "below" if atom.operator in ("<", ">=") else "at_most"
    within = _call(relation, measure, "comparator", bound)
    return within if atom.operator in ("<", "<=") else f"NOT {within}"


def _normal(atom: Atom, of: str = "") -> str:
    """R3.1, R3.3: within the laboratory's limit, else the one by age and sex, else the protocol's."""
    limit = f"{of}age_limit" if atom.miller else _literal(atom.fixed)
    limit = f"coalesce({of}ref_high, {limit})" if atom.laboratory else limit
    relation = "at_most" if atom.inclusive else "below"
    return _call(relation, f"{of}value", f"{of}comparator", limit)


# -- endpoints, from criteria --------------------------------------------------------------------------------


def _endpoints(name: str, plan: Plan, answers: Callable[[Step], Sequence[Sequence[int]]]) -> str:
    """Two macros: (number of the protocol, criteria met, criteria failed) to the endpoints met, or failed."""
    met, failed = [], []
    for number, protocol in enumerate(plan.protocols, start=1):
        steps = {step.bit: answers(step) for step in plan.steps if step.protocol == protocol.name}
        met.append((number, _union(_first_known(bit, each, true=True) for bit, each in steps.items())))
        failed.append((number, _union(_first_known(bit, each, true=False) for bit, each in steps.items())))
    arguments = ("protocol", "met", "failed")
    return _macro(f"{name}_met", arguments, _choice("protocol", met)) + _macro(
        f"{name}_failed", arguments, _choice("protocol", failed)
    )


def _first_known(bit: int, answers: Sequence[Sequence[int]], *, true: bool) -> str:
    """The bit where the first answer that is known is `true` (R4.9 asks for several, all others for one)."""
    cases = " ".join(_cases(bit, answers, true))
    return f"CASE {cases} ELSE 0 END"


def _cases(bit: int, answers: Sequence[Sequence[int]], true: bool) -> Iterator[str]:
    for clauses in answers:
        wanted, other = (_true, _false) if true else (_false, _true)
        yield f"WHEN {wanted(clauses)} THEN {bit}"
        if len(answers) > 1:
            yield f"WHEN {other(clauses)} THEN 0"


def _true(clauses: Sequence[int]) -> str:
    """Every clause has a criterion that is met."""
    return " AND ".join(f"met & {clause} <> 0" for clause in clauses) or "true"


def _false(clauses: Sequence[int]) -> str:
    """Of a clause all criteria failed."""
    return " OR ".join(f"failed & {clause} = {clause}" for clause in clauses) or "false"


# -- SQL -----------------------------------------------------------------------------------------------------


def _macro(name: str, arguments: Sequence[str], body: str) -> str:
    return f"CREATE OR REPLACE MACRO {name}({', '.join(arguments)}) AS ({body})::BIGINT;\n"


def _choice(of: str, cases: Iterable[tuple[int, str]]) -> str:
    branches = " ".join(f"WHEN {value} THEN {body}" for value, body in cases)
    return f"CASE {of} {branches} ELSE 0 END" if branches else "0"


def _union(bits: Iterable[str]) -> str:
    return "(" + " | ".join(bits) + ")"


def _call(function: str, *arguments: str) -> str:
    return f"{function}({', '.join(arguments)})"


def _literal(value: str | Decimal | bool | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value}::DECIMAL(18, 9)" if isinstance(value, Decimal) else f"'{value}'"

"""Composite endpoints compiled to SQL macros.

`composites_met(scheme, met, failed)` adds to the bits of the atoms that are met those of the composites that follow,
`composites_failed(scheme, met, failed)` likewise of what failed; what is in neither is unknown (R0.2). The definitions
stand in the macros as constants: to look them up for each patient and time takes ten times as long.
"""

from collections.abc import Iterator, Sequence

from services.outcomes.plan import Composite, Plan, Scheme


def composite_macros(plan: Plan) -> str:
    """The statements that create both."""
    return _macro("composites_met", plan, true=True) + _macro("composites_failed", plan, true=False)


def _macro(name: str, plan: Plan, *, true: bool) -> str:
    known = "met" if true else "failed"
    schemes = " ".join(
        f"WHEN {scheme.number} THEN {' | '.join((known, *_bits(scheme, true)))}" for scheme in plan.schemes
    )
    return f"CREATE OR REPLACE MACRO {name}(scheme, met, failed) AS (CASE scheme {schemes} END)::BIGINT;\n"


def _bits(scheme: Scheme, true: bool) -> Iterator[str]:
    for composite, number in scheme.composites.items():
        cases = " ".join(_cases(scheme, composite, 1 << number, true))
        yield f"CASE {cases} ELSE 0 END"


def _cases(scheme: Scheme, composite: Composite, bit: int, true: bool) -> Iterator[str]:
    """The bit where the first part that is known is true, or false (R4.9 asks for several, all others for one)."""
    for clauses in composite:
        masks = [scheme.mask(clause) for clause in clauses]
        wanted, other = (_true, _false) if true else (_false, _true)
        yield f"WHEN {wanted(masks)} THEN {bit}"
        if len(composite) > 1:
            yield f"WHEN {other(masks)} THEN 0"


def _true(masks: Sequence[int]) -> str:
    """Every clause has an atom that is met."""
    return " AND ".join(f"met & {mask} <> 0" for mask in masks)


def _false(masks: Sequence[int]) -> str:
    """Of a clause all atoms failed."""
    return " OR ".join(f"failed & {mask} = {mask}" for mask in masks)

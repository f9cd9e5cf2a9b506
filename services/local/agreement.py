"""The published table beside the live one: what is compared, and when it agrees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from statistics import NormalDist
from typing import Any

from schemas.protocol import Protocol

Row = Mapping[str, Any]

_HUNDREDTH = Decimal("0.01")
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Line:
    """One proportion, as published and as counted live; no live count where there is no such row."""

    name: str
    published: tuple[int, int]
    published_per_cent: Decimal
    live: tuple[int, int] | None
    limits: tuple[float, float] | None  # of the live proportion, 95 %, Wilson, 0..1

    @property
    def live_per_cent(self) -> Decimal | None:
        """The live percentage, rounded to two decimals as printed tables are; None where nothing counts."""
        if self.live is None or not self.live[1]:
            return None
        return (Decimal(100) * self.live[0] / self.live[1]).quantize(_HUNDREDTH, ROUND_HALF_UP)

    @property
    def agrees(self) -> bool:
        """Whether the percentages are the same to two decimals."""
        return self.live_per_cent == self.published_per_cent.quantize(_HUNDREDTH, ROUND_HALF_UP)


def agreement(protocol: Protocol, cohort: Sequence[Row], incidence: Sequence[Row]) -> list[Line]:
    """A line for each reference rate of the protocol that was printed with its counts.

    `cohort`: rows of `cohort_rates`; `incidence`: rows of `incidence`. Pooled rows of the protocol's drug count.
    """
    lines = []
    for reference in protocol.reference:
        if reference.n is None or reference.denominator is None:
            continue
        if reference.event_group:
            row = _one(incidence, protocol, event_group=reference.event_group)
            live = (row["patients_with_event"], row["patients"]) if row else None
            limits = wilson(*live) if live else None
            name = (
                "patients with an adverse event" if reference.event_group == "any" else reference.event_group
            )
        else:
            row = _one(
                cohort,
                protocol,
                protocol=protocol.name,
                timepoint=reference.timepoint,
                endpoint=reference.endpoint,
                estimand="observed",
            )
            live = (row["n"], row["denominator"]) if row else None
            limits = (row["ci_low"], row["ci_high"]) if row and row["ci_low"] is not None else None
            name = f"{reference.endpoint}".replace("_", " ")
        lines.append(Line(name, (reference.n, reference.denominator), reference.per_cent, live, limits))
    return lines


def wilson(n: int, denominator: int) -> tuple[float, float] | None:
    """Wilson's 95 % limits of a proportion; None for an empty denominator."""
    if not denominator:
        return None
    share, z2 = n / denominator, _Z * _Z
    centre = share + z2 / (2 * denominator)
    spread = _Z * (share * (1 - share) / denominator + z2 / (4 * denominator**2)) ** 0.5
    whole = 1 + z2 / denominator
    return (centre - spread) / whole, (centre + spread) / whole


def _one(rows: Iterable[Row], study: Protocol, **wanted: object) -> Row | None:
    drugs = None if study.drugs == "any" else set(study.drugs)
    fitting = [
        row
        for row in rows
        if row["site_id"] is None
        and (drugs is None or row["drug"] in drugs)
        and all(row[name] == value for name, value in wanted.items())
    ]
    return fitting[0] if len(fitting) == 1 else None

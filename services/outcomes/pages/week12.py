"""The first page: live rates beside the published ones, and what became of every treated patient."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.protocol import Endpoint, Protocol
from services.outcomes.definition import REASONS
from services.outcomes.pages.wording import definition, endpoint_label, group_label
from services.stream.disclosure import SMALLEST_CELL

Row = dict[str, Any]

ESTIMANDS = {"observed": "As observed", "nri": "Missing = failure", "locf": "Carried forward"}
"""What is counted as a result (R4.7)."""
BESIDE = {"observed": "nri", "nri": "observed", "locf": "nri"}
"""The estimand that is shown beside each."""
NEVER_SHOWN = {"no_treatment"}
"""Reasons of patients who are counted nowhere."""


@dataclass(frozen=True)
class Published:
    """What the study printed of an endpoint."""

    n: int | None
    denominator: int | None
    per_cent: float

    @property
    def share(self) -> float:
        """0..1"""
        return self.per_cent / 100


@dataclass
class Line:
    """An endpoint at one timepoint: live figures, published ones, and where the patients are."""

    endpoint: str
    label: str
    definition: str
    published: Published | None = None
    estimand: str = "observed"
    figures: dict[str, Row] = field(default_factory=dict)
    """Rows of `cohort_rates` by estimand."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Patients who do not count, by why."""
    treated: int = 0

    @property
    def chosen(self) -> Row | None:
        """The rate by the estimand that is shown."""
        return self.figures.get(self.estimand)

    @property
    def beside(self) -> Row | None:
        """The rate that stands beside it (R4.8)."""
        return self.figures.get(BESIDE[self.estimand])

    @property
    def counted(self) -> int | None:
        """Patients in the denominator; None where it is masked."""
        return self.chosen["denominator"] if self.chosen else 0

    @property
    def awaited(self) -> int | None:
        """Patients who may still come to count."""
        return None if self.counted is None else self.treated - self.counted - sum(self.reasons.values())


@dataclass(frozen=True)
class Choice:
    """What of a protocol is shown. `site` None: all centres."""

    protocol: Protocol
    timepoint: str
    estimand: str
    drug: str | None
    site: str | None

    def fits(self, row: Row) -> bool:
        """Whether a row is of the protocol, timepoint and drug chosen."""
        return bool(
            row["protocol"] == self.protocol.name
            and row["timepoint"] == self.timepoint
            and row["drug"] == self.drug
        )


def lines(choice: Choice, cohort: Iterable[Row], accounts: Iterable[Row]) -> list[tuple[str, list[Line]]]:
    """The endpoints of the protocol in its own order, under their headings."""
    protocol = choice.protocol
    shown = [e for e in protocol.endpoints if choice.timepoint in protocol.scheduled(e)]
    by_endpoint = {e.name: _line(e, protocol, choice.estimand) for e in shown}
    for row in cohort:
        if choice.fits(row) and row["site_id"] == choice.site and row["endpoint"] in by_endpoint:
            by_endpoint[row["endpoint"]].figures[row["estimand"]] = row
    for row in accounts:
        if choice.fits(row) and choice.site in (None, row["site_id"]) and row["endpoint"] in by_endpoint:
            _add(by_endpoint[row["endpoint"]], row)
    for reference in protocol.reference:
        if reference.timepoint == choice.timepoint and reference.endpoint in by_endpoint:
            by_endpoint[reference.endpoint].published = Published(
                reference.n, reference.denominator, float(reference.per_cent)
            )
    groups: dict[str, list[Line]] = {}
    for endpoint in shown:
        lead = protocol.parameters(endpoint.name)[0]
        groups.setdefault(group_label(lead), []).append(by_endpoint[endpoint.name])
    return list(groups.items())


def reasons_of(groups: Sequence[tuple[str, Sequence[Line]]]) -> list[str]:
    """The reasons that occur, in the order of the vocabulary."""
    found = {reason for _, group in groups for line in group for reason in line.reasons}
    return [reason for reason in REASONS if reason in found]


def drugs_of(protocol: str, cohort: Iterable[Row]) -> list[str]:
    """The index drugs of a protocol, by name."""
    return sorted({row["drug"] for row in cohort if row["protocol"] == protocol})


def shown(number: int | None, masked: bool) -> str:
    """A count for somebody who may not see small cells: `masked` hides those from 1 to 4."""
    if number is None or (masked and 0 < number < SMALLEST_CELL):
        return f"under {SMALLEST_CELL}"
    return str(number)


def _line(endpoint: Endpoint, protocol: Protocol, estimand: str) -> Line:
    label = endpoint_label(endpoint.name)
    return Line(endpoint.name, label, definition(endpoint, protocol), estimand=estimand)


def _add(line: Line, row: Row) -> None:
    line.treated += row["patients"]
    if row["reason"] and row["reason"] not in NEVER_SHOWN and not row[f"counted_{line.estimand}"]:
        line.reasons[row["reason"]] = line.reasons.get(row["reason"], 0) + row["patients"]

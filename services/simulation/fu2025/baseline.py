"""The table of baseline characteristics in `examples/fu2025/README.md`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles, stdev
from typing import Any

from services.simulation.fu2025.plan import Clinical, PatientPlan
from services.simulation.records import RawEvent


@dataclass(frozen=True)
class _Row:
    plan: PatientPlan
    enrolment: RawEvent
    ses_cd: int | None
    steroid: bool

    @property
    def age(self) -> int:
        return int(self.enrolment["enrolled_on"][:4]) - int(self.enrolment["birth_year"])


def baseline_table(plan: Sequence[PatientPlan], events: Sequence[RawEvent]) -> str:
    """A Markdown table: all patients, and by CDAI remission at week 12."""
    rows = _rows(plan, events)
    seen = [row for row in rows if row.plan.clinical is not Clinical.ABSENT]
    groups = {
        "all": rows,
        "remission": [row for row in seen if row.plan.remission],
        "no remission": [row for row in seen if not row.plan.remission],
        "not seen": [row for row in rows if row.plan.clinical is Clinical.ABSENT],
    }
    lines = [["", *(f"{name} (n = {len(group)})" for name, group in groups.items())], ["---"] * 5]
    lines += [[title, *map(show, groups.values())] for title, show in _CHARACTERISTICS.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rows(plan: Sequence[PatientPlan], events: Sequence[RawEvent]) -> list[_Row]:
    enrolments = {e["patient_id"]: e for e in events if e["event_type"] == "enrolment"}
    steroids = {e["patient_id"] for e in events if e.get("drug") == "prednisolone" and e["action"] == "start"}
    ses_cd: dict[str, int] = {}
    for event in events:
        score = _ses_cd(event)
        if score is not None:
            ses_cd.setdefault(event["patient_id"], score)
    return [
        _Row(p, enrolments[p.patient_id], ses_cd.get(p.patient_id), p.patient_id in steroids) for p in plan
    ]


def _ses_cd(event: RawEvent) -> int | None:
    segments: Mapping[str, Any] = event.get("ses_cd_segments") or {}
    if segments:
        return sum(sum(items.values()) for items in segments.values() if items)
    return event.get("ses_cd")


def _middle(value: Callable[[_Row], float]) -> Callable[[list[_Row]], str]:
    def show(group: list[_Row]) -> str:
        values = [value(row) for row in group]
        low, _, high = quantiles(values, n=4)
        return f"{median(values):.0f} ({low:.0f} to {high:.0f})"

    return show


def _average(value: Callable[[_Row], float | None]) -> Callable[[list[_Row]], str]:
    def show(group: list[_Row]) -> str:
        values = [number for row in group if (number := value(row)) is not None]
        return f"{mean(values):.1f} ({stdev(values):.1f}), n = {len(values)}"

    return show


def _share(holds: Callable[[_Row], bool]) -> Callable[[list[_Row]], str]:
    def show(group: list[_Row]) -> str:
        count = sum(map(holds, group))
        return f"{count} ({100 * count / len(group):.0f} %)"

    return show


def _enrolled(name: str, value: object) -> Callable[[_Row], bool]:
    return lambda row: bool(row.enrolment[name] == value)


_CHARACTERISTICS: Mapping[str, Callable[[list[_Row]], str]] = {
    "age, years: median (quartiles)": _middle(lambda row: row.age),
    "male": _share(_enrolled("sex", "male")),
    "disease duration, years: median (quartiles)": _middle(
        lambda row: row.enrolment["disease_duration_years"]
    ),
    "ileal (L1)": _share(_enrolled("disease_location", "L1")),
    "colonic (L2)": _share(_enrolled("disease_location", "L2")),
    "ileocolonic (L3)": _share(_enrolled("disease_location", "L3")),
    "stricturing or penetrating (B2, B3)": _share(lambda row: row.enrolment["disease_behaviour"] != "B1"),
    "perianal disease": _share(_enrolled("perianal", True)),
    "two or more biologics before": _share(lambda row: len(row.enrolment["prior_biologics"]) >= 2),
    "on a corticosteroid at the first dose": _share(lambda row: row.steroid),
    "CDAI: mean (SD)": _average(lambda row: row.plan.cdai[0]),
    "SES-CD: mean (SD)": _average(lambda row: row.ses_cd),
}

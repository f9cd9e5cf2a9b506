"""A protocol in words: what an endpoint asks for, with the protocol's own limits, and how two protocols differ."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from schemas.analytes import ANALYTES
from schemas.protocol_model import Criterion, Parameter, Protocol

SHORT = {
    "cdai": "CDAI",
    "hbi": "HBI",
    "pro2": "PRO2",
    "ses_cd": "SES-CD",
    "stool_frequency": "stools a day",
    "abdominal_pain": "daily pain",
    "crp": "CRP",
    "esr": "ESR",
    "fcal": "calprotectin",
}
"""What parameters are called."""
MEASURES = {
    "highest_item": "highest {} item",
    "ulceration": "highest ulcer item of the {}",
    "ulcerated_surface": "highest item for ulcerated surface of the {}",
    "without_narrowing": "{} without narrowing",
    "isolated_ileal": "disease of the ileum alone in the {} (1 = yes)",
}
COMPARISONS = {"<": "below {}", "<=": "{} or less", ">": "above {}", ">=": "{} or more"}
FALLS = {">=": "lower by {} or more", ">": "lower by more than {}"}


def in_words(protocol: Protocol, name: str) -> str:
    """What a criterion asks for: `CDAI below 150`."""
    criterion = protocol.criteria[name]
    match criterion.kind:
        case "composite":
            return _put_together(protocol, criterion)
        case "delayed_response":
            after = (criterion.after or "").replace("_", " ")
            return f"responds, not having responded at {after}: {in_words(protocol, (criterion.response or ())[0])}"
        case _:
            return comparison_in_words(criterion, protocol.parameter.get(criterion.parameter or ""))


def comparison_in_words(criterion: Criterion, rules: Parameter | None) -> str:
    """What a criterion of one comparison asks for; `rules` say where its parameter's upper limit comes from."""
    match criterion.kind:
        case "normalisation":
            return f"{_called(criterion)} raised at baseline, now {_normal(criterion, rules)}"
        case "raised":
            return f"{_called(criterion)} raised: not {_normal(criterion, rules)}"
        case "steroid_free" | "steroid_use":
            none = "no" if criterion.kind == "steroid_free" else "a"
            aside = " (those counted apart aside)" if criterion.measure == "systemic" else ""
            since = f" and the {criterion.days} days before" if criterion.days else ""
            return f"{none} systemic corticosteroid{aside} on the day of the {_called(criterion)}{since}"
        case _:
            return _compared(criterion)


def _put_together(protocol: Protocol, criterion: Criterion) -> str:
    parts = [
        f"({in_words(protocol, part)})"
        if len(protocol.criteria[part].parts) > 1 and len(criterion.parts) > 1
        else in_words(protocol, part)
        for part in criterion.parts
    ]
    return (" and " if criterion.all_of else " or ").join(parts)


def _compared(criterion: Criterion) -> str:
    operator, limit = criterion.bound or ("<", Decimal(0))
    number = _plain(limit)
    if criterion.kind == "threshold":
        exact = operator == "<=" and limit == 0
        return f"{_called(criterion)} {number if exact else COMPARISONS[operator].format(number)}"
    if criterion.kind == "fall" and limit == 0 and operator == ">=":
        return f"{_called(criterion)} not above baseline"
    amount = number if criterion.kind == "fall" else f"{number} %"
    fell = f"{_called(criterion)} {FALLS[operator].format(amount)}"
    if criterion.baseline4_fall is not None:
        fell += f" (from 4: by {_plain(criterion.baseline4_fall)} or more)"
    return fell


def _called(criterion: Criterion) -> str:
    name = criterion.parameter or ""
    return MEASURES.get(criterion.measure or "", "{}").format(SHORT.get(name, name))


def _normal(criterion: Criterion, rules: Parameter | None) -> str:
    name = criterion.parameter or ""
    if rules is None or rules.upper_limit == "laboratory":
        return "within the laboratory's limit"
    unit = ANALYTES[name].unit if name in ANALYTES else ""
    return f"{'at most' if rules.inclusive else 'below'} {_plain(rules.upper_limit or 0)} {unit}".strip()


def _plain(number: Decimal | str | int) -> str:
    text = f"{number:f}" if isinstance(number, Decimal) else str(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def differences(one: Protocol, other: Protocol) -> Iterator[tuple[str, str, str]]:
    """Every field that differs, as (path, value in one, value in the other); a dash where it is not there."""
    left, right = dict(_flat(one.model_dump(mode="json"))), dict(_flat(other.model_dump(mode="json")))
    for path in dict.fromkeys((*left, *right)):
        if path != "name" and left.get(path) != right.get(path):
            yield path, left.get(path, "-"), right.get(path, "-")


def _flat(fields: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(fields, dict):
        for name, value in fields.items():
            yield from _flat(value, f"{path}.{name}" if path else name)
    elif isinstance(fields, list) and any(isinstance(value, dict) for value in fields):
        for number, value in enumerate(fields):
            yield from _flat(value, f"{path}.{number}")
    elif fields is not None:
        yield path, ", ".join(map(str, fields)) if isinstance(fields, list) else str(fields)


def reasons_to_differ(
    one: Protocol, other: Protocol, timepoint: str, endpoint: str, *, chosen_alike: bool
) -> list[tuple[str, str, str]]:
    """The differences of two protocols that can put a patient into another class of an endpoint at a timepoint.

    As `differences` names them: the endpoint's own definition and whatever it refers to, its population, limits,
    windows and conventions. Where both protocols judged the same values in the same window (`chosen_alike`), windows
    are named only if nothing else differs.
    """
    rests_on = _rests_on(one, timepoint, endpoint) | _rests_on(other, timepoint, endpoint)
    found = [row for row in differences(one, other) if _within(row[0], rests_on)]
    if not chosen_alike:
        return found
    return [row for row in found if not _is_window(row[0], timepoint)] or found


_LISTS = frozenset({"drugs", "advanced_therapies", "corticosteroids", "settings", "baseline"})


def _rests_on(protocol: Protocol, timepoint: str, endpoint: str) -> frozenset[str]:
    """Paths of all fields of a protocol that decide an endpoint at a timepoint; a path stands for what is below it."""
    if endpoint not in protocol.criteria:
        return frozenset()
    population = protocol.population[_population(protocol, endpoint)]
    names = {part for name in (endpoint, *population.all_of) for part in _closure(protocol, name)}
    criteria = {f"{place}.{name}" for name in names for place in ("criterion", "endpoint", "headline")}
    parameters = {f"parameter.{p}" for name in names for p in protocol.parameters(name)}
    times = {timepoint, *(after for name in names if (after := protocol.criteria[name].after))}
    return frozenset(
        criteria
        | parameters
        | {f"timepoint.{time}" for time in times}
        | {f"population.{_population(protocol, endpoint)}"}
        | _LISTS
    )


def _population(protocol: Protocol, endpoint: str) -> str:
    return next(found.population for found in protocol.endpoints if found.name == endpoint)


def _closure(protocol: Protocol, name: str) -> Iterator[str]:
    yield name
    for part in protocol.criteria[name].references:
        yield from _closure(protocol, part)


def _within(path: str, stems: frozenset[str]) -> bool:
    if path.endswith((".rule", ".name", ".timepoints")) or path == "settings.missing":
        return False  # words, and what is reported when
    return any(path == stem or path.startswith(f"{stem}.") for stem in stems)


def _is_window(path: str, timepoint: str) -> bool:
    return path.startswith((f"timepoint.{timepoint}.", "baseline.")) or path.endswith(".window")

"""An explanation in words: reasons of passing over with their rules, comparisons with their numbers, states."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from schemas.analytes import ANALYTES
from schemas.protocol_model import BOUNDS, Criterion, Parameter
from schemas.protocol_words import SHORT, comparison_in_words
from services.outcomes.definition import REASONS

Row = Mapping[str, Any]


class Meaning(NamedTuple):
    """A code in words, and the rule that it comes from."""

    text: str
    rule: str


WEIGHED: Mapping[str, Meaning] = {
    "used": Meaning("used", "R4.2"),
    "before_window": Meaning("before the window", "R4.1"),
    "after_window": Meaning("after the window", "R4.1"),
    "after_first_dose": Meaning("on the day of the first dose, but after it", "R4.5"),
    "farther_from_target": Meaning("farther from the target day than the one used", "R4.2"),
    "earlier_date": Meaning("the later of two equally near, or the last before the window, is used", "R4.2"),
    "less_scheduled": Meaning(
        "of one day, scheduled counts before a retest, that before unscheduled", "R4.2"
    ),
    "earlier_time": Meaning("of one day, the later time of day is used", "R4.2"),
    "smaller_record": Meaning("of one day and time, the greater record id is used", "R4.2"),
    "no_value": Meaning("visits that say nothing of it", "R4.2"),
    "incomplete": Meaning("stated in part, too little to compute it", "R1.8, R2.6"),
    "after_intercurrent_event": Meaning("on or after an intercurrent event", "R4.7"),
    "baseline_not_carried": Meaning("a baseline is never carried forward", "R4.7"),
    "superseded": Meaning("corrected by a higher version", "R4.4"),
    "retracted": Meaning("the record was retracted", "R4.4"),
    "conflicting": Meaning("the same version came with other contents, of which one counts", "R4.4"),
    "after_as_of": Meaning("dated after the day asked for", "R0.5"),
    "after_consent": Meaning("dated after consent was withdrawn", "consent"),
}
"""Why a record is used, or is not."""

INTERCURRENT = {
    "rescue": "rescue treatment",
    "stopped_adverse_event": "stopped for an adverse event",
    "stopped_lack_of_efficacy": "stopped for lack of efficacy",
    "stopped_death": "stopped by death",
    "other_therapy": "another advanced therapy was started",
    "death": "death",
}
"""Kinds of intercurrent events (R4.7)."""

STEROIDS = {"taken": "a visit says that some were taken", "not_taken": "a visit says that none were taken"}
"""Kinds of records that tell of corticosteroids, besides what was done with a drug (R2.5)."""
STEROID_DAYS = {
    True: "a steroid day among them",
    False: "no steroid day among them",
    None: "nothing recorded about steroids",
}

ANSWERS = {True: "yes", False: "no", None: "unknown"}
UNITS = {"stool_frequency": "a day", "abdominal_pain": "a day"}


def label(parameter: str) -> str:
    """What a parameter is called at the start of a line: `CRP`, `Stools a day`."""
    name = SHORT.get(parameter, parameter)
    return name[:1].upper() + name[1:]


def unit(parameter: str) -> str | None:
    """The canonical unit of an analyte; scores are points and have none."""
    return ANALYTES[parameter].unit if parameter in ANALYTES else None


def number(value: Decimal | float | None) -> str:
    """A value without needless zeros, to three decimals at most; a dash for none."""
    if value is None:
        return "–"
    text = f"{Decimal(str(value)):.3f}"
    return text.rstrip("0").rstrip(".")


def quantity(comparator: str | None, value: Decimal | float | None) -> str:
    """A result as it stands: `<5`."""
    return f"{comparator or ''}{number(value)}"


def comparison(row: Row) -> str:
    """What is asked for, of a row of `criteria_met`: `CDAI below 150`."""
    bound = next((name for name, sign in BOUNDS.items() if sign == row["operator"]), None)
    fields = {bound: row["limit_value"]} if bound else {}
    criterion = Criterion(
        kind=row["kind"],
        parameter=row["parameter"],
        measure=None if row["measure"] == "total" else row["measure"],
        baseline4_fall=row["baseline4_fall"],
        days=row["days"],
        **fields,
    )
    limit = Parameter(
        window="clinical",
        upper_limit="laboratory" if row["laboratory"] else row["fixed"],
        inclusive=row["inclusive"],
    )
    return comparison_in_words(criterion, limit)


def numbers(row: Row) -> str:
    """What was found, of a row of `criteria_met`: `250 to 120, 130 lower`."""
    value = quantity(row["comparator"], row["value"])
    if row["value"] is None:
        return "no value"
    if row["kind"] in ("steroid_free", "steroid_use"):
        return STEROID_DAYS[None if row["met"] is None else row["met"] is (row["kind"] == "steroid_use")]
    if row["measure"] == "isolated_ileal":
        return ANSWERS[row["met"]]
    match row["kind"]:
        case "threshold":
            text = value
        case "raised":
            text = f"{value}, limit {number(row['upper_limit'])}"
        case "normalisation":
            before = quantity(row["baseline_comparator"], row["baseline_value"])
            text = (
                f"{before} (limit {number(row['baseline_upper_limit'])}) "
                f"to {value} (limit {number(row['upper_limit'])})"
                if row["baseline_value"] is not None
                else f"{value}, no baseline"
            )
        case _:
            text = _fall(row)
    return f"{text}; a segment that scored before was not seen" if row["segment_lost"] else text


def _fall(row: Row) -> str:
    before, after = row["baseline_value"], row["value"]
    if before is None:
        return f"{number(after)}, no baseline"
    change = before - after
    amount = f"{number(abs(change))} {'higher' if change < 0 else 'lower'}"
    if row["kind"] == "per_cent_fall" and before > 0:
        amount += f" ({number(100 * abs(change) / before)} %)"
    return f"{number(before)} to {number(after)}, {amount if change else 'unchanged'}"


def state(outcome: Row) -> str:
    """Why an outcome has its status (R4.6)."""
    start, end = outcome["window_start"], outcome["window_end"]
    match outcome["status"]:
        case "not_due":
            return f"The window opens on {start}."
        case "open":
            return f"The window is open until {end}, and no value is there yet."
        case "provisional":
            return f"A value is there; the window is open until {end}, and a nearer one may come."
        case "final":
            return f"The window ended on {end}, with a value."
        case "missed":
            return f"The window ended on {end}, without a value."
        case _:
            return f"Not applicable: {because(outcome['reason'])}."


def because(reason: str) -> str:
    """A reason of `patient_outcomes` in words."""
    return REASONS.get(reason, reason.replace("_", " "))


def study_day(offset: int) -> int:
    """The CDISC study day of an offset: there is no day 0 (R0.4)."""
    return offset + 1 if offset >= 0 else offset

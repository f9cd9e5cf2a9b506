"""Every endpoint of R2 and R3, three-valued, as a function of what was chosen at baseline and at a timepoint."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from twin.numbers import all_of, any_of, exact
from twin.protocols import CLINICAL, ENDOSCOPY, Rules
from twin.scores import Endoscopy, segment_score
from twin.selection import Measurement

Chosen = dict[str, Measurement]


@dataclass(frozen=True)
class Assessment:
    """What was chosen for each parameter, before treatment and now."""

    before: Chosen
    now: Chosen
    rules: Rules
    steroid_free: Callable[[Measurement, int, bool], bool | None]
    """Whether no corticosteroid, with or without budesonide, was taken in so many days up to a measurement."""

    def value(self, parameter: str) -> Fraction | None:
        return self.now[parameter].number if parameter in self.now else None

    def baseline(self, parameter: str) -> Fraction | None:
        return self.before[parameter].number if parameter in self.before else None

    def fall(self, parameter: str) -> Fraction | None:
        """How much lower than at baseline."""
        before, now = self.baseline(parameter), self.value(parameter)
        return None if before is None or now is None else before - now


Verdict = Callable[[Assessment], bool | None]


def _cr(points: int) -> Verdict:
    """R2.4"""

    def met(a: Assessment) -> bool | None:
        fall = a.fall("cdai")
        return None if fall is None else fall >= points

    return met


def clinical_remission(a: Assessment) -> bool | None:
    """R2.4: 150 is not remission."""
    value = a.value("cdai")
    return None if value is None else value < 150


def steroid_free_remission(days: int, *, budesonide: bool = True) -> Verdict:
    """R2.5"""

    def met(a: Assessment) -> bool | None:
        cdai = a.now.get("cdai")
        return all_of(clinical_remission(a), None if cdai is None else a.steroid_free(cdai, days, budesonide))

    return met


def _at_most(a: Assessment, parameter: str, limit: str | int) -> bool | None:
    value = a.value(parameter)
    return None if value is None else value <= exact(limit if isinstance(limit, int) else Fraction(limit))


def _not_worse(a: Assessment, parameter: str) -> bool | None:
    fall = a.fall(parameter)
    return None if fall is None else fall >= 0


def _item_fell(a: Assessment, parameter: str, per_cent: int) -> bool | None:
    """R2.2; from 0 nothing falls."""
    before, fall = a.baseline(parameter), a.fall(parameter)
    if before == 0:
        return False if fall is not None else None
    return None if before is None or fall is None else 100 * fall >= per_cent * before


def sfap_remission(a: Assessment) -> bool | None:
    """R2.1"""
    return all_of(
        _at_most(a, "stool_frequency", "2.8"),
        _at_most(a, "abdominal_pain", 1),
        _not_worse(a, "stool_frequency"),
        _not_worse(a, "abdominal_pain"),
    )


def sfap_response(a: Assessment) -> bool | None:
    """R2.2"""
    return all_of(
        any_of(_item_fell(a, "stool_frequency", 30), _item_fell(a, "abdominal_pain", 30)),
        _not_worse(a, "stool_frequency"),
        _not_worse(a, "abdominal_pain"),
    )


def stride2_sfap_remission(a: Assessment) -> bool | None:
    """R2.1b"""
    return all_of(_at_most(a, "stool_frequency", 3), _at_most(a, "abdominal_pain", 1))


def stride2_pro2_response(a: Assessment) -> bool | None:
    """R2.2, both items."""
    return all_of(_item_fell(a, "stool_frequency", 50), _item_fell(a, "abdominal_pain", 50))


def hbi_remission(a: Assessment) -> bool | None:
    """R2.3"""
    value = a.value("hbi")
    return None if value is None else value < 5


def _hbi_fell(points: int) -> Verdict:
    def met(a: Assessment) -> bool | None:
        fall = a.fall("hbi")
        return None if fall is None else fall >= points

    return met


# -- endoscopy (R2.7) ------------------------------------------------------------------------------------------


def lost_segment(before: Endoscopy, after: Endoscopy) -> bool:
    """Whether a segment that scored at baseline was not explored at follow-up."""
    if before.segments is None or after.segments is None:
        return False
    return any(segment_score(s) > 0 and name not in after.segments for name, s in before.segments.items())


def compared(before: Endoscopy, after: Endoscopy) -> tuple[Any, Any]:
    """b and f of R2.7; with a lost segment the best case, in which it healed.

    Where one of the visits has a total only, both are totals (contract, section 7).
    """
    if before.segments is None or after.segments is None:
        return before.total, after.total
    common = [name for name in before.segments if name in after.segments]
    f = sum(segment_score(after.segments[name]) for name in common)
    if lost_segment(before, after):
        return before.total, f
    return sum(segment_score(before.segments[name]) for name in common), f


def _scopes(a: Assessment) -> tuple[Endoscopy | None, Endoscopy | None]:
    before, now = a.before.get("ses_cd"), a.now.get("ses_cd")
    return before and before.endoscopy, now and now.endoscopy


def _unless_lost(verdict: bool | None, before: Endoscopy | None, after: Endoscopy) -> bool | None:
    """With a lost segment an endpoint may fail but is never met."""
    lost = before is not None and lost_segment(before, after)
    return None if verdict is True and lost else verdict


def endoscopic_response(*, strict: bool) -> Verdict:
    """gt50 (strict) and ge50: half off; from a baseline of 4 two points suffice (`baseline4_rule`)."""

    def met(a: Assessment) -> bool | None:
        before, after = _scopes(a)
        if before is None or after is None:
            return None
        b, f = compared(before, after)
        if b == 0:
            return None
        halved, two_off = (2 * f < b if strict else 2 * f <= b), b - f >= 2
        verdict: bool | None = halved
        if b == 4 and a.rules.baseline4_rule == "any":
            verdict = two_off
        elif b == 4 and a.rules.baseline4_rule == "isolated_ileal":
            either = halved if halved == two_off else None
            verdict = {True: two_off, False: halved, None: either}[before.isolated_ileal]
        return _unless_lost(verdict, before, after)

    return met


def _total_at_most(limit: int) -> Verdict:
    def met(a: Assessment) -> bool | None:
        before, after = _scopes(a)
        return None if after is None else _unless_lost(after.total <= limit, before, after)

    return met


def endoscopic_remission_trial(a: Assessment) -> bool | None:
    """A total of 4 or less, lower by 2 or more, no item above 1."""
    before, after = _scopes(a)
    if after is None:
        return None
    fell = None
    if before is not None:
        b, f = compared(before, after)
        fell = b - f >= 2
    item = after.highest_item
    verdict = all_of(after.total <= 4, fell, None if item is None else item <= 1)
    return _unless_lost(verdict, before, after)


def ulcer_free(a: Assessment) -> bool | None:
    """No ulcer item above 0."""
    before, after = _scopes(a)
    if after is None or after.ulceration is None:
        return None
    return _unless_lost(after.ulceration == 0, before, after)


def stride2_healing(a: Assessment) -> bool | None:
    """A total of 2 or less, and no ulcers."""
    return all_of(_total_at_most(2)(a), ulcer_free(a))


# -- biomarkers ------------------------------------------------------------------------------------------------


def _normalisation(analyte: str) -> Verdict:
    """R3.2: normal now, where it was raised at baseline."""

    def met(a: Assessment) -> bool | None:
        before, now = a.before.get(analyte), a.now.get(analyte)
        return now.normal if before is not None and before.normal is False and now is not None else None

    return met


# -- who counts, judged at baseline ------------------------------------------------------------------------------

Qualifies = Callable[[Chosen], bool | None]


def active(before: Chosen) -> bool | None:
    """R4.8"""
    return before["cdai"].number >= 150 if "cdai" in before else None


def steroid_user(before: Chosen) -> bool | None:
    """R2.5"""
    return all_of(active(before), before["cdai"].on_steroid if "cdai" in before else None)


def diseased(before: Chosen) -> bool | None:
    """R2.7"""
    return before["ses_cd"].number >= 3 if "ses_cd" in before else None


def _scope(before: Chosen) -> Endoscopy | None:
    return before["ses_cd"].endoscopy if "ses_cd" in before else None


def ulcerated(before: Chosen) -> bool | None:
    """R2.7, for absence of ulcers."""
    scope = _scope(before)
    surface = None if scope is None else scope.ulcerated_surface
    return all_of(diseased(before), None if surface is None else surface >= 1)


def trial_like(before: Chosen) -> bool | None:
    """R2.8"""
    scope = _scope(before)
    score = None if scope is None else scope.without_narrowing
    ileal = None if scope is None else scope.isolated_ileal
    return all_of(
        any_of(
            before["stool_frequency"].number >= 4 if "stool_frequency" in before else None,
            before["abdominal_pain"].number >= 2 if "abdominal_pain" in before else None,
        ),
        any_of(
            None if score is None else score >= 6,
            all_of(None if score is None else score >= 4, ileal),
        ),
    )


def _raised(analyte: str) -> Qualifies:
    """R3.2"""

    def qualifies(before: Chosen) -> bool | None:
        normal = before[analyte].normal if analyte in before else None
        return None if normal is None else not normal

    return qualifies


@dataclass(frozen=True)
class Population:
    """Who counts, by which parameters at baseline, and the reason of those who do not."""

    qualifies: Qualifies
    parameters: tuple[str, ...]
    reason: str


ACTIVE = Population(active, ("cdai",), "baseline_inactive")
STEROID_USERS = Population(steroid_user, ("cdai",), "baseline_no_steroid")
DISEASED = Population(diseased, ("ses_cd",), "baseline_below_3")
ULCERATED = Population(ulcerated, ("ses_cd",), "baseline_not_ulcerated")
TRIAL_LIKE = Population(
    trial_like, ("stool_frequency", "abdominal_pain", "ses_cd"), "baseline_not_trial_like"
)


@dataclass(frozen=True)
class Endpoint:
    """What is measured, in which window, who counts, and when it is met."""

    parameters: tuple[str, ...]
    window: str
    met: Verdict
    population: Population
    alone: bool = False
    """Compares nothing with baseline, so that it can be judged at baseline too."""
    needs_baseline: bool = True
    """Nothing can be said without a baseline."""


PRO = ("stool_frequency", "abdominal_pain")


def _clinical(*parameters: str, met: Verdict, alone: bool = False, needs_baseline: bool = False) -> Endpoint:
    return Endpoint(parameters, CLINICAL, met, ACTIVE, alone, needs_baseline)


def _scoped(met: Verdict, population: Population = DISEASED, *, response: bool = False) -> Endpoint:
    return Endpoint(("ses_cd",), ENDOSCOPY, met, population, not response, response)


def _marker(analyte: str) -> Endpoint:
    population = Population(_raised(analyte), (analyte,), "baseline_normal")
    return Endpoint((analyte,), CLINICAL, _normalisation(analyte), population)


def cr100_or_remission(a: Assessment) -> bool | None:
    """R2.4"""
    return any_of(_cr(100)(a), clinical_remission(a))


def cr100_and_remission(a: Assessment) -> bool | None:
    """R2.4"""
    return all_of(_cr(100)(a), clinical_remission(a))


ENDPOINTS = {
    "clinical_remission": _clinical("cdai", met=clinical_remission, alone=True),
    "cr70": _clinical("cdai", met=_cr(70), needs_baseline=True),
    "cr100": _clinical("cdai", met=_cr(100), needs_baseline=True),
    "cr100_or_remission": _clinical("cdai", met=cr100_or_remission),
    "cr100_and_remission": _clinical("cdai", met=cr100_and_remission),
    "steroid_free_remission": _clinical("cdai", met=steroid_free_remission(0), alone=True),
    "steroid_free_remission_baseline_users": Endpoint(
        ("cdai",), CLINICAL, steroid_free_remission(0), STEROID_USERS, alone=True, needs_baseline=False
    ),
    "steroid_free_remission_budesonide_allowed": _clinical(
        "cdai", met=steroid_free_remission(0, budesonide=False), alone=True
    ),
    "steroid_free_remission_28": _clinical("cdai", met=steroid_free_remission(28), alone=True),
    "steroid_free_remission_90": _clinical("cdai", met=steroid_free_remission(90), alone=True),
    "sfap_remission": _clinical(*PRO, met=sfap_remission),
    "sfap_response": _clinical(*PRO, met=sfap_response, needs_baseline=True),
    "stride2_sfap_remission": _clinical(*PRO, met=stride2_sfap_remission, alone=True),
    "pro2_remission": _clinical("pro2", met=lambda a: _at_most(a, "pro2", 8), alone=True),
    "stride2_pro2_response": _clinical(*PRO, met=stride2_pro2_response, needs_baseline=True),
    "hbi_remission": _clinical("hbi", met=hbi_remission, alone=True),
    "hbi_response": _clinical("hbi", met=_hbi_fell(3), needs_baseline=True),
    "hbi_response_2": _clinical("hbi", met=_hbi_fell(2), needs_baseline=True),
    "endoscopic_response_gt50": _scoped(endoscopic_response(strict=True), response=True),
    "endoscopic_response_ge50": _scoped(endoscopic_response(strict=False), response=True),
    "endoscopic_remission_trial": Endpoint(
        ("ses_cd",), ENDOSCOPY, endoscopic_remission_trial, DISEASED, needs_baseline=False
    ),
    "endoscopic_remission_le2": _scoped(_total_at_most(2)),
    "endoscopic_remission_le4": _scoped(_total_at_most(4)),
    "mucosal_healing_ses0": _scoped(_total_at_most(0)),
    "ulcer_free": _scoped(ulcer_free, ULCERATED),
    "stride2_healing": _scoped(stride2_healing),
    "crp_normalisation": _marker("crp"),
    "esr_normalisation": _marker("esr"),
    "fcal_normalisation": _marker("fcal"),
}
"""Every endpoint that all protocols have, by its name in the clinical rules; `delayed_response` aside."""

OWN = {
    "trial_like_clinical_remission": Endpoint(
        ("cdai",), CLINICAL, clinical_remission, TRIAL_LIKE, alone=True, needs_baseline=False
    ),
    "trial_like_endoscopic_response": Endpoint(
        ("ses_cd",), ENDOSCOPY, endoscopic_response(strict=True), TRIAL_LIKE
    ),
    "stride2_clinical_remission": _clinical(
        *PRO,
        "hbi",
        met=lambda a: any_of(stride2_sfap_remission(a), hbi_remission(a)),
        alone=True,
    ),
}
"""Endpoints of one protocol only."""


def endpoints_of(rules: Rules) -> dict[str, Endpoint]:
    """A protocol's endpoints, its headline among them."""
    found = ENDPOINTS | {name: OWN[name] for name in rules.own}
    return found | {name: found[choice] for name, choice in rules.headline.items()}

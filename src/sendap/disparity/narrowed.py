"""Did the programme narrow a gap, and how: three effects to one of the verdicts of standard 6.8.

A gap that narrows because the group ahead lost isn't a success, so the verdict needs the effect on each group beside
the effect on the gap. Every verdict is computed from intervals; a wide one says that we can't tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sendap import groups
from sendap.disparity.words import places, unit_words
from sendap.errors import UsageError
from sendap.numerals import show

BY_GAINS = "narrowed by gains"
BY_LOSS = "narrowed by loss: not a success"
PARTLY_LOSS = "narrowed at least partly by loss: not a success"
GAINS_LOSS_OPEN = "narrowed with gains, but a loss in the other group isn't ruled out"
UNSURE_HOW = "narrowed, but we can't tell whether by gains or by loss"
BOTH_GAINED = "both gained, gap widened"
WIDENED = "gap widened"
UNCHANGED = "gap unchanged"
HARMED = "group harmed"
CANNOT_TELL = "cannot tell"

GUARDS = ("serious harm", "harm", "possible harm", "cannot tell", "no harm beyond the margin")
"""Verdicts on harm to one group, the worst first."""

TOO_SMALL = "too small to test"

Moved = Literal["better", "worse", "same", "unclear"]


@dataclass(frozen=True)
class Effect:
    """An effect with its 95% interval, in the outcome's unit (a ratio where it says so)."""

    estimate: float
    low: float
    high: float

    @classmethod
    def of(cls, row: Mapping[str, Any] | pd.Series) -> Effect:
        """From a row of results with ``estimate, ci_low, ci_high``."""
        return cls(float(row["estimate"]), float(row["ci_low"]), float(row["ci_high"]))

    def turned(self, turn: float) -> Effect:
        low, high = sorted((turn * self.low, turn * self.high))
        return Effect(turn * self.estimate, low, high)

    def log(self) -> Effect:
        with np.errstate(invalid="ignore", divide="ignore"):
            return Effect(*(float(np.log(value)) for value in (self.estimate, self.low, self.high)))


@dataclass(frozen=True)
class Narrowing:
    """The verdict on one gap in absolute terms and, where a ratio was given, in relative terms.

    ``behind`` names the group that was worse off before, ``moved`` what happened to each group, ``differ`` whether the
    two verdicts differ, in which case the sentence says so.
    """

    absolute: str
    relative: str
    differ: bool
    behind: str
    moved: Mapping[str, Moved]
    sentence: str


def moved(effect: Effect, smallest: float | None) -> Moved:
    """What an effect, turned so that larger is better, did: its interval decides. "same" needs a smallest effect."""
    if not np.isfinite([effect.estimate, effect.low, effect.high]).all():
        return "unclear"
    if effect.low > 0:
        return "better"
    if effect.high < 0:
        return "worse"
    return "same" if smallest is not None and -smallest < effect.low and effect.high < smallest else "unclear"


def judge(behind: Moved, ahead: Moved, gap: Moved) -> str:
    """The verdict table: the group behind, the group ahead, and the gap ("better" where the group behind caught up).

    Beyond the five rows of the standard: a gap that closed while the group ahead surely lost is never a success, and
    one that closed while an effect isn't sure says what is left open.
    """
    if behind == "worse":
        return HARMED
    if gap == "unclear":
        return CANNOT_TELL
    if gap == "same":
        return UNCHANGED
    if gap == "better":
        if ahead == "worse":
            return BY_LOSS if behind == "same" else PARTLY_LOSS
        if behind != "better":
            return UNSURE_HOW
        return BY_GAINS if ahead in ("same", "better") else GAINS_LOSS_OPEN
    return BOTH_GAINED if behind == "better" and ahead == "better" else WIDENED


def narrowed(
    *,
    group: str,
    reference: str,
    on_group: Effect,
    on_reference: Effect,
    on_gap: Effect,
    gap_before: float,
    better: Literal["higher", "lower"],
    smallest: float | None = None,
    relative: Effect | None = None,
    smallest_relative: float | None = None,
    unit: str = "",
    by: str = "ethnicity",
) -> Narrowing:
    """The verdict from the effect on a group, on its reference, and on the gap between them (a triple difference).

    ``gap_before``: group minus reference before the programme, which says who was behind. ``smallest``: the smallest
    effect that matters, in the outcome's unit; without it nothing is called the same. ``relative``: the ratio of the
    risk ratios of group and reference (1 for no change), ``smallest_relative`` how far from 1 it matters (0.1: within
    a tenth either way).

    Raises UsageError where no direction is better, since a gap then can't be called narrower for good.
    """
    if better not in ("higher", "lower"):
        raise UsageError("Say whether 'higher' or 'lower' is better: without it no group is behind.")
    turn = 1.0 if better == "higher" else -1.0
    group_behind = turn * gap_before <= 0
    behind, ahead = (group, reference) if group_behind else (reference, group)
    each = {
        group: moved(on_group.turned(turn), smallest),
        reference: moved(on_reference.turned(turn), smallest),
    }
    # Turned so that above zero means that the group behind caught up.
    closing = turn if group_behind else -turn
    absolute = judge(each[behind], each[ahead], moved(on_gap.turned(closing), smallest))
    in_ratios = ""
    if relative is not None:
        least = None if smallest_relative is None else float(np.log1p(smallest_relative))
        in_ratios = judge(each[behind], each[ahead], moved(relative.log().turned(closing), least))
    differ = bool(in_ratios) and in_ratios != absolute
    sentence = _sentence(
        absolute, in_ratios, differ, (group, reference), (on_group, on_reference, on_gap), unit, by, behind
    )
    return Narrowing(absolute, in_ratios, differ, behind, each, sentence)


_OPENINGS = {
    BY_GAINS: "The gap narrowed, because {behind} gained.",
    BY_LOSS: "The gap narrowed only because {ahead} lost. That isn't a success.",
    PARTLY_LOSS: "The gap narrowed, at least partly because {ahead} lost. That isn't a success.",
    GAINS_LOSS_OPEN: "The gap narrowed, and {behind} gained. We can't rule out that {ahead} lost.",
    UNSURE_HOW: "The gap narrowed, but we can't tell whether {behind} gained or {ahead} lost.",
    BOTH_GAINED: "Both groups gained, and the gap widened.",
    WIDENED: "The gap widened.",
    UNCHANGED: "The programme made little or no difference to the gap.",
    HARMED: "The programme harmed {behind}, who were already behind.",
    CANNOT_TELL: "We can't tell whether the gap changed.",
}


def _sentence(
    absolute: str,
    in_ratios: str,
    differ: bool,
    names: tuple[str, str],
    effects: tuple[Effect, Effect, Effect],
    unit: str,
    by: str,
    behind: str,
) -> str:
    named = {name: groups.pupils_in(name, of=by) for name in names}
    other = names[1] if behind == names[0] else names[0]
    opening = _OPENINGS[absolute].format(behind=named[behind], ahead=named[other])
    at = places(effects[2].low, effects[2].high)

    def shown(effect: Effect) -> str:
        if not np.isfinite([effect.estimate, effect.low, effect.high]).all():
            return "not known"
        return f"{show(effect.estimate, at)} ({show(effect.low, at)} to {show(effect.high, at)})"

    said = (
        f"{opening} Effect in {unit_words(unit)}: {shown(effects[0])} for {named[names[0]]}, {shown(effects[1])} for "
        f"{named[names[1]]}, {shown(effects[2])} on the gap between them."
    )
    return f"{said} As a ratio the verdict differs: {in_ratios}." if differ else said


@dataclass(frozen=True)
class WorstGroup:
    """Whether any group was harmed, tested for each by non-inferiority without correction for their number.

    ``frame``: ``group, estimate, one_sided_low, one_sided_high, verdict``. ``verdict`` is the worst of the groups that
    could be tested ("cannot tell" where none could), ``too_small`` names those that couldn't.
    """

    frame: pd.DataFrame
    verdict: str
    too_small: tuple[str, ...]
    sentence: str


def harm(estimate: float, low: float, high: float, margin: float) -> str:
    """Standard 4.5, for bounds of one-sided 95% intervals turned so that larger is worse."""
    if high < margin:
        return "no harm beyond the margin"
    if low > 0:
        return "serious harm" if estimate > margin else "harm"
    return "possible harm" if estimate > 0 else "cannot tell"


def worst_group(effects: pd.DataFrame, *, better: Literal["higher", "lower"], margin: float, by: str) -> WorstGroup:
    """ "No group is disadvantaged" (the Plan, 2.75) as a guard on the effect in each group.

    ``effects``: one row a group with ``group, estimate, one_sided_low, one_sided_high`` in the outcome's unit; a group
    without finite bounds is too small to test, and named. ``margin``: the largest harm that wouldn't matter, set
    before the data were seen.

    Raises UsageError for a margin that isn't above zero, or no direction that is better.
    """
    if better not in ("higher", "lower"):
        raise UsageError("Say whether 'higher' or 'lower' is better: without it no change is a harm.")
    if not margin > 0:
        raise UsageError(f"The margin must be above zero, not {margin}.")
    worse = -1.0 if better == "higher" else 1.0
    rows = []
    for row in effects.to_dict("records"):
        values = np.array([row["estimate"], row["one_sided_low"], row["one_sided_high"]], dtype=float)
        known = bool(np.isfinite(values).all())
        low, high = sorted(worse * values[1:])
        said = harm(float(worse * values[0]), float(low), float(high), margin) if known else TOO_SMALL
        rows.append(
            {**{key: row[key] for key in ("group", "estimate", "one_sided_low", "one_sided_high")}, "verdict": said}
        )
    frame = pd.DataFrame(rows, columns=["group", "estimate", "one_sided_low", "one_sided_high", "verdict"])
    small = tuple(groups.in_order(frame.loc[frame["verdict"] == TOO_SMALL, "group"]))
    tested = frame[frame["verdict"] != TOO_SMALL]
    verdict = next((name for name in GUARDS if (tested["verdict"] == name).any()), "cannot tell")
    return WorstGroup(frame, verdict, small, _guard_sentence(tested, verdict, small, by))


def _guard_sentence(tested: pd.DataFrame, verdict: str, small: tuple[str, ...], by: str) -> str:
    names = groups.in_order(tested.loc[tested["verdict"] == verdict, "group"])
    few = _listed([groups.pupils_in(name, of=by) for name in names])
    whom = f"{len(names)} groups: {_listed(names)}" if len(names) > 2 else few
    if tested.empty:
        said = "No group was large enough to test for harm."
    elif verdict == GUARDS[-1]:
        said = f"No harm beyond the margin in any of the {len(tested)} groups that could be tested."
    elif verdict == "cannot tell":
        said = f"We can't rule out harm for {whom}."
    else:
        said = f"{verdict[0].upper()}{verdict[1:]} for {whom}."
    if not small:
        return said
    return f"{said} Too small to test: {_listed(list(small))}."


def _listed(names: list[str]) -> str:
    return "".join(names) if len(names) < 2 else f"{', '.join(names[:-1])} and {names[-1]}"

"""How far the paths of areas may part without the finding falling: the robust sets of Rambachan and Roth.

An event-study coefficient is an effect plus a drift that would have been there without the programme. Two
restrictions say how large the drift after the base may be, given what was seen before it:

- relative magnitudes: no step of it is larger than Mbar times the largest step before the base;
- smoothness: its slope never changes by more than M from one period to the next.

With relative magnitudes the set is the hybrid of the conditional and the least favourable test (C-LF); with smoothness
it is the fixed-length interval (FLCI) of the shortest length: what the authors recommend for each. Both take the
coefficients as normal with known covariance, here the cluster jackknife's. Source: Rambachan and Roth (2023),
doi:10.1093/restud/rdad018; Andrews, Roth and Pakes (2023), doi:10.1093/restud/rdad004.

Periods that are partly exposed, between base and start, are neither before nor after: they are no evidence of the
drift and no part of the effect, but the drift may go on through them. Where periods lie unevenly (a year without
figures), steps are counted per period, and a change of slope by the distance over which it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import norm

from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import Fit, treated_cohorts
from sendap.probe.robust_sets import EventPath, SmoothProblem, relative_accepts, relative_interval

FEWEST_TREATED = 6
RELATIVE_BOUNDS = (0.0, 0.5, 1.0, 1.5, 2.0)
SMOOTH_STEPS = (0.0, 0.25, 0.5, 1.0)
LARGEST = 1e4

Target = Literal["average", "first", "overall"]


@dataclass(frozen=True)
class RobustInterval:
    """The robust set under one restriction ("relative" or "smooth") and one ``bound`` (Mbar, or M in outcome units)."""

    restriction: str
    bound: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """Robust sets and breakdown values for one combination of effects.

    ``estimate``, ``low`` and ``high`` suppose no drift at all (normal interval at ``level``). ``breakdown_relative``
    and ``breakdown_smooth`` are the smallest Mbar and M at which the robust set includes zero: 0 where it always does,
    infinite above 10,000 (for M: 10,000 standard errors), missing where the restriction can't be used, for the reason
    in ``note``. ``largest_step`` and ``largest_bend`` are the largest step and change of slope seen before the base,
    to read them by.
    """

    target: str
    estimate: float
    std_error: float
    low: float
    high: float
    level: float
    intervals: tuple[RobustInterval, ...]
    breakdown_relative: float
    breakdown_smooth: float
    periods_before: int
    largest_step: float
    largest_bend: float
    note: str

    def frame(self) -> pd.DataFrame:
        """One row a restriction and bound: ``restriction, bound, low, high, includes_zero``."""
        rows = [(each.restriction, each.bound, each.low, each.high) for each in self.intervals]
        made = pd.DataFrame(rows, columns=["restriction", "bound", "low", "high"])
        return made.assign(includes_zero=(made["low"] <= 0) & (made["high"] >= 0))

    def sentence(self) -> str:
        """The breakdown value under relative magnitudes in words."""
        if np.isnan(self.breakdown_relative):
            return f"How large a drift the finding would bear can't be told from steps before the start. {self.note}"
        if self.breakdown_relative == 0:
            return "The interval includes no change even if areas would have moved exactly alike."
        if np.isinf(self.breakdown_relative):
            return "The finding would bear any drift that can be measured by the steps before the start."
        return (
            "The finding would fall if areas had drifted apart, in any step after the base, by "
            f"{self.breakdown_relative:.2f} times the largest step seen before it."
        )


def event_path(fit: Fit, *, anticipation: int = 0) -> EventPath:
    """The event-study coefficients of a fit with their cluster-jackknife covariance.

    The base is the last period before the start and its ``anticipation``. Event times that rest on fewer than six
    treated clusters are left out from both ends, since their variance can't be told. The jackknife leaves out clusters
    without which a coefficient can't be estimated.

    Raises DesignError where the base varies or differs between areas, nothing is left before the base or after the
    start, or the covariance is singular.
    """
    if getattr(fit, "base", "universal") != "universal":
        raise DesignError("Coefficients with a varying base aren't a path. Use base='universal'.")
    panel = fit.panel
    bases = set()
    for cohort in treated_cohorts(panel):
        clean = panel.periods[panel.periods < cohort - anticipation]
        if clean.size:
            bases.add(float(clean.max() - cohort))
    if len(bases) != 1:
        raise DesignError(
            f"'{panel.outcome}': areas that start in different years have bases at different event times, since a "
            "year is missing. The path of event times can't be put together."
        )
    base = bases.pop()
    terms = fit.terms
    enough = (terms["term"] == "event") & (terms["treated_clusters"] >= FEWEST_TREATED)
    chosen = np.flatnonzero((enough & (terms["event_time"] != base)).to_numpy())
    chosen = chosen[np.argsort(terms["event_time"].to_numpy()[chosen])]
    times = terms["event_time"].to_numpy(dtype=float)[chosen]
    chosen, times = _unbroken(terms, chosen, times, base)
    if not (times < base).any() or not (times >= 0).any():
        side = "before the base" if not (times < base).any() else "after the start"
        raise DesignError(
            f"'{panel.outcome}' has no event time {side} with at least {FEWEST_TREATED} treated areas, so its path "
            "can't be probed."
        )
    left_out = fit.leave_one_out()[:, chosen]
    deviation = left_out[np.isfinite(left_out).all(axis=1)] - fit.estimate[chosen]
    count = len(deviation)
    covariance = (count - 1) / count * deviation.T @ deviation
    if np.linalg.matrix_rank(covariance, hermitian=True, tol=1e-10 * max(np.trace(covariance), 1e-300)) < len(chosen):
        raise DesignError(
            f"'{panel.outcome}' has too few clusters for the covariance of its {len(chosen)} event times."
        )
    return EventPath(times, fit.estimate[chosen], covariance, base, shares=_shares(fit, times))


def _shares(fit: Fit, times: np.ndarray) -> np.ndarray:
    """What each event time counts in the overall effect; by its treated clusters where a fit has no such effect."""
    panel, terms = fit.panel, fit.terms
    overall = np.flatnonzero((terms["term"] == "overall").to_numpy())
    if len(overall):
        linear = fit.weights()[int(overall[0])]
        event = panel.periods[None, :] - panel.cohort[:, None]
        return np.array([linear[event == time].sum() if time >= 0 else 0.0 for time in times])
    treated = terms[terms["term"] == "event"].set_index("event_time")["treated_clusters"]
    return np.array([float(treated[time]) if time >= 0 else 0.0 for time in times])


def _unbroken(terms: pd.DataFrame, chosen: np.ndarray, times: np.ndarray, base: float) -> tuple[np.ndarray, np.ndarray]:
    """The event times that follow each other without one in between that was estimated but left out."""
    every = set(terms.loc[terms["term"] == "event", "event_time"]) - {base}
    lost = np.array(sorted(every - set(times)))
    first = lost[lost < base].max() if (lost < base).any() else -np.inf
    last = lost[lost > base].min() if (lost > base).any() else np.inf
    kept = (times > first) & (times < last)
    return chosen[kept], times[kept]


def target_weights(path: EventPath, target: Target | np.ndarray = "average") -> np.ndarray:
    """Weights (K) of a target: the "average" of the effects, the "first", their "overall" mean, or given ones.

    "overall" weighs event times as the overall effect of a group-time fit does, scaled to sum to one over the event
    times that the path holds; given weights are one for each event time after the start.

    Raises UsageError for an unknown target, weights of the wrong length, or "overall" without known shares.
    """
    made, after = np.zeros(len(path.times)), np.flatnonzero(path.after)
    if isinstance(target, str):
        if target not in ("average", "first", "overall"):
            raise UsageError(f"target must be 'average', 'first', 'overall' or weights, not '{target}'.")
        if target == "overall":
            if path.shares is None:
                raise UsageError("The shares of the overall effect aren't known for this path. Use target='average'.")
            made[after] = path.shares[after] / path.shares[after].sum()
        elif target == "average":
            made[after] = 1 / len(after)
        else:
            made[after[0]] = 1.0
        return made
    given = np.asarray(target, dtype=float)
    if given.shape != after.shape or not np.isfinite(given).all() or not given.any():
        raise UsageError(f"Give one weight for each of the {len(after)} event times after the start, not all zero.")
    made[after] = given
    return made


def sensitivity(
    fit: Fit | EventPath,
    *,
    anticipation: int = 0,
    target: Target | np.ndarray = "average",
    relative_bounds: tuple[float, ...] = RELATIVE_BOUNDS,
    smooth_bounds: tuple[float, ...] | None = None,
    level: float = 0.95,
) -> Sensitivity:
    """Robust sets and breakdown values for a combination of the effects after the start.

    ``relative_bounds`` are values of Mbar; ``smooth_bounds`` of M in outcome units per period, by default 0, a
    quarter, half and one standard error of the target. With a single step before the base the largest of several
    can't be known, so relative magnitudes aren't estimable and the note says so.

    Raises DesignError as ``event_path`` does, UsageError for a bound below zero or a level outside 0 to 1.
    """
    if not 0.5 < level < 1 or min((*relative_bounds, *(smooth_bounds or ())), default=0.0) < 0:
        raise UsageError("Bounds must be 0 or more, and level between 0.5 and 1.")
    path = fit if isinstance(fit, EventPath) else event_path(fit, anticipation=anticipation)
    weights = target_weights(path, target)
    estimate, error = path.value(weights)
    steps = path.steps_before()
    note, relative, fall = "", [], float("nan")
    if len(steps) > 1:
        relative = [
            RobustInterval("relative", bound, *relative_interval(path, weights, bound=bound, level=level))
            for bound in relative_bounds
        ]
        fall = _breakdown(lambda bound: relative_accepts(path, weights, bound=bound, level=level), 1.0)
    else:
        note = "There is only one step before the base, so the bound by relative magnitudes isn't estimable."
    bounds = tuple(step * error for step in SMOOTH_STEPS) if smooth_bounds is None else smooth_bounds
    problem = SmoothProblem(path, weights)
    smooth = [RobustInterval("smooth", bound, *problem.interval(bound=bound, level=level)) for bound in bounds]

    def includes_zero(bound: float) -> bool:
        low, high = problem.interval(bound=bound, level=level)
        return low <= 0 <= high

    half = float(norm.ppf(0.5 + level / 2)) * error
    values = steps @ path.estimate
    return Sensitivity(
        target=target if isinstance(target, str) else "weighted",
        estimate=estimate,
        std_error=error,
        low=estimate - half,
        high=estimate + half,
        level=level,
        intervals=(*relative, *smooth),
        breakdown_relative=fall,
        breakdown_smooth=_breakdown(includes_zero, error),
        periods_before=len(steps),
        largest_step=float(np.abs(values).max()),
        largest_bend=_largest_bend(path, values),
        note=note,
    )


def _largest_bend(path: EventPath, steps: np.ndarray) -> float:
    """The largest change of slope before the base, per period over which it happens; missing with a single step."""
    if len(steps) < 2:
        return float("nan")
    knots = np.array([*path.times[path.before], path.base])
    return float(np.abs(np.diff(steps) / ((knots[2:] - knots[:-2]) / 2)).max())


def _breakdown(includes_zero: Callable[[float], bool], scale: float) -> float:
    """The smallest bound at which zero is included: steps outwards by a quarter, then halving."""
    if includes_zero(0.0):
        return 0.0
    inside, outside = 0.0, 0.02 * scale
    while not includes_zero(outside):
        inside, outside = outside, 1.25 * outside
        if outside > LARGEST * scale:
            return float("inf")
    for _ in range(30):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if includes_zero(middle) else (middle, outside)
    return outside

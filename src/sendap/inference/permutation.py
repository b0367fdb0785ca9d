"""Permutation: how unusual the result would be had other areas of the same region been treated.

Selection of real pilots wasn't random, so this is an "as if" test, and the report says so. The statistic is
studentised by the cluster contributions, which keeps its size right when treated and untreated areas vary by
different amounts. Source: MacKinnon and Webb (2020), doi:10.1016/j.jeconom.2020.04.024.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import numpy as np

from sendap.estimators.fit import Fit, Permuted

CHUNK = 250
SEARCH_STEPS = 40


@dataclass(frozen=True)
class PermutationResult:
    """p-value of no effect, and for each level the interval of effects that aren't rejected."""

    p_value: float
    intervals: tuple[tuple[float, float], ...]
    draws: int
    exact: bool


def possible_allocations(cohorts: np.ndarray, groups: np.ndarray) -> int:
    """How many different ways there are to deal the starts out inside the groups."""
    ways = []
    for group in np.unique(groups):
        inside = cohorts[groups == group]
        left = len(inside)
        for cohort in np.unique(inside):
            count = int((inside == cohort).sum())
            ways.append(comb(left, count))
            left -= count
    return prod(ways)


def _all_allocations(cohorts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Every different way, for the case that is small enough to enumerate."""

    def inside(members: np.ndarray, starts: list[float]) -> list[dict[int, float]]:
        if not starts:
            return [{}]
        cohort, count = starts[0], starts.count(starts[0])
        made = []
        for chosen in combinations(members, count):
            rest = np.setdiff1d(members, chosen)
            for tail in inside(rest, starts[count:]):
                made.append({**dict.fromkeys(chosen, cohort), **tail})
        return made

    rows = [cohorts.copy()]
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        options = inside(members, sorted(cohorts[members].tolist()))
        grown = []
        for row in rows:
            for option in options:
                fresh = row.copy()
                for position, cohort in option.items():
                    fresh[position] = cohort
                grown.append(fresh)
        rows = grown
    return np.array(rows)


def allocations(cohorts: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, bool]:
    """R by G starts dealt out inside the groups, and whether they are all there are.

    All different allocations when there are at most ``draws`` (the actual one among them); else ``draws``
    random ones.
    """
    if possible_allocations(cohorts, groups) <= draws:
        return _all_allocations(cohorts, groups), True
    generator = np.random.default_rng(seed)
    dealt = np.repeat(cohorts[None, :], draws, axis=0)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        dealt[:, members] = generator.permuted(dealt[:, members], axis=1)
    return dealt, False


def _collect(fit: Fit, dealt: np.ndarray, terms: np.ndarray) -> Permuted:
    parts = [fit.permute(dealt[start : start + CHUNK], terms) for start in range(0, len(dealt), CHUNK)]
    return Permuted(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Permuted.__dataclass_fields__)
    )


def _statistics(found: Permuted, term: int, effect: float, studentised: bool) -> np.ndarray:
    """The statistic under every allocation, for the hypothesis that the effect is ``effect`` everywhere."""
    estimate = found.outcome[:, term] - effect * found.planted[:, term]
    if not studentised:
        return np.abs(estimate)
    squares = (
        found.square_outcome[:, term] - 2 * effect * found.cross[:, term] + effect**2 * found.square_planted[:, term]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(estimate) / np.sqrt(np.maximum(squares, 0.0))


def _p_value(actual: Permuted, found: Permuted, term: int, effect: float, studentised: bool, exact: bool) -> float:
    """(1 + draws at least as extreme) / (1 + draws), or the plain share when all allocations are there."""
    own = _statistics(actual, term, effect, studentised)[0]
    others = _statistics(found, term, effect, studentised)
    others = others[np.isfinite(others)]
    if not np.isfinite(own) or others.size == 0:
        return float("nan")
    # Equal statistics differ in their last digits, so nearly equal counts as extreme.
    extreme = int((others >= own * (1 - 1e-10)).sum())
    return extreme / len(others) if exact else (1 + extreme) / (1 + len(others))


def permutation_test(
    fit: Fit,
    terms: np.ndarray,
    groups: np.ndarray,
    *,
    draws: int,
    seed: int,
    levels: tuple[float, ...] = (0.95,),
    studentised: np.ndarray | None = None,
) -> list[PermutationResult]:
    """Test each term by dealing the starts out anew inside ``groups`` (G), and invert the test for intervals.

    ``studentised`` says by term whether the statistic is divided by its standard error (it can't be with one
    treated cluster). An interval end is infinite where no effect on that side is rejected.
    """
    cohorts = fit.panel.cluster_cohort
    dealt, exact = allocations(cohorts, groups, draws, seed)
    found, actual = _collect(fit, dealt, terms), fit.permute(cohorts[None, :], terms)
    results = []
    for term in range(len(terms)):
        divide = True if studentised is None else bool(studentised[term])

        def p_at(effect: float, term: int = term, divide: bool = divide) -> float:
            return _p_value(actual, found, term, effect, divide, exact)

        centre = float(actual.outcome[0, term])
        spread = float(np.nanstd(found.outcome[:, term])) or 1.0
        intervals = tuple(
            (interval_end(p_at, centre, -spread, 1 - level), interval_end(p_at, centre, spread, 1 - level))
            for level in levels
        )
        results.append(PermutationResult(p_at(0.0), intervals, len(dealt), exact))
    return results


def interval_end(p_at: Callable[[float], float], centre: float, step: float, alpha: float) -> float:
    """The last effect on one side of the estimate that isn't rejected, by doubling and halving."""
    inside, outside = centre, centre + step
    for _ in range(12):
        if p_at(outside) <= alpha:
            break
        inside, outside = outside, centre + 2 * (outside - centre)
    else:
        return float(np.sign(step) * np.inf)
    for _ in range(SEARCH_STEPS):
        middle = (inside + outside) / 2
        if p_at(middle) > alpha:
            inside = middle
        else:
            outside = middle
    return inside

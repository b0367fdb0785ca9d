"""Permutation: how unusual the result would be had other areas of the same region been treated.

Selection of real pilots wasn't random, so this is an "as if" test, and the report says so. The statistic is
studentised by the cluster contributions, which keeps its size right when treated and untreated areas vary by
different amounts. Source: MacKinnon and Webb (2020), doi:10.1016/j.jeconom.2020.04.024.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import combinations
from math import comb, prod

import numpy as np

from sendap.estimators.fit import Fit, Permuted
from sendap.inference.permutation_events import permute_event_study

CHUNK = 250
NOTHING = 1e-9
"""A planted effect of one that moves an estimate by less than this doesn't move it at all."""
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


def collect(fit: Fit, dealt: np.ndarray, terms: np.ndarray) -> tuple[Permuted, Permuted]:
    """Estimates of some terms under the allocations ``dealt`` (R by G), and under the actual one (R = 1).

    The planted effect begins at the start, for every term from the start on. A term before it would never see such an
    effect, so there it's a step at the term's own event time, turned so that it moves the estimate by one.
    """
    event = fit.terms["event_time"].to_numpy(dtype=float)[terms]
    actual = fit.panel.cluster_cohort[None, :]
    if fit.estimator == "event_study":
        # Each event time has its own planted effect there.
        return _permute(fit, dealt, terms), _permute(fit, actual, terms)
    found = [_empty(len(dealt), len(terms)), _empty(1, len(terms))]
    for time in np.unique(np.where(event < 0, event, 0.0)):
        columns = np.flatnonzero(event == time if time < 0 else ~(event < 0))
        # Which of the two moves the estimate depends on whether its base comes before the term or after it.
        for shift in (time, time + 1) if time < 0 else (0.0,):
            moved = _beginning(fit, shift) if shift else fit
            planted = _permute(moved, actual, terms[columns]).planted[0]
            columns, used = columns[np.abs(planted) <= NOTHING], columns[np.abs(planted) > NOTHING]
            if used.size:
                size = planted[np.abs(planted) > NOTHING] if time < 0 else np.ones(used.size)
                for whole, cohorts in zip(found, (dealt, actual), strict=True):
                    _put(whole, used, _permute(moved, cohorts, terms[used]), size)
            if not columns.size:
                break
        if columns.size:
            for whole, cohorts in zip(found, (dealt, actual), strict=True):
                _put(whole, columns, _permute(fit, cohorts, terms[columns]), np.full(columns.size, np.inf))
    return found[0], found[1]


def _beginning(fit: Fit, event_time: float) -> Fit:
    """The same fit, but for the planted effect, which begins this many periods after the start."""
    moved = copy(fit)
    moved.panel = replace(fit.panel, cohort=fit.panel.cohort + event_time)
    return moved


def _empty(draws: int, terms: int) -> Permuted:
    return Permuted(*(np.full((draws, terms), np.nan) for _ in fields(Permuted)))


def _put(whole: Permuted, columns: np.ndarray, part: Permuted, size: np.ndarray) -> None:
    """Put some terms' results into their columns, for a planted effect of one over ``size``."""
    powers = {"planted": 1, "cross": 1, "square_planted": 2}
    for each in fields(Permuted):
        getattr(whole, each.name)[:, columns] = getattr(part, each.name) / size ** powers.get(each.name, 0)


def _permute(fit: Fit, dealt: np.ndarray, terms: np.ndarray) -> Permuted:
    permute = fit.permute
    if fit.estimator == "event_study":
        permute = partial(permute_event_study, fit)
    parts = [permute(dealt[start : start + CHUNK], terms) for start in range(0, len(dealt), CHUNK)]
    return Permuted(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Permuted)))


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
    treated cluster). An interval end is infinite where no effect on that side is rejected, and missing where no
    effect can be planted that the term would show.
    """
    dealt, exact = allocations(fit.panel.cluster_cohort, groups, draws, seed)
    found, actual = collect(fit, dealt, terms)
    return permutation_results(found, actual, exact=exact, levels=levels, studentised=studentised)


def permutation_results(
    found: Permuted,
    actual: Permuted,
    *,
    exact: bool,
    levels: tuple[float, ...] = (0.95,),
    studentised: np.ndarray | None = None,
) -> list[PermutationResult]:
    """The tests of all terms from their estimates under R allocations and under the actual one."""
    results = []
    for term in range(found.outcome.shape[1]):
        divide = True if studentised is None else bool(studentised[term])

        def p_at(effect: float, term: int = term, divide: bool = divide) -> float:
            return _p_value(actual, found, term, effect, divide, exact)

        centre = float(actual.outcome[0, term])
        spread = float(np.nanstd(found.outcome[:, term])) or 1.0
        if abs(actual.planted[0, term]) > NOTHING:
            intervals = tuple(
                (interval_end(p_at, centre, -spread, 1 - level), interval_end(p_at, centre, spread, 1 - level))
                for level in levels
            )
        else:
            intervals = ((np.nan, np.nan),) * len(levels)
        results.append(PermutationResult(p_at(0.0), intervals, len(found.outcome), exact))
    return results


def interval_end(p_at: Callable[[float], float], centre: float, step: float, alpha: float) -> float:
    """The last effect on one side of the estimate that isn't rejected, by doubling and halving.

    An effect is rejected where its p-value is ``alpha`` or less.
    """
    # 1 - 0.9 lies a little below a tenth, which p-values reach exactly.
    alpha += 1e-12
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

"""Entropy balancing: weights of untreated areas that make their means equal to those of the treated areas.

Among all weights that meet the moments exactly, those that differ least (by entropy) from counting every area alike.

Source: Hainmueller (2012), doi:10.1093/pan/mpr025, equations 6 to 8 for the problem and its dual. The dual is convex
and smooth, and is solved here by Newton's method with a line search.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.special import logsumexp

from sendap.comparison.group import ComparisonGroup, grouped
from sendap.comparison.profiles import Profiles
from sendap.errors import DesignError, UsageError
from sendap.numerals import show

MOST_STEPS = 200
EXACT = 1e-9
"""Moments count as met at this many standard deviations of the untreated areas."""

INSIDE = 1e-7
"""Least weight that every area can have (by linear programming) for the moments to lie inside what they span."""


def entropy_balance(profiles: Profiles, *, moments: int = 1, within_region: bool = False) -> ComparisonGroup:
    """Untreated areas weighted so that their means equal those of the treated areas, exactly.

    ``moments``: 1 for means, 2 for means and variances. ``within_region``: the regions get the shares that they have
    among the treated areas too, and areas of a region with only one side are left out. Areas count by their ``base``.

    Raises DesignError, naming the measure, where no weights can do it: the treated areas lie outside what the
    untreated ones span.
    """
    if moments not in (1, 2):
        raise UsageError(f"moments must be 1 (means) or 2 (means and variances), not {moments}.")
    kept = profiles.shared_regions() if within_region else profiles
    design, target, names = _moments(kept, moments, within_region)
    refuse_outside(design, target, names, kept.outcome)
    base = kept.base[~kept.treated]
    weights = balanced_weights(design, target, base / base.sum())
    extent = "means" if moments == 1 else "means and variances"
    where = " and regions" if within_region else ""
    how = f"Untreated areas are weighted by entropy balancing so that their {extent} of {', '.join(kept.names)}{where} "
    return grouped("entropy balancing", f"{how}equal those of the treated areas.", profiles, kept, weights)


def _moments(kept: Profiles, moments: int, within_region: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Untreated areas by moments, the moments of the treated, and their names."""
    share = kept.base[kept.treated] / kept.base[kept.treated].sum()
    mean = share @ kept.values[kept.treated]
    columns, names = [kept.values], list(kept.names)
    if moments == 2:
        columns.append((kept.values - mean) ** 2)
        names += [f"the variance of {name}" for name in kept.names]
    if within_region:
        assert kept.regions is not None
        regions = sorted(set(kept.regions))[1:]
        columns.append(np.column_stack([kept.regions == each for each in regions]) if regions else np.ones((0, 0)))
        names += [f"the share of {each}" for each in regions]
    whole = np.column_stack([part for part in columns if part.size]).astype(float)
    return whole[~kept.treated], share @ whole[kept.treated], names


def balanced_weights(design: np.ndarray, target: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Weights (N, sum 1) nearest to ``base`` in entropy with ``design`` (N by K) averaging to ``target`` (K).

    The dual: minimise log sum_i base_i exp(x_i' l) - target' l over l; the weights are the softmax at the minimum.
    Raises DesignError where it has none. Moments that repeat each other are fine.
    """
    centred = design - target
    size = centred.std(axis=0)
    held = size > 1e-12 * np.maximum(np.abs(design).max(axis=0), 1.0)
    scaled = centred[:, held] / size[held]
    log_base = np.log(base)
    multipliers = np.zeros(scaled.shape[1])

    def loss(at: np.ndarray) -> float:
        return float(logsumexp(log_base + scaled @ at))

    for _ in range(MOST_STEPS):
        logs = log_base + scaled @ multipliers
        weights = np.exp(logs - logsumexp(logs))
        slope = weights @ scaled
        if slope.size == 0 or np.abs(slope).max() < 1e-13:
            break
        curve = (scaled * weights[:, None]).T @ scaled - np.outer(slope, slope)
        step = -np.linalg.pinv(curve, rcond=1e-13, hermitian=True) @ slope
        here, fall, length = loss(multipliers), float(slope @ step), 1.0
        while loss(multipliers + length * step) > here + 1e-4 * length * fall and length > 1e-12:
            length /= 2
        if length <= 1e-12:
            break
        multipliers = multipliers + length * step
    if slope.size and np.abs(slope).max() > EXACT:
        raise DesignError("Entropy balancing found no weights that meet the means exactly. Use fewer measures.")
    return weights


def refuse_outside(design: np.ndarray, target: np.ndarray, names: list[str], outcome: str) -> None:
    """Raises DesignError naming a measure where no positive weights of the rows of ``design`` average to ``target``."""
    low, high = design.min(axis=0), design.max(axis=0)
    slack = 1e-9 * np.maximum(high - low, 1e-9 * np.maximum(np.abs(target), 1.0))
    for at, name in enumerate(names):
        if not low[at] - slack[at] <= target[at] <= high[at] + slack[at]:
            raise DesignError(
                f"'{outcome}': {name} can't be balanced. Its mean over the treated areas is {show(target[at], 2)}, and "
                f"untreated areas run from {show(low[at], 2)} to {show(high[at], 2)}. Leave it out, or compare others."
            )
    rows, count = design.shape
    centred = (design - target) / np.where(design.std(axis=0) > 0, design.std(axis=0), 1.0)
    # The largest weight that all areas can have at once: none where the target lies outside, zero where on the edge.
    found = linprog(
        np.append(np.zeros(rows), -1.0),
        A_ub=np.column_stack([-np.eye(rows), np.ones(rows)]),
        b_ub=np.zeros(rows),
        A_eq=np.vstack([np.append(np.ones(rows), 0.0), np.column_stack([centred.T, np.zeros(count)])]),
        b_eq=np.append(1.0, np.zeros(count)),
        bounds=[(0, None)] * rows + [(None, None)],
        method="highs",
    )
    if found.status == 0 and -found.fun > INSIDE / rows:
        return
    worst = names[_farthest(centred)]
    raise DesignError(
        f"'{outcome}': no weights of the untreated areas give the means of the treated areas, though each measure by "
        f"itself could be balanced. Given the others, {worst} is farthest from it. Leave it out, or use fewer measures."
    )


def _farthest(centred: np.ndarray) -> int:
    """The moment (column) that misses most, in standard deviations, where all together miss least."""
    rows, count = centred.shape
    found = linprog(
        np.append(np.zeros(rows), np.ones(2 * count)),
        A_eq=np.vstack(
            [
                np.append(np.ones(rows), np.zeros(2 * count)),
                np.column_stack([centred.T, np.eye(count), -np.eye(count)]),
            ]
        ),
        b_eq=np.append(1.0, np.zeros(count)),
        bounds=[(0, None)] * (rows + 2 * count),
        method="highs",
    )
    missed = found.x[rows : rows + count] + found.x[rows + count :]
    return int(np.argmax(missed))

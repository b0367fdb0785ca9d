"""Simultaneous bands: intervals for K terms that all hold at once with the stated probability.

The multiplier bootstrap multiplies each cluster's contribution to the estimates by an independent standard normal
number. That gives K errors with the estimated correlations, and the largest studentised one over the terms has the
quantile that a band needs. Source: Montiel Olea and Plagborg-Moller (2019), doi:10.1002/jae.2656; Callaway and
Sant'Anna (2021), doi:10.1016/j.jeconom.2020.12.001, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sendap.errors import UsageError

CHUNK = 2**22
"""Random numbers that are in memory at once (32 megabytes)."""


@dataclass(frozen=True)
class SimultaneousBand:
    """A band over K terms.

    ``critical`` multiplies the standard errors; ``pointwise`` is what a single term would need. ``low`` and ``high``
    (K) are the ends, and ``p_adjusted`` (K) the p-values adjusted for all terms; missing where there's no error.
    """

    critical: float
    pointwise: float
    low: np.ndarray
    high: np.ndarray
    p_adjusted: np.ndarray
    level: float
    draws: int


def simultaneous_band(
    estimate: np.ndarray,
    *,
    scores: np.ndarray,
    std_error: np.ndarray | None = None,
    level: float = 0.95,
    dof: float | None = None,
    draws: int = 9999,
    seed: int = 20230902,
) -> SimultaneousBand:
    """The sup-t band of K estimates from the contributions of G clusters (``scores``, G by K).

    ``std_error`` (K) widens each term by its own error, such as the jackknife's; without it, by the root of the
    summed squared contributions. ``dof`` makes the draws multivariate t rather than normal; for CRV1, G - 1.

    Terms whose contributions are all zero get no band. Raises UsageError where shapes don't match or a number is
    out of its range.
    """
    estimate, scores = np.asarray(estimate, dtype=float), np.asarray(scores, dtype=float)
    if scores.ndim != 2 or scores.shape[1] != len(estimate):
        raise UsageError(f"Scores need one column for each of the {len(estimate)} estimates.")
    if not 0 < level < 1 or draws < 1 or (dof is not None and not dof > 0):
        raise UsageError("level must lie between 0 and 1, and draws and dof above 0.")
    size = np.sqrt((scores**2).sum(axis=0))
    error = size if std_error is None else np.asarray(std_error, dtype=float)
    known = (size > 0) & np.isfinite(error) & (error > 0) & np.isfinite(estimate)
    pointwise = float(stats.norm.ppf(0.5 + level / 2) if dof is None else stats.t.ppf(0.5 + level / 2, dof))
    critical, p_adjusted = np.nan, np.full(len(estimate), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.abs(estimate / error)[known]
    if known.sum() == 1:
        # One term needs no simulation.
        tail = stats.norm.sf(observed) if dof is None else stats.t.sf(observed, dof)
        critical, p_adjusted[known] = pointwise, 2 * tail
    elif known.any():
        largest = np.sort(_largest(scores[:, known] / size[known], dof, draws, seed))
        critical = float(np.quantile(largest, level, method="higher"))
        above = len(largest) - np.searchsorted(largest, observed, side="left")
        p_adjusted[known] = (1 + above) / (1 + draws)
    reach = np.where(known, critical * error, np.nan)
    return SimultaneousBand(critical, pointwise, estimate - reach, estimate + reach, p_adjusted, level, draws)


def _largest(standardised: np.ndarray, dof: float | None, draws: int, seed: int) -> np.ndarray:
    """The largest absolute error over the terms, for each draw (R)."""
    generator = np.random.default_rng(seed)
    found = [np.abs(block @ standardised).max(axis=1) for block in _blocks(generator, draws, len(standardised))]
    largest = np.concatenate(found)
    return largest if dof is None else largest / np.sqrt(generator.chisquare(dof, size=draws) / dof)


def _blocks(generator: np.random.Generator, draws: int, clusters: int) -> Iterator[np.ndarray]:
    rows = max(CHUNK // max(clusters, 1), 1)
    for start in range(0, draws, rows):
        yield generator.standard_normal((min(rows, draws - start), clusters))

"""What a test of earlier trends could have found, and what a study could find at all.

A pre-test that finds nothing is no proof of parallel trends: it may have had little chance to find a slope that
matters, and among the studies that pass it the estimates are biased in another way than among all. Source: Roth
(2022), doi:10.1257/aeri.20210236. The covariance is taken as known, as there.

The minimum detectable effects are those of section 4.4 of the evaluation standard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import chi2, f, multivariate_normal, ncx2, norm, t

from sendap.errors import UsageError
from sendap.estimators.fit import Fit
from sendap.inference.after import ALPHA, ErrorRates, error_rates
from sendap.probe.robust_sets import EventPath
from sendap.probe.sensitivity import Target, event_path, target_weights

POINTS = 2**14
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)

PreTest = Literal["individual", "joint"]

__all__ = [
    "ALPHA",
    "ErrorRates",
    "TrendPower",
    "box_moments",
    "detectable_change",
    "error_rates",
    "minimum_detectable_effect",
    "period_variance",
    "trend_power",
]


@dataclass(frozen=True)
class TrendPower:
    """The power of the pre-test against a straight drift, in outcome units per period.

    ``slope_50`` and ``slope_80`` are found with these chances. ``at_slope`` has one row an event time for a drift of
    ``slope``: ``event_time, drift`` (the bias without pre-testing), ``mean_if_passed`` (the bias among studies that
    pass). ``power`` is the chance to find ``slope``; ``bias`` and ``bias_if_passed`` are the bias of the target.
    ``bayes_factor`` says how much rarer a pass is with this drift than with none; ``likelihood_ratio`` how much less
    likely the coefficients before the base are.
    """

    test: str
    periods: int
    slope_50: float
    slope_80: float
    slope: float
    power: float
    at_slope: pd.DataFrame
    bias: float
    bias_if_passed: float
    bayes_factor: float
    likelihood_ratio: float

    def sentence(self) -> str:
        """The slopes that could have been found, and what they would have done."""
        return (
            f"The test of the {self.periods} periods before the start finds a drift of {self.slope_50:.3g} a period "
            f"half of the time, and one of {self.slope_80:.3g} four times in five; a drift of {self.slope:.3g} that "
            f"passes would have moved the estimate by {self.bias_if_passed:.3g}."
        )


def trend_power(
    fit: Fit | EventPath,
    *,
    anticipation: int = 0,
    slope: float | None = None,
    test: PreTest = "individual",
    alpha: float = ALPHA,
    dof: float | None = None,
    target: Target | np.ndarray = "average",
) -> TrendPower:
    """Power of the pre-test against a linear drift, and what is left among studies that pass.

    ``slope`` is the drift to look at, by default the one found with power 50%. ``test``: "individual" rejects when any
    coefficient before the base differs from zero, as in Roth (2022); "joint" when all together do. ``dof`` takes the
    critical value from t or F with that many degrees rather than from the normal or chi-squared. The drift is counted
    from the base; partly exposed periods aren't tested.

    Raises DesignError as ``event_path`` does, UsageError for an unknown test or an alpha outside 0 to 1.
    """
    if test not in ("individual", "joint") or not 0 < alpha < 1:
        raise UsageError("test must be 'individual' or 'joint', and alpha lie between 0 and 1.")
    path = fit if isinstance(fit, EventPath) else event_path(fit, anticipation=anticipation)
    drift, early = path.times - path.base, path.before
    covariance = path.covariance[np.ix_(early, early)]
    passing = _passing(covariance, test, alpha, dof)

    def slope_for(power: float) -> float:
        return _find_slope(lambda value: 1 - passing(value * drift[early])[0], power, covariance, drift[early])

    found = {power: slope_for(power) for power in (0.5, 0.8)}
    chosen = found[0.5] if slope is None else float(slope)
    chance, mean = passing(chosen * drift[early])
    given = chosen * drift
    moved = given + path.covariance[:, early] @ np.linalg.solve(covariance, mean - given[early])
    table = pd.DataFrame({"event_time": path.times, "drift": given, "mean_if_passed": moved})
    weights = target_weights(path, target)
    seen, centre = path.estimate[early], np.zeros(int(early.sum()))
    densities = [multivariate_normal.logpdf(seen, each, covariance) for each in (given[early], centre)]
    return TrendPower(
        test=test,
        periods=int(early.sum()),
        slope_50=found[0.5],
        slope_80=found[0.8],
        slope=chosen,
        power=1 - chance,
        at_slope=table,
        bias=float(weights @ given),
        bias_if_passed=float(weights @ moved),
        bayes_factor=chance / passing(centre)[0],
        likelihood_ratio=float(np.exp(densities[0] - densities[1])),
    )


def _passing(
    covariance: np.ndarray, test: str, alpha: float, dof: float | None
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The chance to pass and the mean given a pass, as a function of the mean of the S coefficients."""
    count = len(covariance)
    if test == "individual":
        critical = norm.ppf(1 - alpha / 2) if dof is None else t.ppf(1 - alpha / 2, dof)
        reach = critical * np.sqrt(np.diag(covariance))
        return lambda mean: box_moments(mean, covariance, -reach, reach)
    limit = chi2.ppf(1 - alpha, count) if dof is None else count * f.ppf(1 - alpha, count, dof)

    def joint(mean: np.ndarray) -> tuple[float, np.ndarray]:
        # Inside an ellipse around zero a normal mean shrinks by a ratio of noncentral chi-squared probabilities.
        size = float(mean @ np.linalg.solve(covariance, mean))
        inside = [float(chi2.cdf(limit, k) if size == 0 else ncx2.cdf(limit, k, size)) for k in (count, count + 2)]
        return inside[0], mean * (inside[1] / inside[0])

    return joint


def _find_slope(power: Callable[[float], float], wanted: float, covariance: np.ndarray, drift: np.ndarray) -> float:
    """The positive slope that is found with the wanted power."""
    low, high = 0.0, float((np.sqrt(np.diag(covariance)) / np.abs(drift)).min())
    if power(0.0) >= wanted:
        return 0.0
    while power(high) < wanted:
        high *= 2
    return float(brentq(lambda value: power(value) - wanted, low, high, xtol=1e-10 * high))


def box_moments(
    mean: np.ndarray, covariance: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[float, np.ndarray]:
    """The chance that a normal vector (K) lies in a box, and its mean given that it does.

    One coordinate at a time is drawn inside the box given those before it, at points of a Kronecker sequence folded
    about its middle, so equal arguments give equal answers. Source: Genz (1992), doi:10.1080/10618600.1992.10477010.
    """
    count = len(mean)
    if count > len(PRIMES):
        raise UsageError(f"At most {len(PRIMES)} periods before the start can be tested one by one.")
    root = np.linalg.cholesky(covariance)
    index = np.arange(1, POINTS + 1)
    weight, drawn = np.ones(POINTS), np.zeros((POINTS, count))
    for position in range(count):
        centre = mean[position] + drawn[:, :position] @ root[position, :position]
        # Intervals above zero are turned over, where the normal distribution keeps its digits.
        lower, upper = ((edge - centre) / root[position, position] for edge in (low[position], high[position]))
        turn = np.where(lower > 0, -1.0, 1.0)
        least, most = ndtr(np.where(turn < 0, -upper, lower)), ndtr(np.where(turn < 0, -lower, upper))
        point = np.abs(2 * ((index * np.sqrt(PRIMES[position])) % 1) - 1)
        inside = np.clip(least + point * (most - least), 1e-300, 1 - 1e-16)
        drawn[:, position] = turn * ndtri(inside)
        weight *= most - least
    chance = float(weight.mean())
    if chance <= 0:
        return 0.0, np.full(count, np.nan)
    return chance, mean + root @ (weight @ drawn) / weight.sum()


def minimum_detectable_effect(
    std_error: float, *, dof: float = np.inf, alpha: float = ALPHA, power: float = 0.8
) -> float:
    """The smallest effect found with this power: (t_{1-alpha/2} + t_{power}) times the standard error.

    A floor: the t formula is optimistic with fewer than 13 treated clusters. Raises UsageError for numbers out of
    their range.
    """
    if not (std_error > 0 and dof > 0 and 0 < alpha < 1 and 0 < power < 1):
        raise UsageError("std_error and dof must be above 0, alpha and power between 0 and 1.")
    quantile = norm.ppf if np.isinf(dof) else lambda chance: t.ppf(chance, dof)
    return float((quantile(1 - alpha / 2) + quantile(power)) * std_error)


def detectable_change(
    treated: int, controls: int, *, spread: float = 1.0, alpha: float = ALPHA, power: float = 0.8
) -> float:
    """The minimum detectable effect of a comparison of changes, in the unit of ``spread``, the SD of cluster changes.

    Degrees of freedom are treated + controls - 2. Raises UsageError with fewer than three clusters, or none on a side.
    """
    if treated < 1 or controls < 1 or treated + controls < 3:
        raise UsageError("There must be a treated and an untreated cluster, and three in all.")
    error = spread * np.sqrt(1 / treated + 1 / controls)
    return minimum_detectable_effect(float(error), dof=treated + controls - 2, alpha=alpha, power=power)


def period_variance(before: int, after: int, correlation: float, *, design: Literal["did", "ancova"] = "did") -> float:
    """What periods do to the variance: Var = s^2 (1/G1 + 1/G0) times this, s the SD of a cluster in a period.

    ``before`` and ``after`` count periods, ``correlation`` is that of a cluster with itself between any two. Source:
    McKenzie (2012), doi:10.1016/j.jdeveco.2012.01.002. Raises UsageError for numbers out of their range.
    """
    if before < 1 or after < 1 or not -1 < correlation < 1:
        raise UsageError("There must be a period before and one after, and the correlation lie between -1 and 1.")
    if design not in ("did", "ancova"):
        raise UsageError(f"design must be 'did' or 'ancova', not '{design}'.")
    later, earlier = (1 + (after - 1) * correlation) / after, (1 + (before - 1) * correlation) / before
    if design == "ancova":
        return later - correlation**2 / earlier
    return earlier + later - 2 * correlation

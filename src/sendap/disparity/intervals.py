"""Intervals for one rate, and for the difference, ratio and odds ratio of two (standard 6.3).

Arguments are arrays of any one shape: ``p`` is a proportion, ``n`` the records behind it, ``v`` the variance of a rate.
Each function returns estimate, low and high, missing where the measure has no finite value.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

Interval = tuple[np.ndarray, np.ndarray, np.ndarray]


def critical(level: float) -> float:
    return float(stats.norm.ppf(0.5 + level / 2))


def tails(level: float, areas: int) -> list[float]:
    """The two quantiles of a bootstrap of ``areas`` whole areas between which its interval lies.

    A bootstrap of few areas spreads too little by the root of (areas - 1) / areas, and ends too soon where t does not.
    So the quantiles lie further out, at the normal probability of t times the root of areas / (areas - 1): those of a
    t interval for a mean. Source: Hesterberg (2015), doi:10.1080/00031305.2015.1089789, section 5.
    """
    if areas < 2:
        return [(1 - level) / 2, (1 + level) / 2]
    beyond = stats.t.ppf(0.5 + level / 2, areas - 1) * np.sqrt(areas / (areas - 1))
    return [float(stats.norm.cdf(-beyond)), float(stats.norm.cdf(beyond))]


def wilson(p: np.ndarray, n: np.ndarray, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Score interval of a proportion. Source: Wilson (1927), doi:10.1080/01621459.1927.10502953."""
    z2 = critical(level) ** 2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def newcombe(p1: np.ndarray, n1: np.ndarray, p0: np.ndarray, n0: np.ndarray, *, level: float = 0.95) -> Interval:
    """Difference of two independent proportions, by their score intervals.

    Source: Newcombe (1998), method 10, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    """
    low1, high1 = wilson(p1, n1, level=level)
    low0, high0 = wilson(p0, n0, level=level)
    difference = np.asarray(p1 - p0, dtype=float)
    return (
        difference,
        difference - np.sqrt((p1 - low1) ** 2 + (high0 - p0) ** 2),
        difference + np.sqrt((high1 - p1) ** 2 + (p0 - low0) ** 2),
    )


def welch(
    m1: np.ndarray,
    v1: np.ndarray,
    n1: np.ndarray,
    m0: np.ndarray,
    v0: np.ndarray,
    n0: np.ndarray,
    *,
    level: float = 0.95,
) -> Interval:
    """Difference of two independent means of unequal variance. Source: Welch (1947), doi:10.1093/biomet/34.1-2.28."""
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = (v1 + v0) ** 2 / (v1**2 / (n1 - 1) + v0**2 / (n0 - 1))
        half = stats.t.ppf(0.5 + level / 2, dof) * np.sqrt(v1 + v0)
    difference = np.asarray(m1 - m0, dtype=float)
    return difference, difference - half, difference + half


def _around_log(estimate: np.ndarray, variance: np.ndarray, level: float) -> Interval:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        half = critical(level) * np.sqrt(variance)
        known = np.isfinite(estimate) & (estimate > 0) & np.isfinite(half)
        low, high = (np.where(known, estimate * np.exp(sign * half), np.nan) for sign in (-1, 1))
    return np.where(np.isfinite(estimate), estimate, np.nan), low, high


def risk_ratio(p1: np.ndarray, n1: np.ndarray, p0: np.ndarray, n0: np.ndarray, *, level: float = 0.95) -> Interval:
    """Ratio of two independent proportions, by its logarithm. A ratio of zero is given without an interval.

    Source: Katz and others (1978), doi:10.2307/2530610.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (1 - p1) / (n1 * p1) + (1 - p0) / (n0 * p0)
        return _around_log(np.asarray(p1 / p0, dtype=float), variance, level)


def mean_ratio(m1: np.ndarray, v1: np.ndarray, m0: np.ndarray, v0: np.ndarray, *, level: float = 0.95) -> Interval:
    """Ratio of two independent means above zero, by its logarithm (delta method)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (m1 > 0) & (m0 > 0)
        return _around_log(np.where(above, m1 / m0, np.nan), v1 / m1**2 + v0 / m0**2, level)


def odds_ratio(p1: np.ndarray, n1: np.ndarray, p0: np.ndarray, n0: np.ndarray, *, level: float = 0.95) -> Interval:
    """Odds ratio of two independent proportions; where a count is zero, 0.5 is added to all four.

    Sources: Woolf (1955), doi:10.1111/j.1469-1809.1955.tb01348.x; Haldane (1956) for the half.
    """
    counts = np.stack(np.broadcast_arrays(n1 * p1, n1 * (1 - p1), n0 * p0, n0 * (1 - p0))).astype(float)
    zero = (counts < 1e-9).any(axis=0)
    a, b, c, d = counts + 0.5 * zero
    with np.errstate(divide="ignore", invalid="ignore"):
        return _around_log(np.asarray(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d, level)


def part_of_whole(
    p: np.ndarray, n: np.ndarray, whole: float, size: float, *, level: float = 0.95
) -> dict[str, Interval]:
    """A group's proportion against that of all, the group among them: ``difference``, ``ratio``, ``complement`` (the
    ratio of the shares without the outcome) and ``odds``.

    The group and the rest are independent, and the whole is w times the group plus (1 - w) times the rest, w = n / size
    taken as given. So the difference is (1 - w) times that between group and rest, with its Newcombe interval, and the
    logarithms follow by the delta method with the same two variances.
    """
    w = n / size
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(w < 1, (whole - w * p) / (1 - w), np.nan)
        rest = np.clip(rest, 0.0, 1.0)
        left = size - n
        v, v_rest = p * (1 - p) / n, rest * (1 - rest) / left
        difference = tuple((1 - w) * part for part in newcombe(p, n, rest, left, level=level))

        def ratio(group: np.ndarray, everyone: float) -> Interval:
            variance = (1 / group - w / everyone) ** 2 * v + ((1 - w) / everyone) ** 2 * v_rest
            return _around_log(np.asarray(group / everyone), variance, level)

        inner, outer = 1 / (p * (1 - p)), 1 / (whole * (1 - whole))
        odds = _around_log(
            np.asarray(p * (1 - whole) / ((1 - p) * whole)),
            (inner - w * outer) ** 2 * v + ((1 - w) * outer) ** 2 * v_rest,
            level,
        )
        return {
            "difference": difference,  # type: ignore[dict-item]
            "ratio": ratio(p, whole),
            "complement": ratio(1 - p, 1 - whole),
            "odds": odds,
        }

"""Figures of small areas drawn towards the mean, by as much as they are unsure (empirical Bayes).

Each function estimates how far areas truly differ from the areas themselves, and returns for each what is then most
likely, with an interval. An interval treats the estimated spread as known, so it's a little too narrow with few areas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from sendap.errors import DesignError

ALIKE = 1e7
"""Where the best prior is as sure as this many children or expected events, areas don't differ beyond chance."""


@dataclass(frozen=True)
class Shrunk:
    """I areas: ``estimate, low, high`` and ``kept``, the weight on the area's own figure. ``mean`` and ``sd`` are those
    of the areas' true figures, as estimated; ``prior`` holds the parameters behind them."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kept: np.ndarray
    mean: float
    sd: float
    prior: tuple[float, float]


def _enough(values: np.ndarray) -> None:
    if len(values) < 3:
        raise DesignError(f"Shrinking needs at least three areas; there are {len(values)}.")


def poisson_gamma(observed: np.ndarray, expected: np.ndarray, *, level: float = 0.95) -> Shrunk:
    """Ratios O/E drawn towards their mean: (O + a) / (E + b), with Gamma(a, b) fitted by maximum likelihood.

    Source: Clayton and Kaldor (1987), doi:10.2307/2532003. Raises DesignError for fewer than three areas.
    """
    o, e = np.asarray(observed, dtype=float), np.asarray(expected, dtype=float)
    _enough(o)

    def loss(point: np.ndarray) -> float:
        mean, b = np.exp(point)
        a = mean * b
        return -float((special.gammaln(o + a) - special.gammaln(a) + a * np.log(b) - (o + a) * np.log(e + b)).sum())

    mean, b = _best(loss, o.sum() / e.sum(), e.mean())
    a = mean * b
    tail = (1 - level) / 2
    low, high = (stats.gamma.ppf(at, o + a, scale=1 / (e + b)) for at in (tail, 1 - tail))
    sd = 0.0 if b >= 0.99 * ALIKE else float(np.sqrt(a) / b)
    return Shrunk((o + a) / (e + b), low, high, e / (e + b), float(mean), sd, (float(a), float(b)))


def beta_binomial(events: np.ndarray, n: np.ndarray, *, level: float = 0.95) -> Shrunk:
    """Shares y/n drawn towards their mean: (y + a) / (n + a + b), with Beta(a, b) fitted by maximum likelihood.

    Source: Skellam (1948), Journal of the Royal Statistical Society B 10(2). Raises DesignError for fewer than three
    areas, or where every child or none has the outcome.
    """
    y, n = np.asarray(events, dtype=float), np.asarray(n, dtype=float)
    _enough(y)
    if not 0 < y.sum() < n.sum():
        raise DesignError("Every child or none has the outcome, so areas don't differ.")

    def parts(point: np.ndarray) -> tuple[float, float]:
        mean, size = special.expit(point[0]), np.exp(point[1])
        return mean * size, (1 - mean) * size

    def loss(point: np.ndarray) -> float:
        a, b = parts(point)
        return -float((special.betaln(y + a, n - y + b) - special.betaln(a, b)).sum())

    start = special.logit(y.sum() / n.sum())
    best = _search(loss, start)
    a, b = parts(best)
    tail = (1 - level) / 2
    low, high = (stats.beta.ppf(at, y + a, n - y + b) for at in (tail, 1 - tail))
    mean = a / (a + b)
    sd = 0.0 if a + b >= 0.99 * ALIKE else float(np.sqrt(mean * (1 - mean) / (a + b + 1)))
    return Shrunk((y + a) / (n + a + b), low, high, n / (n + a + b), float(mean), sd, (float(a), float(b)))


def _search(loss, start: float) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Minimise over (location, log precision), from several precisions since the surface may be flat in one."""
    bounds = [(start - 10, start + 10), (np.log(1e-3), np.log(ALIKE))]
    tried = [
        optimize.minimize(loss, [start, np.log(size)], method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13})
        for size in (1.0, 30.0, 1000.0)
    ]
    edge = np.array([start, np.log(ALIKE)])
    best = min(tried, key=lambda each: each.fun)
    # The likelihood climbs for ever more slowly towards areas that are alike, where the search stops too early.
    return edge if loss(edge) <= best.fun + 1e-9 * abs(best.fun) else best.x


def _best(loss, mean: float, size: float) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    if not mean > 0:
        raise DesignError("No event was observed anywhere, so areas don't differ.")
    found = _search(loss, float(np.log(mean)))
    return float(np.exp(found[0])), float(np.exp(found[1]))


def normal(estimate: np.ndarray, variance: np.ndarray, *, level: float = 0.95) -> Shrunk:
    """Estimates drawn towards their mean: B y + (1 - B) mu, B = tau2 / (tau2 + v), tau2 by Paule and Mandel (1982).

    The interval holds the chance in mu as well. Sources: Paule and Mandel (1982), doi:10.6028/jres.087.022; Morris
    (1983), doi:10.1080/01621459.1983.10477920. Raises DesignError for fewer than three areas or a variance of zero.
    """
    y, v = np.asarray(estimate, dtype=float), np.asarray(variance, dtype=float)
    _enough(y)
    if not (np.isfinite(v).all() and (v > 0).all()):
        raise DesignError("Each estimate needs a variance above zero.")

    def surplus(tau2: float) -> float:
        weight = 1 / (v + tau2)
        mu = (weight * y).sum() / weight.sum()
        return float((weight * (y - mu) ** 2).sum() - (len(y) - 1))

    tau2 = 0.0
    if surplus(0.0) > 0:
        high = float(np.var(y) + v.max())
        while surplus(high) > 0:
            high *= 2
        tau2 = float(optimize.brentq(surplus, 0.0, high, xtol=1e-14 * high, rtol=1e-13))
    weight = 1 / (v + tau2)
    mu = float((weight * y).sum() / weight.sum())
    kept = tau2 / (tau2 + v)
    half = stats.norm.ppf(0.5 + level / 2) * np.sqrt(kept * v + (1 - kept) ** 2 / weight.sum())
    shrunk = kept * y + (1 - kept) * mu
    return Shrunk(shrunk, shrunk - half, shrunk + half, kept, mu, float(np.sqrt(tau2)), (mu, tau2))

"""Figures of small areas that borrow strength from what is known about them (Fay and Herriot, 1979).

y_i = x_i'b + v_i + e_i: an area's own figure is its line plus what the area has of its own plus the chance of its
few children, whose variance is known. The better figure lies between the own one and the line. Sources: Fay and Herriot
(1979), doi:10.1080/01621459.1979.10482505; Prasad and Rao (1990), doi:10.1080/01621459.1990.10475320; Datta and Lahiri
(2000), Statistica Sinica 10; Datta, Rao and Smith (2005), doi:10.1093/biomet/92.1.183, for the mean squared errors.

Areas borrow from what is known of them, not from their neighbours: a model such as BYM2 needs a list of which areas
adjoin, and none is among the published tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, stats

from sendap.errors import DesignError, UsageError

Method = Literal["reml", "moment"]


@dataclass(frozen=True)
class FayHerriot:
    """I areas: ``estimate`` with ``low`` and ``high``, ``kept`` (the weight on the area's own figure) and ``mse``.

    ``coefficients`` with their ``errors`` (P); ``between`` is the variance of what areas have of their own.
    """

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    kept: np.ndarray
    mse: np.ndarray
    coefficients: np.ndarray
    errors: np.ndarray
    between: float


def fay_herriot(
    y: np.ndarray,
    variance: np.ndarray,
    x: np.ndarray | None = None,
    *,
    method: Method = "reml",
    level: float = 0.95,
) -> FayHerriot:
    """Shrink each area's figure towards a regression on what is known of the areas.

    ``y`` and its sampling ``variance`` (I each); ``x`` (I by P, with a constant), a constant alone without it.
    ``method``: "reml", or "moment", Fay and Herriot's own, which solves sum of (y - x'b)^2 / (A + v) = I - P.

    Raises UsageError for an unknown method; DesignError for a variance of zero, or too few areas for the columns.
    """
    y, v = np.asarray(y, dtype=float), np.asarray(variance, dtype=float)
    x = np.ones((len(y), 1)) if x is None else np.asarray(x, dtype=float)
    if method not in ("reml", "moment"):
        raise UsageError(f"method must be 'reml' or 'moment', not '{method}'.")
    if not (np.isfinite(v).all() and (v > 0).all()):
        raise DesignError("Each area needs a variance above zero.")
    count, width = x.shape
    if np.linalg.matrix_rank(x) < width or count < width + 2:
        raise DesignError(f"{count} areas can't tell {width} coefficients and a variance apart.")
    between = _moment(y, v, x) if method == "moment" else _reml(y, v, x)
    beta, gram_inverse, residual = _line(y, v, x, between)
    weight = 1 / (between + v)
    kept = between * weight
    estimate = x @ beta + kept * residual
    spread = np.einsum("ip,pq,iq->i", x, gram_inverse, x)
    g1, g2 = kept * v, (1 - kept) ** 2 * spread
    if method == "reml":
        of_between, bias = 2 / (weight**2).sum(), 0.0
    else:
        of_between = 2 * count / weight.sum() ** 2
        bias = 2 * (count * (weight**2).sum() - weight.sum() ** 2) / weight.sum() ** 3
    g3 = v**2 * weight**3 * of_between
    mse = np.maximum(g1 + g2 + 2 * g3 - (1 - kept) ** 2 * bias, 0.0)
    half = stats.norm.ppf(0.5 + level / 2) * np.sqrt(mse)
    return FayHerriot(
        estimate, estimate - half, estimate + half, kept, mse, beta, np.sqrt(np.diag(gram_inverse)), between
    )


def _line(y: np.ndarray, v: np.ndarray, x: np.ndarray, between: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weight = 1 / (between + v)
    gram_inverse = np.linalg.inv(x.T @ (weight[:, None] * x))
    beta = gram_inverse @ (x.T @ (weight * y))
    return beta, gram_inverse, y - x @ beta


def _moment(y: np.ndarray, v: np.ndarray, x: np.ndarray) -> float:
    def surplus(between: float) -> float:
        residual = _line(y, v, x, between)[2]
        return float((residual**2 / (between + v)).sum() - (x.shape[0] - x.shape[1]))

    if surplus(0.0) <= 0:
        return 0.0
    high = float(np.var(y) + v.max())
    while surplus(high) > 0:
        high *= 2
    return float(optimize.brentq(surplus, 0.0, high, xtol=1e-14 * high, rtol=1e-13))


def _reml(y: np.ndarray, v: np.ndarray, x: np.ndarray) -> float:
    """The variance at which the restricted likelihood is highest; its edge at zero counts."""

    def loss(between: float) -> float:
        weight = 1 / (between + v)
        residual = _line(y, v, x, between)[2]
        gram = x.T @ (weight[:, None] * x)
        return float(-np.log(weight).sum() + np.linalg.slogdet(gram)[1] + (weight * residual**2).sum())

    scale = float(np.var(y) + v.mean())
    grid = np.concatenate([[0.0], scale * np.logspace(-6, 2, 81)])
    best = int(np.argmin([loss(each) for each in grid]))
    if best == 0:
        return 0.0
    low, high = grid[best - 1], grid[min(best + 1, len(grid) - 1)]
    found = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12 * scale})
    return float(found.x) if loss(float(found.x)) < loss(0.0) else 0.0

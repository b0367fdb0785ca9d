"""The numbers behind the robust sets: tests and intervals for an effect plus a drift of bounded size.

All is about one linear combination of the coefficients of an ``EventPath``. The nuisance effects can be taken out by
hand: a drift after the base is a chain of P steps f_1 .. f_P, the combination of its values is sum_k w_k f_k with
w_k the weights from step k on, and the steps are free but for their bounds. So the dual of the linear programme of
Andrews, Roth and Pakes has P + 2 vertices, and the smoothness problem is a lasso in the weights before the base.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, lsq_linear, minimize_scalar
from scipy.special import log_ndtr, ndtr

FIRST_STAGE = 0.1
"""Share of the error that the hybrid test spends on its least favourable first stage, as its authors advise."""
ANGLES = 720
GRID = 801
PENALTIES = 41
EQUAL = 1e-10


@dataclass(frozen=True)
class EventPath:
    """Event-study coefficients, ``times`` (K, ascending, without the base), with their covariance (K by K).

    ``start`` is the first event time that counts as treated; those between ``base`` and ``start`` are partly exposed.
    ``shares`` (K, where known) is what each event time counts in the overall effect of the fit, zero before the start.
    """

    times: np.ndarray
    estimate: np.ndarray
    covariance: np.ndarray
    base: float
    start: float = 0.0
    shares: np.ndarray | None = None

    @property
    def before(self) -> np.ndarray:
        """Which coefficients lie before the base (K)."""
        return self.times < self.base

    @property
    def after(self) -> np.ndarray:
        """Which coefficients are effects (K)."""
        return self.times >= self.start

    def steps_before(self) -> np.ndarray:
        """Each step up to the base, per period that it takes, as combinations of the coefficients (S by K)."""
        rows = np.vstack([np.eye(len(self.times))[self.before], np.zeros(len(self.times))])
        return np.diff(rows, axis=0) / np.diff([*self.times[self.before], self.base])[:, None]

    def steps_after(self) -> tuple[np.ndarray, np.ndarray]:
        """Each step from the base on (P by K), and how many periods it takes (P)."""
        later = ~self.before
        rows = np.vstack([np.zeros(len(self.times)), np.eye(len(self.times))[later]])
        return np.diff(rows, axis=0), np.diff([self.base, *self.times[later]])

    def value(self, weights: np.ndarray) -> tuple[float, float]:
        """A combination of the coefficients and its standard error."""
        return float(weights @ self.estimate), float(np.sqrt(weights @ self.covariance @ weights))


@dataclass(frozen=True)
class _Moments:
    """J statistics, none of which may be above zero on average: value at no effect, its slope in the effect."""

    value: np.ndarray
    slope: np.ndarray
    covariance: np.ndarray
    least_favourable: float


def _largest_normal(loadings: np.ndarray, tail: float) -> float:
    """The value that the largest of J normals, ``loadings`` (J by 2) times a standard pair, exceeds with ``tail``.

    In polar coordinates the squared radius is chi-squared with two degrees, so only the angle is left to add up.
    """
    angle = np.linspace(0.0, 2 * np.pi, ANGLES, endpoint=False)
    reach = np.maximum((loadings @ np.vstack([np.cos(angle), np.sin(angle)])).max(axis=0), 0.0)
    reach = np.maximum(reach, 1e-12 * reach.max())

    def excess(value: float) -> float:
        return float(np.exp(-0.5 * (value / reach) ** 2).mean()) - tail

    return float(brentq(excess, 1e-9 * reach.max(), reach.max() * 40))


def _relative_moments(path: EventPath, weights: np.ndarray, bound: float, level: float, chosen: np.ndarray) -> _Moments:
    """The moments if no step after the base is larger than ``bound`` times the step ``chosen`` (K) before it."""
    steps, lengths = path.steps_after()
    reach = np.cumsum(weights[~path.before][::-1])[::-1]
    limit = bound * chosen

    def error(rows: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(np.einsum("jk,kl,jl->j", rows, path.covariance, rows), 0.0))

    room = lengths[:, None] * limit
    rising, falling = error(steps - room), error(-steps - room)
    rows, slopes = [], []
    for sign in (1.0, -1.0):
        scale = (np.abs(reach) * np.where(sign * reach > 0, rising, falling)).sum()
        rows.append((sign * weights - (np.abs(reach) @ lengths) * limit) / scale)
        slopes.append(-sign / scale)
    if bound > 0:
        # A step can't lie within a bound that is below zero.
        rows += list(-2 * room / (rising + falling)[:, None])
        slopes += [0.0] * len(room)
    linear = np.array(rows)
    covariance = linear @ path.covariance @ linear.T
    size, vectors = np.linalg.eigh(covariance)
    loadings = vectors[:, -2:] * np.sqrt(np.maximum(size[-2:], 0.0))
    return _Moments(
        linear @ path.estimate, np.array(slopes), covariance, _largest_normal(loadings, FIRST_STAGE * (1 - level))
    )


def _log_between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Log probability of a standard normal between two values, exact far out in the tails."""
    turn = low + high < 0
    near, far = np.where(turn, -high, low), np.where(turn, -low, high)
    above, beyond = log_ndtr(-near), log_ndtr(-far)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(far > near, above + np.log1p(-np.exp(np.minimum(beyond - above, 0.0))), -np.inf)


def _accepts(moments: _Moments, effects: np.ndarray, level: float) -> np.ndarray:
    """Which of N effects the hybrid test doesn't reject. Andrews, Roth and Pakes (2023), doi:10.1093/restud/rdad004."""
    stage = FIRST_STAGE * (1 - level)
    remaining = (1 - level - stage) / (1 - stage)
    value = moments.value + effects[:, None] * moments.slope
    best = value.argmax(axis=1)
    largest = value[np.arange(len(effects)), best]
    variance = moments.covariance[best, best]
    ratio = moments.covariance[best] / np.maximum(variance, 1e-300)[:, None]
    rest = value - ratio * largest[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        edge = rest / (1 - ratio)
    lower = np.where(1 - ratio > EQUAL, edge, -np.inf).max(axis=1)
    upper = np.where(1 - ratio < -EQUAL, edge, np.inf).min(axis=1)
    upper = np.minimum(upper, moments.least_favourable)
    error = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = _log_between(largest / error, upper / error) - _log_between(lower / error, upper / error)
    rejected = (largest > moments.least_favourable) | ((largest > 0) & (tail < np.log(remaining)))
    return ~rejected


def _relative_polyhedra(path: EventPath, weights: np.ndarray, bound: float, level: float) -> list[_Moments]:
    """One set of moments for each step before the base and direction: the largest step may be any of them."""
    steps = path.steps_before()
    chosen = steps[:1] if bound == 0 else np.vstack([steps, -steps])
    return [_relative_moments(path, weights, bound, level, row) for row in chosen]


def relative_accepts(path: EventPath, weights: np.ndarray, *, bound: float, level: float, effect: float = 0.0) -> bool:
    """Whether ``effect`` lies in the robust set for the combination ``weights`` (K) when Mbar is ``bound``."""
    point = np.array([effect])
    return any(_accepts(each, point, level)[0] for each in _relative_polyhedra(path, weights, bound, level))


def relative_interval(path: EventPath, weights: np.ndarray, *, bound: float, level: float) -> tuple[float, float]:
    """Ends of the C-LF set for the combination ``weights`` (K) under relative magnitudes with Mbar ``bound``."""
    polyhedra = _relative_polyhedra(path, weights, bound, level)
    centre, error = path.value(weights)
    steps, (_, lengths) = path.steps_before(), path.steps_after()
    reach = np.abs(np.cumsum(weights[~path.before][::-1])[::-1]) @ lengths
    spread = np.sqrt(np.einsum("sk,kl,sl->s", steps, path.covariance, steps)).max()
    half = 8 * error + bound * reach * (np.abs(steps @ path.estimate).max() + 8 * spread)

    def accepted(effects: np.ndarray) -> np.ndarray:
        return np.any([_accepts(each, effects, level) for each in polyhedra], axis=0)

    grid = np.linspace(centre - half, centre + half, GRID)
    inside = np.flatnonzero(accepted(grid))
    if inside.size == 0:
        return float("nan"), float("nan")
    ends = []
    for kept, step in ((inside[0], -1), (inside[-1], 1)):
        near, far = grid[kept], grid[min(max(kept + step, 0), GRID - 1)]
        for _ in range(40):
            middle = (near + far) / 2
            near, far = (middle, far) if accepted(np.array([middle]))[0] else (near, middle)
        ends.append(float(near))
    return ends[0], ends[1]


def folded_quantile(shift: float, level: float) -> float:
    """The value that a normal with mean ``shift`` and variance one stays within, in size, with chance ``level``."""

    def missing(value: float) -> float:
        return float(ndtr(value - shift) - ndtr(-value - shift)) - level

    return float(brentq(missing, 0.0, abs(shift) + 10.0, xtol=1e-12))


class SmoothProblem:
    """The shortest fixed-length intervals for ``weights`` (K) if the slope changes by a bounded amount a period.

    The estimate is the combination plus a weighted sum of the coefficients before the base, with weights that cancel
    every straight line. Its largest bias is the bound times the sum of |c_j|, c_j being what a bend at period j does to
    it; those before the base are free, the others given. For each trade of bias against variance the weights solve a
    lasso, and the best trade gives the shortest interval. The lassos don't depend on the bound, so they are kept.
    """

    def __init__(self, path: EventPath, weights: np.ndarray):
        knots = np.sort([*path.times, path.base]) - path.base
        times, early = path.times - path.base, path.before
        bends = (knots[2:] - knots[:-2]) / 2
        inner = knots[1:-1]
        # What a bend at each inner knot does to each coefficient: nothing on the side of the base.
        outward = np.where(inner > 0, 1.0, -1.0)[:, None]
        effect = np.maximum(outward * (times[None, :] - inner[:, None]), 0.0)
        given = inner > 0
        trend = float(times @ weights)
        # Bends up to the base, the base last: the straight line sets the last, the others are free.
        back = np.linalg.inv(effect[~given][:, early] * bends[~given][:, None])
        set_by_line = bends[~given][-1] * trend
        self.path = path
        self.fixed = float(bends[given] @ np.abs(effect[given] @ weights) + abs(set_by_line))
        self.start, self.free = weights.copy(), np.zeros((len(times), int(early.sum()) - 1))
        self.start[early] = back[:, -1] * set_by_line
        self.free[early] = back[:, :-1]
        self.curve = self.free.T @ path.covariance @ self.free
        self.slope = self.free.T @ path.covariance @ self.start
        penalties = np.array([0.0, *np.geomspace(1e-6, 1.0, PENALTIES)]) if len(self.slope) else np.zeros(1)
        self.penalties = penalties * np.abs(self.slope).max(initial=0.0)
        self.kept = [self._trade(_lasso(self.curve, self.slope, penalty)) for penalty in self.penalties]

    def _trade(self, moved: np.ndarray) -> tuple[float, float, float]:
        """Estimate, standard error and size of the bias at a bound of one, for the free weights ``moved``."""
        combined = self.start + self.free @ moved
        return (*self.path.value(combined), self.fixed + float(np.abs(moved).sum()))

    def interval(self, *, bound: float, level: float) -> tuple[float, float]:
        """Ends of the shortest interval when the slope changes by at most ``bound`` a period."""

        def half_length(trade: tuple[float, float, float]) -> float:
            return trade[1] * folded_quantile(bound * trade[2] / trade[1], level)

        lengths = [half_length(trade) for trade in self.kept]
        at = 0 if bound == 0 else int(np.argmin(lengths))
        best = self.kept[at]
        if bound > 0 and len(self.penalties) > 1:
            edges = self.penalties[max(at - 1, 0)], self.penalties[min(at + 1, len(self.penalties) - 1)]
            found = minimize_scalar(
                lambda penalty: half_length(self._trade(_lasso(self.curve, self.slope, penalty))),
                bounds=edges,
                method="bounded",
                options={"xatol": 1e-8 * (edges[1] - edges[0])},
            )
            if found.fun < lengths[at]:
                best = self._trade(_lasso(self.curve, self.slope, float(found.x)))
        half = half_length(best)
        return best[0] - half, best[0] + half


def _lasso(curve: np.ndarray, slope: np.ndarray, penalty: float) -> np.ndarray:
    """Minimise y'Hy/2 + q'y + penalty |y|, through its dual: bounded least squares, solved exactly."""
    if not len(slope):
        return np.zeros(0)
    root = np.linalg.cholesky(curve)
    if penalty <= 0:
        return -np.linalg.solve(curve, slope)
    whitened = np.linalg.inv(root)
    # Rows and right-hand side of the order of one, so that the solver's tolerance means the same for any unit.
    unit = np.abs(slope).max()
    found = lsq_linear(
        whitened * np.sqrt(np.diag(curve).mean()),
        -whitened @ (slope / unit) * np.sqrt(np.diag(curve).mean()),
        bounds=(-penalty / unit, penalty / unit),
        method="bvls",
        tol=1e-14,
    )
    return -np.linalg.solve(curve, slope + found.x * unit)

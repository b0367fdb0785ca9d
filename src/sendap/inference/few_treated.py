"""Tests for one or a few treated clusters among many untreated ones.

With few treated clusters the error of an estimate comes from their own series, which nobody can average away, but the
series of the untreated show what such errors look like. Conley and Taber put the residual series of untreated clusters
in the place of the treated ones'. Ferman and Pinto let the variance depend on the size of a cluster. Hagemann needs
no common distribution at all, only a bound on how much more the treated cluster varies than the others.

Sources: Conley and Taber (2011), doi:10.1162/REST_a_00049; Ferman and Pinto (2019), doi:10.1162/rest_a_00759;
Hagemann (2025), doi:10.1093/restud/rdaf002.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.optimize import brentq, nnls
from scipy.special import log_ndtr, ndtr

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import Fit, by_cluster

FEWEST_CONTROLS = 5
SEED = 20230902


@dataclass(frozen=True)
class FewTreatedResult:
    """p-value of no effect and, for each level, the interval of effects that aren't rejected.

    ``draws`` errors were made from ``controls`` untreated clusters, all combinations there are if ``exact``.
    ``left_out`` untreated clusters lack a figure that the estimate uses. ``smallest_p`` is the smallest p-value that
    the test can give. An interval end is infinite where no effect on that side is rejected.
    """

    method: str
    estimate: float
    p_value: float
    intervals: tuple[tuple[float, float], ...]
    draws: int
    exact: bool
    controls: int
    left_out: int
    smallest_p: float


@dataclass(frozen=True)
class _Placebos:
    """What each untreated cluster's residuals would have done in the place of each treated one.

    ``moved`` treated by C, of the clusters ``control`` (C) in the place of ``treated``; ``inflation`` makes up for the
    error of the control means.
    """

    moved: np.ndarray
    treated: np.ndarray
    control: np.ndarray
    left_out: int
    inflation: float


def conley_taber(
    fit: Fit,
    term: int,
    *,
    draws: int = 9999,
    seed: int = SEED,
    levels: tuple[float, ...] = (0.95,),
    small_sample: bool = True,
) -> FewTreatedResult:
    """Test one term with residual series of the never treated in place of those of the treated clusters.

    The null distribution is Gamma* = sum over treated clusters and periods of the estimator's weights times a drawn
    residual series; for a two-way effect the weights are (D - mean D) / sum (D - mean D)^2. All combinations of
    untreated clusters are used if there are at most ``draws``, else ``draws`` seeded ones. p is (1 + draws at least as
    large) / (1 + draws), so it's never zero and exact with one treated cluster. ``small_sample`` widens the draws for
    the error of the control means, which the source lets vanish; without it they are the source's.

    Assumes that residual series of treated and untreated clusters have the same distribution, and many untreated ones:
    with one treated cluster the test is right with any number, with several it rejects in 7% rather than 5% with 16
    untreated ones, and in 6% with 25 to 40. Raises DesignError where
    clusters have several strata or fewer than five untreated ones can be used.
    """
    placebos = _placebos(fit, term, small_sample)
    return _test("conley_taber", fit, term, placebos, placebos.moved, draws, seed, levels)


def ferman_pinto(
    fit: Fit,
    term: int,
    *,
    sizes: np.ndarray | None = None,
    draws: int = 9999,
    seed: int = SEED,
    levels: tuple[float, ...] = (0.95,),
    small_sample: bool = True,
) -> FewTreatedResult:
    """As Conley and Taber, with residuals scaled from the size of the untreated cluster to that of the treated one.

    The variance of what a cluster's residuals do to the estimate is a + b / M, with a and b zero or more, fitted to
    the squares over the untreated clusters; M is ``sizes`` (G), by default the mean number of records in a period.
    Other arguments and errors as ``conley_taber``; UsageError for sizes that aren't above zero.
    """
    placebos = _placebos(fit, term, small_sample)
    size = mean_sizes(fit.panel) if sizes is None else np.asarray(sizes, dtype=float)
    used = np.r_[placebos.treated, placebos.control]
    if size.shape != (len(fit.panel.clusters),) or not (size[used] > 0).all():
        raise UsageError(f"sizes must hold {len(fit.panel.clusters)} numbers above zero, one a cluster.")
    moved = np.empty_like(placebos.moved)
    for row, cluster in enumerate(placebos.treated):
        variance = size_variance(placebos.moved[row], size[placebos.control])
        own, others = variance(size[[cluster]]), variance(size[placebos.control])
        moved[row] = placebos.moved[row] * np.sqrt(own / others)
    return _test("ferman_pinto", fit, term, placebos, moved, draws, seed, levels)


def size_variance(moved: np.ndarray, sizes: np.ndarray):  # type: ignore[no-untyped-def]
    """Variance as a function of size M: a + b / M fitted to the squares of ``moved`` (C), a and b zero or more."""
    columns = np.column_stack([np.ones_like(sizes), sizes.mean() / sizes])
    (level, slope), _ = nnls(columns, moved**2)
    return lambda size: np.maximum(level + slope * sizes.mean() / size, 1e-300)


def mean_sizes(panel: Panel) -> np.ndarray:
    """Mean number of records of each cluster in a period in which it's seen (G)."""
    count = len(panel.clusters)
    seen = by_cluster((panel.weight > 0).astype(float), panel.cluster, count)
    total = by_cluster(panel.n, panel.cluster, count)
    return total.sum(axis=1) / np.maximum((seen > 0).sum(axis=1), 1)


def _placebos(fit: Fit, term: int, small_sample: bool) -> _Placebos:
    panel = fit.panel
    if len(panel.units) != len(panel.clusters):
        raise DesignError(f"'{panel.outcome}' has several series a cluster. Add the strata up before this test.")
    linear = fit.weights()[term]
    total = float((linear * np.nan_to_num(panel.mean)).sum())
    if not np.isclose(total, fit.estimate[term], rtol=1e-6, atol=1e-9 * np.nanmax(np.abs(panel.mean))):
        raise DesignError(f"'{fit.estimator}' isn't a weighted sum of figures, so other areas' can't take their place.")
    used = np.abs(linear).sum(axis=1) > 0
    treated = np.flatnonzero(used & np.isfinite(panel.cohort))
    needed = (np.abs(linear[treated]) > 0).any(axis=0)
    seen = np.isfinite(panel.mean) & (panel.weight > 0)
    never = used & np.isinf(panel.cohort)
    pool = never & seen[:, needed].all(axis=1)
    # A cluster that is alone in its region equals its own control mean, so it shows nothing.
    members = np.bincount(panel.group[pool], minlength=len(panel.group_names))
    control = np.flatnonzero(pool & (members[panel.group] > 1))
    if len(control) < FEWEST_CONTROLS or not len(treated):
        raise DesignError(
            f"'{panel.outcome}': {len(control)} untreated clusters have every figure that the estimate uses, and at "
            f"least {FEWEST_CONTROLS} are needed beside a treated one."
        )
    residual = _residuals(panel, pool, control)
    inflation = 1.0
    if small_sample:
        squares = (linear**2).sum(axis=1)
        own = squares[treated].sum()
        inflation = float(np.sqrt((own + squares[never].sum()) / own))
        share = members[panel.group[control]]
        residual = residual * np.sqrt(share / (share - 1.0))[:, None]
    moved = linear[treated] @ residual.T
    order = panel.cluster
    return _Placebos(moved, order[treated], order[control], int(never.sum() - len(control)), inflation)


def _residuals(panel: Panel, pool: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Series of the untreated clusters less the mean of their region's untreated in each period (C by T).

    The level of a cluster needn't be taken out: the weights of an estimator sum to zero over its periods.
    """
    mean = np.zeros((len(panel.group_names), len(panel.periods)))
    value = np.where(np.isfinite(panel.mean), panel.mean, 0.0)
    for group in np.unique(panel.group[pool]):
        inside = pool & (panel.group == group)
        total = panel.weight[inside].sum(axis=0)
        mean[group] = (panel.weight[inside] * value[inside]).sum(axis=0) / np.maximum(total, 1e-300)
    return np.where(np.isfinite(panel.mean[control]), value[control] - mean[panel.group[control]], 0.0)


def _test(
    method: str,
    fit: Fit,
    term: int,
    placebos: _Placebos,
    moved: np.ndarray,
    draws: int,
    seed: int,
    levels: tuple[float, ...],
) -> FewTreatedResult:
    count, controls = moved.shape
    exact = controls**count <= draws
    if exact:
        chosen = np.array(list(product(range(controls), repeat=count)))
    else:
        chosen = np.random.default_rng(seed).integers(0, controls, size=(draws, count))
    errors = placebos.inflation * moved[np.arange(count), chosen].sum(axis=1)
    size = np.sort(np.abs(errors))[::-1]
    estimate = float(fit.estimate[term])

    def half(level: float) -> float:
        # The largest distance whose p-value is above 1 - level, counting ties as extreme.
        needed = int(np.floor((1 - level) * (1 + len(size)) + 1e-9))
        return float(size[needed - 1]) if needed >= 1 else float("inf")

    return FewTreatedResult(
        method=method,
        estimate=estimate,
        p_value=float((1 + (size >= abs(estimate) * (1 - 1e-10)).sum()) / (1 + len(size))),
        intervals=tuple((estimate - half(level), estimate + half(level)) for level in levels),
        draws=len(size),
        exact=exact,
        controls=controls,
        left_out=placebos.left_out,
        smallest_p=1 / (1 + len(size)),
    )


@dataclass(frozen=True)
class RearrangementResult:
    """Hagemann's test of no effect on a single treated cluster, two-sided, and its intervals.

    ``largest_ratio`` is the largest ``ratio`` with which no effect is still rejected at the first level, zero where it
    never is. An interval is infinite where the number of untreated clusters can't give that level with this ratio.
    """

    estimate: float
    p_value: float
    intervals: tuple[tuple[float, float], ...]
    ratio: float
    largest_ratio: float
    controls: int
    left_out: int


def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of Gauss and Legendre on 0 to 10, dense near zero, times the normal density."""
    edges = np.array([0.0, 0.02, 0.1, 0.4, 1.0, 2.0, 4.0, 10.0])
    point, weight = np.polynomial.legendre.leggauss(40)
    half = np.diff(edges)[:, None] / 2
    points = (edges[:-1, None] + half * (1 + point)).ravel()
    return points, (half * weight).ravel() * np.exp(-(points**2) / 2) / np.sqrt(2 * np.pi)


def rearrangement_bound(weight: np.ndarray | float, *, controls: int, ratio: float) -> np.ndarray:
    """Bound on the size of the one-sided rearrangement test, for each ``weight``. Hagemann (2025), section 3.

    ``weight`` (0 to 1) is how far the two copies of the treated estimate are moved apart, ``controls`` the number q of
    untreated clusters, ``ratio`` the bound on the treated standard deviation over those of the untreated ones. The
    bound is 2^-(q+1) + int_0^inf Phi((1-w) ratio y)^(q-1) phi(y) dy + min_b [Phi(w sqrt(q-1) b)^(q-1) + 2 Phi(-b q)],
    which is what the paper's table of weights and its author's published programme compute.
    """
    moved = np.atleast_1d(np.asarray(weight, dtype=float))[:, None]
    power = controls - 1
    points, density = _nodes()
    order = np.exp(power * log_ndtr((1 - moved) * ratio * points)) @ density
    stray = np.linspace(0, 2, 2001)[None, :]
    price = np.exp(power * log_ndtr(moved * np.sqrt(power) * stray)) + 2 * ndtr(-stray * controls)
    return 0.5 ** (controls + 1) + order + price.min(axis=1)


def _smallest_bound(reach: float, controls: int, ratio: float) -> float:
    """The smallest bound with a weight of at most ``reach``: the one-sided p-value."""
    if reach <= 0:
        return 1.0
    return min(1.0, float(rearrangement_bound(np.linspace(0, reach, 201), controls=controls, ratio=ratio).min()))


def rearrangement_weight(*, controls: int, ratio: float = 2.0, alpha: float = 0.025) -> float:
    """The smallest weight with which the one-sided test has size ``alpha`` at most; missing where there is none."""
    grid = np.linspace(0, 1, 201)
    good = rearrangement_bound(grid, controls=controls, ratio=ratio) <= alpha
    if not good.any():
        return float("nan")
    first = int(np.argmax(good))
    if first == 0:
        return 0.0

    def excess(weight: float) -> float:
        return float(rearrangement_bound(weight, controls=controls, ratio=ratio)[0]) - alpha

    return float(brentq(excess, grid[first - 1], grid[first]))


def rearrangement(
    fit: Fit, term: int, *, ratio: float = 2.0, levels: tuple[float, ...] = (0.95,)
) -> RearrangementResult:
    """Hagemann's rearrangement test for a single treated cluster.

    The treated estimate less the control mean is split into two copies, (1 + w) and (1 - w) times it, and no effect is
    rejected when both come before all centred control estimates in order. Two one-sided tests share the error. Effects
    are tested by subtracting them, so the interval ends are the extreme control estimates over 1 - w.

    Assumes that cluster estimates are normal and independent, and that the treated one's standard deviation is at most
    ``ratio`` times those of the untreated. Raises DesignError with several treated clusters, or as ``conley_taber``
    does.
    """
    placebos = _placebos(fit, term, small_sample=False)
    if len(placebos.treated) != 1:
        raise DesignError(f"The rearrangement test is for one treated cluster; here are {len(placebos.treated)}.")
    moved, count = placebos.moved[0], len(placebos.control)
    estimate = float(fit.estimate[term])
    limit = float(moved.max() if estimate > 0 else (-moved).max())
    reach = 1 - limit / abs(estimate) if estimate else 0.0

    def interval(level: float) -> tuple[float, float]:
        weight = rearrangement_weight(controls=count, ratio=ratio, alpha=(1 - level) / 2)
        if np.isnan(weight) or weight >= 1:
            return float("-inf"), float("inf")
        return estimate - float(moved.max()) / (1 - weight), estimate + float((-moved).max()) / (1 - weight)

    return RearrangementResult(
        estimate=estimate,
        p_value=min(1.0, 2 * _smallest_bound(reach, count, ratio)),
        intervals=tuple(interval(level) for level in levels),
        ratio=ratio,
        largest_ratio=_largest_ratio(reach, count, (1 - levels[0]) / 2),
        controls=count,
        left_out=placebos.left_out,
    )


def _largest_ratio(reach: float, controls: int, alpha: float) -> float:
    """The largest ratio with which the test still rejects, up to 100."""

    def excess(ratio: float) -> float:
        return _smallest_bound(reach, controls, ratio) - alpha

    if excess(1e-6) > 0:
        return 0.0
    if excess(100.0) <= 0:
        return 100.0
    return float(brentq(excess, 1e-6, 100.0, xtol=1e-3))

"""Effects with pupil effects again under other allocations of the starts, without a pass over the pupils for each.

Regressors depend on cluster and period only. With S the paths' visits to the C cells of cluster and period, taking out
pupil effects turns every sum over records into one with the C by C matrix L = S'WS - S'W(1/T)1 1'S (a graph Laplacian,
W the paths' weights, T their lengths) and the C sums of demeaned outcomes. An allocation is then a product with L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sendap.cells.paths import PathPanel
from sendap.estimators.fit import Permuted
from sendap.estimators.paths import IDENTIFIED, PathFit

MOST_DENSE = 4000
"""Cells of cluster and period up to which the matrix is kept whole, which is quicker where many pupils move."""
MOST_NUMBERS = 2**21


@dataclass(frozen=True)
class Reduced:
    """The regression on C cells of cluster and period, clusters first, with pupil effects taken out.

    ``size`` (C), the pupils' weights; ``matrix`` C by C and ``moment`` (C) as in the module; ``periods`` C by T - 1
    dummies; ``onto`` (C by T - 1), L times them; ``inverse`` of their cross-products.
    """

    size: np.ndarray
    matrix: Any
    moment: np.ndarray
    periods: np.ndarray
    onto: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, panel: PathPanel) -> Reduced:
        clusters, times = len(panel.clusters), len(panel.periods)
        lengths = panel.lengths
        path = np.repeat(np.arange(len(lengths)), lengths)
        cell = panel.cluster * times + panel.period
        mean = np.bincount(path, weights=panel.mean) / lengths
        moment = np.bincount(cell, weights=panel.weight * (panel.mean - mean[path]), minlength=clusters * times)
        visits = sparse.csr_array((np.ones(len(cell)), (path, cell)), shape=(len(lengths), clusters * times))
        scaled = sparse.csr_array((panel.weight / lengths[path], (path, cell)), shape=(len(lengths), clusters * times))
        size = np.bincount(cell, weights=panel.weight, minlength=clusters * times)
        matrix = (sparse.diags_array(size) - visits.T @ scaled).tocsr()
        if clusters * times <= MOST_DENSE:
            matrix = matrix.toarray()
        periods = np.tile(np.eye(times)[:, 1:], (clusters, 1))
        onto = matrix @ periods
        return cls(size, matrix, moment, periods, onto, np.linalg.pinv(periods.T @ onto, rcond=1e-12, hermitian=True))

    def without_periods(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns (C by P) without period effects, and L times them."""
        effects = self.inverse @ (self.onto.T @ columns)
        return columns - self.periods @ effects, self.matrix @ columns - self.onto @ effects


def permute_paths(fit: PathFit, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
    """Estimates of some terms with starts dealt out as in ``cohorts`` (R by G), as ``Fit.permute`` gives them.

    Records stay those of the fit. The effect of one is planted in the treated records of each term. A cluster's
    contribution sums what lies in it, the regressor less the cluster's mean instead of each pupil's: with the actual
    starts it's that of the fit where nobody moves, and close to it where few do.
    """
    reduced = Reduced.of(fit.panel)
    count = fit.effects.shape[2]
    step = max(1, MOST_NUMBERS // (len(reduced.moment) * count))
    parts = [_some(fit, reduced, cohorts[start : start + step], terms) for start in range(0, len(cohorts), step)]
    return Permuted(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Permuted.__dataclass_fields__)
    )


def _some(fit: PathFit, reduced: Reduced, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
    panel = fit.panel
    draws, count, cells = len(cohorts), fit.effects.shape[2], len(reduced.moment)
    event = panel.periods[None, None, :] - cohorts[:, :, None]  # R, G, T
    times = fit.terms["event_time"].to_numpy(dtype=float)
    dealt = np.stack([event >= 0 if np.isnan(time) else event == time for time in times], axis=1)  # R, K, G, T
    flat = dealt.reshape(draws * count, cells).T.astype(float)
    left, pulled = (each.T.reshape(draws, count, cells) for each in reduced.without_periods(flat))
    own = fit.effects[:, :, terms].reshape(cells, -1)
    outcome = reduced.moment - reduced.onto @ (reduced.inverse @ (reduced.periods.T @ reduced.moment))
    variables = np.vstack([outcome[None], reduced.without_periods(own)[1].T])  # 1 + terms, C
    gram = left @ pulled.swapaxes(1, 2)
    inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    known = np.abs(np.einsum("rkl,rlk->rk", inverse, gram) - 1.0) < IDENTIFIED
    coefficients = inverse @ (left @ variables.T)  # R, K, 1 + terms
    residual = variables - coefficients.swapaxes(1, 2) @ pulled  # R, 1 + terms, C
    rows = inverse[:, terms] @ left  # R, terms, C
    shape = (draws, len(terms), *dealt.shape[2:])
    size = reduced.size.reshape(shape[2:])
    rows = rows.reshape(shape)
    share = size / np.maximum(size.sum(axis=1, keepdims=True), 1e-300)
    rows = (rows - (rows * share).sum(axis=3, keepdims=True)).reshape(draws, len(terms), cells)
    given, planted = ((rows * each).reshape(shape).sum(axis=3) for each in (residual[:, :1], residual[:, 1:]))
    missing = np.where(known[:, terms], 0.0, np.nan)
    return Permuted(
        outcome=coefficients[:, terms, 0] + missing,
        planted=coefficients[:, terms, 1 + np.arange(len(terms))] + missing,
        square_outcome=(given**2).sum(axis=2) + missing,
        cross=(given * planted).sum(axis=2) + missing,
        square_planted=(planted**2).sum(axis=2) + missing,
    )

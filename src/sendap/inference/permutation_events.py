"""An event study again under other allocations of the starts, many at once.

Which cells are observed doesn't depend on the starts, so unit and period effects are taken out of the event-time
dummies of all allocations by one projection (Frisch and Waugh 1933; Lovell 1963), and each allocation is then a small
system of event times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sendap.estimators.fit import Permuted
from sendap.estimators.least_squares import IDENTIFIED
from sendap.estimators.partialling import Effects

if TYPE_CHECKING:
    from sendap.estimators.least_squares import LeastSquaresFit

MOST_NUMBERS = 2**22
"""Numbers of the dummies worked on at once (32 megabytes an array)."""


def permute_event_study(fit: LeastSquaresFit, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
    """Estimates of some terms with starts dealt out as in ``cohorts`` (R by G), as ``Fit.permute`` gives them.

    The effect of one is planted, for each term, in the treated cells of its own event time. Terms that an allocation
    can't tell from unit and period effects are missing there.
    """
    count = int(fit.observed.sum()) * fit.regressors.shape[2]
    step = max(1, MOST_NUMBERS // count)
    parts = [_some(fit, cohorts[start : start + step], terms) for start in range(0, len(cohorts), step)]
    return Permuted(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Permuted.__dataclass_fields__)
    )


def _some(fit: LeastSquaresFit, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
    panel, observed = fit.panel, fit.observed
    times = fit.terms["event_time"].to_numpy(dtype=float)
    event = panel.periods[None, None, :] - cohorts[:, panel.cluster][:, :, None]  # R, U, T
    dealt = (event[:, None] == times[None, :, None, None]).astype(float)
    columns = _left(fit, dealt.reshape(-1, *observed.shape)).reshape(len(cohorts), len(times), -1)  # R, K, N
    planted = np.moveaxis(fit.regressors[:, :, terms], 2, 0)
    variables = _left(fit, np.concatenate([np.nan_to_num(panel.mean)[None], planted]))  # 1 + terms, N
    gram = columns @ columns.swapaxes(1, 2)
    inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    known = np.abs(np.einsum("rkl,rlk->rk", inverse, gram) - 1.0) < IDENTIFIED
    coefficients = inverse @ (columns @ variables.T)  # R, K, 1 + terms
    rows = inverse[:, terms] @ columns  # R, terms, N: the linear map of each term
    residual = variables - coefficients.swapaxes(1, 2) @ columns
    cluster = np.broadcast_to(panel.cluster[:, None], observed.shape)[observed]
    order = np.argsort(cluster, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(cluster[order]) > 0])
    given, own = (
        np.add.reduceat((rows * each)[..., order], first, axis=2) for each in (residual[:, :1], residual[:, 1:])
    )
    missing = np.where(known[:, terms], 0.0, np.nan)
    return Permuted(
        outcome=coefficients[:, terms, 0] + missing,
        planted=coefficients[:, terms, 1 + np.arange(len(terms))] + missing,
        square_outcome=(given**2).sum(axis=2) + missing,
        cross=(given * own).sum(axis=2) + missing,
        square_planted=(own**2).sum(axis=2) + missing,
    )


def _left(fit: LeastSquaresFit, values: np.ndarray) -> np.ndarray:
    """P by U by T values without unit and period effects, times the root of their weights, P by observed cells."""
    weight = np.where(fit.observed, fit.panel.weight, 0.0)
    effects = Effects(weight[None], np.arange(len(weight)), fit.panel.group)
    return effects.column(values)[:, fit.observed] * np.sqrt(weight[fit.observed])

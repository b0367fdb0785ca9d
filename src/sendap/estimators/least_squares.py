"""Two-way fixed effects and event studies by weighted least squares on cells.

Unit effects are taken out by demeaning inside each unit; since units lie inside clusters, leaving a cluster
out is then a subtraction of its cross-products. Period effects (inside each region, where one is named) stay
as columns. Nothing is of the size of the records.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError
from sendap.estimators.fit import Permuted, by_cluster, refuse_constant, treated_cohorts

IDENTIFIED = 1e-8


def _demean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Take the weighted mean of each unit out of U by T by P values."""
    total = np.maximum(weight.sum(axis=1), 1e-300)
    mean = np.einsum("ut,utp->up", weight, values) / total[:, None]
    return values - mean[:, None, :]


@dataclass
class LeastSquaresFit:
    """Effects ``regressors`` (U by T by K) with unit effects and period effects inside each group."""

    panel: Panel
    estimator: str
    contrast: str
    terms: pd.DataFrame
    regressors: np.ndarray
    observed: np.ndarray

    def __post_init__(self) -> None:
        panel = self.panel
        self._weight = np.where(self.observed, panel.weight, 0.0)
        self._outcome = np.where(self.observed, np.nan_to_num(panel.mean), 0.0)[:, :, None]
        controls = _demean(self._period_dummies() * self.observed[:, :, None], self._weight)
        effects = _demean(self.regressors * self.observed[:, :, None], self._weight)
        self._design = np.concatenate([controls, effects], axis=2) * self.observed[:, :, None]
        self._target = _demean(self._outcome, self._weight)[:, :, 0] * self.observed
        self._controls = controls.shape[2]
        count = len(panel.clusters)
        weighted = self._design * self._weight[:, :, None]
        self._gram = by_cluster(np.einsum("utp,utq->upq", weighted, self._design), panel.cluster, count)
        self._moment = by_cluster(np.einsum("utp,ut->up", weighted, self._target), panel.cluster, count)
        gram = self._gram.sum(axis=0)
        inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
        self._refuse_unidentified(gram, inverse)
        coefficients = inverse @ self._moment.sum(axis=0)
        residual = self._target - self._design @ coefficients
        scores = by_cluster(np.einsum("utp,ut->up", weighted, residual), panel.cluster, count)
        self.estimate = coefficients[self._controls :]
        self.scores = (scores @ inverse)[:, self._controls :]
        self._inverse = inverse
        rank = int(np.linalg.matrix_rank(gram, tol=1e-9 * np.abs(gram).max(), hermitian=True))
        cells, clusters = int(self.observed.sum()), int((np.abs(scores).sum(axis=1) >= 0).sum())
        # Unit effects lie inside clusters, so they aren't counted, but for the mean; see Cameron and Miller (2015).
        self.crv1_factor = clusters / (clusters - 1) * (cells - 1) / (cells - rank - 1)

    def _period_dummies(self) -> np.ndarray:
        """U by T by (T - 1) x Q dummies of period inside group; the first period of each group is the base."""
        panel = self.panel
        groups, periods = len(panel.group_names), len(panel.periods)
        made = np.zeros((len(panel.units), periods, groups, periods - 1))
        for time in range(1, periods):
            made[np.arange(len(panel.units)), time, panel.group, time - 1] = 1.0
        return made.reshape(len(panel.units), periods, groups * (periods - 1))

    def _identified(self, gram: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        return np.abs(np.diag(inverse @ gram)[self._controls :] - 1.0) < IDENTIFIED

    def _refuse_unidentified(self, gram: np.ndarray, inverse: np.ndarray) -> None:
        known = self._identified(gram, inverse)
        if not known.all():
            term = self.terms.iloc[int(np.flatnonzero(~known)[0])]
            name = term["term"] if np.isnan(term["event_time"]) else f"event time {term['event_time']:g}"
            raise DesignError(
                f"'{self.panel.outcome}': the effect '{name}' can't be told apart from area and period effects. "
                "There may be no untreated area left in some period or region, or no period before treatment. "
                "Add areas that are never or later treated, or earlier periods."
            )

    def cross_products(self) -> tuple[np.ndarray, np.ndarray, int]:
        """By cluster: regressors with themselves (G by P by P) and with the outcome (G by P); the first effect.

        Weighted, with unit means taken out. Effects are the columns from the first effect on, in the order of terms.
        """
        return self._gram, self._moment, self._controls

    def leave_one_out(self) -> np.ndarray:
        moment = self._moment.sum(axis=0) - self._moment
        effects = np.einsum("gkp,gp->gk", self._without_each_cluster[:, self._controls :], moment)
        rest = self._gram.sum(axis=0) - self._gram
        shown = np.einsum("gkp,gpk->gk", self._without_each_cluster[:, self._controls :], rest[:, :, self._controls :])
        return np.where(np.abs(shown - 1.0) < IDENTIFIED, effects, np.nan)

    @cached_property
    def _without_each_cluster(self) -> np.ndarray:
        """Inverse cross-products without each cluster, G by P by P."""
        rest = self._gram.sum(axis=0) - self._gram
        return np.linalg.pinv(rest, rcond=1e-12, hermitian=True)

    def weights(self) -> np.ndarray:
        rows = self._inverse[self._controls :]
        return np.einsum("kp,utp->kut", rows, self._design * self._weight[:, :, None], optimize=True)

    def leave_one_out_weights(self, term: int) -> np.ndarray:
        rows = self._without_each_cluster[:, self._controls + term]
        found = np.einsum("gp,utp->gut", rows, self._design * self._weight[:, :, None], optimize=True)
        found[self.panel.cluster[None, :] == np.arange(len(self.panel.clusters))[:, None]] = 0.0
        return found

    @cached_property
    def _basis(self) -> np.ndarray:
        """Orthonormal columns (cells by P) that span the weighted, demeaned period dummies."""
        root = np.sqrt(self._weight)[:, :, None]
        flat = (self._design[:, :, : self._controls] * root)[self.observed]
        left, size, _ = np.linalg.svd(flat, full_matrices=False)
        return left[:, size > 1e-9 * size.max()]

    def _partial_out(self, values: np.ndarray) -> np.ndarray:
        """Cells by R values, weighted, with unit and period effects taken out (Frisch-Waugh-Lovell)."""
        demeaned = _demean(values, self._weight) * np.sqrt(self._weight)[:, :, None]
        flat = demeaned[self.observed]
        return flat - self._basis @ (self._basis.T @ flat)

    def permute(self, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
        """Only for a single regressor that is one from the start on: the two-way effect."""
        panel = self.panel
        if self.estimator != "two_way":
            raise DesignError(f"Permutation isn't defined for '{self.estimator}'. Use two_way or group_time.")
        starts = cohorts[:, panel.cluster]
        dealt = (panel.periods[None, None, :] >= starts[:, :, None]).astype(float)  # R, U, T
        regressor = self._partial_out(np.moveaxis(dealt, 0, 2) * self.observed[:, :, None])
        actual = (self.regressors[:, :, :1]) * self.observed[:, :, None]
        variables = self._partial_out(np.concatenate([self._outcome, actual], axis=2))
        size = (regressor**2).sum(axis=0)
        size[size < IDENTIFIED] = np.nan
        cluster = np.broadcast_to(panel.cluster[:, None], self.observed.shape)[self.observed]
        order = np.argsort(cluster, kind="stable")
        starts_at = np.flatnonzero(np.r_[True, np.diff(cluster[order]) > 0])
        found = []
        for column in range(2):
            variable = variables[:, column : column + 1]
            estimate = (regressor * variable).sum(axis=0) / size
            scores = regressor * (variable - regressor * estimate)
            found.append((estimate, np.add.reduceat(scores[order], starts_at, axis=0) / size))
        (outcome, given_outcome), (planted, given_planted) = found
        return Permuted(
            outcome=outcome[:, None],
            planted=planted[:, None],
            square_outcome=(given_outcome**2).sum(axis=0)[:, None],
            cross=(given_outcome * given_planted).sum(axis=0)[:, None],
            square_planted=(given_planted**2).sum(axis=0)[:, None],
        )


def _counts(panel: Panel, observed: np.ndarray, exposed: np.ndarray) -> dict[str, float]:
    """Treated clusters (ever exposed), control clusters and records behind one term."""
    treated = np.unique(panel.cluster[(exposed & observed).any(axis=1)])
    present = np.unique(panel.cluster[observed.any(axis=1)])
    return {
        "treated_clusters": len(treated),
        "control_clusters": len(np.setdiff1d(present, treated)),
        "n": float(panel.n[observed].sum()),
    }


def _usable(panel: Panel, anticipation: int) -> tuple[np.ndarray, np.ndarray]:
    """Event time of each cell (infinitely negative for the untreated), and which cells are observed."""
    event = panel.periods[None, :] - panel.cohort[:, None]
    return event, np.isfinite(panel.mean) & (panel.weight > 0)


def _refuse_without_comparison(panel: Panel, event: np.ndarray, observed: np.ndarray) -> None:
    treated_cohorts(panel)
    before = (event < 0) & observed & np.isfinite(panel.cohort)[:, None]
    if not before.any():
        raise DesignError(
            f"'{panel.outcome}' has no period before treatment, so there is nothing to compare with. "
            "Add earlier periods, or choose another outcome."
        )


def fit_two_way(panel: Panel, *, anticipation: int = 0, contrast: str = "") -> LeastSquaresFit:
    """One effect of being treated, with unit and period effects (TWFE).

    The ``anticipation`` periods before the start are left out for the treated. With staggered starts the
    estimate also compares the newly with the already treated, so it's shown beside others, never as headline.

    Raises DesignError where the effect isn't identified, or the outcome never varies.
    """
    refuse_constant(panel)
    event, observed = _usable(panel, anticipation)
    observed = observed & ~((event < 0) & (event >= -anticipation))
    _refuse_without_comparison(panel, event, observed)
    exposed = event >= 0
    terms = pd.DataFrame(
        [
            {
                "term": "overall",
                "cohort": np.nan,
                "period": np.nan,
                "event_time": np.nan,
                **_counts(panel, observed, exposed),
                "note": "",
            }
        ]
    )
    return LeastSquaresFit(
        panel=panel,
        estimator="two_way",
        contrast=contrast,
        terms=terms,
        regressors=exposed.astype(float)[:, :, None],
        observed=observed,
    )


def fit_event_study(panel: Panel, *, anticipation: int = 0, contrast: str = "") -> LeastSquaresFit:
    """An effect for each period before and after the start, with unit and period effects.

    The base is the last period before the start and any anticipation. All event times are kept: none is
    binned, none before the start is hidden.

    Raises DesignError where the effects aren't identified, or the outcome never varies.
    """
    refuse_constant(panel)
    event, observed = _usable(panel, anticipation)
    _refuse_without_comparison(panel, event, observed)
    seen = event[observed & np.isfinite(panel.cohort)[:, None]]
    events = np.unique(seen)
    before = events[events < -anticipation]
    if before.size == 0:
        raise DesignError(f"'{panel.outcome}' has no period before treatment and its anticipation.")
    kept = events[events != before.max()]
    rows, columns = [], []
    for value in kept:
        exposed = event == value
        counts = _counts(panel, observed, exposed)
        rows.append(
            {
                "term": "event",
                "cohort": np.nan,
                "period": np.nan,
                "event_time": float(value),
                **counts,
                "note": "",
            }
        )
        columns.append(exposed.astype(float))
    return LeastSquaresFit(
        panel=panel,
        estimator="event_study",
        contrast=contrast,
        terms=pd.DataFrame(rows),
        regressors=np.stack(columns, axis=2),
        observed=observed,
    )

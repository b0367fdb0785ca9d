"""Cohort-by-period effects in one regression: Sun and Abraham's event study and Wooldridge's extended two-way model.

Each cohort has an effect of its own in each period, so nothing already treated serves as a control, and the terms
average these effects by the weight of the treated cells behind them.

Sources: Sun and Abraham (2021), doi:10.1016/j.jeconom.2020.09.006; Wooldridge (2025), "Two-way fixed effects, the
two-way Mundlak regression, and difference-in-differences estimators", doi:10.1007/s00181-025-02807-z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DataError, DesignError, UsageError
from sendap.estimators.fit import by_cluster, refuse_constant, treated_cohorts
from sendap.estimators.partialling import (
    Allocated,
    Batch,
    Effects,
    describe,
    periods_before,
    term_frame,
    without_dust,
)

Control = Literal["never", "not_yet"]
IDENTIFIED = 1e-8


@dataclass(frozen=True)
class Columns:
    """The regression of R samples: effects left in the columns (R by U by T by P) and their inverse (R by P by P)."""

    columns: np.ndarray
    inverse: np.ndarray
    identified: np.ndarray  # R by K: whether each cohort-by-period effect is
    mass: np.ndarray  # R by K: weight of the cells of each


@dataclass
class InteractedFit(Allocated):
    """Averages of cohort-by-period effects. ``covariates`` is U by C, known before treatment; None without any."""

    panel: Panel
    control: Control
    anticipation: int
    estimator: str
    covariates: np.ndarray | None = None
    contrast: str = ""

    def __post_init__(self) -> None:
        panel = self.panel
        if self.control not in ("never", "not_yet"):
            raise UsageError(f"control must be 'never' or 'not_yet', not '{self.control}'.")
        if self.anticipation < 0:
            raise UsageError("anticipation must be 0 or more periods.")
        refuse_constant(panel)
        treated_cohorts(panel)
        periods_before(panel, self.anticipation)
        self._observed = np.isfinite(panel.mean) & (panel.weight > 0)
        self._kept: dict[str, np.ndarray] = {}
        self.pairs = self._pairs()
        cohorts = panel.cohort[None, :]
        found = self._regression(cohorts, np.ones_like(cohorts))[0]
        after = np.array([panel.periods[time] >= cohort for cohort, time in self.pairs])
        if not (found.identified[0] & after).any():
            raise DesignError(
                f"'{panel.outcome}' has no area to compare with: all areas of a region are treated at once, so effects "
                "can't be told apart from what happened to everyone. Add areas that are never or later treated."
            )
        self.terms, self._members = self._terms(found, after)
        actual = self._allocate(cohorts, contributions=True, weights=True)
        assert actual.contributions is not None
        assert actual.weights is not None
        self.estimate, self._weights = actual.estimate[0, 0], without_dust(actual.weights[0])
        self.scores = by_cluster(actual.contributions[0, 0], panel.cluster, len(panel.clusters))
        self._finish(found)

    def _pairs(self) -> list[tuple[float, int]]:
        """Cohort and position of the period, for each effect of the regression."""
        periods, pairs = self.panel.periods, []
        for cohort in treated_cohorts(self.panel):
            affected = periods >= cohort - self.anticipation
            base = np.flatnonzero(~affected)[-1:]
            for time in range(len(periods)):
                if affected[time] or (self.control == "never" and time not in base):
                    pairs.append((float(cohort), time))
        return pairs

    def _regression(self, cohorts: np.ndarray, keep: np.ndarray) -> tuple[Columns, Effects]:
        """Partial unit and period effects out of every column, for starts R by U and samples R or 1 by U."""
        panel = self.panel
        weight = np.where(self._observed, panel.weight, 0.0)[None] * keep[:, :, None]
        effects = Effects(weight, np.arange(len(panel.units)), panel.group)
        draws, count, made = len(cohorts), len(self.pairs), []
        mass = np.zeros((draws, count))
        times = np.eye(len(panel.periods))
        for position, (cohort, time) in enumerate(self.pairs):
            member = (cohorts == cohort).astype(float)
            made.append(member[:, :, None] * times[time])
            mass[:, position] = (member * weight[:, :, time]).sum(axis=1)
        made += self._covariate_columns(cohorts, weight, times)
        left = np.empty((draws, *weight.shape[1:], len(made)))
        for position, each in enumerate(made):
            left[..., position] = effects.column(each)
        flat = left.reshape(draws, -1, len(made))
        gram = np.swapaxes(flat * weight.reshape(len(weight), -1, 1), 1, 2) @ flat
        inverse = np.linalg.pinv(gram, rcond=1e-11, hermitian=True)
        shown = np.einsum("rkp,rpk->rk", inverse[:, :count], gram[:, :, :count])
        return Columns(left, inverse, np.abs(shown - 1.0) < IDENTIFIED, mass), effects

    def _covariate_columns(self, cohorts: np.ndarray, weight: np.ndarray, times: np.ndarray) -> list[np.ndarray]:
        """Each covariate by period, and by cohort and period with the cohort's mean taken out (R by U by T each).

        Taking the mean out makes the cohort-by-period effect the average effect on that cohort.
        """
        if self.covariates is None:
            return []
        size, made = weight.sum(axis=2), []
        for covariate in self.covariates.T:
            scaled = (covariate - covariate.mean()) / (np.std(covariate) or 1.0)
            made += [np.broadcast_to(scaled[None, :, None] * each, weight.shape) for each in times[1:]]
            for cohort, time in self.pairs:
                member = cohorts == cohort
                total = (member * size).sum(axis=1, keepdims=True)
                mean = np.divide(
                    (member * size * scaled).sum(axis=1, keepdims=True),
                    total,
                    out=np.zeros_like(total),
                    where=total > 0,
                )
                made.append((member * (scaled - mean))[:, :, None] * times[time])
        return made

    def _terms(self, found: Columns, after: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        """Terms and which pairs each averages (terms by K), among those that can be estimated."""
        periods = self.panel.periods
        known = found.identified[0] & (found.mass[0] > 0)
        cohort = np.array([pair[0] for pair in self.pairs])
        time = np.array([float(periods[pair[1]]) for pair in self.pairs])
        rows, members = [], []

        def add(name: str, chosen: np.ndarray, **about: float) -> None:
            rows.append({"term": name, "cohort": np.nan, "period": np.nan, "event_time": np.nan, **about})
            members.append(chosen & known)

        for position in np.flatnonzero(known):
            own = np.arange(len(known)) == position
            add(
                "att", own, cohort=cohort[position], period=time[position], event_time=time[position] - cohort[position]
            )
        add("overall", after)
        for value in np.unique(cohort[known & after]):
            add("group", after & (cohort == value), cohort=value)
        for value in np.unique((time - cohort)[known]):
            add("event", (time - cohort) == value, event_time=value)
        return pd.DataFrame(rows), np.array(members)

    def _allocate(
        self,
        cohorts: np.ndarray,
        *,
        variables: np.ndarray | None = None,
        keep: np.ndarray | None = None,
        terms: np.ndarray | None = None,
        contributions: bool = False,
        weights: bool = False,
    ) -> Batch:
        """Chosen terms with starts ``cohorts`` and sample ``keep`` (R by U, 0 or 1) for V by U by T variables."""
        found, effects = self._regression(cohorts, np.ones((1, cohorts.shape[1])) if keep is None else keep)
        values = np.nan_to_num(self.panel.mean)[None] if variables is None else variables
        members = self._members if terms is None else self._members[terms]
        mass = np.where(found.identified, found.mass, 0.0)[:, None, :] * members[None]  # R, terms, K
        total = mass.sum(axis=2, keepdims=True)
        share = np.divide(mass, total, out=np.full_like(mass, np.nan), where=total > 0)
        rows = share @ found.inverse[:, : len(self.pairs)]  # R, terms, P
        draws, units, periods = found.columns.shape[:3]
        estimate = np.full((len(values), draws, len(members)), np.nan)
        given = np.zeros((len(values), draws, units, len(members))) if contributions else None
        weighted = found.columns * effects.weight[..., None]
        for index, value in enumerate(values):
            residual = np.where(effects.weight > 0, effects.residual(value[None]), 0.0)
            residual = np.broadcast_to(residual, (draws, units, periods))
            moment = _times(residual.reshape(draws, 1, -1), weighted)[:, 0]
            estimate[index] = (rows @ moment[..., None])[..., 0]
            if given is not None:
                coefficients = (found.inverse @ moment[..., None])[..., 0]
                left = residual - (found.columns @ coefficients[:, None, :, None])[..., 0]
                scores = (left[:, :, None, :] @ weighted)[:, :, 0]
                given[index] = scores @ np.swapaxes(rows, 1, 2)
        linear = None
        if weights:
            linear = (rows @ np.swapaxes(weighted.reshape(draws, -1, rows.shape[2]), 1, 2)).reshape(
                draws, len(members), units, periods
            )
        return Batch(estimate, given, linear)

    def _finish(self, found: Columns) -> None:
        """Describe the terms, and the small-sample factor.

        G/(G-1) (N-1)/(N-k), k the period effects and the effects here and one for the unit effects, which lie inside
        clusters (Cameron and Miller 2015, doi:10.3368/jhr.50.2.317). Shares are taken as given.
        """
        panel = self.panel
        event = panel.periods[None, :] - panel.cohort[:, None]
        rows = []
        for position, term in enumerate(self.terms.to_dict("records")):
            cohorts = [self.pairs[index][0] for index in np.flatnonzero(self._members[position])]
            exposed = np.isin(panel.cohort, cohorts)[:, None] & np.isfinite(event)
            names = ("cohort", "event_time", "period")
            about = {name: term[name] for name in names}
            rows.append(describe(panel, term["term"], self._weights[position], exposed, **about))
        self.terms = term_frame(rows)
        after = [time for cohort, time in self.pairs if panel.periods[time] >= cohort]
        lost = len(after) - int(((self.terms["term"] == "att") & (self.terms["event_time"] >= 0)).sum())
        if lost:
            self.terms["note"] = (
                f"{lost} of {len(after)} effects by cohort and period are left out: nobody was untreated then, or the "
                "cohort was never seen untreated."
            )
        flat = found.columns[0][self._observed]
        rank = int(np.linalg.matrix_rank(flat, tol=1e-9 * max(np.abs(flat).max(), 1e-300) * len(flat) ** 0.5))
        groups, periods = len(np.unique(panel.group)), len(panel.periods)
        cells = int(self._observed.sum())
        clusters = len(np.unique(panel.cluster[self._observed.any(axis=1)]))
        free = cells - rank - groups * (periods - 1) - 1
        if free + 1 <= int(self._observed.any(axis=1).sum()):
            raise DesignError(
                f"'{panel.outcome}' has {cells} cells for as many effects, so nothing is left to judge their error by. "
                "Use imputation or group_time, or add areas."
            )
        self.crv1_factor = clusters / (clusters - 1) * (cells - 1) / free

    @property
    def _width(self) -> int:
        extra = 0 if self.covariates is None else self.covariates.shape[1]
        return len(self.pairs) * (1 + extra) + extra * (len(self.panel.periods) - 1)


def _times(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """R by 1 by UT rows times R by U by T by P columns, R by 1 by P."""
    return rows @ columns.reshape(len(columns), -1, columns.shape[3])


def fit_sun_abraham(panel: Panel, *, anticipation: int = 0, contrast: str = "") -> InteractedFit:
    """Interaction-weighted event study (Sun and Abraham 2021), with unit and period effects.

    Every cohort has an effect at each event time but its last one before treatment and anticipation. The never
    treated are the controls, among them areas that start after the last period; where there are none, the last cohort
    is, and periods from its start on are left out.

    Raises DesignError where nobody is treated in the data, nothing lies before treatment, all start at once without
    a never treated area, or the outcome never varies.
    """
    treated_cohorts(panel)
    if not np.isinf(panel.cohort).any():
        panel = _last_as_control(panel, anticipation)
    return InteractedFit(panel, "never", anticipation, "sun_abraham", contrast=contrast)


def _last_as_control(panel: Panel, anticipation: int) -> Panel:
    last = panel.cohort.max()
    before = panel.periods[panel.periods < last - anticipation]
    if len(np.unique(panel.cohort)) == 1 or before.size == 0:
        raise DesignError(
            f"'{panel.outcome}' has no area to compare with: all areas are treated at once. "
            "Add areas that are never or later treated."
        )
    return replace(panel.select(before), cohort=np.where(panel.cohort == last, np.inf, panel.cohort))


def unit_covariates(panel: Panel, covariates: pd.DataFrame) -> np.ndarray:
    """Columns of a frame with one row a cluster, named in ``cluster``, as U by C numbers; text becomes dummies.

    Raises DataError for a cluster without a row, with two, or with a missing value.
    """
    if "cluster" not in covariates.columns or covariates.shape[1] < 2:
        raise DataError("Covariates need a column 'cluster' and at least one more.")
    if covariates["cluster"].duplicated().any():
        raise DataError("A cluster has two rows of covariates. Give one row for each, known before treatment.")
    wanted = covariates.set_index("cluster").reindex(panel.clusters)
    if wanted.isna().any(axis=None):
        missing = wanted.index[wanted.isna().any(axis=1)][0]
        raise DataError(f"Cluster '{missing}' lacks a covariate. Fill it in, or leave the cluster out.")
    numbers = pd.get_dummies(wanted, drop_first=True, dtype=float).to_numpy(dtype=float)
    return numbers[panel.cluster]


def fit_extended_two_way(
    panel: Panel,
    *,
    control: Control = "not_yet",
    anticipation: int = 0,
    covariates: pd.DataFrame | None = None,
    contrast: str = "",
) -> InteractedFit:
    """Extended two-way fixed effects (Wooldridge 2021, 2025): an effect for each cohort and treated period.

    ``control="not_yet"`` uses all untreated cells; "never" adds effects before treatment as well, so that only the
    never treated are controls. ``covariates``: a frame with ``cluster`` and columns known before treatment, by which
    trends and effects may differ; effects are then those at the cohort's mean.

    Raises DesignError as ``fit_sun_abraham``, and where "never" finds no never treated area.
    """
    if control == "never" and not (panel.cohort > panel.periods.max()).any():
        raise DesignError(
            f"'{panel.outcome}' has no area to compare with: none is never treated. Use control='not_yet'."
        )
    given = None if covariates is None else unit_covariates(panel, covariates)
    return InteractedFit(panel, control, anticipation, "extended_two_way", covariates=given, contrast=contrast)

"""Extended two-way effects for rates and shares whose trends are parallel in logarithms or in log odds.

Cohorts and periods have effects on the scale of the link, and each cohort has an effect of its own in each treated
period. Since treated cells are then fitted exactly, the model is the one fitted to untreated cells, and the effect is
what was observed less what it predicts, in the unit of the outcome. Without covariates the quasi-likelihood needs
only the sums by cohort and period, so it's fitted to those, whatever the number of areas.

Source: Wooldridge (2023), doi:10.1093/ectj/utad016. Cohort effects take the place of unit effects, which a logit
can't have without bias in short panels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import statsmodels.api as sm

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import Permuted, by_cluster, refuse_constant, treated_cohorts
from sendap.estimators.partialling import describe, periods_before, term_frame

FAMILIES = {"poisson": sm.families.Poisson, "logit": sm.families.Binomial}


@dataclass(frozen=True)
class Solved:
    """One fit: terms (K), their derivative by each cell mean (K by U by T), contributions of units (U by K)."""

    estimate: np.ndarray
    weights: np.ndarray
    contributions: np.ndarray


@dataclass
class GlmFit:
    """Effects by overall, cohort and event time. ``weights`` are derivatives: the estimate isn't linear."""

    panel: Panel
    family: str
    anticipation: int
    contrast: str = ""

    def __post_init__(self) -> None:
        panel = self.panel
        self.estimator = f"extended_two_way_{self.family}"
        refuse_constant(panel)
        treated_cohorts(panel)
        periods_before(panel, self.anticipation)
        self._observed = np.isfinite(panel.mean) & (panel.weight > 0)
        self._refuse_outside()
        self._event = panel.periods[None, :] - panel.cohort[:, None]
        # Cohort inside region: the level of the cohort effects, and of the sums that the model is fitted to.
        pairs = np.column_stack([panel.group, np.unique(panel.cohort, return_inverse=True)[1]])
        self._row = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
        self.kinds = self._kinds()
        found = self._solve(np.ones(len(panel.units)))
        if not np.isfinite(found.estimate[0]):
            raise DesignError(
                f"'{panel.outcome}' has no area to compare with: in every period after a start all areas are treated. "
                "Add areas that are never or later treated."
            )
        known = np.isfinite(found.estimate)
        self.kinds = [kind for kind, keep in zip(self.kinds, known, strict=True) if keep]
        self.estimate, self._weights = found.estimate[known], found.weights[known]
        self.scores = by_cluster(found.contributions[:, known], panel.cluster, len(panel.clusters))
        self.terms = term_frame([self._describe(position) for position in range(len(self.kinds))])
        treated = self._observed & (self._event >= 0)
        lost = int((treated & ~self._fitted(np.ones(len(panel.units)))[3][self._row]).sum())
        if lost:
            self.terms["note"] = (
                f"{lost} treated cell(s) are left out: their cohort was never seen untreated, or nobody in their "
                "period was."
            )
        used = len(np.unique(panel.cluster[(np.abs(self._weights) > 0).any(axis=(0, 2))]))
        self.crv1_factor = used / (used - 1)

    def _refuse_outside(self) -> None:
        values, kind = self.panel.mean[self._observed], self.family
        if kind == "logit" and (values.min() < 0 or values.max() > 1):
            raise DesignError(
                f"'{self.panel.outcome}' runs from {values.min():g} to {values.max():g}, and a logit needs shares from "
                "0 to 1. Divide a percentage by 100, or use family='poisson' or 'gaussian'."
            )
        if kind == "poisson" and values.min() < 0:
            raise DesignError(
                f"'{self.panel.outcome}' goes down to {values.min():g}, and a Poisson model needs 0 or more. "
                "Use family='gaussian'."
            )

    def _kinds(self) -> list[tuple[str, float, float]]:
        """Term, cohort and event time of each average."""
        treated = self._observed & (self._event >= 0) & np.isfinite(self._event)
        cohort = np.broadcast_to(self.panel.cohort[:, None], treated.shape)
        affected = self._observed & np.isfinite(self._event) & (self._event >= -self.anticipation)
        kinds = [("overall", np.nan, np.nan)]
        kinds += [("group", float(each), np.nan) for each in np.unique(cohort[treated])]
        return kinds + [("event", np.nan, float(each)) for each in np.unique(self._event[affected])]

    def _members(self, kind: tuple[str, float, float]) -> np.ndarray:
        _, cohort, event = kind
        chosen = (self._event >= 0) if np.isnan(event) else (self._event == event)
        return chosen if np.isnan(cohort) else chosen & (self.panel.cohort == cohort)[:, None]

    @cached_property
    def _design(self) -> np.ndarray:
        """Dummies of row and of period inside region for each cell of the sums, rows x T by P."""
        rows, periods = int(self._row.max()) + 1, len(self.panel.periods)
        region = np.zeros(rows, dtype=int)
        region[self._row] = self.panel.group
        own = np.repeat(np.eye(rows), periods, axis=0)
        inside = np.einsum("iq,ts->itqs", np.eye(region.max() + 1)[region], np.eye(periods)[:, 1:])
        return np.hstack([own, inside.reshape(rows * periods, -1)])

    def _sum(self, values: np.ndarray) -> np.ndarray:
        total = np.zeros((int(self._row.max()) + 1, values.shape[1]))
        np.add.at(total, self._row, values)
        return total

    def _fitted(self, keep: np.ndarray) -> tuple[np.ndarray, ...]:
        """Weights of kept cells, predictions and slopes by row and period, which are known, inverse information."""
        weight = np.where(self._observed, self.panel.weight, 0.0) * keep[:, None]
        untreated = np.where(self._event < -self.anticipation, weight, 0.0)
        size = self._sum(untreated).ravel()
        total = self._sum(untreated * np.nan_to_num(self.panel.mean)).ravel()
        used = size > 0
        mean = np.divide(total, size, out=np.zeros_like(total), where=used)
        self._refuse_extreme(size.reshape(-1, len(self.panel.periods)), total.reshape(-1, len(self.panel.periods)))
        family = FAMILIES[self.family]()
        # Columns that nothing untreated bears on have no estimate; the minimum-norm solution leaves them at zero.
        live = self._design[used].any(axis=0)
        model = sm.GLM(mean[used], self._design[used][:, live], family=family, freq_weights=size[used] / size.mean())
        coefficients = np.zeros(self._design.shape[1])
        coefficients[live] = model.fit(tol=1e-14, maxiter=200).params
        predicted = family.fitted(self._design @ coefficients)
        slope = predicted if self.family == "poisson" else predicted * (1 - predicted)
        information = (self._design * (size * slope)[:, None]).T @ self._design
        inverse = np.linalg.pinv(information, rcond=1e-12, hermitian=True)
        space = np.linalg.pinv(self._design[used], rcond=1e-10) @ self._design[used]
        known = np.abs(self._design @ space - self._design).max(axis=1) < 1e-8
        shape = (-1, len(self.panel.periods))
        return weight, predicted.reshape(shape), slope.reshape(shape), known.reshape(shape), inverse

    def _refuse_extreme(self, size: np.ndarray, total: np.ndarray) -> None:
        """A cohort or period whose untreated outcome is all zero (or all one) has no finite effect on the link."""
        for axis, name in ((1, "cohort"), (0, "period")):
            whole, part = size.sum(axis=axis), total.sum(axis=axis)
            extreme = (whole > 0) & ((part <= 0) | ((self.family == "logit") & (part >= whole)))
            if extreme.any():
                raise DesignError(
                    f"'{self.panel.outcome}' is all zero or all one before treatment in some {name}, so it has no "
                    f"finite effect under '{self.family}'. Use family='gaussian', or merge cohorts or periods."
                )

    def _solve(self, keep: np.ndarray) -> Solved:
        """Estimates, derivatives and contributions for the units in ``keep`` (U of 0 and 1)."""
        weight, predicted, slope, known, inverse = self._fitted(keep)
        untreated = np.where(self._event < -self.anticipation, weight, 0.0)
        design = self._design.reshape(*predicted.shape, -1)
        outcome = np.nan_to_num(self.panel.mean)
        residual = outcome - predicted[self._row]
        rows = self._sum(weight)
        centre = np.divide(self._sum(weight * outcome), rows, out=np.zeros_like(rows), where=rows > 0)
        estimate, maps, given = [], [], []
        for kind in self.kinds:
            share = weight * self._members(kind) * known[self._row]
            total = share.sum()
            share = share / total if total > 0 else np.full_like(share, np.nan)
            asked = np.einsum("it,itp->p", self._sum(share) * slope, design) @ inverse
            fitted = untreated * np.einsum("itp,p->it", design, asked)[self._row]
            estimate.append((share * residual).sum())
            maps.append(share - fitted)
            own = share * (outcome - centre[self._row])
            given.append((own - fitted * residual).sum(axis=1))
        return Solved(np.array(estimate), np.array(maps), np.array(given).T)

    def _describe(self, position: int) -> dict[str, object]:
        name, cohort, event = self.kinds[position]
        exposed = self._members(self.kinds[position])
        return describe(
            self.panel, name, self._weights[position], exposed, cohort=cohort, event_time=event, period=np.nan
        )

    @cached_property
    def _without_each(self) -> list[Solved | None]:
        """The fit again without each cluster; None where it has no finite solution."""
        found: list[Solved | None] = []
        for cluster in range(len(self.panel.clusters)):
            try:
                found.append(self._solve((self.panel.cluster != cluster).astype(float)))
            except DesignError:
                found.append(None)
        return found

    def leave_one_out(self) -> np.ndarray:
        nothing = np.full(len(self.kinds), np.nan)
        return np.array([nothing if each is None else each.estimate for each in self._without_each])

    def weights(self) -> np.ndarray:
        return self._weights

    def leave_one_out_weights(self, term: int) -> np.ndarray:
        nothing = np.full(self.panel.mean.shape, np.nan)
        return np.array([nothing if each is None else each.weights[term] for each in self._without_each])

    def permute(self, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
        raise DesignError(
            f"Permutation isn't defined for '{self.estimator}': a planted effect doesn't add up on the scale of its "
            "link. With few treated areas use family='gaussian', imputation or group_time."
        )


def fit_extended_two_way_glm(panel: Panel, *, family: str, anticipation: int = 0, contrast: str = "") -> GlmFit:
    """Extended two-way effects under a Poisson or logit quasi-likelihood, in the unit of the outcome.

    Errors take the shares of cohorts and periods as given, and the factor is G/(G-1). The jackknife fits the model
    again without each cluster.

    Raises UsageError for another family; DesignError for shares outside 0 to 1 under a logit, negative rates under
    Poisson, a cohort whose untreated outcome is all zero or all one, and as ``fit_imputation``.
    """
    if family not in FAMILIES:
        raise UsageError(f"family must be 'gaussian', 'poisson' or 'logit', not '{family}'.")
    return GlmFit(panel, family, anticipation, contrast)

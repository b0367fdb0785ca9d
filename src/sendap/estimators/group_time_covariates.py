"""Group-time effects for areas that are alike before treatment: regression, weighting and doubly robust versions.

Trends need to be parallel only among areas with the same covariates. The regression version predicts the change of the
treated from that of the controls; the weighting version makes the controls look like the treated by the odds of being
treated; the doubly robust version does both and is right if either model is.

Sources: Callaway and Sant'Anna (2021), doi:10.1016/j.jeconom.2020.12.001; Sant'Anna and Zhao (2020),
doi:10.1016/j.jeconom.2020.06.003, for the estimators on one pair of periods and their influence functions; Heckman,
Ichimura and Todd (1997), doi:10.2307/2971733, for the regression; Abadie (2005), doi:10.1111/0034-6527.00321, for the
weights, normalised to one among controls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import refuse_constant
from sendap.estimators.group_time import Base, Control, GroupTimeFit, Pair
from sendap.estimators.interacted import unit_covariates

Method = Literal["doubly_robust", "regression", "weighting"]
MOST_STEPS = 60
OVERLAP = 0.999
"""A control as likely as this to be treated means that the two sides don't overlap, so there are no weights."""


@dataclass(frozen=True)
class Lines:
    """A weighted regression on the covariates for R samples: its inverse cross-products (R by P by P)."""

    design: np.ndarray
    weight: np.ndarray
    inverse: np.ndarray
    projection: np.ndarray

    @classmethod
    def of(cls, design: np.ndarray, weight: np.ndarray) -> Lines:
        gram = np.einsum("ru,up,uq->rpq", weight, design, design, optimize=True)
        inverse = np.linalg.pinv(gram, rcond=1e-11, hermitian=True)
        return cls(design, weight, inverse, inverse @ gram)

    def rows(self, target: np.ndarray) -> np.ndarray:
        """Weights of units (R by U) in the prediction at ``target`` (R by P)."""
        return (np.einsum("rp,rpq->rq", target, self.inverse) @ self.design.T) * self.weight

    def reaches(self, target: np.ndarray) -> np.ndarray:
        """Whether the sample says anything about ``target`` (R)."""
        return np.abs(target - np.einsum("rp,rpq->rq", target, self.projection)).max(axis=1) < 1e-7


@dataclass(frozen=True)
class Odds:
    """Logits of being treated: probabilities (R by U), inverse information (R by P by P), which were solved (R)."""

    probability: np.ndarray
    inverse: np.ndarray
    solved: np.ndarray


def logit(design: np.ndarray, treated: np.ndarray, weight: np.ndarray) -> Odds:
    """Weighted logits of ``treated`` on ``design`` (U by P) for R samples at once, by Newton's method.

    ``treated`` and ``weight`` are R by U. A sample where treatment can be told from the covariates has no solution.
    """
    size = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, size, out=np.zeros_like(weight), where=size > 0)
    coefficients = np.zeros((len(weight), design.shape[1]))
    solved = np.zeros(len(weight), dtype=bool)
    for _ in range(MOST_STEPS):
        probability = expit(coefficients @ design.T)
        slope = (weight * (treated - probability)) @ design
        spread = weight * probability * (1 - probability)
        information = np.einsum("ru,up,uq->rpq", spread, design, design, optimize=True)
        inverse = np.linalg.pinv(information, rcond=1e-12, hermitian=True)
        step = np.einsum("rpq,rq->rp", inverse, slope)
        solved = np.abs(step).max(axis=1) < 1e-11
        if solved.all():
            break
        # Separated samples run away; they're held back so that they don't spoil the arithmetic of the rest.
        coefficients = np.clip(coefficients + np.where(solved[:, None], 0.0, step), -60, 60)
    settled = np.abs(step).max(axis=1) < 1e-8
    return Odds(probability, inverse / np.maximum(size, 1e-300)[:, :, None], settled & (size[:, 0] > 0))


@dataclass
class CovariateGroupTimeFit(GroupTimeFit):
    """ATT(g, t) given covariates (U by C), with all that ``GroupTimeFit`` does with them."""

    method: Method = "doubly_robust"
    covariates: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        if self.method not in ("doubly_robust", "regression", "weighting"):
            raise UsageError(f"method must be 'doubly_robust', 'regression' or 'weighting', not '{self.method}'.")
        if len(self.panel.group_names) > 1:
            raise UsageError("With covariates, give the region as one of them, not as within='region'.")
        refuse_constant(self.panel)
        centred = self.covariates - self.covariates.mean(axis=0)
        spread = centred.std(axis=0)
        varied = centred[:, spread > 0] / spread[spread > 0]
        self._design = np.column_stack([np.ones(len(centred)), varied])
        self.estimator = "group_time" if varied.size == 0 else f"group_time_{self.method}"
        try:
            super().__post_init__()
        except DesignError as error:
            if "no area to compare with" not in str(error) or varied.size == 0:
                raise
            raise DesignError(
                f"'{self.panel.outcome}' has no area to compare with: on these covariates treated and untreated areas "
                "don't overlap. Use fewer covariates or wider categories, or another comparison group."
            ) from None
        self._count_clusters()
        self._note_lost_pairs()

    def _pair_estimates(
        self, pair: Pair, variables: np.ndarray, cohorts: np.ndarray, keep: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ATT(g, t) for each variable and allocation, the contributions of units, and the weights of units.

        ``variables`` V by U by T; ``cohorts`` and ``keep`` R by U. Returns V by R; V by R by U; R by U. With shares t
        of the treated and c of the (weighted) controls, the estimate is the sum of (t - c) (change - X b), b from the
        controls; c is zero in the regression version and b in the weighting version.
        """
        design, seen = self._design_of(pair), self._seen(pair)
        size = np.where(seen, self.panel.weight[:, pair.base], 0.0)[None, :] * keep
        controls = size * self._controls(cohorts, pair)
        is_treated = (cohorts == pair.cohort) & self._comparable(controls)
        treated = size * is_treated
        total = treated.sum(axis=1, keepdims=True)
        known = (total > 0) & (controls.sum(axis=1, keepdims=True) > 0)
        treated = np.divide(treated, total, out=np.zeros_like(treated), where=known)
        lines = self._lines(design, controls)
        usable = known[:, 0]
        if self.method == "regression":
            weighted, odds = np.zeros_like(treated), None
        else:
            odds = logit(design, is_treated.astype(float), controls + size * is_treated)
            weighted, overlap = self._weighted_controls(odds, controls)
            usable = usable & odds.solved & overlap
        if self.method != "weighting":
            usable = usable & lines.reaches(treated @ design)
        unit_weight = treated - weighted
        if self.method != "weighting":
            unit_weight = unit_weight - lines.rows(unit_weight @ design)
        change = np.where(seen, variables[:, :, pair.time] - variables[:, :, pair.base], 0.0)
        sides = (treated, weighted, controls, size * is_treated)
        parts = [self._one(each, design, sides, lines, odds) for each in change]
        estimate = np.where(usable, np.stack([part[0] for part in parts]), np.nan)
        contributions = np.where(usable[:, None], np.stack([part[1] for part in parts]), np.nan)
        return estimate, contributions, np.where(usable[:, None], unit_weight, np.nan)

    def _lines(self, design: np.ndarray, controls: np.ndarray) -> Lines:
        """The regression among controls: that of the effect before where it has the same ones, as most have."""
        last = getattr(self, "_last_lines", None)
        if last is None or not (np.array_equal(last.weight, controls) and np.array_equal(last.design, design)):
            last = self._last_lines = Lines.of(design, controls)
        return last

    def _design_of(self, pair: Pair) -> np.ndarray:
        """The covariates of units for one effect (U by P)."""
        return self._design

    def _seen(self, pair: Pair) -> np.ndarray:
        """Units with all figures that one effect needs (U)."""
        mean = self.panel.mean
        return np.isfinite(mean[:, pair.time]) & np.isfinite(mean[:, pair.base])

    def _comparable(self, controls: np.ndarray) -> np.ndarray:
        """Which treated units have somebody to be compared with, given the ``controls`` (R by U)."""
        return np.ones(controls.shape, dtype=bool)

    def _weighted_controls(self, odds: Odds, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Controls by their odds of being treated, as shares (R by U), and whether both sides overlap (R)."""
        probability = odds.probability
        overlap = np.where(controls > 0, probability, 0.0).max(axis=1) < OVERLAP
        raw = controls * probability / np.maximum(1 - probability, 1e-12)
        total = raw.sum(axis=1, keepdims=True)
        return np.divide(raw, total, out=np.zeros_like(raw), where=total > 0), overlap

    def _one(
        self,
        change: np.ndarray,
        design: np.ndarray,
        sides: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
        lines: Lines,
        odds: Odds | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Estimate (R) and contributions (R by U) for the change of one variable (U).

        ``sides``: shares of the treated and of the weighted controls, and the sizes of controls and treated (R by U).
        """
        treated, weighted, controls, exposed = sides
        left = np.broadcast_to(change, treated.shape)
        given = np.zeros_like(treated)
        if self.method != "weighting":
            moment = (controls * change) @ design
            left = change - np.einsum("rp,rpq->rq", moment, lines.inverse) @ design.T
            # What the controls' regression adds to the error of the prediction.
            given -= lines.rows((treated - weighted) @ design) * left
        upper = (treated * left).sum(axis=1, keepdims=True)
        lower = (weighted * left).sum(axis=1, keepdims=True)
        given += treated * (left - upper) - weighted * (left - lower)
        if odds is not None:
            # What the estimated odds add to the error of the weights.
            pull = (weighted * (left - lower)) @ design
            score = exposed - (exposed + controls) * odds.probability
            given -= (np.einsum("rp,rpq->rq", pull, odds.inverse) @ design.T) * score
        return (upper - lower)[:, 0], given

    def _name_lost(self, cohorts: list[float]) -> None:
        """Nothing: effects without overlap are counted one by one."""

    def _note_lost_pairs(self) -> None:
        said = list(self.left_out)
        wanted = self._pairs()
        self.left_out = said
        lost = [pair for pair in wanted if pair not in self.pairs]
        if lost:
            note = (
                f"{len(lost)} of {len(wanted)} effects by cohort and period are left out: treated and untreated areas "
                "don't overlap there, or none was seen."
            )
            self.left_out.append(note)
            self.terms["note"] = np.where(self.terms["term"] == "overall", " ".join(self.left_out), note)

    def _count_clusters(self) -> None:
        """Treated clusters by cohort, since regression may give controls weights of either sign."""
        panel, counts = self.panel, []
        for aggregate in self.aggregates:
            moved = np.abs(np.array([self._unit_weights[index] for index in aggregate.pairs])) > 1e-14
            own = np.array([panel.cohort == self.pairs[index].cohort for index in aggregate.pairs])
            treated = np.unique(panel.cluster[(moved & own).any(axis=0)])
            others = np.setdiff1d(panel.cluster[(moved & ~own).any(axis=0)], treated)
            counts.append((len(treated), len(others)))
        self.terms["treated_clusters"], self.terms["control_clusters"] = map(list, zip(*counts, strict=True))


def fit_group_time_covariates(
    panel: Panel,
    covariates: pd.DataFrame | None,
    *,
    method: Method = "doubly_robust",
    control: Control = "never",
    base: Base = "universal",
    anticipation: int = 0,
    contrast: str = "",
) -> CovariateGroupTimeFit:
    """ATT(g, t) given covariates, and its overall, group, event-time and calendar averages.

    ``covariates`` has one row a cluster, with ``cluster`` and columns known before treatment: numbers as they are, text
    as dummies; None for none. Pairs without overlap (a control all but sure to be treated, or treated areas unlike
    any control) are left out. Other arguments as ``fit_group_time``.

    Raises DataError for covariates that lack a cluster, UsageError for an unknown method or regions, and DesignError as
    ``fit_group_time`` or where no pair has overlap.
    """
    given = np.zeros((len(panel.units), 0)) if covariates is None else unit_covariates(panel, covariates)
    return CovariateGroupTimeFit(
        panel=panel,
        control=control,
        base=base,
        anticipation=anticipation,
        contrast=contrast,
        method=method,
        covariates=given,
    )

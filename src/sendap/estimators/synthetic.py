"""Synthetic difference in differences, synthetic control and plain difference in differences for a block design.

A block design: all treated areas start in the same period, and every area was observed in every period. Controls
are weighted so that together they moved like the treated areas before the start, periods so that they resemble
those after it. The weights depend on the outcome, so the estimate isn't linear in it, and its uncertainty comes
from placebos: the whole estimate again with areas that weren't treated.

Sources: Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), doi:10.1257/aer.20190159; Abadie, Diamond and
Hainmueller (2010), doi:10.1198/jasa.2009.ap08746.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import Permuted, refuse_constant, treated_cohorts

Method = Literal["synthetic_did", "synthetic_control", "did"]
FEWEST_BEFORE = 2
SMALL_RIDGE = 1e-6
"""Ridge of the time weights and of synthetic control, in units of the noise: enough to make weights unique."""

PERFECT = 1e-5


def simplex_weights(columns: np.ndarray, target: np.ndarray, *, ridge: float, intercept: bool) -> np.ndarray:
    """Weights, none negative and with sum one, that make ``columns`` (T by J) come close to ``target`` (T).

    Minimises the mean squared distance plus ``ridge``^2 times the sum of squared weights; with ``intercept``, up to a
    constant. On the simplex the distance is the length of B w, where B holds columns less target over the ridge, and
    the minimum of |B w|^2 + (sum w - 1)^2 over w >= 0 lies in the same direction, so non-negative least squares finds
    it exactly (Lawson and Hanson 1974, chapter 23).
    """
    rows, count = columns.shape
    gap = columns - target[:, None]
    if intercept:
        gap = gap - gap.mean(axis=0)
    stacked = np.vstack([gap, np.sqrt(rows) * ridge * np.eye(count)])
    scale = np.sqrt((stacked**2).sum(axis=0).mean())
    if scale == 0:
        return np.full(count, 1.0 / count)
    found, _ = nnls(np.vstack([stacked / scale, np.ones(count)]), np.append(np.zeros(rows + count), 1.0))
    return found / found.sum()


@dataclass(frozen=True)
class Block:
    """Outcomes of N areas by T periods, of which the first ``controls`` are untreated and the first ``before`` pre."""

    outcome: np.ndarray
    controls: int
    before: int

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the controls' changes from period to period before the start."""
        return float(np.diff(self.outcome[: self.controls, : self.before], axis=1).std(ddof=1))

    @property
    def ridge(self) -> float:
        """The paper's zeta: (treated areas times periods after)^(1/4) times the noise."""
        treated, after = len(self.outcome) - self.controls, self.outcome.shape[1] - self.before
        return (treated * after) ** 0.25 * self.noise

    def weigh(self, method: Method, ridge: float | None = None, small: float | None = None) -> Weighted:
        """Weights and estimate. Placebos pass the ``ridge`` and ``small`` ridge of the real estimate."""
        outcome, controls, before = self.outcome, self.controls, self.before
        treated = outcome[controls:].mean(axis=0)
        small = SMALL_RIDGE * self.noise if small is None else small
        others = np.full(controls, 1.0 / controls)
        periods = np.full(before, 1.0 / before)
        if method == "synthetic_did":
            given = self.ridge if ridge is None else ridge
            others = simplex_weights(outcome[:controls, :before].T, treated[:before], ridge=given, intercept=True)
            after = outcome[:controls, before:].mean(axis=1)
            periods = simplex_weights(outcome[:controls, :before], after, ridge=small, intercept=True)
        elif method == "synthetic_control":
            others = simplex_weights(outcome[:controls, :before].T, treated[:before], ridge=small, intercept=False)
            periods = np.zeros(before)
        gap = treated - others @ outcome[:controls]
        return Weighted(others, periods, gap - periods @ gap[:before], before)


@dataclass(frozen=True)
class Weighted:
    """Weights of controls and of periods before, and the gap to the weighted controls in each period (T)."""

    controls: np.ndarray
    periods: np.ndarray
    gap: np.ndarray
    before: int

    @property
    def estimate(self) -> float:
        return float(self.gap[self.before :].mean())

    @property
    def fit_before(self) -> float:
        """Root mean squared gap before the start (RMSPE), around its mean where there is a constant."""
        gap = self.gap[: self.before]
        return float(np.sqrt(((gap - (gap.mean() if self.periods.any() else 0.0)) ** 2).mean()))

    @property
    def ratio(self) -> float:
        """RMSPE after the start over RMSPE before; infinite where the fit before is perfect but for rounding."""
        after = float(np.sqrt((self.gap[self.before :] ** 2).mean()))
        return after / self.fit_before if self.fit_before > PERFECT * after else np.inf


@dataclass
class SyntheticFit:
    """The estimate, its weights, and placebo estimates: ``gaps`` B by T, ``placebos`` B, ``ratios`` B."""

    panel: Panel
    method: Method
    draws: int
    seed: int
    contrast: str = ""

    def __post_init__(self) -> None:
        self.estimator = self.method
        self.block, self.order = as_block(self.panel)
        self.weighted = self.block.weigh(self.method)
        self.estimate = self.weighted.estimate
        self.placebo_sets, self.exact = self._placebo_sets()
        ridge, small = self.block.ridge, SMALL_RIDGE * self.block.noise
        controls = self.block.outcome[: self.block.controls]
        found = []
        for chosen in self.placebo_sets:
            rest = np.setdiff1d(np.arange(len(controls)), chosen)
            placebo = Block(controls[np.r_[rest, chosen]], len(rest), self.block.before)
            found.append(placebo.weigh(self.method, ridge, small))
        self.gaps = np.array([each.gap for each in found]).reshape(len(found), self.panel.mean.shape[1])
        self.placebos = np.array([each.estimate for each in found])
        self.ratios = np.array([each.ratio for each in found])

    @property
    def treated(self) -> int:
        return len(self.block.outcome) - self.block.controls

    def _placebo_sets(self) -> tuple[list[np.ndarray], bool]:
        """Sets of controls that stand in for the treated: all there are where few enough, else random ones."""
        count, size = self.block.controls, self.treated
        if count - size < 1:
            raise DesignError(
                f"Placebos need more untreated areas than treated ones, and there are {count} and {size}. "
                "Add untreated areas, or use imputation or group_time."
            )
        if comb(count, size) <= self.draws:
            return [np.array(each) for each in combinations(range(count), size)], True
        generator = np.random.default_rng(self.seed)
        return [generator.choice(count, size, replace=False) for _ in range(self.draws)], False

    @property
    def standard_error(self) -> float:
        """Placebo standard error (the paper's algorithm 4): the spread of placebo estimates, with divisor B."""
        return float(self.placebos.std())

    @property
    def placebo_p_value(self) -> float:
        """Share of estimates, the real one among them, at least as far from zero."""
        extreme = (np.abs(self.placebos) >= abs(self.estimate) * (1 - 1e-10)).sum()
        return float((1 + extreme) / (1 + len(self.placebos)))

    @property
    def ratio_p_value(self) -> float:
        """Rank of the RMSPE ratio over the number of estimates, the real one among them: rank / (J + 1)."""
        extreme = (self.ratios >= self.weighted.ratio * (1 - 1e-10)).sum()
        return float((1 + extreme) / (1 + len(self.ratios)))

    def _allowed(self, level: float) -> int:
        """How many placebos may be as extreme before (1 + that many) / (1 + B) passes 1 - level."""
        return int(np.floor((1 - level) * (1 + len(self.placebos)) + 1e-9))

    def interval(self, level: float, period: int | None = None) -> tuple[float, float]:
        """Effects that the placebo test doesn't reject; infinite where there are too few placebos to reject any.

        Of the estimate, or of the gap in one period (its position).
        """
        centre = self.estimate if period is None else float(self.weighted.gap[period])
        spread = np.sort(np.abs(self.placebos if period is None else self.gaps[:, period]))[::-1]
        allowed = self._allowed(level)
        reach = float(spread[allowed - 1]) if allowed >= 1 else np.inf
        return centre - reach, centre + reach

    def ratio_interval(self, level: float) -> tuple[float, float]:
        """Constant effects that the rank of the RMSPE ratio doesn't reject; missing where it rejects all of them."""
        allowed = self._allowed(level)
        if allowed < 1:
            return -np.inf, np.inf
        after = self.weighted.gap[self.block.before :]
        largest = np.sort(self.ratios)[::-1][allowed - 1]
        if np.isinf(largest):
            return -np.inf, np.inf
        most = largest * self.weighted.fit_before
        room = most**2 - after.var()
        if room < 0:
            return np.nan, np.nan
        return float(after.mean() - np.sqrt(room)), float(after.mean() + np.sqrt(room))

    def weights(self) -> np.ndarray:
        """The map from cell means to the estimate at these weights of areas and periods, 1 by U by T."""
        block, found = self.block, np.zeros(self.panel.mean.shape)
        after = block.outcome.shape[1] - block.before
        areas = np.r_[-self.weighted.controls, np.full(self.treated, 1.0 / self.treated)]
        found[self.order] = np.outer(areas, np.r_[-self.weighted.periods, np.full(after, 1.0 / after)])
        return found[None]

    def leave_one_out(self) -> np.ndarray:
        """Estimates without each area, with weights found anew (U by 1); missing without the only treated one."""
        found = np.full((len(self.order), 1), np.nan)
        for position, unit in enumerate(self.order):
            controls = self.block.controls - (position < self.block.controls)
            rest = np.delete(self.block.outcome, position, axis=0)
            if 0 < controls < len(rest):
                found[unit, 0] = Block(rest, controls, self.block.before).weigh(self.method).estimate
        return found

    def permute(self, cohorts: np.ndarray, terms: np.ndarray) -> Permuted:
        """Refused: weights depend on the outcome, so an effect can't be planted. Placebos take its place."""
        raise DesignError(
            f"Permutation isn't defined for '{self.estimator}', whose weights depend on the outcome. Its placebos are "
            "the same idea: see placebo_p_value and interval."
        )

    def control_weights(self) -> pd.Series:
        """Weight of each untreated area, largest first."""
        names = self.panel.units["cluster"].to_numpy()[self.order[: self.block.controls]]
        return pd.Series(self.weighted.controls, index=names, name="weight").sort_values(ascending=False, kind="stable")

    def period_weights(self) -> pd.Series:
        """Weight of each period before the start (all zero for synthetic control)."""
        return pd.Series(self.weighted.periods, index=self.panel.periods[: self.block.before], name="weight")


def as_block(panel: Panel) -> tuple[Block, np.ndarray]:
    """The panel with untreated areas first, and the order of its units.

    Raises DesignError for staggered starts, a gap in the panel, too few periods before, no control, or an outcome
    that never varies; UsageError where areas don't count equally or are apart by stratum.
    """
    if panel.weights != "areas":
        raise UsageError("Synthetic methods count every area once: use weights='areas'.")
    if len(panel.units) != len(panel.clusters):
        raise UsageError(
            "Synthetic methods compare whole areas, and these cells are apart by stratum. Add the strata up with "
            "cells.margin(keep=[]), or take one group with cells.filter()."
        )
    refuse_constant(panel)
    starts = treated_cohorts(panel)
    if len(starts) > 1:
        listed = ", ".join(f"{start:g}" for start in starts)
        raise DesignError(
            f"Synthetic methods need one start for all treated areas, and these start in {listed}. "
            "Take one cohort at a time with the never treated, or use imputation or group_time."
        )
    if not np.isfinite(panel.mean).all():
        unit, time = np.argwhere(~np.isfinite(panel.mean))[0]
        raise DesignError(
            f"'{panel.outcome}' is missing for '{panel.units['cluster'].iloc[unit]}' in {panel.periods[time]} "
            f"({int((~np.isfinite(panel.mean)).sum())} gap(s)). Synthetic methods need every area in every period: "
            "leave out the area or the period, or use imputation."
        )
    before = int((panel.periods < starts[0]).sum())
    if before < FEWEST_BEFORE:
        raise DesignError(
            f"'{panel.outcome}' has {before} period(s) before treatment, and synthetic methods need {FEWEST_BEFORE} or "
            "more (many more to be believed). Add earlier periods."
        )
    treated = panel.cohort == starts[0]
    if treated.all():
        raise DesignError(
            f"'{panel.outcome}' has no area to compare with: all areas are treated at once. Add areas that are never "
            "treated."
        )
    order = np.argsort(treated, kind="stable")
    return Block(panel.mean[order], int((~treated).sum()), before), order


def fit_synthetic(
    panel: Panel, *, method: Method = "synthetic_did", draws: int = 500, seed: int = 20230902, contrast: str = ""
) -> SyntheticFit:
    """Effect on areas that start together, against weighted controls.

    ``method``: "synthetic_did" (weights for controls and periods, up to a constant), "synthetic_control" (weights
    for controls, levels matched) or "did" (equal weights). ``draws`` bounds the number of placebos: all sets of
    controls of the size of the treated where there are no more, random ones otherwise. Areas treated after the
    last period count as untreated.

    Raises DesignError and UsageError as ``as_block``, and where there are too few controls for a placebo.
    """
    if method not in ("synthetic_did", "synthetic_control", "did"):
        raise UsageError(f"method must be 'synthetic_did', 'synthetic_control' or 'did', not '{method}'.")
    return SyntheticFit(panel, method, draws, seed, contrast)

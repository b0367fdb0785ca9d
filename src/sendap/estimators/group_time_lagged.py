"""Group-time effects among areas that had the same figures in the last periods before treatment.

Areas are often chosen for how they did: the best to lead, the worst to be rescued. Figures of areas drift back to where
they usually are, so such areas would have moved apart from others without any programme, and a difference in
differences takes that for its effect. Here the treated are compared with untreated areas of their region whose figures
were alike in the last ``lags`` periods before the start: the change since the base is predicted from these figures,
by a regression among the comparison areas of each cohort and period.

It needs no parallel trends, but that nothing else that matters decided who was treated, given region and past figures.
Neither assumption can be tested. With one lag, and one of them true, the two estimates bracket the effect (Ding and
Li); with two lags that isn't shown, so both are told.

Sources: Angrist and Pischke (2009), Mostly Harmless Econometrics, section 5.3 to 5.4, and Ding and Li (2019),
doi:10.1017/pan.2019.25, for the two assumptions and the bracket; Heckman, Ichimura and Todd (1997),
doi:10.2307/2971733, for the regression among the untreated; Chabé-Ferret (2015), doi:10.1016/j.jeconom.2014.09.013, for
differences in differences after selection on past outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import refuse_constant
from sendap.estimators.group_time import Control, GroupTimeFit, Pair
from sendap.estimators.group_time_covariates import CovariateGroupTimeFit

LAGS = 2


@dataclass
class LaggedGroupTimeFit(CovariateGroupTimeFit):
    """ATT(g, t) given region and the outcome in the last ``lags`` periods before cohort g could be affected."""

    lags: int = LAGS

    def __post_init__(self) -> None:
        if self.lags < 1:
            raise UsageError("lags must be 1 or more periods.")
        refuse_constant(self.panel)
        self._middle = float(np.nanmean(self.panel.mean))
        self._spread = float(np.nanstd(self.panel.mean))
        GroupTimeFit.__post_init__(self)
        self._count_clusters()
        self._note_lost_pairs()

    def _pairs(self) -> list[Pair]:
        """Pairs of cohorts with enough periods before. In a lagged period the difference is zero by construction."""
        kept: list[Pair] = []
        short: set[float] = set()
        for pair in super()._pairs():
            if pair.base < self.lags - 1:
                short.add(pair.cohort)
            elif not pair.base - self.lags < pair.time <= pair.base:
                kept.append(pair)
        for cohort in sorted(short):
            self.left_out.append(
                f"Areas that start in {cohort:g} have fewer than {self.lags} periods before they could be affected, so "
                "there is no past to compare them by."
            )
        if not kept:
            raise DesignError(
                f"'{self.panel.outcome}' has fewer than {self.lags} periods before treatment, so areas can't be "
                "compared with those that had the same figures then. Add earlier periods, or use group_time."
            )
        return kept

    def _past(self, pair: Pair) -> slice:
        return slice(pair.base - self.lags + 1, pair.base + 1)

    def _design_of(self, pair: Pair) -> np.ndarray:
        past = (self.panel.mean[:, self._past(pair)] - self._middle) / self._spread
        return np.column_stack([self._group_of_unit, np.nan_to_num(past)])

    def _seen(self, pair: Pair) -> np.ndarray:
        mean = self.panel.mean
        return np.isfinite(mean[:, pair.time]) & np.isfinite(mean[:, self._past(pair)]).all(axis=1)

    def _comparable(self, controls: np.ndarray) -> np.ndarray:
        """Treated units of regions with an untreated one."""
        return ((controls @ self._group_of_unit) > 0).astype(float) @ self._group_of_unit.T > 0


def fit_group_time_lagged(
    panel: Panel,
    *,
    lags: int = LAGS,
    control: Control = "never",
    anticipation: int = 0,
    contrast: str = "",
) -> LaggedGroupTimeFit:
    """ATT(g, t) among areas with the same past, and its overall, group, event-time and calendar averages.

    ``lags``: how many of the last periods before the start and its ``anticipation`` must be alike; their own event
    times have no effect to show. A panel with regions compares inside them, with one set of slopes on the past. A unit
    counts for an effect where all these periods and the effect's own are known. Other arguments as ``fit_group_time``.

    Permutation takes the past as it is: with several starts and an effect, an area's figures before a later start that
    it's dealt already hold the effect, which the interval by inversion leaves out of account.

    Raises UsageError for no lag; DesignError as ``fit_group_time``, or where no cohort has enough periods before.
    """
    return LaggedGroupTimeFit(
        panel=panel,
        control=control,
        base="universal",
        anticipation=anticipation,
        contrast=contrast,
        estimator="group_time_lagged",
        method="regression",
        lags=lags,
    )

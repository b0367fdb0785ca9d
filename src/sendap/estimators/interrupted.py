"""Interrupted time series: the level and slope of one series before and after a start.

    Y_t = b0 + b1 t + b2 Post_t + b3 (t - T0) Post_t + season + u_t

where T0 is the first treated period, so b2 is the change of level then, b3 the change of slope, and b2 + b3 h the
effect h periods later, against the line that went before. Errors of one series are correlated: they are allowed for
by an ARMA model, fitted by restricted maximum likelihood, or by Newey-West standard errors. In series of this length
restricted likelihood has proved least bad, and Newey-West errors too small; all intervals tend to be too narrow
(Turner, Forbes, Karahalios, Taljaard and McKenzie 2021, doi:10.1186/s12874-021-01364-0).

Sources: Wagner, Soumerai, Zhang and Ross-Degnan (2002), doi:10.1046/j.1365-2710.2002.00430.x, for the regression; Newey
and West (1987), doi:10.2307/1913610; for missing periods Datta and Du (2012), "Nonparametric HAC estimation for time
series data with missing observations": scores of missing periods are zero, so the distance between others is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.linalg import cholesky, solve_triangular, toeplitz
from scipy.optimize import minimize
from statsmodels.stats.diagnostic import acorr_ljungbox
from statsmodels.stats.sandwich_covariance import S_hac_simple
from statsmodels.stats.stattools import durbin_watson
from statsmodels.tsa.arima_process import arma_acovf
from statsmodels.tsa.statespace.tools import constrain_stationary_univariate

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators.fit import treated_cohorts

Errors = Literal["newey_west", "arma"]
FEWEST = 8
"""Points on each side of the start without which no line can be told from noise (evaluation standard, 1.1)."""


MOST_ORDER = 4
SEARCH = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
STARTS = (-0.5, 0.0, 0.5, 2.0)
"""Partial autocorrelations of -0.45, 0, 0.45 and 0.89."""
MOST_FREE = 30.0
"""Bound of the search: a partial autocorrelation of 0.9994, for at 1 the covariances don't exist."""
NEAR_WALK = 0.95


def _stationary(free: np.ndarray) -> np.ndarray:
    """Any numbers as parameters of a stationary autoregression (statsmodels, after Monahan 1984)."""
    return constrain_stationary_univariate(np.clip(free, -MOST_FREE, MOST_FREE)) if len(free) else free


@dataclass(frozen=True)
class Interrupted:
    """A series (T periods and values), its first treated period, and what it was made of.

    ``control_clusters`` is zero for a single series, else the values are differences from a control series.
    """

    outcome: str
    periods: np.ndarray
    values: np.ndarray
    start: int
    n: float = float("nan")
    treated_clusters: int = 1
    control_clusters: int = 0
    note: str = ""

    @property
    def compared(self) -> bool:
        return self.control_clusters > 0


def series_of(panel: Panel, *, compare: bool | None = None) -> Interrupted:
    """The mean of the treated areas over time, less that of areas untreated throughout where ``compare`` says so.

    ``compare=None`` compares where there are such areas. Areas weigh as in the panel: by their records for
    "children", so the mean is that of all their children. Areas that lack a period are left out and counted in the
    note, for a mean of changing areas would jump by itself.

    Raises DesignError where nobody is treated in the data, starts differ, no area has every period, or there is
    nobody to compare with though ``compare`` is set.
    """
    starts = treated_cohorts(panel)
    if len(starts) > 1:
        raise DesignError(
            f"'{panel.outcome}': the areas start at different times ({', '.join(f'{each:g}' for each in starts)}), and "
            "an interrupted series has one start. Choose the areas of one start with filter(), or use group_time."
        )
    treated, untreated = panel.cohort == starts[0], panel.cohort > panel.periods.max()
    whole = (np.isfinite(panel.mean) & (panel.weight > 0)).all(axis=1)
    if not (treated & whole).any():
        raise DesignError(
            f"'{panel.outcome}': no treated area has a figure for every period, so there is no series of the same "
            "areas. Leave out periods with filter(), or areas."
        )
    if compare and not (untreated & whole).any():
        raise DesignError(
            f"'{panel.outcome}' has no area to compare with: none is untreated and has every period. "
            "Use compare=False for a single series."
        )
    use_controls = bool((untreated & whole).any()) if compare is None else compare
    parts = [treated & whole] + ([untreated & whole] if use_controls else [])
    means = [np.average(panel.mean[part], axis=0, weights=panel.weight[part]) for part in parts]
    lost = np.unique(panel.cluster[(treated | (untreated & use_controls)) & ~whole])
    counts = [len(np.unique(panel.cluster[part])) for part in parts]
    return Interrupted(
        outcome=panel.outcome,
        periods=panel.periods,
        values=means[0] - means[1] if use_controls else means[0],
        start=int(starts[0]),
        n=float(sum(panel.n[part].sum() for part in parts)),
        treated_clusters=counts[0],
        control_clusters=counts[1] if use_controls else 0,
        note=f"{len(lost)} area(s) without every period are left out." if lost.size else "",
    )


@dataclass
class InterruptedFit:
    """The regression of one series. ``season`` is the number of periods in a year, None for yearly figures."""

    series: Interrupted
    errors: Errors
    lag: int | None
    order: tuple[int, int]
    season: int | None
    harmonics: int | None
    anticipation: int
    times: Sequence[int] | None

    def __post_init__(self) -> None:
        self._check_arguments()
        series = self.series
        event = series.periods - series.start
        known = np.isfinite(series.values) & ~((event < 0) & (event >= -self.anticipation))
        self.periods, self.values = series.periods[known], series.values[known].astype(float)
        self._refuse_short()
        self.event = self.periods - series.start
        self.design = self._design()
        self.lag = int(4 * (len(self.values) / 100) ** (2 / 9)) if self.lag is None else self.lag
        if self.errors == "newey_west":
            self._least_squares()
        else:
            self._arma()
        self.dof = len(self.values) - self.design.shape[1]
        self.terms, rows = self._terms()
        self.estimate = rows @ self.coefficients
        self.variance = np.einsum("kp,pq,kq->k", rows, self.covariance, rows)

    def _check_arguments(self) -> None:
        if self.errors not in ("newey_west", "arma"):
            raise UsageError(f"errors must be 'newey_west' or 'arma', not '{self.errors}'.")
        if self.lag is not None and self.lag < 0:
            raise UsageError("lag must be 0 or more periods.")
        if self.anticipation < 0:
            raise UsageError("anticipation must be 0 or more periods.")
        if self.season is not None and self.season < 2:
            raise UsageError("season is the number of periods in a year, 2 or more. Leave it out for yearly figures.")
        if self.harmonics is not None and (self.season is None or not 1 <= self.harmonics <= self.season // 2):
            raise UsageError("harmonics must be from 1 to half the periods in a year, and needs season.")
        if min(self.order) < 0 or not 1 <= sum(self.order) <= MOST_ORDER:
            raise UsageError(
                f"order is (p, q), the numbers of autoregressive and moving-average terms, together 1 to {MOST_ORDER}."
            )

    def _refuse_short(self) -> None:
        series = self.series
        if len(np.unique(self.periods)) < len(self.periods):
            raise UsageError(f"'{series.outcome}' has a period twice. Give one figure a period.")
        before, after = int((self.periods < series.start).sum()), int((self.periods >= series.start).sum())
        if before == 0:
            raise DesignError(
                f"'{series.outcome}' has no period before treatment, so there is nothing to compare with. "
                "Add earlier periods, or choose another outcome."
            )
        if min(before, after) < FEWEST:
            raise DesignError(
                f"'{series.outcome}' has {before} point(s) before the start and {after} from it on; an interrupted "
                f"series needs {FEWEST} on each side. Use terms or months in place of years, add periods, or use a "
                "design with untreated areas."
            )
        if np.ptp(self.values) <= 1e-12 * np.abs(self.values).max():
            raise DesignError(
                f"'{series.outcome}' never varies: it's {self.values[0]:g} in every period. "
                "Check that the right column was read, or choose another outcome."
            )

    def _design(self) -> np.ndarray:
        """Constant, time, post, time since the start, season; by T. Refused where columns can't be told apart."""
        post = (self.event >= 0).astype(float)
        time = (self.periods - self.periods[0]).astype(float)
        design = np.column_stack([np.ones(len(time)), time, post, self.event * post, *self._season_columns()])
        free = len(time) - design.shape[1]
        if np.linalg.matrix_rank(design / np.linalg.norm(design, axis=0)) < design.shape[1] or free < 1:
            raise DesignError(
                f"'{self.series.outcome}': {len(time)} points can't tell level, slope and season apart. "
                "Add periods, or take fewer harmonics."
            )
        return design

    def _season_columns(self) -> list[np.ndarray]:
        """Dummies for parts of the year; waves in place of them where the series is shorter than three years."""
        self.season_words = "no season"
        if self.season is None:
            return []
        part = self.periods % self.season
        if self.harmonics is None and (self.season <= 3 or len(part) >= 3 * self.season):
            self.season_words = f"{self.season} parts of the year"
            return [(part == each).astype(float) for each in range(1, self.season)]
        count = self.harmonics or 1
        self.season_words = f"{count} wave(s) a year"
        turns = [2 * np.pi * each * part / self.season for each in range(1, count + 1)]
        waves = [wave(turn) for turn in turns for wave in (np.sin, np.cos)]
        # Half a year's wave has no sine on whole periods.
        return [each for each in waves if np.abs(each).max() > 1e-9]

    @cached_property
    def _place(self) -> np.ndarray:
        """Position of each point on the grid of all periods from the first to the last."""
        return self.periods - self.periods[0]

    def _least_squares(self) -> None:
        found = sm.OLS(self.values, self.design).fit()
        scores = np.zeros((self._place[-1] + 1, self.design.shape[1]))
        scores[self._place] = self.design * found.resid[:, None]
        bread = np.linalg.inv(self.design.T @ self.design)
        count, columns = self.design.shape
        self.covariance = bread @ S_hac_simple(scores, nlags=self.lag) @ bread * count / (count - columns)
        self.coefficients, self.residuals, self.arma = found.params, found.resid, np.zeros(0)
        self.error_words = f"Newey-West errors, lag {self.lag}, small-sample factor"

    def _arma(self) -> None:
        """ARMA parameters by restricted maximum likelihood; at these, generalised least squares with its t."""
        p, q = self.order
        # The likelihood may have several tops: the search starts from the best of a few points.
        starts = [np.array(each) for each in product(STARTS, repeat=p + q)]
        start = min(starts, key=self._restricted)
        found = minimize(self._restricted, start, method="Nelder-Mead", options=SEARCH)
        ar, ma = _stationary(found.x[:p]), -_stationary(found.x[p:])
        if not found.success or not np.isfinite(found.fun):
            raise DesignError(
                f"'{self.series.outcome}': an ARMA({p}, {q}) model of the errors doesn't settle on {len(self.values)} "
                "points. Take a smaller order, or errors='newey_west'."
            )
        fitted = sm.GLS(self.values, self.design, sigma=self._correlation(ar, ma)).fit()
        self.coefficients, self.covariance = fitted.params, fitted.cov_params()
        self.residuals, self.arma = fitted.model.whiten(fitted.resid), np.r_[ar, ma]
        words = ", ".join(f"{each:.2f}" for each in self.arma)
        self.error_words = f"ARMA({p}, {q}) errors by restricted maximum likelihood, parameters {words}"
        if ar.sum() > NEAR_WALK:
            self.error_words += " (near a random walk: a change of slope can hardly be told from drift)"

    def _correlation(self, ar: np.ndarray, ma: np.ndarray) -> np.ndarray:
        """Covariances of the points' errors over the variance of the innovations, T by T."""
        by_lag = arma_acovf(np.r_[1, -ar], np.r_[1, ma], nobs=self._place[-1] + 1)
        return toeplitz(by_lag)[np.ix_(self._place, self._place)]

    def _restricted(self, free: np.ndarray) -> float:
        """Minus the log restricted likelihood (Harville 1977, doi:10.2307/2286796), the variance taken out.

        With V the covariances, S = e'V^-1 e: ((T - k) log S + log|V| + log|X'V^-1 X|) / 2.
        """
        p = self.order[0]
        try:
            factor = cholesky(self._correlation(_stationary(free[:p]), -_stationary(free[p:])), lower=True)
        except np.linalg.LinAlgError:
            return float("inf")
        white = solve_triangular(factor, np.column_stack([self.design, self.values]), lower=True)
        design, values = white[:, :-1], white[:, -1]
        residual = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        count = len(values) - design.shape[1]
        inside = np.linalg.slogdet(design.T @ design)[1]
        return float((count * np.log(residual @ residual) + inside) / 2 + np.log(np.diag(factor)).sum())

    @property
    def diagnostics(self) -> dict[str, float]:
        """Durbin-Watson, autocorrelation at lag 1 and the Ljung-Box p-value, of residuals without their modelled part.

        Durbin-Watson is near 2 without autocorrelation. A small p-value says that some is left: with Newey-West errors
        that is what they are for, with ARMA errors the order is too small.
        """
        residuals = self.residuals
        lags = max(2, min(10, len(residuals) // 5)) + len(self.arma)
        box = acorr_ljungbox(residuals, lags=[lags], model_df=len(self.arma))
        centred = residuals - residuals.mean()
        return {
            "durbin_watson": float(durbin_watson(residuals)),
            "autocorrelation": float((centred[1:] * centred[:-1]).sum() / (centred**2).sum()),
            "ljung_box_lag": float(lags),
            "ljung_box_p": float(box["lb_pvalue"].iloc[0]),
        }

    @property
    def words(self) -> str:
        """What the row of a result says about the series and its errors."""
        found = self.diagnostics
        areas = self.series.control_clusters
        alone = (
            f"Difference from a control series{f' of {areas} areas' if areas > 1 else ''}."
            if self.series.compared
            else "A single interrupted series has no comparison: whatever else changed at the start is part of this."
        )
        return (
            f"{alone} {self.error_words}; {self.season_words}; {len(self.values)} points; Durbin-Watson "
            f"{found['durbin_watson']:.2f}, residual autocorrelation {found['autocorrelation']:.2f}, Ljung-Box p "
            f"{found['ljung_box_p']:.3f} to lag {found['ljung_box_lag']:.0f}. {self.series.note}"
        ).strip()

    def _wanted_times(self) -> list[int]:
        after = self.event[self.event >= 0]
        if self.times is None:
            return [int(each) for each in after if self.season is None or each % self.season == 0]
        for each in self.times:
            if not 0 <= each <= after.max():
                raise UsageError(
                    f"There is no effect {each} periods after the start: the series holds 0 to {after.max()}."
                )
        return [int(each) for each in self.times]

    def _terms(self) -> tuple[pd.DataFrame, np.ndarray]:
        """Level change, slope change, their mean effect and those at named times, as rows on the coefficients."""
        mean = float(self.event[self.event >= 0].mean())
        chosen = [("overall", np.nan, 1.0, mean), ("level", np.nan, 1.0, 0.0), ("slope", np.nan, 0.0, 1.0)]
        chosen += [("event", float(each), 1.0, float(each)) for each in self._wanted_times()]
        rows = np.zeros((len(chosen), self.design.shape[1]))
        rows[:, 2] = [each[2] for each in chosen]
        rows[:, 3] = [each[3] for each in chosen]
        return pd.DataFrame([{"term": each[0], "event_time": each[1]} for each in chosen]), rows


def fit_interrupted(
    series: Interrupted,
    *,
    errors: Errors = "arma",
    order: tuple[int, int] = (1, 0),
    lag: int | None = None,
    season: int | None = None,
    harmonics: int | None = None,
    anticipation: int = 0,
    times: Sequence[int] | None = None,
) -> InterruptedFit:
    """Level and slope change at the start of a series, their mean effect after it, and effects at named times.

    ``errors``: "arma" of ``order`` (p, q), or "newey_west" with ``lag`` (by default 4 (T/100)^(2/9), rounded down:
    Newey and West 1994), whose intervals are far too narrow in short series. ``season``: periods in a year, as
    dummies; as ``harmonics`` waves where given or where the series is shorter than three years. ``anticipation``
    periods before the start are left out. ``times`` are periods after the start; by default all, or whole years where
    there is a season.

    Raises DesignError for a series with no period before the start, fewer than 8 points on a side, one that never
    varies, or too short for its season or errors; UsageError for arguments that make no sense.
    """
    return InterruptedFit(series, errors, lag, order, season, harmonics, anticipation, times)

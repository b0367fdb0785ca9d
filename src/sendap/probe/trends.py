"""Were the treated areas on another path before the start?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from sendap.cells import Cells
from sendap.cells.core import Weights
from sendap.effects import two_by_two
from sendap.estimators.fit import Fit
from sendap.results import Estimates

ALPHA = 0.05


@dataclass(frozen=True)
class TrendCheck:
    """Joint test that the treated and comparison areas moved alike before the start.

    ``periods`` tested, F statistic, its p-value, and the largest difference before the start (in the unit of
    the outcome). ``p_value`` is missing where there are fewer than one tested period. A pass is no proof: a
    test with few areas finds only large differences. ``lags`` is how many of the last periods before the start the
    areas compared have in common; the periods tested lie before these.
    """

    periods: int
    statistic: float
    p_value: float
    largest: float
    lags: int = 0

    @property
    def differs(self) -> bool:
        return bool(np.isfinite(self.p_value) and self.p_value < ALPHA)


def check_trends(fit: Fit, anticipation: int) -> TrendCheck:
    """Test the event times before the start and its anticipation jointly, by the cluster jackknife.

    F = b' V^-1 b / q with the jackknife covariance, against F(q, G* - 1) with the fewest effective clusters of
    the terms. Event times that rest on fewer than six treated clusters are left out, since their variance
    can't be told. Source of the test: Roth (2022), doi:10.1257/aeri.20210236, who also shows its weakness.
    """
    from sendap.inference.cluster_robust import effective_clusters

    terms, lags = fit.terms, int(getattr(fit, "lags", 0))
    before = (terms["term"] == "event") & (terms["event_time"] < -anticipation) & (terms["treated_clusters"] >= 6)
    chosen = np.flatnonzero(before.to_numpy())
    if chosen.size == 0:
        return TrendCheck(0, float("nan"), float("nan"), float("nan"), lags)
    estimate = fit.estimate[chosen]
    left_out = fit.leave_one_out()[:, chosen]
    left_out = left_out[np.isfinite(left_out).all(axis=1)]
    count = len(left_out)
    deviation = left_out - estimate
    covariance = (count - 1) / count * deviation.T @ deviation
    rank = int(np.linalg.matrix_rank(covariance, tol=1e-10 * max(np.trace(covariance), 1e-300)))
    if rank == 0:
        return TrendCheck(int(chosen.size), 0.0, 1.0, float(np.abs(estimate).max()), lags)
    statistic = float(estimate @ np.linalg.pinv(covariance) @ estimate) / rank
    dof = max(float(np.nanmin(effective_clusters(fit)[chosen])) - 1.0, 1.0)
    p_value = float(stats.f.sf(statistic, rank, dof))
    return TrendCheck(int(chosen.size), statistic, p_value, float(np.abs(estimate).max()), lags)


def base_years(
    cells: Cells, *, before: list[int], after: int, weights: Weights, within: str | None, contrast: str
) -> Estimates:
    """The naive before-and-after comparison for every year that could serve as "before".

    If areas were on the same path, all of these would agree but for chance.
    """
    found = []
    for year in before:
        result = two_by_two(
            cells,
            before=year,
            after=after,
            weights=weights,
            within=within,
            contrast=contrast,
            permute=False,
            only=("overall",),
        )
        frame = result.frame.assign(period=float(year))
        found.append(Estimates(frame))
    return Estimates.concat(found)

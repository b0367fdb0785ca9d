"""The relative triple difference: how the programme changed the ratio of two groups' rates (standard 6.8).

A Poisson regression of events, with effects for group by area, group by period and area by period, gives exp(beta), the
ratio of risk ratios. Given both groups' events in an area and period, how many fall to one of them is binomial and
the effects of area by period drop out, so the same beta comes from a logistic regression with effects of areas and of
periods. Sources: Santos Silva and Tenreyro (2006), doi:10.1162/rest.88.4.641, for the estimator; McCullagh and Nelder
(1989), Generalized Linear Models, section 6.4, for the two being the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from sendap.cells import Cells
from sendap.disparity.narrowed import Effect
from sendap.disparity.rates import rates
from sendap.errors import DesignError, UsageError, did_you_mean

STEPS, CLOSE, BOUND = 100, 1e-11, 30.0
FEWEST_AREAS = 6
"""Treated and comparison areas below which no interval is given: the jackknife isn't valid there."""


@dataclass(frozen=True)
class _Counts:
    """Area-periods with an event of either group: events of the group and of both, the offset, design and area."""

    events: np.ndarray
    both: np.ndarray
    offset: np.ndarray
    design: np.ndarray
    area: np.ndarray
    treated: np.ndarray

    def without(self, gone: int) -> _Counts:
        keep = self.area != gone
        return _Counts(*(part[keep] for part in self._parts()), treated=self.treated)

    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.events, self.both, self.offset, self.design, self.area

    def fit(self, start: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients, beta first, and areas' effects, by Newton's method with the latter solved apart."""
        areas = len(self.treated)
        b, a = (np.zeros(self.design.shape[1]), np.zeros(areas)) if start is None else start
        for _ in range(STEPS):
            mu = special.expit(np.clip(self.offset + self.design @ b + a[self.area], -BOUND, BOUND))
            weight, residual = self.both * mu * (1 - mu), self.events - self.both * mu
            own = np.bincount(self.area, weight, areas)
            inverse = np.where(own > 1e-12, 1 / np.maximum(own, 1e-12), 0.0)
            cross = np.stack([np.bincount(self.area, weight * column, areas) for column in self.design.T], axis=1)
            score = np.bincount(self.area, residual, areas)
            gram = (weight[:, None] * self.design).T @ self.design - cross.T @ (inverse[:, None] * cross)
            step = np.linalg.lstsq(gram, self.design.T @ residual - cross.T @ (inverse * score), rcond=1e-11)[0]
            step_a = np.clip(inverse * (score - cross @ step), -4, 4)
            b, a = b + step, a + step_a
            if np.abs(step).max() < CLOSE and np.abs(step_a[own > 1e-9]).max(initial=0.0) < 1e-8:
                break
        return b, a


def relative_triple(
    cells: Cells, outcome: str | None = None, *, by: str, group: str, reference: str, level: float = 0.95
) -> Effect:
    """exp(beta): the ratio of risk ratios (group over reference) that went with treatment, 1 for no change.

    Areas may start at different times; the effect is then one for all, as in any two-way model. Areas count by their
    events. The interval leaves out one area at a time (on the logarithm, t with as many degrees of freedom as the
    smaller arm has areas, less one); it is missing with fewer than six areas in an arm.

    Raises UsageError for an unknown stratum or group; DesignError for an outcome that isn't a share, or where no area
    is seen with events before and after its start.
    """
    found = rates(cells, outcome, by=("cluster", "period", by))
    if not found.share:
        raise DesignError(f"'{found.outcome}' isn't a share of children, so it has no ratio of rates.")
    counts = _counts(cells, found.frame.assign(name=found.frame[by].astype(str)), by, group, reference)
    found_b, found_a = counts.fit()
    beta = float(found_b[0])
    fewer = int(min(counts.treated.sum(), (~counts.treated).sum()))
    if fewer < FEWEST_AREAS:
        return Effect(float(np.exp(beta)), np.nan, np.nan)
    left_out = np.array([counts.without(at).fit((found_b, found_a))[0][0] for at in range(len(counts.treated))])
    variance = sum(
        (arm.sum() - 1) / arm.sum() * ((left_out[arm] - left_out[arm].mean()) ** 2).sum()
        for arm in (counts.treated, ~counts.treated)
    )
    half = float(stats.t.ppf(0.5 + level / 2, fewer - 1) * np.sqrt(variance))
    return Effect(*(float(np.exp(beta + sign * half)) for sign in (0, -1, 1)))


def _counts(cells: Cells, rows: pd.DataFrame, by: str, group: str, reference: str) -> _Counts:
    for name in (group, reference):
        if name not in set(rows["name"]):
            raise UsageError(f"The stratum '{by}' has no group '{name}'.{did_you_mean(name, set(rows['name']))}")
    rows = rows[rows["name"].isin([group, reference])].assign(events=lambda each: each["rate"] * each["observed"])
    table = rows.pivot(index=["cluster", "period"], columns="name", values=["events", "observed"])
    table = table.dropna().reset_index()
    events = table["events"][group].to_numpy()
    both = events + table["events"][reference].to_numpy()
    offset = np.log(table["observed"][group].to_numpy() / table["observed"][reference].to_numpy())
    start = cells.frame.groupby("cluster")["cohort"].first()
    cohort = table["cluster"].map(start).to_numpy(dtype=float)
    period = table["period"].to_numpy()
    treated_now = (period >= cohort).astype(float)
    keep = both > 0
    clusters, area = np.unique(table["cluster"].to_numpy(dtype=object)[keep], return_inverse=True)
    periods = np.unique(period[keep])
    dummies = [(period[keep] == each).astype(float) for each in periods[1:]]
    design = np.stack([treated_now[keep], *dummies], axis=1)
    switchers = [len(set(treated_now[keep][area == at])) > 1 for at in range(len(clusters))]
    if not any(switchers):
        raise DesignError("No area has events of these groups before and after its start, so no change can be told.")
    return _Counts(
        events[keep], both[keep], offset[keep], design, area, start.reindex(clusters).notna().to_numpy(dtype=bool)
    )

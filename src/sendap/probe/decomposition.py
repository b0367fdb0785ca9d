"""What a two-way estimate with staggered starts is made of.

It averages every comparison of two groups and two spans of time: treated with untreated, early with later starters,
and later starters with areas that are treated already, which is the one that can mislead. Source: Goodman-Bacon
(2021), doi:10.1016/j.jeconom.2021.03.014. Seen by cell, it averages effects with weights of which some may be
negative. Source: de Chaisemartin and D'Haultfoeuille (2020), doi:10.1257/aer.20181169.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_two_way
from sendap.estimators.fit import Fit

KINDS = ("treated against untreated", "earlier against later", "later against earlier", "later against always treated")
FORBIDDEN = KINDS[2:]


@dataclass(frozen=True)
class Decomposition:
    """Every 2x2 comparison in a two-way estimate.

    ``pairs``: ``kind`` (one of ``KINDS``), ``treated`` and ``untreated`` (the starts compared, infinite for never),
    ``group`` (the region), ``estimate`` in outcome units, ``weight`` (above zero, sum one). ``two_way`` is the estimate
    that they add up to, ``areas`` how many units it rests on, ``left_out`` how many lack a period.
    """

    pairs: pd.DataFrame
    two_way: float
    areas: int
    left_out: int

    @property
    def already_treated(self) -> float:
        """Share of the weight on comparisons with areas that are treated already."""
        return float(self.pairs.loc[self.pairs["kind"].isin(FORBIDDEN), "weight"].sum())

    def summary(self) -> pd.DataFrame:
        """One row a kind: ``kind, weight, estimate`` (the weighted mean of its pairs)."""
        total = self.pairs.assign(part=self.pairs["estimate"] * self.pairs["weight"])
        made = total.groupby("kind", as_index=False, sort=False)[["weight", "part"]].sum()
        made["estimate"] = made["part"] / made["weight"]
        return made[["kind", "weight", "estimate"]]

    def sentence(self) -> str:
        """The share on already-treated comparisons, and on how many areas it rests."""
        without = f" ({self.left_out} without every period left out)" if self.left_out else ""
        return (
            f"{self.already_treated:.0%} of the weight of the two-way estimate lies on comparisons with areas that are "
            f"treated already, by {self.areas} areas{without}."
        )


def decompose(panel: Panel, *, incomplete: Literal["leave_out", "refuse"] = "leave_out") -> Decomposition:
    """The Goodman-Bacon decomposition of the two-way estimate without covariates.

    Units must count the same in every period (count areas, not children) and be seen in all of them; those that
    aren't are left out and counted, or refused with ``incomplete="refuse"``. No period is left out for anticipation,
    since the decomposition needs all of them. With regions (``within``) comparisons stay inside them.

    Raises DesignError for weights that change over time, incomplete areas that are refused, or where nothing can be
    compared; UsageError for another ``incomplete``.
    """
    if incomplete not in ("leave_out", "refuse"):
        raise UsageError(f"incomplete must be 'leave_out' or 'refuse', not '{incomplete}'.")
    seen = np.isfinite(panel.mean) & (panel.weight > 0)
    whole = seen.all(axis=1)
    lost = int((~whole).sum())
    if lost and (incomplete == "refuse" or not whole.any()):
        raise DesignError(
            f"{lost} of {len(whole)} areas of '{panel.outcome}' lack a figure in some period, and the decomposition "
            "holds for complete areas only. Leave them out, or use fewer periods."
        )
    balanced = _keep(panel, whole)
    if (np.ptp(balanced.weight, axis=1) > 1e-12 * balanced.weight.max()).any():
        raise DesignError(
            f"The weights of '{panel.outcome}' change over time, so its two-way estimate has no such decomposition. "
            "Count areas equally (weights='areas')."
        )
    fit = fit_two_way(balanced)
    rows = [row for group in np.unique(balanced.group) for row in _pairs(balanced, int(group))]
    pairs = pd.DataFrame(rows, columns=["kind", "treated", "untreated", "group", "estimate", "weight"])
    pairs["weight"] /= pairs["weight"].sum()
    pairs = pairs.sort_values("weight", ascending=False, kind="stable").reset_index(drop=True)
    return Decomposition(pairs, float(fit.estimate[0]), int(whole.sum()), lost)


def _keep(panel: Panel, units: np.ndarray) -> Panel:
    """The panel with some of its units, and only their clusters."""
    clusters, cluster = np.unique(panel.cluster[units], return_inverse=True)
    return replace(
        panel,
        clusters=panel.clusters[clusters],
        units=panel.units[units].reset_index(drop=True),
        cohort=panel.cohort[units],
        cluster=cluster,
        group=panel.group[units],
        mean=panel.mean[units],
        weight=panel.weight[units],
        n=panel.n[units],
    )


def _pairs(panel: Panel, group: int) -> list[tuple[str, float, float, str, float, float]]:
    """The comparisons inside one region, with weights before they are scaled to sum to one."""
    inside = panel.group == group
    periods, size = panel.periods, panel.weight[:, 0]
    # Starting after the last period is never treated, starting with the first always treated.
    start = np.where(panel.cohort > periods[-1], np.inf, np.maximum(panel.cohort, periods[0]))
    starts = np.unique(start[inside])
    series = {
        g: np.average(panel.mean[inside & (start == g)], axis=0, weights=size[inside & (start == g)]) for g in starts
    }
    total = {g: float(size[inside & (start == g)].sum()) for g in starts}
    share = {g: float((periods >= g).mean()) for g in starts}
    rows = []
    for treated, other in permutations(starts, 2):
        if share[treated] in (0.0, 1.0):
            continue
        if share[other] < share[treated]:
            kind = KINDS[0] if np.isinf(other) else KINDS[1]
            window = periods < other
            weight = (share[treated] - share[other]) * (1 - share[treated])
        else:
            kind = KINDS[3] if share[other] == 1 else KINDS[2]
            window = periods >= other
            weight = share[treated] * (share[other] - share[treated])
        after, before = window & (periods >= treated), window & (periods < treated)
        change = {g: series[g][after].mean() - series[g][before].mean() for g in (treated, other)}
        rows.append(
            (
                kind,
                float(treated),
                float(other),
                panel.group_names[group],
                float(change[treated] - change[other]),
                total[treated] * total[other] * weight / sum(total.values()),
            )
        )
    return rows


@dataclass(frozen=True)
class NegativeWeights:
    """How a two-way estimate weighs the effects in treated cells.

    ``cells`` treated cells, of which ``negative_cells`` have a weight below zero; the weights sum to one, the negative
    ones to ``negative_sum`` (zero or less). ``sign_spread`` is the smallest standard deviation of the effects across
    cells with which the average effect could be zero although the two-way estimate is as it is; infinite where all
    weights are equal.
    """

    cells: int
    negative_cells: int
    negative_sum: float
    sign_spread: float

    @property
    def negative_share(self) -> float:
        return self.negative_cells / self.cells

    def sentence(self) -> str:
        """How many effects count backwards."""
        if not self.negative_cells:
            return "The two-way estimate gives no treated area and period a negative weight."
        return (
            f"The two-way estimate gives {self.negative_share:.0%} of the treated areas and periods a negative weight; "
            f"these weights sum to {self.negative_sum:.2f}, against one for all."
        )


def negative_weights(fit: Fit, *, term: int = 0) -> NegativeWeights:
    """The weights that a two-way fit gives to the effects in treated cells; gaps and any weights are allowed.

    Raises UsageError for another estimator.
    """
    if fit.estimator != "two_way":
        raise UsageError(f"Weights of effects are defined for 'two_way', not '{fit.estimator}'.")
    panel = fit.panel
    linear = fit.weights()[term]
    treated = (panel.periods[None, :] >= panel.cohort[:, None]) & np.isfinite(panel.mean) & (panel.weight > 0)
    weight = linear[treated]
    weight = np.where(np.abs(weight) < 1e-12 * np.abs(weight).max(), 0.0, weight)
    # Relative to what each cell counts in the plain average over treated cells.
    size = panel.weight[treated] / panel.weight[treated].sum()
    uneven = float(np.sqrt((size * (weight / size - 1) ** 2).sum()))
    return NegativeWeights(
        cells=int(treated.sum()),
        negative_cells=int((weight < 0).sum()),
        negative_sum=float(weight[weight < 0].sum()),
        sign_spread=abs(float(fit.estimate[term])) / uneven if uneven > 1e-10 else float("inf"),
    )

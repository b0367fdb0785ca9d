"""The overall effect of a fit as a weighted sum of cell means, with its cluster-jackknife interval.

Every estimator here is linear once areas, periods and starts are given, so one set of weights gives the effect on the
outcome, on its logarithm, or on how many were counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t

from sendap.cells import Panel
from sendap.errors import DesignError
from sendap.estimators.fit import Fit

FEWEST = 6
"""Treated or untreated clusters below which no cluster-robust interval is given, as ``choose`` has it."""


@dataclass(frozen=True)
class Effect:
    """An overall effect with its interval, both ends missing where too few clusters are on one side.

    ``treated`` and ``controls`` count clusters; ``dof`` are Satterthwaite's.
    """

    estimate: float
    low: float
    high: float
    std_error: float
    dof: float
    treated: int
    controls: int

    @property
    def excludes_zero(self) -> bool:
        return bool(self.low > 0 or self.high < 0)


def overall_term(fit: Fit) -> int:
    """The position of the overall effect among the terms of a fit."""
    return int(np.flatnonzero((fit.terms["term"] == "overall").to_numpy())[0])


@dataclass(frozen=True)
class LinearEffect:
    """An overall effect as weights: ``full`` (U by T) and ``without`` each cluster (G by U by T, zero where it can't be
    estimated without that cluster)."""

    full: np.ndarray
    without: np.ndarray
    treated: int
    controls: int

    @classmethod
    def of(cls, fit: Fit) -> LinearEffect:
        term = overall_term(fit)
        row = fit.terms.iloc[term]
        counts = int(row["treated_clusters"]), int(row["control_clusters"])
        return cls(fit.weights()[term], fit.leave_one_out_weights(term), *counts)

    def on(self, values: np.ndarray, *, level: float = 0.95) -> Effect:
        """The effect on ``values`` (U by T), with the cluster jackknife and Satterthwaite's degrees of freedom.

        Sources: MacKinnon, Nielsen and Webb (2023), doi:10.1002/jae.2979; Bell and McCaffrey (2002).
        """
        known = np.nan_to_num(values)
        estimate = float((self.full * known).sum())
        if min(self.treated, self.controls) < FEWEST:
            nothing = float("nan")
            return Effect(estimate, nothing, nothing, nothing, nothing, self.treated, self.controls)
        whole = self.without.reshape(len(self.without), -1)
        kept = np.abs(whole).max(axis=1) > 0
        change = whole[kept] - self.full.ravel()
        inner = change @ change.T
        dof = float(np.trace(inner) ** 2 / (inner**2).sum())
        moved = change @ known.ravel()
        error = float(np.sqrt((len(moved) - 1) / len(moved) * (moved**2).sum()))
        half = float(t.ppf(0.5 + level / 2, dof)) * error
        return Effect(estimate, estimate - half, estimate + half, error, dof, self.treated, self.controls)


def overall_effect(fit: Fit, *, level: float = 0.95) -> Effect:
    """The overall effect of a fit with its interval."""
    return LinearEffect.of(fit).on(fit.panel.mean, level=level)


def keep_clusters(panel: Panel, keep: np.ndarray) -> Panel:
    """The panel with some of its clusters (G, true to keep).

    Raises DesignError where none is left.
    """
    if not keep.any():
        raise DesignError(f"'{panel.outcome}' has no area left.")
    units = keep[panel.cluster]
    return replace(
        panel,
        clusters=panel.clusters[keep],
        units=panel.units[units].reset_index(drop=True),
        cohort=panel.cohort[units],
        cluster=(np.cumsum(keep) - 1)[panel.cluster[units]],
        group=panel.group[units],
        mean=panel.mean[units],
        weight=panel.weight[units],
        n=panel.n[units],
    )


def without(panel: Panel, clusters: Sequence[str] | frozenset[str]) -> Panel:
    """The panel without the clusters of these names."""
    return keep_clusters(panel, ~np.isin(panel.clusters.astype(str), list(clusters)))


def treated_mean(panel: Panel) -> float:
    """The mean over treated areas and periods since their start, weighted as the panel is."""
    after = (panel.periods[None, :] >= panel.cohort[:, None]) & np.isfinite(panel.mean) & (panel.weight > 0)
    return float(np.average(panel.mean[after], weights=panel.weight[after]))


def in_units(log_effect: float, mean: float) -> float:
    """An effect on logarithms as a difference in the unit of the outcome, at the mean of the treated since the start.

    Without the effect that mean would have been mean / exp(effect), so the difference is mean (1 - exp(-effect)).
    """
    return float(mean * -np.expm1(-log_effect))

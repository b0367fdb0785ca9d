"""Did the programme reach the areas next door, or do other programmes stand among the areas compared?

An effect that spills over onto the comparison areas hides itself. A donut leaves out the areas that it could have
reached. Source: Butts (2021), arXiv:2105.03737.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError
from sendap.estimators import fit_group_time
from sendap.estimators.fit import treated_cohorts
from sendap.estimators.group_time import Control, Fitter, GroupTimeFit
from sendap.probe.linear import LinearEffect, keep_clusters, overall_effect, without

OTHER_REGIONS = "areas of other regions only"
LARGEST = 10_000_000
"""Clusters times units times periods up to which each cluster is left out of the comparison with other regions."""


@dataclass(frozen=True)
class Donut:
    """The overall effect against comparison areas that the programme is less likely to have reached.

    ``frame``: ``comparison, estimate, low, high, treated, controls, note``, the headline first; rows that can't be
    estimated have a note. ``near`` is the share of comparison areas that lie in a region with a treated area.
    """

    frame: pd.DataFrame
    near: float

    def furthest(self) -> float:
        """The largest distance of a row from the headline, missing with no other row."""
        moved = (self.frame["estimate"].iloc[1:] - self.frame["estimate"].iloc[0]).abs()
        return float(moved.max()) if moved.notna().any() else float("nan")


def donut(
    panel: Panel,
    regions: np.ndarray | None,
    *,
    control: Control = "never",
    anticipation: int = 0,
    left_out: Mapping[str, frozenset[str]] | None = None,
    fitter: Fitter = fit_group_time,
) -> Donut:
    """The headline effect, against areas of other regions only, and without each set of clusters in ``left_out``.

    ``regions`` (G) is the region of each cluster, None where it isn't known. ``fitter`` is the headline estimator.
    """
    chosen = partial(fitter, control=control, anticipation=anticipation)
    main = LinearEffect.of(chosen(panel))
    rows = [_row("headline", main, panel)]
    if regions is not None:
        try:
            rows.append(_row(OTHER_REGIONS, away_from_home(panel, regions, chosen), panel))
        except DesignError as error:
            rows.append(_refused(OTHER_REGIONS, str(error)))
    for name, gone in (left_out or {}).items():
        try:
            found = overall_effect(chosen(without(panel, gone)))
            rows.append((name, found.estimate, found.low, found.high, found.treated, found.controls, ""))
        except DesignError as error:
            rows.append(_refused(name, str(error)))
    columns = ["comparison", "estimate", "low", "high", "treated", "controls", "note"]
    return Donut(pd.DataFrame(rows, columns=columns), _near(panel, regions))


def _row(name: str, linear: LinearEffect, panel: Panel) -> tuple[object, ...]:
    found = linear.on(panel.mean)
    return name, found.estimate, found.low, found.high, found.treated, found.controls, ""


def _refused(name: str, reason: str) -> tuple[object, ...]:
    nothing = float("nan")
    return name, nothing, nothing, nothing, 0, 0, reason


def _near(panel: Panel, regions: np.ndarray | None) -> float:
    if regions is None:
        return float("nan")
    treated = panel.cluster_cohort <= panel.periods.max()
    return float(np.isin(regions[~treated], regions[treated]).mean())


def away_from_home(panel: Panel, regions: np.ndarray, fitter: Fitter) -> LinearEffect:
    """Treated areas of each region against untreated areas of all others, averaged by their treated periods.

    The whole effect and that without each cluster are sums over regions, so the jackknife is exact.

    Raises DesignError where no region can be estimated.
    """
    if len(panel.clusters) * panel.mean.size > LARGEST:
        raise DesignError(f"'{panel.outcome}' has {len(panel.clusters)} clusters, too many for this comparison.")
    panel_all = _across(panel)
    last = treated_cohorts(panel).max()
    treated = panel.cluster_cohort <= last
    count, shape = len(panel.clusters), panel.mean.shape
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    used = np.zeros(count, dtype=bool)
    for region in np.unique(regions[treated]):
        here = regions == region
        keep = (here & treated) | (~here & ~treated)
        try:
            fit = fitter(keep_clusters(panel_all, keep))
        except DesignError:
            continue
        linear = LinearEffect.of(fit)
        units, own = keep[panel.cluster], np.flatnonzero(keep)
        full = np.zeros(shape)
        full[units] = linear.full
        without_each = np.repeat(full[None], count, axis=0)
        without_each[np.ix_(own, units)] = linear.without
        parts.append((full, without_each, _treated_periods(fit, own, count)))
        used |= keep
    if not parts:
        raise DesignError(f"'{panel.outcome}' has no untreated area in another region than the treated ones.")
    size = np.stack([each[2] for each in parts])  # by region: all, then without each cluster
    share = size / size.sum(axis=0)
    whole = np.einsum("q,qut->ut", share[:, 0], np.stack([each[0] for each in parts]))
    rest = np.einsum("qg,qgut->gut", share[:, 1:], np.stack([each[1] for each in parts]))
    return LinearEffect(whole, rest, int((treated & used).sum()), int((~treated & used).sum()))


def _across(panel: Panel) -> Panel:
    return replace(panel, group=np.zeros(len(panel.units), dtype=int), group_names=("all",))


def _treated_periods(fit: GroupTimeFit, own: np.ndarray, count: int) -> np.ndarray:
    """How many treated periods the effect rests on, weighted: with all (first), then without each of G clusters."""
    panel = fit.panel
    size = panel.weight.sum(axis=1) / np.maximum((panel.weight > 0).sum(axis=1), 1)
    pairs: dict[float, int] = {}
    for pair in fit.pairs:
        if panel.periods[pair.time] >= pair.cohort:
            pairs[pair.cohort] = pairs.get(pair.cohort, 0) + 1
    held = size * np.array([pairs.get(float(cohort), 0) for cohort in panel.cohort])
    by_cluster = np.bincount(panel.cluster, weights=held, minlength=len(panel.clusters))
    gone = np.zeros(count)
    gone[own] = by_cluster
    return np.concatenate([[held.sum()], held.sum() - gone])

"""Did a gap change? Triple difference between two groups of the same areas, with the effect on each group.

The model y_igct = a_gc + l_gt + m_ct + beta (treated_c after_t in group A_g) + e has an effect for every area and
period, so an area tells nothing but the gap between its two groups. Taking that gap out first leaves a two-way model
of the gap with area and period effects, where a cell weighs w_A w_B / (w_A + w_B): the same estimate and the same
cluster contributions, and every other estimator applies to the gap as well.

Sources: Gruber (1994), American Economic Review 84(3); Olden and Moen (2022), doi:10.1093/ectj/utac010.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError, did_you_mean
from sendap.estimators.fit import Fit, refuse_constant
from sendap.estimators.group_time import fit_group_time
from sendap.estimators.imputation import fit_imputation
from sendap.estimators.least_squares import fit_two_way

Method = Literal["two_way", "group_time", "imputation"]


@dataclass(frozen=True)
class Triple:
    """The effect on the gap (``group`` minus ``reference``) and on each of the two, as three fits."""

    gap: Fit
    group: Fit
    reference: Fit
    names: tuple[str, str]


def of_group(panel: Panel, stratum: str, name: str) -> Panel:
    """The units of one group of a stratum. Raises UsageError for an unknown stratum or group."""
    if stratum not in panel.units.columns or stratum in ("cluster", "cohort"):
        known = [column for column in panel.units.columns if column not in ("cluster", "cohort")]
        raise UsageError(f"These cells have no stratum '{stratum}'.{did_you_mean(stratum, known)}")
    values = panel.units[stratum].astype(str)
    keep = (values == name).to_numpy()
    if not keep.any():
        raise UsageError(f"The stratum '{stratum}' has no group '{name}'.{did_you_mean(name, set(values))}")
    if panel.units.loc[keep, "cluster"].duplicated().any():
        raise UsageError(
            f"An area has several units in the group '{name}'. Add the other strata up first: "
            f"cells.margin(keep=['{stratum}'])."
        )
    clusters, cluster = np.unique(panel.units.loc[keep, "cluster"].to_numpy(dtype=object), return_inverse=True)
    return replace(
        panel,
        clusters=clusters,
        cluster=cluster,
        units=panel.units[keep].reset_index(drop=True),
        cohort=panel.cohort[keep],
        group=panel.group[keep],
        mean=panel.mean[keep],
        weight=panel.weight[keep],
        n=panel.n[keep],
    )


def gap_panel(panel: Panel, stratum: str, group: str, reference: str) -> Panel:
    """The gap between two groups of each area, ``group`` minus ``reference``, as a panel of areas.

    A cell is there where both groups were observed; it weighs w_A w_B / (w_A + w_B) and counts the records of both.
    Raises DesignError where no area has both groups in the same period.
    """
    if group == reference:
        raise UsageError(f"A gap needs two different groups, and both are '{group}'.")
    first, second = (of_group(panel, stratum, name) for name in (group, reference))
    both, in_first, in_second = np.intersect1d(first.clusters, second.clusters, return_indices=True)
    order_first, order_second = np.argsort(first.cluster)[in_first], np.argsort(second.cluster)[in_second]
    mean = first.mean[order_first] - second.mean[order_second]
    weights = first.weight[order_first], second.weight[order_second]
    known = np.isfinite(mean) & (weights[0] > 0) & (weights[1] > 0)
    if not known.any():
        raise DesignError(
            f"No area has '{panel.outcome}' for both '{group}' and '{reference}' in the same period. "
            "Choose groups that are found in the same areas."
        )
    total = np.where(known, weights[0] + weights[1], 1.0)
    return replace(
        first,
        clusters=both,
        cluster=np.arange(len(both)),
        units=first.units.iloc[order_first].drop(columns=stratum).reset_index(drop=True),
        cohort=first.cohort[order_first],
        group=first.group[order_first],
        mean=np.where(known, mean, np.nan),
        weight=np.where(known, weights[0] * weights[1] / total, 0.0),
        n=np.where(known, first.n[order_first] + second.n[order_second], 0.0),
    )


def _fit(panel: Panel, method: Method, anticipation: int, contrast: str) -> Fit:
    if method == "two_way":
        return fit_two_way(panel, anticipation=anticipation, contrast=contrast)
    if method == "group_time":
        return fit_group_time(panel, control="not_yet", anticipation=anticipation, contrast=contrast)
    return fit_imputation(panel, anticipation=anticipation, contrast=contrast)


def fit_triple(
    panel: Panel,
    *,
    stratum: str,
    group: str,
    reference: str,
    method: Method = "two_way",
    anticipation: int = 0,
    contrast: str = "",
) -> Triple:
    """Effect on the gap between two groups of a stratum, and on each group (standard 6.8 asks for all three).

    ``method="two_way"`` is the regression above; where areas start at different times it also compares the newly with
    the already treated, so use "group_time" or "imputation" there. The assumption is that the gap would have moved in
    parallel in treated and untreated areas.

    Raises UsageError for unknown groups, DesignError where the effect isn't identified, no area has both groups, or
    the outcome never varies.
    """
    if method not in ("two_way", "group_time", "imputation"):
        raise UsageError(f"method must be 'two_way', 'group_time' or 'imputation', not '{method}'.")
    refuse_constant(panel)
    parts = (
        gap_panel(panel, stratum, group, reference),
        *(of_group(panel, stratum, each) for each in (group, reference)),
    )
    gap, first, second = (_fit(part, method, anticipation, contrast) for part in parts)
    return Triple(gap, first, second, (group, reference))

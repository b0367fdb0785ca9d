"""One outcome as arrays, which is what estimators compute with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from sendap.errors import DataError, UsageError

Weights = Literal["areas", "children"]

COMPARISON_WEIGHT = "comparison_weight"
"""Optional column of a cells' ``clusters``: how much each cluster counts, beside ``weights``, once a comparison group
was chosen. See ``sendap.comparison``."""


def join_clusters(tables: Sequence[pd.DataFrame]) -> pd.DataFrame | None:
    """What is known of the clusters of several cells, each cluster once; None where nothing is known.

    Raises UsageError where one cluster has two comparison weights: they were chosen for one outcome, and would
    silently serve another.
    """
    if not tables:
        return None
    both = pd.concat(tables, ignore_index=True)
    if COMPARISON_WEIGHT in both.columns:
        counted = both.groupby("cluster")[COMPARISON_WEIGHT].nunique(dropna=False)
        if (counted > 1).any():
            raise UsageError(
                f"Cluster '{counted.index[counted > 1][0]}' has two comparison weights. Put cells together first, then "
                "choose the comparison group of each outcome and apply it."
            )
    return both.drop_duplicates("cluster").reset_index(drop=True)


def comparison_weights(clusters: pd.DataFrame | None, wanted: pd.Series) -> np.ndarray | None:
    """The comparison weight of each of the wanted clusters, or None where no comparison group was chosen.

    Raises DataError where one of them has none, or it's negative.
    """
    if clusters is None or COMPARISON_WEIGHT not in clusters.columns:
        return None
    found = wanted.map(clusters.set_index("cluster")[COMPARISON_WEIGHT]).astype(float)
    wrong = ~(found >= 0)
    if wrong.any():
        raise DataError(
            f"Cluster '{wanted[wrong].iloc[0]}' has no comparison weight, though others have. Leave it out, or choose "
            "the comparison group again from these cells."
        )
    return found.to_numpy()


@dataclass(frozen=True)
class OutcomeInfo:
    """What an outcome is: its unit, its words, the kind of its periods (None for plain numbers)."""

    unit: str = ""
    label: str = ""
    period_kind: str | None = None


@dataclass(frozen=True)
class Panel:
    """One outcome as arrays: ``U`` units (cluster by stratum) by ``T`` periods.

    ``mean`` and ``weight`` are U by T, missing and zero where nothing was observed. ``weights`` says what the weight
    counts: "areas" or "children", with ", weighted" where a comparison group multiplies it. ``cohort`` (U) is the first
    treated period, infinite for the never treated. ``cluster`` (U) is the position of a unit's cluster in
    ``clusters``; ``group`` (U) numbers the strata of a within-region comparison, all zero without one.
    """

    outcome: str
    clusters: np.ndarray
    units: pd.DataFrame
    periods: np.ndarray
    cohort: np.ndarray
    cluster: np.ndarray
    group: np.ndarray
    group_names: tuple[str, ...]
    mean: np.ndarray
    weight: np.ndarray
    n: np.ndarray
    weights: str
    info: OutcomeInfo

    @property
    def cluster_cohort(self) -> np.ndarray:
        """First treated period of each cluster (G)."""
        found = np.full(len(self.clusters), np.inf)
        found[self.cluster] = self.cohort
        return found

    @property
    def cluster_group(self) -> np.ndarray:
        found = np.zeros(len(self.clusters), dtype=int)
        found[self.cluster] = self.group
        return found

    def select(self, periods: Iterable[int]) -> Panel:
        """The same units, in these periods only."""
        keep = np.isin(self.periods, list(periods))
        return replace(
            self,
            periods=self.periods[keep],
            mean=self.mean[:, keep],
            weight=self.weight[:, keep],
            n=self.n[:, keep],
        )

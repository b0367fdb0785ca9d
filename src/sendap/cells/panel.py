"""One outcome as arrays, which is what estimators compute with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

Weights = Literal["areas", "children"]


@dataclass(frozen=True)
class OutcomeInfo:
    """What an outcome is: its unit, its words, the kind of its periods (None for plain numbers)."""

    unit: str = ""
    label: str = ""
    period_kind: str | None = None


@dataclass(frozen=True)
class Panel:
    """One outcome as arrays: ``U`` units (cluster by stratum) by ``T`` periods.

    ``mean`` and ``weight`` are U by T, missing and zero where nothing was observed. ``cohort`` (U) is the first
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
    weights: Weights
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

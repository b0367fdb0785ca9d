"""Are the same children and areas counted before and after?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sendap.cells import Panel
from sendap.estimators import fit_group_time
from sendap.estimators.group_time import Control
from sendap.probe.linear import Effect, overall_effect

SMALL, LARGE = 0.05, 0.10
"""Relative changes in how many are counted, up to which composition is a low and a moderate threat: our own rule."""

Level = Literal["low", "moderate", "high"]


@dataclass(frozen=True)
class Composition:
    """How what is counted changed with the programme.

    ``counted`` is the headline design on the logarithm of how many were counted, None where the figures carry no
    counts. ``missing`` is the share of area-periods without a figure: treated before and after the start of each area,
    and untreated before and after the first start.
    """

    counted: Effect | None
    missing: tuple[tuple[float, float], tuple[float, float]]

    @property
    def missing_change(self) -> float:
        """By how much the share missing rose more in treated than in untreated areas."""
        (before, after), (other_before, other_after) = self.missing
        return (after - before) - (other_after - other_before)

    @property
    def threat(self) -> Level | None:
        """Low, moderate or high; None where neither counts nor gaps say anything."""
        if self.counted is None:
            return None
        change = abs(float(np.expm1(self.counted.estimate)))
        if change <= SMALL or not self.counted.excludes_zero:
            return "low"
        return "moderate" if change <= LARGE else "high"


def composition(panel: Panel, *, control: Control = "never", anticipation: int = 0) -> Composition:
    """Changes in how many were counted and in which figures are missing, treated against untreated areas."""
    known = np.isfinite(panel.mean) & (panel.weight > 0)
    start = panel.cohort.min()
    after = panel.periods[None, :] >= np.where(np.isfinite(panel.cohort), panel.cohort, start)[:, None]
    treated = (panel.cohort <= panel.periods.max())[:, None] & np.ones_like(known)

    def gone(members: np.ndarray) -> float:
        return float(1 - known[members].mean()) if members.any() else 0.0

    missing = (
        (gone(treated & ~after), gone(treated & after)),
        (gone(~treated & ~after), gone(~treated & after)),
    )
    if np.ptp(panel.n[known]) == 0:
        return Composition(None, missing)
    counts = replace(panel, mean=np.where(known, np.log(np.maximum(panel.n, 1e-9)), np.nan))
    return Composition(overall_effect(fit_group_time(counts, control=control, anticipation=anticipation)), missing)

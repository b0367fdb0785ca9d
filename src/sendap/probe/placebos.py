"""Programmes that never were: in areas that had none, and on outcomes that can't be moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time
from sendap.estimators.group_time import Control, Fitter
from sendap.probe.linear import keep_clusters, overall_effect, overall_term

CHUNK = 250
FEWEST_PLACEMENTS = 99


@dataclass(frozen=True)
class PlaceboGroups:
    """What the headline estimator finds where there was no programme.

    ``estimates`` (R) of programmes dealt to untreated areas with the real starts; ``real`` is the real estimate,
    ``treated`` how many areas each fake programme has and ``untreated`` how many there were to draw from.
    """

    estimates: np.ndarray
    real: float
    treated: int
    untreated: int

    @property
    def as_large(self) -> float:
        """Share of the fake programmes whose estimate is at least as large, in size, as the real one."""
        return float((np.abs(self.estimates) >= abs(self.real)).mean())

    @property
    def spread(self) -> float:
        return float(self.estimates.std(ddof=1))

    def range(self, level: float = 0.95) -> tuple[float, float]:
        """The middle ``level`` of the fake estimates."""
        low, high = np.quantile(self.estimates, [0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)


def placebo_groups(
    panel: Panel,
    regions: np.ndarray | None = None,
    *,
    control: Control = "never",
    anticipation: int = 0,
    draws: int = 499,
    seed: int = 20230902,
    fitter: Fitter = fit_group_time,
) -> PlaceboGroups:
    """Deal the programme's starts to untreated areas, and estimate what can't be there.

    Treated areas are left out. In each region (G; all as one without it) as many areas get each start as really have
    it, or, where too few are untreated, at most half of these. Unlike permutation, which deals the starts among all
    areas, no real effect is in the data. ``fitter`` is the headline estimator.

    Raises DesignError where fewer than two areas can be given a start or left without.
    """
    if draws < FEWEST_PLACEMENTS:
        raise UsageError(f"draws must be {FEWEST_PLACEMENTS} or more.")
    real = fitter(panel, control=control, anticipation=anticipation)
    treated = panel.cluster_cohort <= panel.periods.max()
    # Areas that start after the data are untreated here, and stay so.
    quiet = keep_clusters(panel, ~treated)
    quiet = replace(quiet, cohort=np.full(len(quiet.units), np.inf))
    place = np.zeros(len(panel.clusters), dtype=int) if regions is None else np.unique(regions, return_inverse=True)[1]
    dealt = _dealt(panel.cluster_cohort[treated], place[treated], place[~treated], draws, np.random.default_rng(seed))
    count = int(np.isfinite(dealt[0]).sum())
    if count < 1 or dealt.shape[1] - count < 2:
        raise DesignError(f"'{panel.outcome}' has too few untreated areas to pretend that some were treated.")
    fit = fitter(replace(quiet, cohort=dealt[0][quiet.cluster]), control=control, anticipation=anticipation)
    term = np.array([overall_term(fit)])
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [fit.permute(dealt[row : row + CHUNK], term).outcome[:, 0] for row in range(0, draws, CHUNK)]
    estimates = np.concatenate(parts)
    estimates = estimates[np.isfinite(estimates)]
    if len(estimates) < FEWEST_PLACEMENTS:
        raise DesignError(f"'{panel.outcome}': too few fake programmes could be estimated.")
    return PlaceboGroups(estimates, float(real.estimate[overall_term(real)]), count, dealt.shape[1])


def _dealt(
    cohorts: np.ndarray, of_treated: np.ndarray, of_quiet: np.ndarray, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """First treated periods (R by untreated clusters), infinite for those left without."""
    made = np.full((draws, len(of_quiet)), np.inf)
    for region in np.unique(of_treated):
        members = np.flatnonzero(of_quiet == region)
        starts = cohorts[of_treated == region]
        room = len(members) // 2
        if room == 0:
            continue
        for row in range(draws):
            given = starts if len(starts) <= room else generator.choice(starts, room, replace=False)
            made[row, generator.choice(members, len(given), replace=False)] = given
    return made


def placebo_outcomes(
    panels: Mapping[str, Panel],
    *,
    control: Control,
    anticipation: Mapping[str, int],
    fitter: Fitter = fit_group_time,
) -> pd.DataFrame:
    """The overall effect on outcomes that the programme can't move: ``outcome, estimate, low, high, unit, note``.

    ``fitter`` is the headline estimator.
    """
    rows = []
    for name, panel in panels.items():
        try:
            found = overall_effect(fitter(panel, control=control, anticipation=anticipation[name]))
            rows.append((name, found.estimate, found.low, found.high, panel.info.unit, ""))
        except DesignError as error:
            rows.append((name, np.nan, np.nan, np.nan, panel.info.unit, str(error)))
    return pd.DataFrame(rows, columns=["outcome", "estimate", "low", "high", "unit", "note"])

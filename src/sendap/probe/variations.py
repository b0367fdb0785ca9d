"""The headline estimate again with one thing changed: periods counted as partly exposed, or a region left out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sendap.cells import Panel
from sendap.errors import DesignError
from sendap.estimators import fit_group_time
from sendap.estimators.group_time import Control, Fitter
from sendap.probe.linear import keep_clusters, overall_effect

FURTHER = 2


def vary_anticipation(
    panel: Panel,
    *,
    control: Control = "never",
    anticipation: int = 0,
    further: int = FURTHER,
    fitter: Fitter = fit_group_time,
) -> pd.DataFrame:
    """The overall effect with 0 to ``anticipation + further`` periods before the start counted as partly exposed.

    Returns ``anticipation, estimate, low, high, headline, note``. If areas had changed before the start, the estimate
    would move as the base moves back. ``fitter`` is the headline estimator.
    """
    rows = []
    for periods in range(anticipation + further + 1):
        try:
            found = overall_effect(fitter(panel, control=control, anticipation=periods))
            rows.append((periods, found.estimate, found.low, found.high, periods == anticipation, ""))
        except DesignError as error:
            rows.append((periods, np.nan, np.nan, np.nan, periods == anticipation, str(error)))
    return pd.DataFrame(rows, columns=["anticipation", "estimate", "low", "high", "headline", "note"])


def leave_one_region_out(
    panel: Panel,
    regions: np.ndarray,
    *,
    control: Control = "never",
    anticipation: int = 0,
    fitter: Fitter = fit_group_time,
) -> pd.DataFrame:
    """The overall effect without all areas of each region that has a treated one: ``region, estimate, note``.

    ``regions`` (G) is the region of each cluster. Where one partnership was chosen in each region, this leaves out one
    partnership at a time. ``fitter`` is the headline estimator.
    """
    treated = panel.cluster_cohort <= panel.periods.max()
    rows = []
    for region in np.unique(regions[treated]):
        try:
            fit = fitter(keep_clusters(panel, regions != region), control=control, anticipation=anticipation)
            rows.append((str(region), float(fit.estimate[(fit.terms["term"] == "overall").to_numpy()][0]), ""))
        except DesignError as error:
            rows.append((str(region), np.nan, str(error)))
    return pd.DataFrame(rows, columns=["region", "estimate", "note"])

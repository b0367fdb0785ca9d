"""The public estimators: cells in, results out, inference chosen by the number of treated clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from sendap.cells import Cells, Panel
from sendap.cells.core import Weights
from sendap.estimators import fit_event_study, fit_group_time, fit_group_time_lagged, fit_two_by_two, fit_two_way
from sendap.estimators.fit import Fit
from sendap.estimators.group_time import Base, Control
from sendap.estimators.group_time_lagged import LAGS
from sendap.inference import infer
from sendap.results import Estimates


def _regions(cells: Cells, panel: Panel) -> np.ndarray | None:
    """The region of each cluster, so that permutation stays inside it even where estimation doesn't."""
    if cells.clusters is None or "region" not in cells.clusters.columns:
        return None
    names = cells.clusters.set_index("cluster")["region"].reindex(panel.clusters)
    return np.asarray(np.unique(names.astype(str), return_inverse=True)[1])


def _results(cells: Cells, fit: Fit, options: dict[str, Any]) -> Estimates:
    found = infer(fit, regions=_regions(cells, fit.panel), **options)
    return found.with_columns(synthetic=cells.synthetic) if cells.synthetic else found


def two_way(
    cells: Cells,
    outcome: str | None = None,
    *,
    weights: Weights = "areas",
    within: str | None = None,
    anticipation: int = 0,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """The effect of being treated, with area and period effects (two-way fixed effects).

    ``weights``: "areas" counts every area once, "children" by its records. ``within="region"`` gives each
    region period effects of its own. ``anticipation`` periods before the start are left out for the treated.
    ``options`` go to inference: ``inference, level, draws, seed, permute, band``.
    """
    panel = cells.panel(outcome, weights=weights, within=within)
    return _results(cells, fit_two_way(panel, anticipation=anticipation, contrast=contrast), options)


def event_study(
    cells: Cells,
    outcome: str | None = None,
    *,
    weights: Weights = "areas",
    within: str | None = None,
    anticipation: int = 0,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Effects by period before and after the start, with area and period effects. Arguments as ``two_way``."""
    panel = cells.panel(outcome, weights=weights, within=within)
    return _results(cells, fit_event_study(panel, anticipation=anticipation, contrast=contrast), options)


def group_time(
    cells: Cells,
    outcome: str | None = None,
    *,
    control: Control = "never",
    base: Base = "universal",
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Group-time average effects (Callaway and Sant'Anna 2021) and their averages.

    ``control``: "never" or "not_yet" treated areas. ``base``: "universal" (the last period before treatment)
    or "varying" (the period before, for periods before treatment). Other arguments as ``two_way``.
    """
    panel = cells.panel(outcome, weights=weights, within=within)
    fit = fit_group_time(panel, control=control, base=base, anticipation=anticipation, contrast=contrast)
    return _results(cells, fit, options)


def group_time_lagged(
    cells: Cells,
    outcome: str | None = None,
    *,
    lags: int = LAGS,
    control: Control = "never",
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Group-time effects among areas that had the same figures in the last ``lags`` periods before the start.

    For areas that were chosen for how they did: their figures drift back by themselves, which a difference in
    differences takes for an effect. Sources: Angrist and Pischke (2009), section 5.4; Ding and Li (2019),
    doi:10.1017/pan.2019.25. Other arguments as ``group_time``.
    """
    panel = cells.panel(outcome, weights=weights, within=within)
    fit = fit_group_time_lagged(panel, lags=lags, control=control, anticipation=anticipation, contrast=contrast)
    return _results(cells, fit, options)


def two_by_two(
    cells: Cells,
    outcome: str | None = None,
    *,
    before: int,
    after: int,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Difference in differences between two periods. Arguments as ``two_way``."""
    panel = cells.panel(outcome, weights=weights, within=within)
    return _results(cells, fit_two_by_two(panel, before=before, after=after, contrast=contrast), options)

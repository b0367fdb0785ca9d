"""Public estimators for further designs: cells in, results out.

Stacked difference in differences, local projections, programmes of differing dose, and interrupted time series. See
``sendap.effects`` and ``sendap.effects_more`` for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sendap.cells import Cells, OutcomeInfo
from sendap.cells.core import Weights
from sendap.effects import _results
from sendap.errors import DataError, UsageError, did_you_mean
from sendap.estimators.dose import MOST_BINS, fit_dose
from sendap.estimators.interrupted import Errors, Interrupted, InterruptedFit, fit_interrupted, series_of
from sendap.estimators.local_projections import Weighting, fit_local_projections
from sendap.estimators.stacked import Control, fit_stacked
from sendap.inference.infer import ONE_SIDED
from sendap.periods import period_label
from sendap.results import Estimates, tidy


def stacked(
    cells: Cells,
    outcome: str | None = None,
    *,
    before: int | None = None,
    after: int | None = None,
    control: Control = "not_yet",
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Stacked difference in differences (Cengiz et al. 2019; Wing, Freedman and Hollingsworth 2024).

    ``before`` and ``after``: periods before the start and after its first one that each start must have; by default
    the widest that leaves no start out. ``control``: "not_yet" (untreated through the window) or "never" treated areas.
    ``weights``: "areas" counts every area once, "children" by its records before the start. ``within="region"`` gives
    each region period effects of its own. ``options`` go to inference: ``inference, level, draws, seed, permute``.
    """
    panel = cells.panel(outcome, weights=weights, within=within)
    fit = fit_stacked(panel, before=before, after=after, control=control, anticipation=anticipation, contrast=contrast)
    return _results(cells, fit, options)


def local_projections(
    cells: Cells,
    outcome: str | None = None,
    *,
    weighting: Weighting = "equal",
    after: int | None = None,
    control: Control = "not_yet",
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Local projections difference in differences (Dube, Girardi, Jordà and Taylor 2025, doi:10.1002/jae.70000).

    ``weighting``: "equal" counts each treated area equally, "variance" is plain least squares. ``after``: how many
    periods after its first the overall effect averages. Other arguments as ``stacked``.
    """
    panel = cells.panel(outcome, weights=weights, within=within)
    fit = fit_local_projections(
        panel, weighting=weighting, after=after, control=control, anticipation=anticipation, contrast=contrast
    )
    return _results(cells, fit, options)


def dose(
    cells: Cells,
    outcome: str | None = None,
    *,
    doses: str | pd.Series,
    bins: int | Sequence[float] = MOST_BINS,
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Effects where areas got more or less of a programme (Callaway, Goodman-Bacon and Sant'Anna 2024).

    ``doses``: a column of the cells' ``clusters``, or a series indexed by cluster; zero or missing for the untreated.
    Terms: "overall" and "dose a to b" are effects at the dose that areas had, against areas without any; "slope" is the
    two-way slope, a description. ``parts["dose"].slope_weights()`` shows what it makes of each area. ``bins``: how many
    bins of dose, or their upper edges. Other arguments as ``stacked``.
    """
    if isinstance(doses, str):
        if cells.clusters is None or doses not in cells.clusters.columns:
            held = [] if cells.clusters is None else [name for name in cells.clusters.columns if name != "cluster"]
            raise UsageError(f"These cells hold no '{doses}' for their clusters.{did_you_mean(doses, held)}")
        doses = cells.clusters.set_index("cluster")[doses]
    panel = cells.panel(outcome, weights=weights, within=within)
    return _results(cells, fit_dose(panel, doses, bins=bins, anticipation=anticipation, contrast=contrast), options)


def interrupted_series(
    data: Cells | pd.Series,
    outcome: str | None = None,
    *,
    start: int | None = None,
    control: pd.Series | None = None,
    compare: bool | None = None,
    errors: Errors = "arma",
    order: tuple[int, int] = (1, 0),
    lag: int | None = None,
    season: int | None = None,
    harmonics: int | None = None,
    anticipation: int = 0,
    times: Sequence[int] | None = None,
    weights: Weights = "children",
    contrast: str = "",
    level: float = 0.95,
) -> Estimates:
    """Change of level and slope of one series at a start (interrupted time series).

    ``data``: cells, whose treated areas are taken together, less the untreated ones where there are any (``compare``
    says to, or not to); or a series indexed by whole numbers, one a period, with its ``start`` and, if there is one, a
    ``control`` series. ``errors``: "arma" of ``order`` (p, q) by restricted maximum likelihood, or "newey_west" with
    ``lag``, too narrow in short series. ``season``: periods in a year. ``anticipation`` periods before the start are
    left out. Terms: "overall" (mean effect after the start), "level", "slope", and "event" for ``times`` after it.
    ``parts["interrupted_series"]`` holds the fit with its ``diagnostics``. Arguments in full:
    ``sendap.estimators.interrupted.fit_interrupted``.
    """
    if isinstance(data, Cells):
        if start is not None or control is not None:
            raise UsageError("Cells hold their starts and untreated areas; start and control are for a plain series.")
        panel = data.panel(outcome, weights=weights)
        series, info, counted = series_of(panel, compare=compare), panel.info, panel.weights
    else:
        series, info, counted = _plain(data, outcome, start, control, compare), OutcomeInfo(), ""
    fit = fit_interrupted(
        series,
        errors=errors,
        lag=lag,
        order=order,
        season=season,
        harmonics=harmonics,
        anticipation=anticipation,
        times=times,
    )
    synthetic = isinstance(data, Cells) and data.synthetic
    shared = {"contrast": contrast, "weight": counted, "unit": info.unit, "synthetic": synthetic}
    return _interrupted_results(fit, info, shared, level)


def _plain(
    data: pd.Series, outcome: str | None, start: int | None, control: pd.Series | None, compare: bool | None
) -> Interrupted:
    """A plain series as one to interrupt, less its control series.

    Raises UsageError without a start, DataError for an index that isn't whole numbers or values that aren't numbers.
    """
    if start is None:
        raise UsageError("A plain series needs its start: the first treated period.")
    if compare is not None:
        raise UsageError("compare is for cells. Give a plain series' control, or none.")
    parts = []
    for each in (data, *([] if control is None else [control])):
        if not isinstance(each, pd.Series) or not pd.api.types.is_integer_dtype(each.index):
            raise DataError(
                "A series is indexed by whole numbers, one a period, for example 2015, 2016 or months counted from "
                "the first. Number the periods."
            )
        numbers = pd.to_numeric(each, errors="coerce")
        if (numbers.isna() & each.notna()).any():
            raise DataError(f"Period {each.index[numbers.isna() & each.notna()][0]}: found text, expected a number.")
        parts.append(numbers.dropna().astype(float).sort_index())
    values = parts[0] if control is None else (parts[0] - parts[1]).dropna()
    return Interrupted(
        outcome=outcome or str(data.name or "series"),
        periods=values.index.to_numpy(dtype=int),
        values=values.to_numpy(),
        start=int(start),
        control_clusters=0 if control is None else 1,
    )


def _interrupted_results(fit: InterruptedFit, info: OutcomeInfo, shared: dict[str, Any], level: float) -> Estimates:
    series, kind = fit.series, info.period_kind
    wide, narrow = stats.t.ppf(0.5 + level / 2, fit.dof), stats.t.ppf(ONE_SIDED, fit.dof)

    def listed(periods: np.ndarray) -> str:
        return ", ".join(period_label(int(each), kind) if kind else str(each) for each in periods)

    rows, note = [], fit.words
    for position, term in enumerate(fit.terms.to_dict("records")):
        estimate, error = float(fit.estimate[position]), float(np.sqrt(fit.variance[position]))
        rows.append(
            {
                **shared,
                **term,
                "outcome": series.outcome,
                "estimator": "interrupted_series",
                "cohort": float(series.start),
                "estimate": estimate,
                "std_error": error,
                "ci_low": estimate - wide * error,
                "ci_high": estimate + wide * error,
                "ci_level": level,
                "one_sided_low": estimate - narrow * error,
                "one_sided_high": estimate + narrow * error,
                "p_value": float(2 * stats.t.sf(abs(estimate) / error, fit.dof)) if error > 0 else np.nan,
                "dof": float(fit.dof),
                "inference": fit.errors,
                "n": series.n,
                "clusters": series.treated_clusters + series.control_clusters,
                "treated_clusters": series.treated_clusters,
                "status": "ok",
                "headline": True,
                "periods_before": listed(fit.periods[fit.event < 0]),
                "periods_after": listed(fit.periods[fit.event >= 0]),
                "period_kind": kind or "",
                "note": note,
            }
        )
    return Estimates(tidy(pd.DataFrame(rows)), parts={"interrupted_series": fit})

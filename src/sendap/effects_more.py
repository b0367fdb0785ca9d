"""More public estimators: cells in, results out, inference chosen by the number of treated clusters.

Imputation, two-stage, Sun-Abraham, extended two-way, group-time effects given covariates, synthetic and triple
differences. See ``sendap.effects`` for two-way, event-study and group-time effects.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from sendap.cells import Cells
from sendap.cells.core import Weights
from sendap.effects import _results
from sendap.errors import UsageError
from sendap.estimators.group_time import Base, Control
from sendap.estimators.group_time_covariates import Method as CovariateMethod
from sendap.estimators.group_time_covariates import fit_group_time_covariates
from sendap.estimators.imputation import Level, fit_imputation, fit_two_stage
from sendap.estimators.interacted import fit_extended_two_way, fit_sun_abraham
from sendap.estimators.interacted_glm import fit_extended_two_way_glm
from sendap.estimators.synthetic import Method as SyntheticMethod
from sendap.estimators.synthetic import SyntheticFit, fit_synthetic
from sendap.estimators.triple import Method as TripleMethod
from sendap.estimators.triple import fit_triple
from sendap.inference.rows import ONE_SIDED
from sendap.inference.selector import SOME
from sendap.periods import period_label
from sendap.results import Estimates, tidy

Family = Literal["gaussian", "poisson", "logit"]


def imputation(
    cells: Cells,
    outcome: str | None = None,
    *,
    anticipation: int = 0,
    unit_effects: Level = "unit",
    leads: int | None = None,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Effects by imputation (Borusyak, Jaravel and Spiess 2024, doi:10.1093/restud/rdae007).

    ``weights``: "areas" counts every area once, "children" by its records. ``within="region"`` gives each region
    period effects of its own. ``leads``: how many periods before the start get a coefficient.
    ``unit_effects="cluster"`` lets the strata of an area share its effect. ``options`` go to inference: ``inference,
    level, draws, seed, permute, band``.
    """
    panel = cells.panel(outcome, weights=weights, within=within)
    fit = fit_imputation(panel, anticipation=anticipation, unit_effects=unit_effects, leads=leads, contrast=contrast)
    return _results(cells, fit, options)


def two_stage(
    cells: Cells,
    outcome: str | None = None,
    *,
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Two-stage difference in differences (Gardner 2021, arXiv:2207.05943). Arguments as ``two_way``."""
    panel = cells.panel(outcome, weights=weights, within=within)
    return _results(cells, fit_two_stage(panel, anticipation=anticipation, contrast=contrast), options)


def sun_abraham(
    cells: Cells,
    outcome: str | None = None,
    *,
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Interaction-weighted event study (Sun and Abraham 2021, doi:10.1016/j.jeconom.2020.09.006).

    The never treated are the controls; where there are none, the last cohort. Arguments as ``two_way``.
    """
    panel = cells.panel(outcome, weights=weights, within=within)
    return _results(cells, fit_sun_abraham(panel, anticipation=anticipation, contrast=contrast), options)


def extended_two_way(
    cells: Cells,
    outcome: str | None = None,
    *,
    family: Family = "gaussian",
    control: Control = "not_yet",
    anticipation: int = 0,
    covariates: pd.DataFrame | None = None,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Extended two-way fixed effects (Wooldridge 2025, doi:10.1007/s00181-025-02807-z; 2023, doi:10.1093/ectj/utad016).

    ``family``: "gaussian" with unit and period effects; "poisson" for counts and rates, whose trends are parallel in
    logarithms; "logit" for shares from 0 to 1, parallel in log odds. The latter two have cohort and period effects,
    compare with all that isn't treated yet, and give effects in the outcome's unit. ``covariates`` (gaussian only): a
    frame with ``cluster`` and columns known before treatment. Other arguments as ``two_way``.
    """
    panel = cells.panel(outcome, weights=weights, within=within)
    if family == "gaussian":
        fit = fit_extended_two_way(
            panel, control=control, anticipation=anticipation, covariates=covariates, contrast=contrast
        )
        return _results(cells, fit, options)
    if covariates is not None or control != "not_yet":
        raise UsageError(f"family='{family}' takes no covariates and compares with the not yet treated only.")
    other = fit_extended_two_way_glm(panel, family=family, anticipation=anticipation, contrast=contrast)
    return _results(cells, other, {**options, "permute": False})


def group_time_covariates(
    cells: Cells,
    outcome: str | None = None,
    *,
    covariates: pd.DataFrame,
    method: CovariateMethod = "doubly_robust",
    control: Control = "never",
    base: Base = "universal",
    anticipation: int = 0,
    weights: Weights = "areas",
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Group-time average effects among areas with the same covariates (Callaway and Sant'Anna 2021).

    ``covariates``: one row a cluster, with ``cluster`` and columns known before treatment (numbers, or text for
    categories). ``method``: "doubly_robust", "regression" or "weighting". Other arguments as ``group_time``.
    """
    fit = fit_group_time_covariates(
        cells.panel(outcome, weights=weights),
        covariates,
        method=method,
        control=control,
        base=base,
        anticipation=anticipation,
        contrast=contrast,
    )
    return _results(cells, fit, options)


def triple_difference(
    cells: Cells,
    outcome: str | None = None,
    *,
    stratum: str,
    group: str,
    reference: str,
    method: TripleMethod = "two_way",
    anticipation: int = 0,
    weights: Weights = "areas",
    within: str | None = None,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Did the gap between two groups change, and what happened to each group?

    Rows whose ``stratum`` reads "group minus reference" are the triple difference; the others, with the name of a
    group, its own effect: a gap may narrow because one group lost. Strata not named are added up. ``method``:
    "two_way" is the regression of the standard; take "group_time" or "imputation" where starts are staggered.
    """
    if stratum in cells.strata and len(cells.strata) > 1:
        cells = cells.margin(keep=[stratum])
    panel = cells.panel(outcome, weights=weights, within=within)
    found = fit_triple(
        panel,
        stratum=stratum,
        group=group,
        reference=reference,
        method=method,
        anticipation=anticipation,
        contrast=contrast,
    )
    labels = (f"{group} minus {reference}", group, reference)
    parts = [
        _results(cells, fit, options).with_columns(stratum=label, estimator=f"triple_{method}" if at == 0 else method)
        for at, (fit, label) in enumerate(zip((found.gap, found.group, found.reference), labels, strict=True))
    ]
    return Estimates(Estimates.concat(parts).frame, parts={"triple": found})


def synthetic_did(
    cells: Cells,
    outcome: str | None = None,
    *,
    method: SyntheticMethod = "synthetic_did",
    level: float = 0.95,
    draws: int = 500,
    seed: int = 20230902,
    contrast: str = "",
) -> Estimates:
    """Effect on areas that start together, against weighted controls (Arkhangelsky et al. 2021, 10.1257/aer.20190159).

    ``method``: "synthetic_did", "synthetic_control" or "did". p-values and intervals come from placebos, the whole
    estimate again with untreated areas in the place of the treated: with up to twelve treated areas by rank (of the
    estimate; of the ratio of fits after and before for synthetic control), beyond by their spread. With up to twelve
    the spread gives a standard error but no interval, because the normal distribution isn't valid then. ``parts``
    holds the fit with the weights of areas and periods.
    """
    fit = fit_synthetic(cells.panel(outcome), method=method, draws=draws, seed=seed, contrast=contrast)
    rows = [*_synthetic_overall(fit, level), *_synthetic_periods(fit, level)]
    return Estimates(tidy(pd.DataFrame([{**row, "synthetic": cells.synthetic} for row in rows])), {fit.estimator: fit})


def _synthetic_base(fit: SyntheticFit) -> dict[str, Any]:
    panel, before = fit.panel, fit.block.before
    kind = panel.info.period_kind

    def listed(periods: np.ndarray) -> str:
        return ", ".join(period_label(int(each), kind) if kind else str(each) for each in periods)

    drawn = "all" if fit.exact else "random"
    few = " Too few placebos for any effect to be ruled out." if 1 / (1 + len(fit.placebos)) > 0.05 else ""
    return {
        "outcome": panel.outcome,
        "contrast": fit.contrast,
        "estimator": fit.estimator,
        "draws": len(fit.placebos),
        "n": float(panel.n.sum()),
        "clusters": len(panel.clusters),
        "treated_clusters": fit.treated,
        "effective_clusters": 1.0 / float((fit.weighted.controls**2).sum()) + fit.treated,
        "weight": panel.weights,
        "unit": panel.info.unit,
        "status": "ok",
        "periods_before": listed(panel.periods[:before]),
        "periods_after": listed(panel.periods[before:]),
        "period_kind": kind or "",
        "note": f"RMSPE before the start {fit.weighted.fit_before:.4g}; {drawn} {len(fit.placebos)} placebo sets.{few}",
    }


def _synthetic_overall(fit: SyntheticFit, level: float) -> list[dict[str, Any]]:
    """The estimate with each kind of placebo inference, the headline first."""
    base = {**_synthetic_base(fit), "term": "overall", "estimate": fit.estimate, "ci_level": level}
    error, two_sided = fit.standard_error, 2 * ONE_SIDED - 1
    # A symmetric interval of 1.96 standard errors is barred with few treated areas (evaluation standard, 4.2).
    normal = error > 0 and fit.treated > SOME
    reach = {each: stats.norm.ppf(0.5 + each / 2) * error if normal else np.nan for each in (level, two_sided)}
    kinds = {
        "placebo_rank": (fit.placebo_p_value, fit.interval(level), fit.interval(two_sided)),
        "placebo_variance": (
            float(2 * stats.norm.sf(abs(fit.estimate) / error)) if normal else np.nan,
            *((fit.estimate - reach[each], fit.estimate + reach[each]) for each in (level, two_sided)),
        ),
        "placebo_ratio": (fit.ratio_p_value, fit.ratio_interval(level), fit.ratio_interval(two_sided)),
    }
    first = "placebo_variance" if fit.treated > SOME else "placebo_rank"
    first = "placebo_ratio" if fit.method == "synthetic_control" and fit.treated == 1 else first
    rows = []
    for name in sorted(kinds, key=lambda each: each != first):
        p_value, interval, one_sided = kinds[name]
        rows.append(
            {
                **base,
                "inference": name,
                "std_error": error if name == "placebo_variance" else np.nan,
                "p_value": p_value,
                "ci_low": interval[0],
                "ci_high": interval[1],
                "one_sided_low": one_sided[0],
                "one_sided_high": one_sided[1],
                "headline": name == first,
            }
        )
    return rows


def _synthetic_periods(fit: SyntheticFit, level: float) -> list[dict[str, Any]]:
    """The gap in each period, with the placebos' gaps in the same period for its interval and p-value."""
    panel, base = fit.panel, _synthetic_base(fit)
    start = float(panel.cohort[np.isfinite(panel.cohort)].min())
    rows = []
    for position, period in enumerate(panel.periods):
        gap = float(fit.weighted.gap[position])
        low, high = fit.interval(level, position)
        extreme = int((np.abs(fit.gaps[:, position]) >= abs(gap) * (1 - 1e-10)).sum())
        rows.append(
            {
                **base,
                "term": "event",
                "period": float(period),
                "event_time": float(period) - start,
                "estimate": gap,
                "ci_low": low,
                "ci_high": high,
                "ci_level": level,
                "p_value": (1 + extreme) / (1 + len(fit.gaps)),
                "inference": "placebo_rank",
                "headline": True,
            }
        )
    return rows

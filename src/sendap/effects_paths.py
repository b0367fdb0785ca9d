"""Effects with pupil effects: path cells in, results out, inference chosen by the number of treated clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sendap.cells.paths import PathCells
from sendap.errors import UsageError
from sendap.estimators.paths import PathFit, fit_event_study_paths, fit_two_way_paths
from sendap.inference.cluster_robust import crv1_variance, crv3_variance
from sendap.inference.selector import Choice, choose
from sendap.inference.wild_bootstrap import Kind, wild_bootstrap
from sendap.periods import period_label
from sendap.results import Estimates, tidy

METHODS = ("auto", "crv1", "crv3", "wcr", "wcu")
ONE_SIDED = 0.95


def two_way_paths(
    cells: PathCells,
    outcome: str | None = None,
    *,
    anticipation: int = 0,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """The effect of being in a treated area, with pupil and period effects (two-way fixed effects).

    ``anticipation`` periods before the start are left out in treated areas. ``options`` go to ``infer_paths``:
    ``inference, level, draws, seed, kind``.
    """
    fit = fit_two_way_paths(cells, outcome, anticipation=anticipation, contrast=contrast)
    return _results(cells, fit, options)


def event_study_paths(
    cells: PathCells,
    outcome: str | None = None,
    *,
    anticipation: int = 0,
    contrast: str = "",
    **options: Any,
) -> Estimates:
    """Effects by period before and after the start, with pupil and period effects. Arguments as ``two_way_paths``."""
    fit = fit_event_study_paths(cells, outcome, anticipation=anticipation, contrast=contrast)
    return _results(cells, fit, options)


def _results(cells: PathCells, fit: PathFit, options: dict[str, Any]) -> Estimates:
    found = infer_paths(fit, **options)
    return found.with_columns(synthetic=True) if cells.synthetic else found


def infer_paths(
    fit: PathFit,
    *,
    inference: str = "auto",
    level: float = 0.95,
    draws: int = 9999,
    seed: int = 20230902,
    kind: Kind = "rademacher",
) -> Estimates:
    """Intervals and p-values for every term of a fit on path cells.

    ``inference``: "auto" takes what ``choose`` says for the treated and untreated clusters of each term; "crv1",
    "crv3", "wcr" and "wcu" (wild cluster bootstrap, restricted or not, with ``draws`` and multipliers of ``kind``)
    name a method, refused where the choice forbids it. Permutation isn't defined here, so a term with too few
    clusters for anything else gets no interval, and says so.
    """
    if inference not in METHODS:
        raise UsageError(f"inference must be one of {', '.join(METHODS)}, not '{inference}'.")
    left_out = fit.leave_one_out()
    variance = {"crv1": crv1_variance(fit), "crv3": crv3_variance(left_out, fit.estimate)}  # type: ignore[arg-type]
    effective, shared, rows = fit.effective_clusters(), _describe(fit), []
    for position, term in enumerate(fit.terms.to_dict("records")):
        choice = choose(int(term["treated_clusters"]), int(term["control_clusters"]))
        kept = ("term", "cohort", "period", "event_time", "treated_clusters", "n", "note")
        described = {**shared, **{key: term[key] for key in kept}}
        described |= {"estimate": float(fit.estimate[position]), "effective_clusters": effective[position]}
        chosen = _methods(choice, inference)
        if not chosen:
            rows.append(_without_interval(described, choice))
        for method in chosen:
            headline = method == chosen[0]
            if method in ("wcr", "wcu"):
                found = _bootstrapped(fit, position, method, level=level, draws=draws, seed=seed, kind=kind)
            else:
                error = float(np.sqrt(variance[method][position]))
                dof = fit.clusters - 1.0 if method == "crv1" else fit.jackknife_dof(position)
                found = _from_error(fit.estimate[position], error, dof, level)
            note = _lost(left_out[:, position], fit) if method == "crv3" else ""
            note = f"{described['note']} {note}".strip()
            rows.append({**described, **found, "inference": method, "headline": headline, "note": note})
    return Estimates(tidy(pd.DataFrame(rows)), parts={fit.estimator: fit})


def _methods(choice: Choice, inference: str) -> list[str]:
    """The methods for a term, the headline first; none where all that are defined here are forbidden."""
    if inference == "auto":
        if choice.headline in ("permutation", "none"):
            return []
        return [method for method in (choice.headline, *choice.second) if method in METHODS]
    # What invalidates the jackknife's t test, too few clusters on one side, invalidates the wild bootstrap as well.
    forbidden = {*choice.refused, *(("wcr", "wcu") if "crv3" in choice.refused else ())}
    if inference in forbidden:
        raise UsageError(f"'{inference}' isn't valid here. {choice.why} Use inference='auto'.")
    return [inference]


def _describe(fit: PathFit) -> dict[str, Any]:
    """What every row holds, whatever the term and the method."""
    panel, info = fit.panel, fit.panel.info

    def years(rows: np.ndarray) -> str:
        found = panel.periods[np.bincount(panel.period[rows], minlength=len(panel.periods)) > 0]
        kind = info.period_kind
        return ", ".join(period_label(int(year), kind) if kind else str(year) for year in found)

    treated = np.isfinite(panel.event)
    return {
        "outcome": panel.outcome,
        "contrast": fit.contrast,
        "estimator": fit.estimator,
        "clusters": fit.clusters,
        "weight": "given" if panel.weighted else "children",
        "unit": info.unit,
        "status": "ok",
        "periods_before": years(treated & (panel.event < 0)),
        "periods_after": years(treated & (panel.event >= 0)),
        "period_kind": info.period_kind or "",
    }


def _from_error(estimate: float, error: float, dof: float, level: float) -> dict[str, float]:
    """Interval, one-sided bounds and p-value from a standard error and Student's t."""
    wide, narrow = stats.t.ppf(0.5 + level / 2, dof), stats.t.ppf(ONE_SIDED, dof)
    return {
        "std_error": error,
        "dof": dof,
        "ci_low": estimate - wide * error,
        "ci_high": estimate + wide * error,
        "ci_level": level,
        "one_sided_low": estimate - narrow * error,
        "one_sided_high": estimate + narrow * error,
        "p_value": float(2 * stats.t.sf(abs(estimate) / error, dof)) if error > 0 else np.nan,
    }


def _bootstrapped(fit: PathFit, term: int, method: str, *, level: float, **options: Any) -> dict[str, Any]:
    """Interval, one-sided bounds and p-value by the wild cluster bootstrap."""

    def run(wanted: float) -> Any:
        return wild_bootstrap(fit, term=term, restricted=method == "wcr", level=wanted, **options)

    found, narrow = run(level), run(2 * ONE_SIDED - 1)
    return {
        "draws": found.draws,
        "ci_low": found.low,
        "ci_high": found.high,
        "ci_level": level,
        "one_sided_low": narrow.low,
        "one_sided_high": narrow.high,
        "p_value": found.p_value,
    }


def _without_interval(described: dict[str, Any], choice: Choice) -> dict[str, Any]:
    note = f"{described['note']} No interval: {choice.why} Permutation isn't defined with pupil effects.".strip()
    return {**described, "inference": "none", "status": "not_estimable", "headline": True, "note": note}


def _lost(left_out: np.ndarray, fit: PathFit) -> str:
    lost = fit.clusters - int(np.isfinite(left_out).sum())
    return f"{lost} cluster(s) can't be left out of the jackknife." if lost else ""

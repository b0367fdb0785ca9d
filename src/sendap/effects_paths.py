"""Effects with pupil effects: path cells in, results out, inference chosen by the number of treated clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sendap.cells.paths import PathCells
from sendap.errors import UsageError
from sendap.estimators.paths import PathFit, fit_event_study_paths, fit_two_way_paths
from sendap.inference.bands import simultaneous_band
from sendap.inference.cluster_robust import crv1_variance, crv3_variance
from sendap.inference.permutation import allocations, permutation_results
from sendap.inference.permutation_paths import permute_paths
from sendap.inference.rows import ONE_SIDED, ends, from_error
from sendap.inference.rows_by_draws import FEWEST_ALLOCATIONS
from sendap.inference.selector import Choice, choose
from sendap.inference.wild_bootstrap import Kind, agreement, wild_bootstrap
from sendap.periods import period_label
from sendap.results import Estimates, tidy

METHODS = ("auto", "crv1", "crv3", "wcr", "wcu", "permutation")
BAND_DRAWS = 9999


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
    ``inference, level, draws, seed, kind, permute, band``.
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
    regions = None
    if "region" in cells.clusters.columns:
        names = cells.clusters.set_index("cluster")["region"].reindex(fit.panel.clusters).astype(str)
        regions = np.unique(names, return_inverse=True)[1]
    found = infer_paths(fit, regions=regions, **options)
    return found.with_columns(synthetic=True) if cells.synthetic else found


def infer_paths(
    fit: PathFit,
    *,
    inference: str = "auto",
    level: float = 0.95,
    draws: int = 9999,
    seed: int = 20230902,
    kind: Kind = "rademacher",
    regions: np.ndarray | None = None,
    permute: bool = True,
    band: bool = False,
) -> Estimates:
    """Intervals and p-values for every term of a fit on path cells.

    ``inference``: "auto" takes what ``choose`` says for the treated and untreated clusters of each term; "crv1",
    "crv3", "wcr", "wcu" (wild cluster bootstrap, restricted or not, with multipliers of ``kind``) and "permutation"
    name a method, refused where the choice forbids it. ``regions`` (G) keeps permutation inside regions, and
    ``permute=False`` saves its draws where it would only be the second method. ``band`` adds intervals for the event
    times that hold all at once, where none has fewer than six treated clusters.
    """
    if inference not in METHODS:
        raise UsageError(f"inference must be one of {', '.join(METHODS)}, not '{inference}'.")
    left_out = fit.leave_one_out()
    variance = {"crv1": crv1_variance(fit), "crv3": crv3_variance(left_out, fit.estimate)}  # type: ignore[arg-type]
    effective, shared, rows = fit.effective_clusters(), _describe(fit), []
    choices, base = [], []
    for position, term in enumerate(fit.terms.to_dict("records")):
        choices.append(choose(int(term["treated_clusters"]), int(term["control_clusters"]), float(effective[position])))
        kept = ("term", "cohort", "period", "event_time", "treated_clusters", "n", "note")
        described = {**shared, **{key: term[key] for key in kept}}
        base.append(described | {"estimate": float(fit.estimate[position]), "effective_clusters": effective[position]})
    planned = [
        _methods(choice, inference, second=permute and described["term"] == "overall")
        for choice, described in zip(choices, base, strict=True)
    ]
    permuted = [at for at, methods in enumerate(planned) if "permutation" in methods]
    tested = _permuted(fit, permuted, regions, level, draws, seed)
    for at, (choice, chosen) in enumerate(zip(choices, planned, strict=True)):
        if not chosen:
            rows.append(_without_interval(base[at], choice.why, headline=True))
        for method in chosen:
            found: dict[str, Any] | str
            if method == "permutation":
                found = tested[at]
            elif method in ("wcr", "wcu"):
                found = _bootstrapped(fit, at, method, level=level, draws=draws, seed=seed, kind=kind)
            else:
                dof = fit.clusters - 1.0 if method == "crv1" else fit.jackknife_dof(at)
                found = from_error(float(fit.estimate[at]), float(np.sqrt(variance[method][at])), dof, level)
                found["note"] = _lost(left_out[:, at], fit) if method == "crv3" else ""
            rows.append(_row(base[at], method, found, headline=method == chosen[0]))
    if band:
        rows += _band(fit, base, variance["crv3"], level, seed)
    return Estimates(tidy(pd.DataFrame(rows)), parts={fit.estimator: fit})


def _methods(choice: Choice, inference: str, *, second: bool) -> list[str]:
    """The methods for a term, the headline first. ``second``: permutation too where it's a second method."""
    if inference == "auto":
        if choice.headline == "none":
            return []
        beside = [name for name in choice.second if name in METHODS and (second or name != "permutation")]
        return [choice.headline, *beside]
    if inference in choice.refused:
        raise UsageError(f"'{inference}' isn't valid here. {choice.reason(inference)} Use inference='auto'.")
    return [inference]


def _permuted(
    fit: PathFit, positions: list[int], regions: np.ndarray | None, level: float, draws: int, seed: int
) -> dict[int, dict[str, Any] | str]:
    """Interval, bounds and p-value of each term by permutation of the starts, or why there are none."""
    if not positions:
        return {}
    cohorts = fit.panel.cohort
    groups = np.zeros(len(cohorts), dtype=int) if regions is None else regions
    dealt, exact = allocations(cohorts, groups, draws, seed)
    if exact and len(dealt) < FEWEST_ALLOCATIONS:
        return dict.fromkeys(positions, f"there are only {len(dealt)} ways to deal the starts out")
    terms = np.array(positions)
    found, actual = permute_paths(fit, dealt, terms), permute_paths(fit, cohorts[None, :], terms)
    studentised = fit.terms["treated_clusters"].to_numpy()[terms] > 1
    levels = (level, 2 * ONE_SIDED - 1)
    tested = permutation_results(found, actual, exact=exact, levels=levels, studentised=studentised)
    return {
        at: {"p_value": each.p_value, "draws": each.draws, "ci_level": level, **ends(each.intervals)}
        for at, each in zip(positions, tested, strict=True)
    }


def _band(
    fit: PathFit, base: list[dict[str, Any]], variance: np.ndarray, level: float, seed: int
) -> list[dict[str, Any]]:
    """Rows with the simultaneous band of the event times, by the jackknife's errors and fewest degrees of freedom."""
    events = [at for at, each in enumerate(base) if each["term"] == "event"]
    sides = [(int(base[at]["treated_clusters"]), fit.clusters - int(base[at]["treated_clusters"])) for at in events]
    if not events or any("crv3" in choose(*each).refused for each in sides):
        return []
    found = simultaneous_band(
        fit.estimate[events],
        scores=fit.scores[:, events],
        std_error=np.sqrt(variance[events]),
        level=level,
        dof=min(fit.jackknife_dof(at) for at in events),
        draws=BAND_DRAWS,
        seed=seed,
    )
    said = f"Holds for all {len(events)} event times at once: {found.critical:.2f} standard errors each way."
    return [
        {
            **base[at],
            "ci_low": found.low[number],
            "ci_high": found.high[number],
            "ci_level": level,
            "p_adjusted": found.p_adjusted[number],
            "draws": found.draws,
            "inference": "band",
            "headline": False,
            "note": f"{base[at]['note']} {said}".strip(),
        }
        for number, at in enumerate(events)
    ]


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


def _bootstrapped(fit: PathFit, term: int, method: str, *, level: float, **options: Any) -> dict[str, Any] | str:
    """Interval, one-sided bounds and p-value by the wild cluster bootstrap, or why it isn't valid."""
    both = agreement(fit, term=term, **options)
    if not both.agree:
        return both.reason

    def run(wanted: float) -> Any:
        return wild_bootstrap(fit, term=term, restricted=method == "wcr", level=wanted, **options)

    found, narrow = run(level), run(2 * ONE_SIDED - 1)
    both_ends = ((found.low, found.high), (narrow.low, narrow.high))
    return {"draws": found.draws, "ci_level": level, "p_value": found.p_value, **ends(both_ends)}


def _row(described: dict[str, Any], method: str, found: dict[str, Any] | str, *, headline: bool) -> dict[str, Any]:
    """One row of results; ``found`` says why where there's no interval."""
    if isinstance(found, str):
        return _without_interval(described, found, headline=headline, method=method)
    note = f"{described['note']} {found.get('note', '')}".strip()
    return {**described, **found, "inference": method, "headline": headline, "note": note}


def _without_interval(
    described: dict[str, Any], reason: str, *, headline: bool, method: str = "none"
) -> dict[str, Any]:
    note = f"{described['note']} No interval: {reason.rstrip('.')}.".strip()
    return {
        **described,
        "inference": "none" if headline else method,
        "status": "not_estimable",
        "headline": headline,
        "note": note,
    }


def _lost(left_out: np.ndarray, fit: PathFit) -> str:
    lost = fit.clusters - int(np.isfinite(left_out).sum())
    return f"{lost} cluster(s) can't be left out of the jackknife." if lost else ""

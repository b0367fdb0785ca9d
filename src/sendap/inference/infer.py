"""From a fit to results: each term with the intervals and p-values that are valid for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sendap.errors import UsageError
from sendap.estimators.fit import Fit
from sendap.inference.cluster_robust import (
    crv1_variance,
    crv3_variance,
    effective_clusters,
    satterthwaite_dof,
)
from sendap.inference.permutation import permutation_test
from sendap.inference.selector import Choice, choose
from sendap.inference.wild_bootstrap import wild_bootstrap
from sendap.periods import period_label
from sendap.results import Estimates, tidy

METHODS = ("auto", "crv1", "crv3", "permutation", "wcr")
FEW_FOR_RADEMACHER = 12
ONE_SIDED = 0.95
FEWEST_ALLOCATIONS = 20


def infer(
    fit: Fit,
    *,
    inference: str = "auto",
    level: float = 0.95,
    draws: int = 1999,
    seed: int = 20230902,
    regions: np.ndarray | None = None,
    permute: bool = True,
    only: tuple[str, ...] | None = None,
) -> Estimates:
    """Intervals and p-values for every term of a fit.

    ``inference``: "auto" takes what ``choose`` says for the treated and untreated clusters of each term; a
    named method is refused where the choice forbids it. ``regions`` (G) keeps permutation inside regions.
    ``permute=False`` saves the draws where permutation would only be the second method; ``only`` keeps some
    kinds of terms ("overall", "event").
    """
    if inference not in METHODS:
        raise UsageError(f"inference must be one of {', '.join(METHODS)}, not '{inference}'.")
    choices = {
        row.Index: choose(int(row.treated_clusters), int(row.control_clusters))
        for row in fit.terms.itertuples()
        if only is None or row.term in only
    }
    if inference != "auto":
        choices = {position: _only(choice, inference) for position, choice in choices.items()}
    base = _describe(fit)
    left_out = fit.leave_one_out()
    effective = effective_clusters(fit)
    variance = {"crv1": crv1_variance(fit), "crv3": crv3_variance(left_out, fit.estimate)}
    rows = _cluster_robust_rows(fit, base, choices, variance, left_out, effective, level)
    rows += _permutation_rows(fit, base, choices, effective, level, draws, seed, regions, permute)
    rows += _bootstrap_rows(fit, base, choices, effective, level, draws, seed, permute)
    rows += _refused_rows(base, choices)
    # By term, the headline method first.
    rows.sort(key=lambda row: (row["position"], not row["headline"]))
    frame = tidy(pd.DataFrame(rows).drop(columns="position"))
    return Estimates(frame, parts={fit.estimator: fit})


def _only(choice: Choice, method: str) -> Choice:
    if method in choice.refused:
        raise UsageError(f"'{method}' isn't valid here. {choice.why} Use inference='auto'.")
    return Choice(method, (), choice.refused, choice.why)


def _describe(fit: Fit) -> dict[int, dict[str, Any]]:
    """What every row of a term holds, whatever the method."""
    panel, info = fit.panel, fit.panel.info
    described = {}
    weights = fit.weights()
    for position, term in enumerate(fit.terms.to_dict("records")):
        used = np.abs(weights[position]) > 0
        clusters = len(np.unique(panel.cluster[used.any(axis=1)]))
        treated = np.isfinite(panel.cohort)
        event = panel.periods[None, :] - panel.cohort[:, None]
        before = panel.periods[(used & treated[:, None] & (event < 0)).any(axis=0)]
        after = panel.periods[(used & treated[:, None] & (event >= 0)).any(axis=0)]
        described[position] = {
            "position": position,
            "outcome": panel.outcome,
            "contrast": fit.contrast,
            "estimator": fit.estimator,
            **{key: term[key] for key in ("term", "cohort", "period", "event_time", "treated_clusters", "n", "note")},
            "estimate": float(fit.estimate[position]),
            "clusters": clusters,
            "weight": panel.weights,
            "unit": info.unit,
            "status": "ok",
            "periods_before": _years(before, info.period_kind),
            "periods_after": _years(after, info.period_kind),
            "period_kind": info.period_kind or "",
        }
    return described


def _years(periods: np.ndarray, kind: str | None) -> str:
    return ", ".join(period_label(int(year), kind) if kind else str(year) for year in periods)


def _cluster_robust_rows(fit, base, choices, variance, left_out, effective, level):  # type: ignore[no-untyped-def]
    rows = []
    clusters = len(fit.panel.clusters)
    for position, choice in choices.items():
        for method in ("crv1", "crv3"):
            if method != choice.headline and method not in choice.second:
                continue
            error = float(np.sqrt(variance[method][position]))
            dof = float(clusters - 1) if method == "crv1" else satterthwaite_dof(fit, position)
            estimate = base[position]["estimate"]
            note = base[position]["note"]
            lost = int((~np.isfinite(left_out[:, position])).sum())
            if method == "crv3" and lost:
                note = f"{note} {lost} cluster(s) can't be left out of the jackknife.".strip()
            critical, one_sided = stats.t.ppf(0.5 + level / 2, dof), stats.t.ppf(ONE_SIDED, dof)
            rows.append(
                {
                    **base[position],
                    "std_error": error,
                    "ci_low": estimate - critical * error,
                    "ci_high": estimate + critical * error,
                    "ci_level": level,
                    "one_sided_low": estimate - one_sided * error,
                    "one_sided_high": estimate + one_sided * error,
                    "p_value": float(2 * stats.t.sf(abs(estimate) / error, dof)) if error > 0 else np.nan,
                    "dof": dof,
                    "inference": method,
                    "effective_clusters": effective[position],
                    "headline": method == choice.headline,
                    "note": note,
                }
            )
    return rows


def _permutation_rows(fit, base, choices, effective, level, draws, seed, regions, permute):  # type: ignore[no-untyped-def]
    needed = [
        position
        for position, choice in choices.items()
        if choice.headline == "permutation"
        or (permute and "permutation" in choice.second and base[position]["term"] == "overall")
    ]
    if not needed or fit.estimator == "event_study":
        return [_not_estimable(base[position], "permutation isn't defined for this estimator") for position in needed]
    groups = fit.panel.cluster_group if regions is None else regions
    terms = np.array(needed)
    studentised = np.array([fit.terms["treated_clusters"].iloc[position] > 1 for position in needed])
    tested = permutation_test(
        fit, terms, groups, draws=draws, seed=seed, levels=(level, 2 * ONE_SIDED - 1), studentised=studentised
    )
    rows = []
    for position, found in zip(needed, tested, strict=True):
        two_sided, one_sided = found.intervals
        headline = choices[position].headline == "permutation"
        if found.exact and found.draws < FEWEST_ALLOCATIONS:
            rows.append(_not_estimable(base[position], f"there are only {found.draws} ways to deal the starts out"))
            continue
        rows.append(
            {
                **base[position],
                "ci_low": two_sided[0],
                "ci_high": two_sided[1],
                "ci_level": level,
                "one_sided_low": one_sided[0],
                "one_sided_high": one_sided[1],
                "p_value": found.p_value,
                "inference": "permutation",
                "draws": found.draws,
                "effective_clusters": effective[position],
                "headline": headline,
            }
        )
    return rows


def _bootstrap_rows(fit, base, choices, effective, level, draws, seed, permute):  # type: ignore[no-untyped-def]
    """The restricted wild cluster bootstrap, where the fit is one of least squares."""
    rows = []
    for position, choice in choices.items():
        headline = choice.headline == "wcr"
        second = permute and "wcr" in choice.second and base[position]["term"] == "overall"
        if not hasattr(fit, "cross_products"):
            if headline:
                rows.append(_not_estimable(base[position], "the wild bootstrap is for least squares only"))
            continue
        if not headline and not second:
            continue
        # Few clusters give few distinct signs, so six points take their place (standard of evaluation, 4.2).
        kind = "webb" if base[position]["clusters"] < FEW_FOR_RADEMACHER else "rademacher"
        two_sided, one_sided = (
            wild_bootstrap(fit, term=position, kind=kind, draws=draws, seed=seed, level=each)
            for each in (level, 2 * ONE_SIDED - 1)
        )
        rows.append(
            {
                **base[position],
                "ci_low": two_sided.low,
                "ci_high": two_sided.high,
                "ci_level": level,
                "one_sided_low": one_sided.low,
                "one_sided_high": one_sided.high,
                "p_value": two_sided.p_value,
                "inference": "wcr",
                "draws": two_sided.draws,
                "effective_clusters": effective[position],
                "headline": headline,
            }
        )
    return rows


def _not_estimable(described: dict[str, Any], reason: str) -> dict[str, Any]:
    note = f"{described['note']} No interval: {reason}.".strip()
    return {**described, "inference": "none", "status": "not_estimable", "headline": True, "note": note}


def _refused_rows(base: dict[int, dict[str, Any]], choices: dict[int, Choice]) -> list[dict[str, Any]]:
    return [_not_estimable(base[i], choice.why) for i, choice in choices.items() if choice.headline == "none"]

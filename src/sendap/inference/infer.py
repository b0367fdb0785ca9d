"""From a fit to results: each term with the intervals and p-values that are valid for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from sendap.errors import UsageError
from sendap.estimators.fit import Fit
from sendap.inference.band_rows import band_rows
from sendap.inference.cluster_robust import effective_clusters
from sendap.inference.rows import (
    ONE_SIDED,
    Asked,
    cluster_robust_rows,
    placebo_rows,
    rearrangement_rows,
    unavailable,
)
from sendap.inference.rows_by_draws import bootstrap_rows, permutation_rows
from sendap.inference.selector import METHODS as NAMED
from sendap.inference.selector import Choice, choose
from sendap.periods import period_label
from sendap.results import Estimates, tidy

METHODS = ("auto", *NAMED)
EVERY_TERM = ("crv1", "crv2", "crv3")
"""Second methods that are shown for every term; the others, which draw, only for the overall one."""
LEAST_SQUARES = ("crv2", "wcr", "wcu")
MAKERS: dict[str, Callable[[Asked, str, list[int]], list[dict[str, Any]]]] = {
    "crv1": cluster_robust_rows,
    "crv2": cluster_robust_rows,
    "crv3": cluster_robust_rows,
    "permutation": permutation_rows,
    "wcr": bootstrap_rows,
    "wcu": bootstrap_rows,
    "conley_taber": placebo_rows,
    "ferman_pinto": placebo_rows,
    "hagemann": rearrangement_rows,
}

__all__ = ["METHODS", "ONE_SIDED", "infer"]


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
    band: bool = False,
) -> Estimates:
    """Intervals and p-values for every term of a fit, one row a term and method, the headline method first.

    ``inference``: "auto" takes what ``choose`` says for the treated and untreated clusters of each term; a
    named method (``METHODS``) is refused where the choice forbids it for every term, and terms that alone have too
    few clusters for it get no interval. ``regions`` (G) keeps permutation inside regions. ``permute=False`` saves
    the draws of second methods; ``only`` keeps some kinds of terms ("overall", "event"). ``band`` adds rows with
    intervals for the event times that hold all at once.

    Raises UsageError for an unknown method, or one that isn't valid or isn't defined for this estimator.
    """
    if inference not in METHODS:
        raise UsageError(f"inference must be one of {', '.join(METHODS)}, not '{inference}'.")
    if inference in LEAST_SQUARES and not hasattr(fit, "cross_products"):
        raise UsageError(
            f"'{inference}' is for least squares only, not '{fit.estimator}'. Use two_way or event_study, or another "
            "method of inference."
        )
    effective = effective_clusters(fit)
    choices = {
        row.Index: choose(int(row.treated_clusters), int(row.control_clusters), float(effective[row.Index]))
        for row in fit.terms.itertuples()
        if only is None or row.term in only
    }
    if inference != "auto":
        choices = _named(choices, inference, fit.terms["treated_clusters"])
    asked = Asked(fit, _describe(fit), choices, effective, level, draws, seed, regions)
    rows: list[dict[str, Any]] = []
    for method, positions in _planned(asked, second=permute).items():
        rows += MAKERS[method](asked, method, positions)
    rows += [unavailable(asked, at, "none", choice.why) for at, choice in choices.items() if choice.headline == "none"]
    # By term, the headline method first and the others as the selector lists them.
    order = {(at, name): n for at, choice in choices.items() for n, name in enumerate(choice.second, start=1)}
    rows.sort(key=lambda row: (row["position"], not row["headline"], order.get((row["position"], row["inference"]), 0)))
    if band:
        rows += band_rows(asked)
    frame = tidy(pd.DataFrame(rows).drop(columns="position"))
    return Estimates(frame, parts={fit.estimator: fit})


def _named(choices: dict[int, Choice], method: str, treated: pd.Series) -> dict[int, Choice]:
    """The choices with one method as the headline. Terms for which it's refused get no interval."""
    forbidden = {at: choice for at, choice in choices.items() if method in choice.refused}
    if forbidden and len(forbidden) == len(choices):
        # The term with the most treated clusters says best why.
        reason = forbidden[max(forbidden, key=lambda at: treated.iloc[at])].reason(method)
        raise UsageError(f"'{method}' isn't valid here. {reason} Use inference='auto'.")
    return {
        at: Choice("none", (), choice.refused, choice.reason(method), choice.reasons)
        if at in forbidden
        else Choice(method, (), choice.refused, choice.why, choice.reasons)
        for at, choice in choices.items()
    }


def _planned(asked: Asked, *, second: bool) -> dict[str, list[int]]:
    """For each method the terms to apply it to."""
    planned: dict[str, list[int]] = {}
    for at, choice in asked.choices.items():
        if choice.headline != "none":
            planned.setdefault(choice.headline, []).append(at)
        for method in choice.second:
            if method in LEAST_SQUARES and not hasattr(asked.fit, "cross_products"):
                continue
            if method in EVERY_TERM or (second and asked.base[at]["term"] == "overall"):
                planned.setdefault(method, []).append(at)
    return planned


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
        bases = (used & treated[:, None] & (event < 0)).any(axis=0)
        compared = bases.copy()
        for back in range(1, getattr(fit, "lags", 1)):
            # The base stands for all periods in which the areas compared are alike.
            compared[:-back] |= bases[back:] & (panel.periods[back:] < panel.cohort.min())
        before = panel.periods[compared]
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

"""One programme that never happened: every method and estimator applied to it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.calibration.panels import Figures
from benchmarks.calibration.placing import SCHEMES, place
from sendap.cells import Cells, OutcomeInfo
from sendap.effects import group_time, group_time_lagged, two_way
from sendap.effects_designs import local_projections, stacked
from sendap.effects_more import extended_two_way, imputation, sun_abraham, synthetic_did, two_stage
from sendap.errors import SendapError
from sendap.estimators import fit_group_time, fit_group_time_lagged, fit_two_way
from sendap.inference.cluster_robust import crv1_variance, effective_clusters
from sendap.inference.infer import MAKERS, _describe
from sendap.inference.rows import Asked
from sendap.inference.selector import METHODS, Choice, choose

DRAWS = 499
FEWER_DRAWS = 199
"""For the estimators, whose headline is dealt out anew for each of them where few areas are treated."""
ONE_IN = 4
"""How often the estimators are tried too: they take several times as long as the methods."""
LEVEL = 0.95
NORMAL = 1.959964
EFFECT = 1.0
"""The planted effect, in units of the spread of an area around its own mean and the year's."""
GROWTH = 0.5
ESTIMATORS: dict[str, Callable[..., Any]] = {
    "two_way": two_way,
    "group_time": group_time,
    "group_time_lagged": group_time_lagged,
    "imputation": imputation,
    "two_stage": two_stage,
    "sun_abraham": sun_abraham,
    "extended_two_way": extended_two_way,
    "stacked": stacked,
    "local_projections": local_projections,
    "synthetic_did": synthetic_did,
}
LEAST_SQUARES = ("crv2", "wcr", "wcu")
FITS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "group_time": (fit_group_time, tuple(name for name in METHODS if name not in LEAST_SQUARES)),
    "group_time_lagged": (fit_group_time_lagged, tuple(name for name in METHODS if name not in LEAST_SQUARES)),
    "two_way": (fit_two_way, ("crv1", "crv2", "crv3", "wcr", "wcu")),
}
"""The estimators on which methods are tried, and which of the methods."""
LARGEST_SYNTHETIC = 9
"""Synthetic difference in differences is meant for few treated areas, and slow with many."""


def trial(number: int, count: int, scheme: str, panels: list[Figures]) -> list[dict[str, Any]]:
    """All rows of one trial: methods on no effect, then estimators on an effect that grows."""
    warnings.simplefilter("ignore")
    generator = np.random.default_rng([20230902, number, count, SCHEMES.index(scheme)])
    chosen = panels[number % len(panels)]
    start = int(generator.integers(3, len(chosen.years)))
    treated = place(scheme, count, chosen.sign * chosen.values, start, chosen.region, generator)
    about = {"trial": number, "treated": count, "scheme": scheme, "series": chosen.name}
    cohort = np.full(len(chosen.codes), np.inf)
    cohort[treated] = chosen.years[start]
    rows = [{**about, "part": "method", **row} for row in _methods(_cells(chosen, chosen.values, cohort), number)]
    if number % ONE_IN:
        return [_scaled(row, chosen) for row in rows]
    later = treated[len(treated) // 2 :] if start + 1 < len(chosen.years) and count > 1 else treated[:0]
    cohort[later] = chosen.years[min(start + 1, len(chosen.years) - 1)]
    rows += [{**about, "part": "estimator", **row} for row in _estimators(chosen, cohort, count)]
    return [_scaled(row, chosen) for row in rows]


def _scaled(row: dict[str, Any], chosen: Figures) -> dict[str, Any]:
    """Figures in units of the spread, turned so that more is better, so that series can be put together."""
    unit = chosen.scale * chosen.sign
    made = {
        name: float(value) / unit if name in ("estimate", "low", "high", "truth") else value
        for name, value in row.items()
    }
    return made if chosen.sign > 0 else {**made, "low": made["high"], "high": made["low"]}


def _cells(chosen: Figures, values: np.ndarray, cohort: np.ndarray) -> Cells:
    areas, years = values.shape
    frame = pd.DataFrame(
        {
            "area": np.repeat(chosen.codes, years),
            "year": np.tile(chosen.years, areas),
            "cohort": np.repeat(cohort, years),
            "value": values.ravel(),
        }
    )
    clusters = pd.DataFrame({"cluster": chosen.codes, "region": chosen.region.astype(str)})
    return Cells.from_rates(
        frame, cluster="area", period="year", cohort="cohort", rate="value", outcome=chosen.name,
        info=OutcomeInfo("", chosen.name), clusters=clusters,
    )  # fmt: skip


def _methods(cells: Cells, seed: int) -> list[dict[str, Any]]:
    """Every method on the overall effect of the estimators that it's for; refused ones too."""
    panel = cells.panel(within="region")
    regions = panel.cluster_group
    rows = []
    for name, (fitter, methods) in FITS.items():
        fit = fitter(panel)
        at = int(np.flatnonzero((fit.terms["term"] == "overall").to_numpy())[0])
        term = fit.terms.iloc[at]
        effective = effective_clusters(fit)
        choice = choose(int(term["treated_clusters"]), int(term["control_clusters"]), float(effective[at]))
        base = _describe(fit)
        error = float(np.sqrt(crv1_variance(fit)[at]))
        value = float(fit.estimate[at])
        rows.append(_row(name, "normal", value, value - NORMAL * error, value + NORMAL * error, False, choice))
        for method in methods:
            forced = Choice(method, (), (), "")
            asked = Asked(fit, base, {at: forced}, effective, LEVEL, DRAWS, seed, regions)
            try:
                (row,) = MAKERS[method](asked, method, [at])
            except SendapError:
                continue
            low, high = row.get("ci_low", np.nan), row.get("ci_high", np.nan)
            rows.append(_row(name, method, value, low, high, method == choice.headline, choice))
    return rows


def _row(
    estimator: str, method: str, value: float, low: float, high: float, headline: bool, choice: Choice
) -> dict[str, Any]:
    return {
        "estimator": estimator,
        "method": method,
        "estimate": value,
        "low": low,
        "high": high,
        "headline": headline,
        "refused": method in choice.refused or method == "normal",
    }


def _estimators(chosen: Figures, cohort: np.ndarray, count: int) -> list[dict[str, Any]]:
    """Each estimator on the same figures with an effect that grows with time, from two starts."""
    since = chosen.years[None, :] - cohort[:, None]
    effect = np.where(since >= 0, EFFECT * chosen.scale * (1 + GROWTH * np.maximum(since, 0)), 0.0)
    cells = _cells(chosen, chosen.values + effect, cohort)
    truth = float(effect[since >= 0].mean())
    rows = []
    for name, estimator in ESTIMATORS.items():
        if name == "synthetic_did" and count > LARGEST_SYNTHETIC:
            continue
        options: dict[str, Any] = (
            {} if name == "synthetic_did" else {"permute": False, "only": ("overall",), "draws": FEWER_DRAWS}
        )
        try:
            found = estimator(cells, **options).frame
        except SendapError:
            continue
        overall = found[(found["term"] == "overall") & found["headline"]]
        if overall.empty:
            continue
        row = overall.iloc[0]
        rows.append(
            {
                "estimator": name,
                "method": row["inference"],
                "estimate": row["estimate"],
                "low": row["ci_low"],
                "high": row["ci_high"],
                "truth": truth,
                "headline": True,
                "refused": False,
            }
        )
    return rows

"""With 12 or fewer treated clusters no path gives an estimate plus or minus 1.96 cluster-robust standard errors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pandas as pd
import pytest
from episode_records import cases, duration_cells
from panels import as_cells, made_up
from path_records import draw_records
from scipy import stats

import sendap
from sendap.errors import DesignError, UsageError
from sendap.inference.cluster_robust import crv1_variance
from sendap.inference.infer import METHODS
from sendap.results import Estimates

CONTROLS = 20
YEARS = 4
# What an estimator needs beside the cells.
EXTRA: dict[str, dict[str, Any]] = {
    "two_by_two": {"before": 2017, "after": 2018},
    "triple_difference": {"stratum": "sex", "group": "Female", "reference": "Male"},
    "group_time_covariates": {},
    "dose": {"doses": "dose"},
    "hazard_effects": {"horizon": 10, "causes": ["agreed"]},
    "incidence_effects": {"horizons": [10], "causes": ["agreed"]},
}
# Results that don't rest on areas: the errors of one series over time.
OVER_TIME = {"interrupted_series"}


def estimators() -> dict[str, str]:
    """Public functions that return results, and the kind of cells that they take."""
    found = {}
    for name in sendap.__all__:
        value = getattr(sendap, name)
        if inspect.isfunction(value) and str(inspect.signature(value).return_annotation) == "Estimates":
            first = next(iter(inspect.signature(value).parameters.values()))
            found[name] = str(first.annotation)
    return found


def cells_with(treated: int, kind: str, name: str) -> Any:
    if kind == "PathCells":
        records = draw_records(treated, pupils=60, clusters=treated + 8, periods=YEARS, treated=treated)
        return sendap.compress_paths(records, unit="pupil", outcomes=["absence"])
    if kind == "DurationCells":
        return duration_cells(cases(treated, areas=2 * treated, each=8))
    areas = treated + CONTROLS
    frame = made_up(
        areas=areas, share_treated=treated / areas, starts=(2018.0,), years=YEARS, regions=1, counts=True, seed=treated
    )
    if name == "triple_difference":
        parts = [frame.assign(sex="Female"), frame.assign(sex="Male", y=frame["y"] + frame["n"] / 200)]
        both = pd.concat(parts)
        return sendap.Cells.from_rates(
            both.assign(part=both["y"] * both["n"] / 200),
            cluster="area",
            period="year",
            cohort="cohort",
            outcome="y",
            numerator="part",
            denominator="n",
            scale=200,
            strata=["sex"],
        )
    cells = as_cells(frame)
    assert cells.clusters is not None
    cells.clusters["dose"] = np.where(cells.clusters["cluster"].isin(frame.query("cohort > 0")["area"]), 1.0, 0.0)
    if name == "dose":
        cells.clusters["dose"] *= 1 + np.arange(len(cells.clusters)) % 3
    return cells


def called(name: str, kind: str, cells: Any, **options: Any) -> Estimates | None:
    """The results, or None where the method or the design is refused with a reason."""
    function = getattr(sendap, name)
    extra = dict(EXTRA.get(name, {}))
    if name == "group_time_covariates":
        clusters = cells.panel().clusters
        extra["covariates"] = pd.DataFrame(
            {"cluster": clusters, "size": np.random.default_rng(3).normal(size=len(clusters))}
        )
    needed = {
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.default is inspect.Parameter.empty and each.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert needed <= set(extra), f"say in EXTRA how to call {name}: it needs {sorted(needed)}"
    try:
        return function(cells, **extra, **options)
    except (UsageError, DesignError):
        return None


def refuse_normal_intervals(found: Estimates) -> None:
    errors: dict[tuple[str, float], float] = {}
    for fit in found.parts.values():
        if hasattr(fit, "scores") and hasattr(fit, "crv1_factor"):
            for value, error in zip(fit.estimate, np.sqrt(crv1_variance(fit)), strict=True):
                errors[(fit.panel.outcome, float(value))] = float(error)
    for row in found.frame[found.frame["treated_clusters"] <= 12].to_dict("records"):
        if not np.isfinite([row["ci_low"], row["ci_high"]]).all():
            continue
        assert row["inference"] != "crv1"
        if row["inference"] in ("crv2", "crv3", "wcr", "wcu", "band") and np.isfinite(row["dof"]):
            assert row["treated_clusters"] >= 6
            half = stats.t.ppf(0.975, row["dof"]) * row["std_error"]
            assert row["ci_high"] - row["estimate"] == pytest.approx(half, rel=1e-9)
        above, below = row["ci_high"] - row["estimate"], row["estimate"] - row["ci_low"]
        for error in (row["std_error"], errors.get((row["outcome"], row["estimate"]), np.nan)):
            if np.isfinite(error) and error > 0:
                for normal in (1.96 * error, stats.norm.ppf(0.975) * error):
                    # The same number, not one that happens to lie near.
                    assert not (np.isclose(above, normal, rtol=1e-6) and np.isclose(below, normal, rtol=1e-6)), row


NAMES = estimators()


def test_every_public_estimator_is_walked():
    assert {"two_way", "event_study", "group_time", "imputation", "two_way_paths", "synthetic_did"} <= set(NAMES)


@pytest.mark.parametrize("name", sorted(set(NAMES) - OVER_TIME))
def test_no_interval_is_normal_with_twelve_or_fewer_treated(name):
    kind = NAMES[name]
    named = "inference" if name != "synthetic_did" else None
    computed = 0
    # All share one path to results, so the rest are walked at the edges of the table.
    cheap = name in ("two_way", "group_time", "event_study")
    counts = range(1, 13) if cheap else (1, 5, 6, 12)
    for treated in counts:
        cells = cells_with(treated, kind, name)
        methods = METHODS if treated in ((5, 12) if cheap else (6,)) else ("auto",)
        for method in methods if named else ("auto",):
            options = {"draws": 39, **({"inference": method} if named else {})}
            if method == "auto" and named and treated in (5, 12):
                options["band"] = True
            found = called(name, kind, cells, **options)
            if found is not None:
                computed += 1
                refuse_normal_intervals(found)
    assert computed >= len(counts) - (kind == "DurationCells")


@pytest.mark.parametrize("treated", [1, 3, 5])
def test_every_term_of_an_event_study_has_an_interval_by_permutation(treated):
    areas = treated + 30
    frame = made_up(areas=areas, share_treated=treated / areas, starts=(2019.0,), regions=1)
    found = sendap.event_study(as_cells(frame), draws=199).headline()
    assert set(found["inference"]) == {"permutation"}
    assert found["std_error"].isna().all()
    assert (found["ci_low"] < found["estimate"]).all()
    assert (found["ci_high"] > found["estimate"]).all()

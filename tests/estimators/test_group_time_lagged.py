"""Effects among areas with the same past, held against regressions by hand and the version with given covariates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from sendap import group_time, group_time_lagged
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time_lagged
from sendap.estimators.group_time_covariates import fit_group_time_covariates
from sendap.probe.linear import keep_clusters, overall_term
from tests.panels import as_cells, made_up

EXACT = 1e-9
"""Both sides solve the same least squares in doubles, on figures around 50."""


def _by_hand(frame: pd.DataFrame, cohort: float, year: int, lags: int, *, anticipation: int = 0) -> float:
    """ATT(g, t) by statsmodels: a regression among the never treated of treated regions, a prediction for the rest."""
    wide = frame.pivot(index="area", columns="year", values="y")
    about = frame.drop_duplicates("area").set_index("area")
    base = int(cohort) - anticipation - 1
    past = [base - back for back in range(lags)]
    known = wide[[*past, year]].dropna().index
    weight = frame.pivot(index="area", columns="year", values="n").loc[known, base].astype(float)
    regions = pd.get_dummies(about.loc[known, "region"]).astype(float)
    never = about.loc[known, "cohort"].isna()
    treated = (about.loc[known, "cohort"] == cohort) & about.loc[known, "region"].isin(
        about.loc[known, "region"][never]
    )
    design = pd.concat([regions, wide.loc[known, past]], axis=1).to_numpy()
    change = (wide.loc[known, year] - wide.loc[known, base]).to_numpy()
    fit = sm.WLS(change[never], design[never], weights=weight[never]).fit()
    return float(np.average(change[treated] - design[treated] @ fit.params, weights=weight[treated]))


@pytest.mark.parametrize(
    ("lags", "missing", "counts", "anticipation"), [(2, 0.0, False, 0), (1, 0.05, True, 0), (2, 0.05, True, 1)]
)
def test_every_effect_equals_a_regression_by_hand(lags: int, missing: float, counts: bool, anticipation: int) -> None:
    frame = made_up(areas=60, years=8, starts=(2020.0, 2022.0), missing=missing, counts=counts, effect=1.5, seed=3)
    panel = as_cells(frame).panel(weights="children" if counts else "areas", within="region")
    fit = fit_group_time_lagged(panel, lags=lags, anticipation=anticipation)
    effects = fit.terms[fit.terms["term"] == "att"]
    assert len(effects) > 8
    for position, row in effects.iterrows():
        expected = _by_hand(frame, row["cohort"], int(row["period"]), lags, anticipation=anticipation)
        assert fit.estimate[position] == pytest.approx(expected, abs=EXACT)


def test_one_start_equals_the_version_with_the_past_as_covariates() -> None:
    frame = made_up(areas=50, years=7, starts=(2020.0,), regions=1, effect=2.0, seed=5)
    panel = as_cells(frame).panel()
    wide = frame.pivot(index="area", columns="year", values="y")
    past = wide[[2018, 2019]].rename(columns=str).rename_axis("cluster").reset_index()
    ours, theirs = fit_group_time_lagged(panel), fit_group_time_covariates(panel, past, method="regression")
    term, other = overall_term(ours), overall_term(theirs)
    assert ours.estimate[term] == pytest.approx(theirs.estimate[other], abs=EXACT)
    np.testing.assert_allclose(ours.scores[:, term], theirs.scores[:, other], atol=EXACT)


def test_the_weights_give_the_estimate_and_leave_no_level_behind() -> None:
    panel = as_cells(made_up(areas=40, years=7, starts=(2020.0, 2021.0), seed=7)).panel(within="region")
    fit = fit_group_time_lagged(panel)
    for term in range(len(fit.terms)):
        assert (fit.weights()[term] * panel.mean).sum() == pytest.approx(fit.estimate[term], abs=EXACT)
        assert fit.weights()[term].sum() == pytest.approx(0, abs=EXACT)


def test_leaving_a_cluster_out_equals_fitting_without_it() -> None:
    panel = as_cells(made_up(areas=30, years=7, starts=(2020.0, 2022.0), seed=9)).panel(within="region")
    fit = fit_group_time_lagged(panel)
    found = fit.leave_one_out()[:, overall_term(fit)]
    for gone in (0, 11, 29):
        rest = fit_group_time_lagged(keep_clusters(panel, np.arange(30) != gone))
        assert found[gone] == pytest.approx(rest.estimate[overall_term(rest)], abs=EXACT)


def test_dealing_starts_out_equals_fitting_with_them() -> None:
    panel = as_cells(made_up(areas=30, years=7, starts=(2020.0, 2022.0), seed=11)).panel(within="region")
    fit = fit_group_time_lagged(panel)
    term = overall_term(fit)
    generator = np.random.default_rng(1)
    for _ in range(3):
        dealt = panel.cohort.copy()
        for region in np.unique(panel.group):
            dealt[panel.group == region] = generator.permutation(dealt[panel.group == region])
        again = fit_group_time_lagged(replace(panel, cohort=dealt))
        found = fit.permute(dealt[None, :], np.array([term]))
        assert found.outcome[0, 0] == pytest.approx(again.estimate[overall_term(again)], abs=EXACT)


def test_areas_chosen_for_a_bad_year_fall_back_and_only_the_past_tells() -> None:
    """Figures that return to each area's usual level, no programme, and the worst third of the last two years taken."""
    generator = np.random.default_rng(20230902)
    areas, years, plain, lagged = 120, 8, [], []
    for _ in range(60):
        noise = generator.normal(size=(areas, years))
        level = 2 * generator.normal(size=(areas, 1))
        values = np.empty((areas, years))
        values[:, 0] = noise[:, 0] / np.sqrt(1 - 0.5**2)
        for year in range(1, years):
            values[:, year] = 0.5 * values[:, year - 1] + noise[:, year]
        values += level
        worst = np.argsort(values[:, 3:5].mean(axis=1))[:40]
        cohort = np.full(areas, np.nan)
        cohort[generator.permutation(worst)[:20]] = 2021.0
        frame = pd.DataFrame(
            {
                "area": np.repeat([f"A{area:03d}" for area in range(areas)], years),
                "year": np.tile(2016 + np.arange(years), areas),
                "cohort": np.repeat(cohort, years),
                "region": "one",
                "n": 1,
                "y": values.ravel(),
            }
        )
        cells = as_cells(frame)
        for found, estimator in ((plain, group_time), (lagged, group_time_lagged)):
            rows = estimator(cells, permute=False, only=("overall",)).headline()
            found.append((rows["estimate"].iloc[0], rows["ci_low"].iloc[0], rows["ci_high"].iloc[0]))
    drift, alike = np.array(plain), np.array(lagged)
    # Monte Carlo errors of the means are about 0.04; of a 5% share in 60 trials 2.8 points.
    assert drift[:, 0].mean() > 0.4
    assert abs(alike[:, 0].mean()) < 0.16
    assert ((drift[:, 1] > 0) | (drift[:, 2] < 0)).mean() > 0.25
    assert ((alike[:, 1] > 0) | (alike[:, 2] < 0)).mean() < 0.14


def test_the_past_has_no_effect_to_show() -> None:
    cells = as_cells(made_up(areas=40, years=7, starts=(2020.0,), seed=13))
    found = group_time_lagged(cells, within="region", permute=False).frame
    assert sorted(found.loc[found["term"] == "event", "event_time"].unique()) == [-4, -3, 0, 1, 2]
    assert set(found["estimator"]) == {"group_time_lagged"}


def test_a_start_with_too_short_a_past_is_named_and_left_out() -> None:
    panel = as_cells(made_up(areas=40, years=6, starts=(2017.0, 2020.0), seed=15)).panel()
    fit = fit_group_time_lagged(panel)
    assert set(fit.terms.loc[fit.terms["term"] == "group", "cohort"]) == {2020.0}
    (note,) = fit.left_out
    assert "2017" in note
    assert "fewer than 2 periods" in note


def test_refusals() -> None:
    panel = as_cells(made_up(areas=30, years=4, starts=(2017.0,), seed=17)).panel()
    with pytest.raises(DesignError, match="fewer than 2 periods before treatment"):
        fit_group_time_lagged(panel)
    with pytest.raises(UsageError, match="lags must be 1 or more"):
        fit_group_time_lagged(panel, lags=0)

"""Synthetic differences, against an independent package, first principles and their own invariants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diff_diff import SyntheticDiD
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up
from scipy.optimize import minimize

from sendap.errors import DesignError, UsageError
from sendap.estimators.group_time import fit_group_time
from sendap.estimators.synthetic import fit_synthetic, simplex_weights

METHODS = ("synthetic_did", "synthetic_control", "did")


def block(**options):
    """Twenty areas by ten years, some treated in 2022."""
    return made_up(**{"areas": 20, "years": 10, "starts": (2022.0,), "share_treated": 0.15, "seed": 1, **options})


def distance(weights, columns, target, ridge, intercept):
    gap = columns @ weights - target
    if intercept:
        gap = gap - gap.mean()
    return float((gap**2).mean() + ridge**2 * (weights**2).sum())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    intercept=st.booleans(),
    ridge=st.sampled_from([1e-4, 0.1, 3.0]),
    count=st.integers(2, 9),
)
def test_weights_are_the_best_on_the_simplex(seed, intercept, ridge, count):
    """Against a general constrained solver, and no step towards any single control comes closer."""
    generator = np.random.default_rng(seed)
    columns, target = generator.normal(0, 3, (6, count)), generator.normal(0, 3, 6)
    found = simplex_weights(columns, target, ridge=ridge, intercept=intercept)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    own = distance(found, columns, target, ridge, intercept)
    solved = minimize(
        distance,
        np.full(count, 1 / count),
        args=(columns, target, ridge, intercept),
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert own <= solved.fun + 1e-9
    assert own == pytest.approx(solved.fun, rel=1e-4, abs=1e-6)
    for corner in np.eye(count):
        assert distance(0.999 * found + 0.001 * corner, columns, target, ridge, intercept) >= own - 1e-12


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equals_an_independent_package_up_to_where_its_search_stops(seed):
    frame = block(seed=seed, effect=5.0)
    fit = fit_synthetic(as_cells(frame).panel())
    given_frame = frame.assign(treated=frame["cohort"].notna().astype(int))
    # Its weights come from a Frank-Wolfe search with a stopping rule, ours from the exact solution.
    other = SyntheticDiD(n_bootstrap=10, seed=1).fit(
        given_frame, outcome="y", treatment="treated", unit="area", time="year", post_periods=[2022, 2023, 2024, 2025]
    )
    assert fit.estimate == pytest.approx(other.att, abs=0.02 * fit.block.noise)
    assert fit.block.ridge == pytest.approx(other.zeta_omega, rel=1e-10)


def test_plain_difference_is_the_group_time_average():
    panel = as_cells(block(seed=4)).panel()
    fit, other = fit_synthetic(panel, method="did"), fit_group_time(panel)
    means = np.array(
        [panel.mean[np.isfinite(panel.cohort)].mean(axis=0), panel.mean[np.isinf(panel.cohort)].mean(axis=0)]
    )
    gap = means[0] - means[1]
    assert fit.estimate == pytest.approx(gap[6:].mean() - gap[:6].mean(), rel=1e-12)
    overall = float(other.estimate[other.terms["term"] == "overall"][0])
    # Group-time effects start from the last period before, this estimate from the mean of all before.
    assert overall == pytest.approx(fit.estimate - (gap[5] - gap[:6].mean()), rel=1e-10)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(METHODS))
def test_invariances(seed, method):
    """Names, period effects and scale change nothing; unit effects neither, where the method allows a constant."""
    frame = block(seed=seed)
    generator, names = np.random.default_rng(seed), frame["area"].unique()
    drift = {year: generator.normal(0, 5) for year in frame["year"].unique()}
    level = dict(zip(names, generator.normal(0, 30, len(names)), strict=True))
    renamed = frame.assign(area=frame["area"].map(dict(zip(names, generator.permutation(names), strict=True))))
    first = fit_synthetic(as_cells(frame).panel(), method=method, draws=20)
    again = fit_synthetic(as_cells(renamed).panel(), method=method, draws=20)
    assert again.estimate == pytest.approx(first.estimate, rel=1e-7, abs=1e-8)
    if method == "did":
        moved = frame.assign(y=frame["y"] + frame["year"].map(drift) + frame["area"].map(level))
        assert fit_synthetic(as_cells(moved).panel(), method=method).estimate == pytest.approx(first.estimate, abs=1e-8)
    if method == "synthetic_did":
        # Unit effects leave the ridge and the centred distances as they are.
        moved = frame.assign(y=frame["y"] + frame["area"].map(level))
        assert fit_synthetic(as_cells(moved).panel()).estimate == pytest.approx(first.estimate, rel=1e-7, abs=1e-7)
    scaled = fit_synthetic(as_cells(frame.assign(y=10 * frame["y"])).panel(), method=method, draws=20)
    assert scaled.estimate == pytest.approx(10 * first.estimate, rel=1e-6, abs=1e-6)
    assert scaled.standard_error == pytest.approx(10 * first.standard_error, rel=1e-5)


def test_a_control_that_is_the_treated_area_gets_all_the_weight():
    frame = block(seed=5, share_treated=0.05)
    panel = as_cells(frame).panel()
    mean = panel.mean.copy()
    mean[7] = mean[0]
    mean[0, 6:] += 4.0
    fit = fit_synthetic(replace(panel, mean=mean), method="synthetic_control")
    assert fit.control_weights().iloc[0] == pytest.approx(1.0, abs=1e-6)
    assert fit.control_weights().index[0] == "A007"
    assert fit.estimate == pytest.approx(4.0, abs=1e-6)
    assert fit.weighted.fit_before < 1e-6


def test_placebos_are_the_estimate_with_a_control_in_the_place_of_the_treated():
    frame = block(seed=6, share_treated=0.05)
    panel = as_cells(frame).panel()
    fit = fit_synthetic(panel)
    assert fit.exact
    assert len(fit.placebos) == 19
    # The third untreated area as the treated one, without the area that really was, under the same ridge.
    rest = frame[frame["cohort"].isna()]
    chosen = rest["area"].unique()[2]
    alone = as_cells(rest.assign(cohort=np.where(rest["area"] == chosen, 2022.0, np.nan))).panel()
    again = fit_synthetic(alone)
    placebo = again.block.weigh("synthetic_did", fit.block.ridge, 1e-6 * fit.block.noise)
    assert placebo.estimate == pytest.approx(fit.placebos[2], rel=1e-9)
    assert fit.standard_error == pytest.approx(np.std(fit.placebos), rel=1e-12)
    assert fit.placebo_p_value == (1 + (np.abs(fit.placebos) >= abs(fit.estimate)).sum()) / 20
    assert fit.ratio_p_value == (1 + (fit.ratios >= fit.weighted.ratio).sum()) / 20


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_intervals_hold_what_the_tests_do_not_reject(level):
    """At 19 placebos 5% is the smallest p-value: a value just inside isn't rejected, one just outside is."""
    frame = block(seed=7, share_treated=0.05, effect=3.0, years=18, starts=(2030.0,))
    fit = fit_synthetic(as_cells(frame).panel(), method="synthetic_control")

    def rank_p(effect):
        return (1 + (np.abs(fit.placebos) >= abs(fit.estimate - effect)).sum()) / 20

    def ratio_p(effect):
        after = np.sqrt(((fit.weighted.gap[fit.block.before :] - effect) ** 2).mean())
        return (1 + (fit.ratios >= after / fit.weighted.fit_before).sum()) / 20

    for interval, p_value in ((fit.interval(level), rank_p), (fit.ratio_interval(level), ratio_p)):
        for end, outward in zip(interval, (-1, 1), strict=True):
            assert p_value(end - outward * 1e-6) > 1 - level + 1e-12
            assert p_value(end + outward * 1e-6) <= 1 - level + 1e-12
    few = fit_synthetic(as_cells(block(seed=7, areas=10, share_treated=0.1)).panel())
    assert few.interval(0.95) == (-np.inf, np.inf)


@pytest.mark.parametrize("method", METHODS)
def test_weights_give_the_estimate_and_areas_can_be_left_out(method):
    frame = block(seed=9)
    panel = as_cells(frame).panel()
    fit = fit_synthetic(panel, method=method)
    assert np.einsum("ut,ut->", fit.weights()[0], panel.mean) == pytest.approx(fit.estimate, rel=1e-9, abs=1e-9)
    left_out = fit.leave_one_out()
    for position in (1, 5, 19):
        rest = frame[frame["area"] != panel.clusters[position]]
        again = fit_synthetic(as_cells(rest).panel(), method=method)
        assert left_out[position, 0] == pytest.approx(again.estimate, rel=1e-9)
    alone = fit_synthetic(as_cells(block(seed=9, share_treated=0.05)).panel(), method=method)
    assert np.isnan(alone.leave_one_out()[:, 0]).tolist() == [True, *[False] * 19]
    with pytest.raises(DesignError, match="weights depend on the outcome"):
        fit.permute(panel.cluster_cohort[None, :], np.array([0]))


def test_random_placebos_follow_the_seed():
    panel = as_cells(block(areas=40, seed=8)).panel()
    first, again, other = (fit_synthetic(panel, draws=30, seed=seed) for seed in (1, 1, 2))
    assert not first.exact
    np.testing.assert_array_equal(first.placebos, again.placebos)
    assert not np.array_equal(first.placebos, other.placebos)


def test_designs_that_cannot_work_are_refused():
    with pytest.raises(DesignError, match=r"one start for all.*2019, 2021.*one cohort at a time"):
        fit_synthetic(as_cells(made_up()).panel())
    with pytest.raises(DesignError, match=r"is missing for .* need every area in every period"):
        fit_synthetic(as_cells(block(missing=0.1)).panel())
    with pytest.raises(DesignError, match=r"has 0 period\(s\) before treatment.*Add earlier periods"):
        fit_synthetic(as_cells(block(starts=(2016.0,))).panel())
    with pytest.raises(DesignError, match="all areas are treated at once"):
        fit_synthetic(as_cells(block(share_treated=1.0)).panel())
    with pytest.raises(DesignError, match="Placebos need more untreated areas"):
        fit_synthetic(as_cells(block(share_treated=0.6)).panel())
    with pytest.raises(DesignError, match="No area is treated"):
        fit_synthetic(as_cells(block(starts=(2030.0,))).panel())
    with pytest.raises(DesignError, match="never varies"):
        fit_synthetic(as_cells(block().assign(y=1.0)).panel())
    with pytest.raises(UsageError, match="count every area once"):
        fit_synthetic(as_cells(block()).panel(weights="children"))
    halves = as_cells(block()).panel()
    with pytest.raises(UsageError, match="apart by stratum"):
        fit_synthetic(replace(halves, cluster=halves.cluster // 2, clusters=halves.clusters[::2]))
    with pytest.raises(UsageError, match="method must be"):
        fit_synthetic(as_cells(block()).panel(), method="lasso")

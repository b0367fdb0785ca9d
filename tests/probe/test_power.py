"""Power of the pre-test: the published example, and the definitions by simulation and general software."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from panels import as_cells, made_up
from scipy import stats

from sendap.errors import UsageError
from sendap.estimators import fit_group_time
from sendap.probe.power import (
    box_moments,
    detectable_change,
    error_rates,
    minimum_detectable_effect,
    period_variance,
    trend_power,
)
from sendap.probe.robust_sets import EventPath


@pytest.fixture(scope="module")
def he_wang(oracles) -> tuple[EventPath, dict]:
    folder = oracles / "roth_pretrends_he_wang"
    beta = pd.read_csv(folder / "beta.csv")
    path = EventPath(
        beta["t"].to_numpy(float), beta["beta"].to_numpy(), pd.read_csv(folder / "sigma.csv").to_numpy(), base=-1.0
    )
    return path, json.loads((folder / "expected.json").read_text(encoding="utf-8"))


def test_the_example_of_the_package_pretrends(he_wang):
    """He and Wang (2017), with the tolerances of the oracle, which are those of R's simulated probabilities."""
    path, expected = he_wang
    assert trend_power(path).slope_50 == pytest.approx(
        expected["slope_for_power_50"], abs=expected["tolerance"]["slope"]
    )
    found = trend_power(path, slope=expected["slope_for_power_50"])
    close = {"rel": expected["tolerance"]["others_relative"]}
    wanted = expected["df_power_at_that_slope"]
    assert found.power == pytest.approx(wanted["power"], **close)
    assert found.bayes_factor == pytest.approx(wanted["bayes_factor"], **close)
    assert found.likelihood_ratio == pytest.approx(wanted["likelihood_ratio"], **close)
    after = found.at_slope.set_index("event_time")["mean_if_passed"]
    for time, value in expected["mean_after_pretesting"].items():
        assert after[float(time)] == pytest.approx(value, **close)
    effects = after[[0.0, 1.0, 2.0, 3.0]].mean()
    assert found.bias_if_passed == pytest.approx(effects)
    assert found.bias == pytest.approx(expected["slope_for_power_50"] * np.mean([1, 2, 3, 4]))


@pytest.mark.parametrize("test", ["individual", "joint"])
def test_power_and_what_passes_by_simulation(he_wang, test):
    path, _ = he_wang
    found = trend_power(path, slope=0.06, test=test)
    sample = np.random.default_rng(5).multivariate_normal(0.06 * (path.times + 1), path.covariance, size=400_000)
    early = sample[:, :3]
    if test == "individual":
        passed = (np.abs(early) <= stats.norm.ppf(0.975) * np.sqrt(np.diag(path.covariance)[:3])).all(axis=1)
    else:
        inverse = np.linalg.inv(path.covariance[:3, :3])
        passed = np.einsum("ns,st,nt->n", early, inverse, early) <= stats.chi2.ppf(0.95, 3)
    # Four standard errors of the simulation.
    assert found.power == pytest.approx(1 - passed.mean(), abs=4 * 0.5 / np.sqrt(400_000))
    error = sample[passed].std(axis=0) / np.sqrt(passed.sum())
    assert (np.abs(found.at_slope["mean_if_passed"] - sample[passed].mean(axis=0)) < 4 * error).all()


def test_joint_power_is_that_of_the_noncentral_chi_squared(he_wang):
    path, _ = he_wang
    found = trend_power(path, test="joint")
    mean = found.slope_80 * np.array([-3.0, -2.0, -1.0])
    size = mean @ np.linalg.solve(path.covariance[:3, :3], mean)
    assert stats.ncx2.sf(stats.chi2.ppf(0.95, 3), 3, size) == pytest.approx(0.8, abs=1e-8)
    # Critical values with few degrees of freedom ask for more.
    assert trend_power(path, test="joint", dof=8).slope_80 > 1.2 * found.slope_80
    assert trend_power(path, dof=8).slope_50 > 1.05 * trend_power(path).slope_50


@pytest.mark.parametrize("count", [2, 4, 8])
def test_the_chance_of_a_box_is_that_of_scipy(count):
    draw = np.random.default_rng(count)
    mixing = draw.normal(size=(count, count + 2))
    covariance, mean = mixing @ mixing.T, draw.normal(size=count)
    reach = 1.5 * np.sqrt(np.diag(covariance))
    expected = stats.multivariate_normal.cdf(
        reach, mean, covariance, lower_limit=-reach, abseps=1e-7, maxpts=3_000_000, rng=np.random.default_rng(1)
    )
    # 16,384 points of a quasi-random rule leave an error of about 1e-4.
    assert box_moments(mean, covariance, -reach, reach)[0] == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("mean", [0.0, 3.0, -9.0])
def test_a_box_in_one_dimension_is_the_truncated_normal(mean):
    chance, centre = box_moments(np.array([mean]), np.array([[4.0]]), np.array([-2.0]), np.array([2.0]))
    known = stats.truncnorm((-2 - mean) / 2, (2 - mean) / 2, loc=mean, scale=2)
    assert chance == pytest.approx(stats.norm.cdf((2 - mean) / 2) - stats.norm.cdf((-2 - mean) / 2), rel=1e-6)
    assert centre[0] == pytest.approx(known.mean(), rel=1e-4, abs=2e-4)


def test_power_of_a_fit_and_its_sentence():
    fit = fit_group_time(as_cells(made_up(areas=60, starts=(2020.0,), years=7, regions=1)).panel())
    found = trend_power(fit, dof=20)
    assert found.periods == 3
    assert 0 < found.slope_50 < found.slope_80
    assert f"{found.slope_80:.3g} four times in five" in found.sentence()
    # Among the studies that pass, a drift is worse than among all: coefficients before and after move together.
    assert found.bias_if_passed > found.bias > 0


@pytest.mark.parametrize(
    ("treated", "controls", "expected"),
    [(9, 33, 1.08), (22, 66, 0.70), (1, 60, 2.87), (2, 60, 2.05), (32, 121, 0.56), (38, 60, 0.59), (55, 60, 0.53)],
)
def test_detectable_changes_of_the_standard(treated, controls, expected):
    assert detectable_change(treated, controls) == pytest.approx(expected, abs=0.005)
    assert detectable_change(treated, controls, spread=3.0) == pytest.approx(3 * expected, abs=0.015)


def test_the_detectable_effect_is_found_with_its_power():
    """With known variance the two-sided test finds it with 80%, but for the wrong side's 1e-6."""
    effect = minimum_detectable_effect(2.0)
    assert error_rates(effect, std_error=2.0).power == pytest.approx(0.8, abs=1e-5)


def test_period_variance_of_mckenzie():
    assert period_variance(4, 2, 0.8) == pytest.approx(0.1500, abs=5e-5)
    assert period_variance(4, 2, 0.8, design="ancova") == pytest.approx(0.1471, abs=5e-5)


@pytest.mark.parametrize("design", ["did", "ancova"])
def test_period_variance_by_its_definition(design):
    """The variance of the mean after less b times the mean before, b one or the regression coefficient."""
    before, after, correlation = 3, 2, 0.6
    covariance = np.full((5, 5), correlation) + (1 - correlation) * np.eye(5)
    earlier, later = np.r_[np.full(3, 1 / 3), 0, 0], np.r_[0, 0, 0, 0.5, 0.5]
    slope = 1.0 if design == "did" else (earlier @ covariance @ later) / (earlier @ covariance @ earlier)
    weights = later - slope * earlier
    assert period_variance(before, after, correlation, design=design) == pytest.approx(weights @ covariance @ weights)


def test_type_s_and_type_m_errors_by_simulation():
    found = error_rates(-1.0, std_error=1.5)
    sample = np.random.default_rng(3).normal(-1.0, 1.5, size=1_000_000)
    told = sample[np.abs(sample) > stats.norm.ppf(0.975) * 1.5]
    assert found.power == pytest.approx(len(told) / 1e6, abs=2e-3)
    assert found.wrong_sign == pytest.approx((told > 0).mean(), abs=3e-3)
    assert found.exaggeration == pytest.approx(np.abs(told).mean(), rel=5e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: minimum_detectable_effect(-1.0),
        lambda: detectable_change(0, 40),
        lambda: period_variance(0, 2, 0.5),
        lambda: period_variance(2, 2, 0.5, design="mean"),
        lambda: error_rates(0.0, std_error=1.0),
    ],
)
def test_wrong_use_is_refused(call):
    with pytest.raises(UsageError):
        call()

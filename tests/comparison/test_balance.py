"""Balance and overlap against libraries, by hand, and where they are refused."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from comparison.made import from_values
from statsmodels.stats.weightstats import DescrStatsW

from sendap.comparison import balance, entropy_balance, match, overlap, trimmed
from sendap.comparison.balance import judge
from sendap.errors import DesignError, UsageError


def made(seed: int = 1, treated: int = 15, others: int = 60, shift: float = 0.5):
    generator = np.random.default_rng(seed)
    return from_values(generator.normal(shift, 1.3, (treated, 2)), generator.normal(0, 1, (others, 2)))


def test_the_table_is_means_over_the_pooled_deviation_and_ratios_of_weighted_variances():
    found = made()
    group = match(found, nearest=2)
    table = balance(group).table
    first, second = found.values[found.treated], found.values[~found.treated]
    weight = np.array([group.weights.get(each, 0.0) for each in found.clusters[~found.treated]])
    size = np.sqrt((first.var(axis=0, ddof=1) + second.var(axis=0, ddof=1)) / 2)
    weighted = DescrStatsW(second, weights=weight)
    assert table["after"].to_numpy() == pytest.approx(weighted.mean, rel=1e-12)
    assert table["difference_before"].to_numpy() == pytest.approx(
        (first.mean(axis=0) - second.mean(axis=0)) / size, rel=1e-12
    )
    assert table["difference_after"].to_numpy() == pytest.approx((first.mean(axis=0) - weighted.mean) / size, rel=1e-12)
    # The unbiased weighted variance: over 1 less the sum of squared shares.
    share = weight / weight.sum()
    spread = weighted.var / (1 - (share**2).sum())
    assert table["ratio_after"].to_numpy() == pytest.approx(first.var(axis=0, ddof=1) / spread, rel=1e-12)
    treated = balance(group, scale="treated").table["difference_before"].to_numpy()
    assert treated == pytest.approx((first.mean(axis=0) - second.mean(axis=0)) / first.std(axis=0, ddof=1), rel=1e-12)


def test_effective_controls_are_the_number_of_equal_areas():
    found = made()
    group = match(found, replacement=False)
    assert balance(group).effective_controls == pytest.approx(15.0, rel=1e-12)
    weight = np.array(sorted(entropy_balance(found).weights[each] for each in entropy_balance(found).controls))
    shown = balance(entropy_balance(found))
    assert shown.effective_controls == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-10)
    assert shown.largest_share == pytest.approx(weight[-1] / weight.sum(), rel=1e-10)


def test_the_bounds_of_the_standard():
    judged = [judge(value) for value in (0.0999, -0.1, 0.25, -0.2501, np.nan)]
    assert judged == ["good", "fair", "fair", "fail", "fail"]
    found = made(shift=1.5)
    assert balance(match(found, caliper=0.3, replacement=False)).worst in ("good", "fair", "fail")
    assert balance(entropy_balance(made())).worst == "good"


def test_propensities_are_those_of_a_logistic_regression():
    found = made()
    fit = sm.Logit(found.treated.astype(float), sm.add_constant(found.values)).fit(disp=0, tol=1e-12)
    seen = overlap(found)
    # Two optimisers of one likelihood.
    assert seen.propensity.to_numpy() == pytest.approx(fit.predict(), abs=1e-7)
    highest = seen.propensity.to_numpy()[~found.treated].max()
    beyond = found.clusters[found.treated][seen.propensity.to_numpy()[found.treated] > highest]
    assert set(beyond) <= set(seen.outside)
    assert seen.share_outside == pytest.approx(len(seen.outside) / 15, rel=1e-12)


def test_treated_areas_without_a_counterpart_are_trimmed_by_name():
    others = np.random.default_rng(3).normal(0, 1, (60, 1))
    found = from_values(np.array([[0.0], [0.4], [-0.5], [1.0], [6.0]]), others)
    assert overlap(found).outside == ("T04",)
    kept = trimmed(found)
    assert "T04" not in kept.clusters
    assert kept.left_out["reason"].tolist() == ["its propensity lies outside the range of the untreated areas"]
    likely = overlap(found).propensity
    assert set(trimmed(found, rule="crump").clusters) == set(likely.index[(likely >= 0.1) & (likely <= 0.9)])
    with pytest.raises(UsageError, match="rule must be"):
        trimmed(found, rule="none")


def test_complete_separation_is_said_and_not_modelled():
    found = from_values(np.array([[10.0], [11.0], [12.0]]), np.array([[0.0], [1.0], [2.0], [3.0]]))
    seen = overlap(found)
    assert seen.separated
    assert seen.share_outside == 1.0
    assert seen.propensity.isna().all()
    with pytest.raises(DesignError, match="apart completely"):
        trimmed(found)


def test_one_treated_area_has_no_deviation_of_its_own():
    found = from_values(np.array([[1.0]]), np.array([[0.0], [2.0], [3.0]]))
    group = match(found, distance="euclid")
    assert np.isfinite(balance(group).table["difference_after"]).all()
    with pytest.raises(DesignError, match="Use scale='pooled'"):
        balance(group, scale="treated")

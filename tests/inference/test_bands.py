"""Simultaneous bands have the critical values that theory gives where theory has them."""

from __future__ import annotations

import numpy as np
import pytest
from path_records import draw_records
from scipy import stats

from sendap.cells.compress_paths import compress_paths
from sendap.errors import UsageError
from sendap.estimators.paths import fit_event_study_paths
from sendap.inference.bands import simultaneous_band
from sendap.inference.cluster_robust import crv1_variance

DRAWS = 100_000


def test_independent_terms_have_the_exact_quantile():
    # Each cluster moves one term only, so the errors are independent: P(all below c) = (2 Phi(c) - 1)^K.
    terms = 7
    band = simultaneous_band(np.zeros(terms), scores=np.eye(terms) * np.arange(1, 8), draws=DRAWS)
    exact = stats.norm.ppf((1 + 0.95 ** (1 / terms)) / 2)
    # Standard error of a quantile: sqrt(p (1 - p) / R) over the density of the maximum there; five of them.
    density = terms * (2 * stats.norm.cdf(exact) - 1) ** (terms - 1) * 2 * stats.norm.pdf(exact)
    assert band.critical == pytest.approx(exact, abs=5 * np.sqrt(0.95 * 0.05 / DRAWS) / density)


@pytest.mark.parametrize("dof", [None, 4.0])
def test_one_term_needs_its_own_quantile(dof):
    band = simultaneous_band(np.array([1.5]), scores=np.array([[0.3], [-0.4]]), dof=dof)
    t = stats.norm if dof is None else stats.t(dof)
    assert band.critical == pytest.approx(t.ppf(0.975), rel=1e-12)
    assert band.critical == band.pointwise
    assert band.low[0] == pytest.approx(1.5 - 0.5 * t.ppf(0.975), rel=1e-12)
    assert band.p_adjusted[0] == pytest.approx(2 * t.sf(3.0), rel=1e-12)


@pytest.mark.parametrize("dof", [None, 6.0])
def test_equal_terms_need_no_more_than_one(dof):
    scores = np.random.default_rng(1).normal(size=(30, 1)) @ np.ones((1, 4))
    band = simultaneous_band(np.zeros(4), scores=scores, dof=dof, draws=DRAWS)
    t = stats.norm if dof is None else stats.t(dof)
    margin = 5 * np.sqrt(0.95 * 0.05 / DRAWS) / (2 * t.pdf(band.pointwise))
    assert band.critical == pytest.approx(band.pointwise, abs=margin)


def test_band_lies_between_pointwise_and_bonferroni():
    draw = np.random.default_rng(2)
    scores = draw.normal(size=(40, 6)) + draw.normal(size=(40, 1))
    band = simultaneous_band(draw.normal(size=6), scores=scores)
    assert band.pointwise < band.critical < stats.norm.ppf(1 - 0.05 / 12)
    error = np.sqrt((scores**2).sum(axis=0))
    assert band.high - band.low == pytest.approx(2 * band.critical * error, rel=1e-12)


def test_wider_errors_widen_the_band_but_not_its_critical_value():
    scores = np.random.default_rng(3).normal(size=(25, 3))
    error = np.sqrt((scores**2).sum(axis=0))
    own = simultaneous_band(np.ones(3), scores=scores, seed=8)
    wide = simultaneous_band(np.ones(3), scores=scores, std_error=2 * error, seed=8)
    assert wide.critical == own.critical
    assert wide.high - 1 == pytest.approx(2 * (own.high - 1), rel=1e-12)


def test_adjusted_p_value_agrees_with_the_band():
    draw = np.random.default_rng(4)
    scores = draw.normal(size=(30, 5))
    error = np.sqrt((scores**2).sum(axis=0))
    band = simultaneous_band(error * [0.0, 1.0, -2.2, 4.0, -6.0], scores=scores, draws=999)
    outside = (band.low > 0) | (band.high < 0)
    assert outside.tolist() == [False, False, False, True, True]
    assert (band.p_adjusted <= 0.05 + 1 / 1000).tolist() == outside.tolist()


def test_terms_without_error_have_no_band():
    scores = np.column_stack([np.zeros(10), np.ones(10)])
    band = simultaneous_band(np.array([1.0, 2.0]), scores=scores)
    assert np.isnan([band.low[0], band.p_adjusted[0]]).all()
    assert band.critical == band.pointwise
    empty = simultaneous_band(np.zeros(2), scores=np.zeros((10, 2)))
    assert np.isnan(empty.critical)


def test_bands_of_fits_on_path_cells():
    cells = compress_paths(draw_records(1, pupils=300), unit="pupil", outcomes=["absence"])
    fit = fit_event_study_paths(cells)
    error = np.sqrt(crv1_variance(fit))
    band = simultaneous_band(fit.estimate, scores=fit.scores, std_error=error, dof=fit.clusters - 1)
    bonferroni = stats.t.ppf(1 - 0.025 / len(fit.estimate), fit.clusters - 1)
    assert band.pointwise < band.critical < bonferroni
    assert band.high - fit.estimate == pytest.approx(band.critical * error, rel=1e-10)


def test_seeded_and_refused():
    scores = np.random.default_rng(5).normal(size=(10, 3))
    one, two, other = (simultaneous_band(np.zeros(3), scores=scores, seed=seed).critical for seed in (1, 1, 2))
    assert one == two != other
    with pytest.raises(UsageError, match="one column for each of the 2"):
        simultaneous_band(np.zeros(2), scores=scores)
    with pytest.raises(UsageError, match="between 0 and 1"):
        simultaneous_band(np.zeros(3), scores=scores, level=95)

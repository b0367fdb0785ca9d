"""Simultaneous bands have the critical values that theory gives where theory has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from panels import as_cells, made_up
from path_records import draw_records
from scipy import stats

from sendap import effects
from sendap.cells.compress_paths import compress_paths
from sendap.effects_paths import event_study_paths
from sendap.errors import UsageError
from sendap.estimators import fit_group_time
from sendap.estimators.paths import fit_event_study_paths
from sendap.inference.band_rows import permutation_band
from sendap.inference.bands import simultaneous_band
from sendap.inference.cluster_robust import crv1_variance, crv3_variance

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


def test_results_hold_a_band_where_asked():
    cells = as_cells(made_up(areas=60, starts=(2019.0,), share_treated=0.3, seed=3))
    plain = effects.group_time(cells, permute=False)
    found = effects.group_time(cells, permute=False, band=True)
    assert found.frame[found.frame["inference"] != "band"].reset_index(drop=True).equals(plain.frame)
    rows = found.frame[found.frame["inference"] == "band"]
    single = plain.frame.query("term == 'event' and headline")
    assert rows["event_time"].tolist() == single["event_time"].tolist()
    assert not rows["headline"].any()
    # Wider than each interval alone, and the same number of standard errors for every event time.
    assert (rows["ci_high"].to_numpy() > single["ci_high"].to_numpy()).all()
    critical = (rows["ci_high"] - rows["estimate"]).to_numpy() / single["std_error"].to_numpy()
    assert critical == pytest.approx(critical[0], rel=1e-9)
    assert f"Holds for 5 of 5 event times at once: {critical[0]:.2f} standard errors each way" in rows["note"].iloc[0]
    assert rows["p_adjusted"].between(1e-4, 1).all()


def test_the_critical_value_of_diff_diff():
    """Callaway and Sant'Anna's band in another package: multiplier bootstrap of the same influence functions."""
    package = pytest.importorskip("diff_diff")
    frame = made_up(areas=80, starts=(2019.0,), share_treated=0.4, regions=1, seed=6)
    fit = fit_group_time(as_cells(frame).panel())
    events = np.flatnonzero((fit.terms["term"] == "event").to_numpy())
    ours = simultaneous_band(fit.estimate[events], scores=fit.scores[:, events], draws=DRAWS).critical
    estimator = package.CallawaySantAnna(
        control_group="never_treated", n_bootstrap=9999, seed=4, cband=True, base_period="universal"
    )
    data = frame.assign(first=frame["cohort"].fillna(0).astype(int), unit=frame["area"].str[1:].astype(int))
    theirs = estimator.fit(data, outcome="y", unit="unit", time="year", first_treat="first", aggregate="event_study")
    # Their multipliers are signs and ours normal; with 80 areas and 9,999 draws the quantiles agree within 2%.
    assert ours == pytest.approx(theirs.cband_crit_value, rel=0.02)


def test_few_treated_areas_have_a_band_by_permutation():
    cells = as_cells(made_up(areas=40, starts=(2019.0,), share_treated=0.1, regions=1, seed=3))
    found = effects.group_time(cells, draws=399, band=True).frame
    rows = found[found["inference"] == "band"]
    assert len(rows) == 5
    assert rows["std_error"].isna().all()
    assert (rows["ci_low"] < rows["estimate"]).all()
    assert "5 of 5 event times" in rows["note"].iloc[0]
    again = effects.group_time(cells, draws=399, band=True).frame
    assert again.equals(found)


def test_permutation_band_by_hand():
    permuted = np.array([[1.0, 0.0], [-1.0, 4.0], [2.0, 0.0], [0.0, -2.0]])
    error = np.array([np.sqrt(6 / 4), np.sqrt(20 / 4)])
    largest = np.sort((np.abs(permuted) / error).max(axis=1))
    band = permutation_band(np.array([0.5, 3.0]), permuted, level=0.75, exact=True)
    # Three of four allocations lie at or below the third largest.
    assert band.critical == pytest.approx(largest[2])
    assert band.high - 0.5 * np.array([1, 6]) == pytest.approx(band.critical * error)
    assert band.p_adjusted == pytest.approx([(largest >= 0.5 / error[0]).mean(), (largest >= 3 / error[1]).mean()])
    drawn = permutation_band(np.array([0.5, 3.0]), permuted, level=0.9)
    # Four draws and the actual allocation can't give nine in ten.
    assert np.isinf(drawn.critical)


def test_bands_cover_all_event_times_at_the_stated_rate():
    """300 panels without an effect, 20 treated of 60: Binomial(300, 0.95) lies in 272 to 297 with probability 0.999."""
    base = as_cells(made_up(areas=60, starts=(2019.0,), share_treated=1 / 3, regions=1)).panel()
    draw = np.random.default_rng(5)
    covered = 0
    for seed in range(300):
        fit = fit_group_time(replace(base, mean=draw.normal(size=base.mean.shape)))
        events = np.flatnonzero((fit.terms["term"] == "event").to_numpy())
        error = np.sqrt(crv3_variance(fit.leave_one_out(), fit.estimate)[events])
        band = simultaneous_band(
            fit.estimate[events], scores=fit.scores[:, events], std_error=error, dof=30.0, draws=499, seed=seed
        )
        covered += bool(((band.low <= 0) & (band.high >= 0)).all())
    assert 272 <= covered <= 297


def test_pupil_effects_have_bands_too():
    cells = compress_paths(draw_records(3, pupils=300, clusters=20, treated=9), unit="pupil", outcomes=["absence"])
    found = event_study_paths(cells, draws=99, band=True).frame
    few = found.loc[found["headline"], "treated_clusters"].min()
    rows = found[found["inference"] == "band"]
    assert len(rows) == (0 if few < 6 else found["headline"].sum())
    one = compress_paths(
        draw_records(3, pupils=300, clusters=20, treated=9).assign(
            first_treated=lambda frame: frame["first_treated"] * 0 + 2016
        ),
        unit="pupil",
        outcomes=["absence"],
    )
    rows = event_study_paths(one, draws=99, band=True).frame.query("inference == 'band'")
    single = event_study_paths(one, draws=99).headline()
    assert len(rows) == len(single)
    assert (rows["ci_high"].to_numpy() > single["ci_high"].to_numpy()).all()

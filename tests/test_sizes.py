"""Effect sizes: published values, a mixed model, simulation of the sampling distribution, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import Table2x2

from sendap.cells import Cells, OutcomeInfo
from sendap.errors import DesignError, UsageError
from sendap.report.sizes_text import frequency_sentence, months_sentence, odds_sentence, size_sentence
from sendap.sizes import (
    EffectSize,
    OddsRatio,
    PupilSpread,
    cox_d,
    did_size,
    hedges_g,
    hedges_g_clustered,
    months,
    months_of_progress,
    natural_frequency,
    odds_ratio,
    odds_ratio_of_effect,
    pupil_spread,
)


def pupils(areas: int = 12, size: int = 25, seed: int = 1) -> pd.DataFrame:
    """Scores of pupils in areas, half of which are treated from 2020 on; area standard deviation 5, pupils 12."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        [(f"A{area:02d}", year) for area in range(areas) for year in (2018, 2019, 2020) for _ in range(size)],
        columns=["cluster", "period"],
    )
    number = frame["cluster"].str[1:].astype(int)
    frame["cohort"] = np.where(number < areas // 2, 2020.0, np.nan)
    key = number * 10_000 + frame["period"]
    level = dict(zip(key.unique(), generator.normal(0, 5, key.nunique()), strict=True))
    frame["y"] = 100 + key.map(level) + 3.0 * frame["cohort"].notna() + generator.normal(0, 12, len(frame))
    frame.loc[frame["period"] == 2020, "y"] += 500  # after the start: must not matter
    return frame


def as_cells(frame: pd.DataFrame, unit: str = "points") -> Cells:
    grouped = frame.assign(square=frame["y"] ** 2).groupby(["cluster", "period"], as_index=False)
    cells = grouped.agg(
        cohort=("cohort", "first"), n=("y", "size"), sum=("y", "sum"), sum_squares=("square", "sum")
    ).assign(outcome="y")
    cells["n_observed"] = cells["weight"] = cells["n"].astype(float)
    return Cells(cells, {"y": OutcomeInfo(unit)})


def test_the_spread_of_pupils_comes_from_moments_alone():
    frame = pupils()
    found = pupil_spread(as_cells(frame))
    early = frame[frame["period"] < 2020]
    side = early.groupby([early["cohort"].notna(), "period"])["y"]
    total = np.sqrt((early["y"] - side.transform("mean")).pow(2).sum() / (len(early) - 4))
    # Sums of squares lose some digits, not more than these.
    assert found.sd == pytest.approx(total, rel=1e-9)
    assert (found.n, found.clusters, found.cluster_size) == (600, 12, 25)


def test_variance_components_are_those_of_a_mixed_model():
    frame = pupils().query("period == 2018")
    frame = frame.assign(treated=frame["cohort"].notna().astype(float))
    model = smf.mixedlm("y ~ treated", frame, groups=frame["cluster"]).fit(reml=True)
    found = pupil_spread(as_cells(frame))
    # Restricted maximum likelihood and analysis of variance agree in balanced data; the optimiser sets the tolerance.
    assert found.between == pytest.approx(float(model.cov_re.iloc[0, 0]), rel=1e-3)
    assert found.within == pytest.approx(model.scale, rel=1e-4)
    assert found.icc == pytest.approx(found.between / (found.between + found.within), rel=1e-12)


def test_area_means_and_shares_are_never_standardised():
    frame = pupils()
    means = frame.groupby(["cluster", "period"], as_index=False).agg(y=("y", "mean"), cohort=("cohort", "first"))
    with pytest.raises(DesignError, match="three to six times larger"):
        pupil_spread(as_cells(means))
    shares = frame.assign(y=100.0 * (frame["y"] > 100))
    for unit in ("points", "per cent"):
        with pytest.raises(DesignError, match="odds ratio"):
            pupil_spread(as_cells(shares, unit))
    with pytest.raises(DesignError, match="no pupils before the start"):
        pupil_spread(as_cells(frame), anticipation=5)


def test_hedges_g_of_the_standard():
    found = hedges_g(52 - 50, sd_treated=10, sd_comparison=11, n_treated=100, n_comparison=120)
    # Values as the standard prints them.
    assert found.sd == pytest.approx(10.5576, abs=5e-5)
    assert pytest.approx(0.996556, abs=5e-7) == 1 - 3 / (4 * 218 - 1)
    assert found.g == pytest.approx(0.1888, abs=5e-5)
    assert found.standard_error == pytest.approx(0.1357, abs=5e-5)
    assert (found.ci_low, found.ci_high) == pytest.approx((-0.077, 0.455), abs=5e-4)


def test_clustered_g_is_unbiased_and_its_variance_is_right_in_simulation():
    generator = np.random.default_rng(4)
    clusters, size, icc, effect, draws = 6, 15, 0.2, 0.4, 6000
    pupils_in_all = 2 * clusters * size
    scores = np.sqrt(icc) * generator.normal(size=(draws, 2 * clusters, 1))
    scores = scores + np.sqrt(1 - icc) * generator.normal(size=(draws, 2 * clusters, size))
    scores[:, :clusters] += effect
    sides = scores.reshape(draws, 2, clusters * size)
    mean = sides.mean(axis=2)
    total = np.sqrt(((sides - mean[:, :, None]) ** 2).sum(axis=(1, 2)) / (pupils_in_all - 2))
    found = [
        hedges_g_clustered(
            first - second, total_sd=sd, icc=icc, cluster_size=size,
            n_treated=clusters * size, n_comparison=clusters * size,
        )
        for (first, second), sd in zip(mean, total, strict=True)
    ]  # fmt: skip
    values = np.array([each.g for each in found])
    # Four Monte Carlo standard errors of the mean, plus the bias of a ratio of some 10 degrees of freedom (under 2%).
    assert values.mean() == pytest.approx(effect, abs=4 * values.std() / np.sqrt(draws) + 0.008)
    # The variance of Hedges (2007) is a large-sample one: within 6% here.
    assert np.mean([each.standard_error**2 for each in found]) == pytest.approx(values.var(), rel=0.06)


def test_variance_components_need_no_correction():
    options = {"total_sd": 10.0, "icc": 0.2, "cluster_size": 20, "n_treated": 60, "n_comparison": 60}
    plain = hedges_g_clustered(3.0, from_components=True, **options)
    corrected = hedges_g_clustered(3.0, **options)
    assert plain.g == pytest.approx(0.3, rel=1e-12)
    assert corrected.g == pytest.approx(0.3 * np.sqrt(1 - 2 * 19 * 0.2 / 118), rel=1e-12)
    alone = hedges_g_clustered(3.0, **{**options, "icc": 0.0})
    # Without clustering it is the formula for individuals.
    assert alone.standard_error**2 == pytest.approx(120 / 3600 + 0.3**2 / (2 * 118), rel=1e-12)
    with pytest.raises(UsageError, match="icc from 0"):
        hedges_g_clustered(3.0, **{**options, "icc": 1.0})


def test_a_row_of_results_is_divided_with_both_ends_of_its_interval():
    row = pd.Series(
        {
            "outcome": "y",
            "unit": "points",
            "estimate": 2.0,
            "std_error": 1.0,
            "ci_low": -1.0,
            "ci_high": 5.0,
            "ci_level": 0.95,
        }
    )
    spread = PupilSpread(10.0, 10.0, 90.0, 0.1, 600, 12, 25)
    found = did_size(row, spread)
    assert (found.g, found.ci_low, found.ci_high, found.standard_error) == pytest.approx(
        (0.2, -0.1, 0.5, 0.1), rel=1e-12
    )
    with pytest.raises(DesignError, match="percentage points first"):
        did_size(row.replace("points", "per cent"), spread)


def test_odds_ratios_against_statsmodels():
    found = odds_ratio(18, 100, 69, 250)
    oracle = Table2x2(np.array([[18, 82], [69, 181]]))
    assert found.ratio == pytest.approx(oracle.oddsratio, rel=1e-12)
    assert (found.ci_low, found.ci_high) == pytest.approx(oracle.oddsratio_confint(), rel=1e-9)
    assert odds_ratio(18, 100, 69, 100).ratio == pytest.approx(0.099, abs=5e-4)  # published: 18 and 69 per cent
    assert odds_ratio(32, 100, 76, 100).ratio == pytest.approx(0.149, abs=5e-4)  # published: 32 and 76 per cent
    assert odds_ratio(0, 10, 5, 10).corrected
    assert odds_ratio(0, 10, 5, 10).ratio == pytest.approx(0.5 * 5.5 / (10.5 * 5.5), rel=1e-12)
    with pytest.raises(UsageError):
        odds_ratio(11, 10, 5, 10)


def test_the_odds_ratio_of_an_effect_in_percentage_points():
    found = odds_ratio_of_effect(60, 10, -5, 70)
    assert found.ratio == pytest.approx(1.5, rel=1e-12)
    assert found.ci_low == pytest.approx(1.5 / (65 / 35), rel=1e-12)
    assert found.ci_high == np.inf
    with pytest.raises(DesignError, match="outside 0 to 100"):
        odds_ratio_of_effect(60, 70, 50, 80)


def test_cox_d_of_the_standard():
    assert cox_d(OddsRatio(1.5, 1.2, 1.9, 0.95)).g == pytest.approx(0.2457, abs=5e-5)
    assert np.isnan(cox_d(OddsRatio(1.5, 1.2, np.inf, 0.95)).standard_error)


TABLE = [
    (0, -0.04, 0.04), (1, 0.05, 0.09), (2, 0.10, 0.18), (3, 0.19, 0.26), (4, 0.27, 0.35), (5, 0.36, 0.44),
    (6, 0.45, 0.52), (7, 0.53, 0.61), (8, 0.62, 0.69), (9, 0.70, 0.78), (10, 0.79, 0.87), (11, 0.88, 0.95),
    (12, 0.96, 1.00),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "low", "high"), TABLE)
def test_the_table_of_months(expected, low, high):
    assert months(low) == months(high) == expected
    assert months(-high) == -expected
    assert months(0.5 * (low + high)) == expected


def test_g_is_rounded_to_two_decimals_before_the_table():
    assert [months(value) for value in (0.1849, 0.185, 0.0449, 0.045, 0.955, 2.5, -0.045)] == [2, 3, 0, 1, 12, 12, -1]


@given(st.floats(-3, 3))
def test_months_never_fall_as_the_effect_grows_and_mirror(g):
    assert months(g) <= months(g + 0.01)
    assert months(-g) == -months(g)


def test_months_are_for_test_scores_of_school_age_only():
    size = EffectSize(0.12, 0.08, -0.05, 0.29, 0.95, 10.0, "individual")
    found = months_of_progress(size, measure="attainment", stage="key stage 2")
    assert (found.months, found.low, found.high) == (2, -1, 4)
    for measure, stage in (("absence", "key stage 2"), ("attainment", "post-16")):
        with pytest.raises(DesignError, match="Months of progress are for"):
            months_of_progress(size, measure=measure, stage=stage)
    with pytest.raises(DesignError, match="not for a share"):
        months_of_progress(cox_d(OddsRatio(1.5, 1.2, 1.9, 0.95)), measure="attainment", stage="key stage 2")
    assert months_sentence(found) == (
        "In months, that is about 2 months more progress. It is likely between 1 month less and 4 months more. As an "
        "effect size it is 0.12 (95% confidence interval −0.05 to 0.29), in units of the standard deviation of all "
        "pupils."
    )


def test_natural_frequencies_in_words():
    sure, open_, rare = natural_frequency(3, 1, 5), natural_frequency(-1, -4, 2), natural_frequency(0.2, 0.1, 0.3)
    assert frequency_sentence(sure, "children") == (
        "Our best estimate is about 3 more children in every 100 (likely between 1 and 5 more)."
    )
    assert frequency_sentence(open_, "plans") == (
        "Our best estimate is about 1 fewer plans in every 100. It could be as many as 4 fewer or 2 more."
    )
    assert frequency_sentence(natural_frequency(-3, -5, -1), "plans").endswith("(likely between 1 and 5 fewer).")
    assert (rare.count, rare.per) == (pytest.approx(2.0, rel=1e-12), 1000)
    assert "2 more pupils in every 1,000 (likely" in frequency_sentence(rare, "pupils")
    assert "no difference in every 100" in frequency_sentence(natural_frequency(0.001, -6, 6), "plans")
    with pytest.raises(UsageError):
        natural_frequency(1, np.nan, 2)


def test_sizes_in_words():
    assert size_sentence(EffectSize(0.1, 0.05, 0.0, 0.2, 0.9, 10.0, "clustered")) == (
        "As an effect size it is 0.10 (90% confidence interval 0.00 to 0.20), in units of the total standard deviation "
        "of pupils, between and within areas."
    )
    assert odds_sentence(OddsRatio(1.5, 0.8, np.inf, 0.95)) == (
        "The odds ratio is 1.50 (95% confidence interval 0.80 to no upper limit)."
    )

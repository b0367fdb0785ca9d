"""Gaps between groups: the fixtures of the standard, statsmodels and scipy, and what is said of small groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from disparity.made_groups import from_records, shares
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from sendap.disparity import intervals
from sendap.disparity.gaps import gaps, summarise
from sendap.disparity.rates import harmonise
from sendap.errors import DesignError, UsageError

SEED = pd.DataFrame({"sen": ["SEN", "No SEN"], "yes": [90, 1725], "n": [500, 2500]})


def row(frame, group, against=None):
    found = frame[(frame["group"] == group) & ((frame["against"] == against) if against else True)]
    return found.iloc[0]


def test_fixtures_of_the_standard():
    """18% of 500 against 69% of 2,500: the numbers of standard section 8, printed there to three places."""
    found = row(gaps(shares(SEED, strata=["sen"]), by="sen", better="higher"), "SEN", "No SEN")
    assert found[["difference", "difference_low", "difference_high"]].to_numpy(float) == pytest.approx(
        [-51.0, -54.6, -46.9], abs=0.05
    )
    assert found[["ratio", "odds_ratio", "adverse_ratio"]].to_numpy(float) == pytest.approx(
        [0.261, 0.099, 2.645], abs=5e-4
    )
    assert found["flag"]
    assert found["adverse_flag"]
    gcse = row(gaps(shares(SEED.assign(yes=[160, 1900]), strata=["sen"]), by="sen", better="higher"), "SEN", "No SEN")
    assert gcse[["ratio", "odds_ratio", "adverse_ratio"]].to_numpy(float) == pytest.approx(
        [0.421, 0.149, 2.833], abs=5e-4
    )


@given(a=st.integers(1, 60), b=st.integers(1, 60), c=st.integers(1, 400), d=st.integers(1, 400))
def test_intervals_equal_statsmodels(a, b, c, d):
    """Closed forms, so equal to rounding error."""
    n1, n0 = a + b, c + d
    p1, p0 = np.array(a / n1), np.array(c / n0)
    low, high = confint_proportions_2indep(a, n1, c, n0, compare="diff", method="newcomb")
    assert intervals.newcombe(p1, n1, p0, n0)[1:] == pytest.approx((low, high), abs=1e-10)
    assert intervals.wilson(p1, n1) == pytest.approx(proportion_confint(a, n1, method="wilson"), abs=1e-10)
    table = Table2x2(np.array([[a, b], [c, d]]))
    assert intervals.odds_ratio(p1, n1, p0, n0) == pytest.approx(
        (table.oddsratio, *table.oddsratio_confint()), rel=1e-9
    )
    assert intervals.risk_ratio(p1, n1, p0, n0) == pytest.approx(
        (table.riskratio, *table.riskratio_confint()), rel=1e-9
    )


def test_zero_counts():
    nobody = gaps(shares(SEED.assign(yes=[0, 1725]), strata=["sen"]), by="sen", better="higher")
    found = row(nobody, "SEN", "No SEN")
    assert found["ratio"] == 0
    assert np.isnan(found["ratio_low"])
    assert "no interval" in found["note"]
    a, b, c, d = 0.5, 500.5, 1725.5, 775.5
    error = np.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    assert found["odds_ratio"] == pytest.approx(a * d / (b * c))
    assert found["odds_ratio_high"] == pytest.approx(a * d / (b * c) * np.exp(stats.norm.ppf(0.975) * error))
    assert found["difference_high"] < 0


def test_a_group_against_all_allows_for_being_part_of_them():
    """Covering at the stated rate: a tenth or half of all pupils, 2,000 draws, so 95% within 3 standard errors."""
    draw = np.random.default_rng(5)
    n, p = np.array([200, 200, 400]), np.array([0.3, 0.5, 0.4])
    truth = p - (n * p).sum() / n.sum()
    inside = {"difference": 0, "ratio": 0, "odds": 0}
    relative, whole = p / (n @ p / n.sum()), n @ p / n.sum()
    odds = p / (1 - p) / (whole / (1 - whole))
    for _ in range(2000):
        drawn = draw.binomial(n, p) / n
        found = intervals.part_of_whole(drawn, n, float(n @ drawn / n.sum()), float(n.sum()))
        for name, value in (("difference", truth), ("ratio", relative), ("odds", odds)):
            inside[name] += int(((found[name][1] <= value) & (value <= found[name][2])).sum())
    for name, count in inside.items():
        assert count / 6000 == pytest.approx(0.95, abs=0.012), name


def test_means_equal_welch_and_statsmodels():
    draw = np.random.default_rng(3)
    records = pd.DataFrame({"sex": draw.choice(["Female", "Male", "Unknown"], 900, p=[0.4, 0.55, 0.05])})
    records["y"] = draw.gamma(2.0, 3.0, 900) + 2.0 * (records["sex"] == "Male")
    found = gaps(from_records(records, strata=["sex"], unit="days"), by="sex")
    male, female = (DescrStatsW(records.loc[records["sex"] == name, "y"]) for name in ("Male", "Female"))
    low, high = CompareMeans(female, male).tconfint_diff(usevar="unequal")
    one = row(found, "Female", "Male")
    assert one[["difference", "difference_low", "difference_high"]].to_numpy(float) == pytest.approx(
        [female.mean - male.mean, low, high], rel=1e-9
    )
    assert one["rate_low"] == pytest.approx(female.tconfint_mean()[0], rel=1e-9)
    assert np.isnan(one["odds_ratio"])
    assert np.isnan(one["adverse_ratio"])
    rest = DescrStatsW(records.loc[records["sex"] != "Female", "y"])
    w = female.nobs / 900
    low, high = CompareMeans(female, rest).tconfint_diff(usevar="unequal")
    whole = row(found, "Female", "all pupils")
    assert whole[["difference", "difference_low", "difference_high"]].to_numpy(float) == pytest.approx(
        [(1 - w) * (female.mean - rest.mean), (1 - w) * low, (1 - w) * high], rel=1e-8
    )
    assert whole["difference"] == pytest.approx(female.mean - records["y"].mean(), rel=1e-9)


def test_unknown_is_kept_and_small_groups_are_said_not_dropped():
    table = pd.DataFrame(
        {
            "ethnicity": ["White - White British", "Black - Black Caribbean", "White - Roma", "Unclassified"],
            "yes": [300, 40, 3, 5],
            "n": [1000, 100, 9, 12],
        }
    )
    found = gaps(harmonise(shares(table, strata=["ethnicity"])), by="ethnicity")
    assert found["group"].unique().tolist() == ["Black Caribbean", "Roma", "White British", "Unknown"]
    assert set(found["against"]) == {"White British", "all pupils"}
    small = row(found, "Roma")
    assert (small["status"], small["n"]) == ("too few to say", 9)
    assert small[["rate", "difference", "ratio", "odds_ratio"]].isna().all()
    assert not small["flag"]
    assert row(found, "White British", "White British")["status"] == "reference"
    assert row(found, "Unknown")["status"] == "ok"
    # All pupils includes the small group and Unknown: 348 of 1,121.
    assert row(found, "Black Caribbean", "all pupils")["rate_against"] == pytest.approx(100 * 348 / 1121)
    assert row(found, "Black Caribbean", "White British")["flag"]
    with pytest.raises(DesignError, match="reference group 'Roma' has fewer than 10"):
        gaps(harmonise(shares(table, strata=["ethnicity"])), by="ethnicity", reference="Roma")
    with pytest.raises(UsageError, match="no group 'White Britsh'. Did you mean 'White British'"):
        gaps(harmonise(shares(table, strata=["ethnicity"])), by="ethnicity", reference="White Britsh")


def test_a_flag_needs_size_and_certainty():
    few = SEED.assign(yes=[7, 25], n=[20, 100])
    assert not row(gaps(shares(few, strata=["sen"]), by="sen"), "SEN")["flag"]
    many = SEED.assign(yes=[9000, 10000], n=[50000, 50000])
    found = gaps(shares(many, strata=["sen"]), by="sen", reference="No SEN")
    assert row(found, "SEN", "No SEN")["ratio_high"] < 1
    assert not row(found, "SEN", "No SEN")["flag"]


def test_labels_that_mean_the_same_are_added_up():
    table = pd.DataFrame(
        {"ethnicity": ["Asian - Chinese", "Chinese", "White British"], "yes": [10, 20, 50], "n": [20, 30, 90]}
    )
    found = gaps(harmonise(shares(table, strata=["ethnicity"])), by="ethnicity")
    assert row(found, "Chinese")["n"] == 50
    assert row(found, "Chinese")["rate"] == pytest.approx(60.0)
    major = gaps(harmonise(shares(table, strata=["ethnicity"]), level="major"), by="ethnicity")
    assert major["group"].unique().tolist() == ["Asian / Asian British", "White"]


def test_margins_are_not_crossed_and_weights_are_refused():
    ethnicity = pd.DataFrame({"ethnicity": ["A", "B"], "sex": "(all)", "yes": [30, 40], "n": [60, 70]})
    sex = pd.DataFrame({"ethnicity": "(all)", "sex": ["Female", "Male"], "yes": [30, 40], "n": [60, 70]})
    cells = shares(pd.concat([ethnicity, sex], ignore_index=True), strata=["ethnicity", "sex"])
    assert len(gaps(cells, by="sex")) == 4
    from sendap.disparity.rates import rates

    with pytest.raises(DesignError, match="each on its own, not crossed. ethnicity by sex can't be answered"):
        rates(cells, by=["ethnicity", "sex"])
    records = pd.DataFrame({"sex": ["Female", "Male"] * 20, "y": [0.0, 1.0] * 20})
    weighted = from_records(records, strata=["sex"])
    weighted.frame["weight"] *= 1.5
    with pytest.raises(DesignError, match="weighted"):
        gaps(weighted, by="sex")


def test_summary_without_chance_is_unbiased_and_zero_where_groups_are_alike():
    """Mean over 225 draws within 4 standard errors of the truth; the plain variance lies well above it."""
    draw = np.random.default_rng(11)
    n, p = np.array([40, 60, 80, 2000]), np.array([0.2, 0.4, 0.3, 0.3])
    share = n / n.sum()
    truth = 1e4 * share @ (p - share @ p) ** 2
    corrected, plain = [], []
    for _ in range(225):
        table = pd.DataFrame({"g": list("abcd"), "yes": draw.binomial(n, p), "n": n})
        found = summarise(shares(table, strata=["g"]), by="g")
        plain.append(found.between_variance)
        chance = plain[-1] - found.corrected if found.corrected else None
        drawn = table["yes"] / n
        by_hand = 1e4 * (share * (1 - share)) @ (drawn * (1 - drawn) / (n - 1))
        if chance is not None:
            assert chance == pytest.approx(by_hand, rel=1e-9)
        corrected.append(plain[-1] - by_hand)
    error = np.std(corrected) / 15
    assert np.mean(corrected) == pytest.approx(truth, abs=4 * error)
    assert np.mean(plain) > truth + 4 * error


def test_summary_by_hand():
    table = pd.DataFrame({"g": ["a", "b", "Unknown", "c"], "yes": [50, 30, 10, 2], "n": [100, 100, 50, 4]})
    found = summarise(shares(table, strata=["g"]), by="g", reference="a")
    assert found.between_variance == pytest.approx(100.0)
    assert found.index_of_disparity == pytest.approx(0.4)
    assert found.theil == pytest.approx(0.5 * (1.25 * np.log(1.25) + 0.75 * np.log(0.75)))
    assert (found.groups, found.left_out) == (2, ("c", "Unknown"))


def test_bootstrap_limits_of_few_areas_lie_where_t_puts_them():
    """For a mean of twelve areas the widened percentiles are the t interval, but for the shape of so few."""
    draw = np.random.default_rng(1)
    values = draw.normal(0, 1, 12)
    means = draw.choice(values, (200_000, 12)).mean(axis=1)
    low, high = np.quantile(means, intervals.tails(0.95, 12))
    half = stats.t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert high - low == pytest.approx(2 * half, rel=0.03)
    assert intervals.tails(0.95, 10**9) == pytest.approx([0.025, 0.975], abs=1e-8)
    assert intervals.tails(0.95, 1) == [pytest.approx(0.025), pytest.approx(0.975)]

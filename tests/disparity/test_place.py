"""Areas: standardised ratios, funnel, shrinkage and spread, against published values, brute force and statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from disparity.made_groups import shares
from scipy import optimize, stats
from statsmodels.stats.meta_analysis import combine_effects

from sendap.disparity import place, shrinkage, spread
from sendap.disparity.funnel import BEYOND, FAR_BEYOND, INSIDE, funnel, overdispersion, winsorise
from sendap.errors import DesignError, UsageError


def test_byar_is_that_of_the_standard():
    """O 25, E 20: 0.8087 to 1.8453 (exact 0.8089 to 1.8452), printed to four places."""
    assert np.array(place.byar(25, 20)) == pytest.approx([0.8087, 1.8453], abs=5e-5)
    assert np.array(place.exact_limits(25)) / 20 == pytest.approx([0.8089, 1.8452], abs=5e-5)
    for count in (0, 1, 9):
        low, high = place.byar(count, 4.0)
        assert 4 * high == pytest.approx(optimize.brentq(lambda mu, o=count: stats.poisson.cdf(o, mu) - 0.025, 0, 60))
        if count:
            assert 4 * low == pytest.approx(
                optimize.brentq(lambda mu, o=count: stats.poisson.sf(o - 1, mu) - 0.025, 0, 60)
            )
        else:
            assert low == 0


def two_strata(seed=2, areas=12):
    draw = np.random.default_rng(seed)
    rows = [
        {"area": f"A{a:02d}", "sex": sex, "fsm": fsm, "n": int(draw.integers(30, 400))}
        for a in range(areas)
        for sex in ("Female", "Male")
        for fsm in ("FSM", "Not FSM")
    ]
    table = pd.DataFrame(rows)
    rate = 0.2 + 0.1 * (table["sex"] == "Male") + 0.2 * (table["fsm"] == "FSM")
    return table.assign(yes=draw.binomial(table["n"], rate))


def test_indirect_and_direct_standardisation_by_hand():
    table = two_strata()
    cells = shares(table, strata=["sex", "fsm"])
    ratios = place.standardised_ratios(cells, by=["sex", "fsm"])
    rates = place.standardised_rates(cells, by=["sex", "fsm"]).set_index("cluster")
    national = table.groupby(["sex", "fsm"])[["yes", "n"]].sum()
    for _, row in ratios.iterrows():
        own = table[table["area"] == row["cluster"]].set_index(["sex", "fsm"])
        expected = (own["n"] * national["yes"] / national["n"]).sum()
        assert row["expected"] == pytest.approx(expected)
        assert row["ratio"] == pytest.approx(own["yes"].sum() / expected)
        direct = (national["n"] / national["n"].sum() * own["yes"] / own["n"]).sum()
        assert rates.loc[row["cluster"], "standardised"] == pytest.approx(100 * direct)
        assert rates.loc[row["cluster"], "rate"] == pytest.approx(100 * own["yes"].sum() / own["n"].sum())
    assert ratios["cluster"].is_monotonic_increasing
    assert ratios["events"].sum() == pytest.approx(ratios["expected"].sum())
    # One stratum: nothing to standardise, so the crude rate with Wilson's limits.
    one = place.standardised_rates(
        shares(table, strata=["sex", "fsm"]).margin(keep=["sex"]).filter(sex="Male"), by=["sex"]
    )
    assert one["standardised"].to_numpy() == pytest.approx(one["rate"].to_numpy())
    low, _ = place.wilson(one["rate"].to_numpy() / 100, one["n"].to_numpy())
    assert one["standardised_low"].to_numpy() == pytest.approx(100 * low)


def test_standardisation_says_what_it_cant():
    table = two_strata()
    lacking = table[~((table["area"] == "A03") & (table["fsm"] == "FSM"))]
    rates = place.standardised_rates(shares(lacking, strata=["sex", "fsm"]), by=["sex", "fsm"]).set_index("cluster")
    assert rates.loc["A03", "status"] == "too few to say"
    assert np.isnan(rates.loc["A03", "standardised"])
    assert (rates.drop("A03")["status"] == "ok").all()
    with pytest.raises(UsageError, match="list of the strata"):
        place.standardised_rates(shares(table, strata=["sex", "fsm"]), by="sex")


def test_the_interval_of_a_standardised_rate_covers():
    """60 draws of 12 areas: the share of 720 intervals has a standard error of 0.8 points; three are allowed."""
    table, inside = two_strata(), 0
    draw = np.random.default_rng(4)
    p = (0.2 + 0.1 * (table["sex"] == "Male") + 0.2 * (table["fsm"] == "FSM")).to_numpy()
    truth = 100 * (p * table["n"]).sum() / table["n"].sum()
    for _ in range(60):
        drawn = shares(table.assign(yes=draw.binomial(table["n"], p)), strata=["sex", "fsm"])
        found = place.standardised_rates(drawn, by=["sex", "fsm"])
        inside += int(((found["standardised_low"] <= truth) & (truth <= found["standardised_high"])).sum())
    assert inside / 720 == pytest.approx(0.95, abs=0.025)


def test_dispersion_without_winsorising_is_that_of_dersimonian_and_laird():
    draw = np.random.default_rng(8)
    error = draw.uniform(0.5, 2.0, 40)
    rate = draw.normal(10, np.sqrt(error**2 + 1.5))
    fixed = (rate / error**2).sum() / (1 / error**2).sum()
    phi, tau2 = overdispersion(rate, error, fixed, share=0.0)
    other = combine_effects(rate, error**2, method_re="dl")
    assert tau2 == pytest.approx(other.tau2, rel=1e-9)
    assert phi == pytest.approx(other.q / 40, rel=1e-9)
    z = np.arange(1.0, 12.0)
    assert winsorise(z).tolist() == [2.0, 2.0, *range(3, 11), 10.0]


def test_funnel_finds_a_planted_area_and_nothing_where_nothing_was_planted():
    draw = np.random.default_rng(21)
    n = draw.integers(100, 2000, 150)
    alike = pd.DataFrame({"area": [f"A{i:03d}" for i in range(150)], "n": n, "yes": draw.binomial(n, 0.4)})
    found = funnel(shares(alike, strata=[]))
    assert found.between_sd < 1.0
    assert (found.frame["position"] == INSIDE).mean() > 0.9
    true = np.clip(draw.normal(0.4, 0.05, 150), 0, 1)
    spread_out = alike.assign(yes=draw.binomial(n, true))
    spread_out.loc[7, "yes"] = int(0.75 * n[7])
    wide = funnel(shares(spread_out, strata=[]))
    # Winsorising at 10% on each side takes some of the spread; 5 points were planted.
    assert 3.5 < wide.between_sd < 6.0
    assert wide.frame.loc[7, "position"] == FAR_BEYOND
    assert (wide.frame["position"] == FAR_BEYOND).sum() <= 4
    assert wide.frame["position"].isin([INSIDE, BEYOND, FAR_BEYOND]).all()
    curve = wide.limits(np.array([100, 1000]))
    assert (curve["low_99.8%"] < curve["low_95%"]).all()
    plain = wide.limits(np.array([400]), adjusted=False)
    p = wide.target / 100
    assert plain["high_95%"].iloc[0] == pytest.approx(100 * (p + 1.96 * np.sqrt(p * (1 - p) / 400)))
    few = spread_out.assign(
        n=np.where(np.arange(150) == 3, 5, n), yes=np.where(np.arange(150) == 3, 1, spread_out["yes"])
    )
    assert funnel(shares(few, strata=[])).frame.loc[3, "status"] == "too few to say"
    with pytest.raises(DesignError, match="needs ten"):
        funnel(shares(alike[:5], strata=[]))


def test_normal_shrinkage_equals_statsmodels_and_the_formula():
    draw = np.random.default_rng(14)
    v = draw.uniform(0.5, 3.0, 30)
    y = draw.normal(5, np.sqrt(v + 2.0))
    found = shrinkage.normal(y, v)
    other = combine_effects(y, v, method_re="iterated", atol=1e-12)
    assert found.sd**2 == pytest.approx(other.tau2, rel=1e-6)
    assert found.mean == pytest.approx(other.mean_effect_re, rel=1e-8)
    b = other.tau2 / (other.tau2 + v)
    assert found.estimate == pytest.approx(b * y + (1 - b) * other.mean_effect_re, rel=1e-6)
    alike = shrinkage.normal(np.full(5, 2.0), np.ones(5))
    assert (alike.sd, alike.kept.max()) == (0.0, 0.0)
    # Where areas are alike, each has the mean of all, with its error.
    assert alike.high - alike.estimate == pytest.approx(np.full(5, stats.norm.ppf(0.975) / np.sqrt(5)))
    with pytest.raises(DesignError):
        shrinkage.normal(y, np.zeros(30))


def test_poisson_gamma_and_beta_binomial_are_the_maxima_of_their_likelihoods():
    draw = np.random.default_rng(9)
    e = draw.uniform(3, 60, 150)
    o = draw.poisson(e * draw.gamma(8, 1 / 8, 150))
    found = shrinkage.poisson_gamma(o, e)
    a, b = found.prior

    def negative_binomial(point):
        return -stats.nbinom.logpmf(o, np.exp(point[0]), np.exp(point[1]) / (np.exp(point[1]) + e)).sum()

    other = optimize.minimize(negative_binomial, [1, 1], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11})
    assert np.log([a, b]) == pytest.approx(other.x, abs=1e-4)
    assert found.estimate == pytest.approx((o + a) / (e + b))
    assert found.sd == pytest.approx(np.sqrt(1 / 8), rel=0.25)
    n = draw.integers(20, 300, 150)
    y = draw.binomial(n, draw.beta(6, 14, 150))
    share = shrinkage.beta_binomial(y, n)
    other = optimize.minimize(
        lambda point: -stats.betabinom.logpmf(y, n, *np.exp(point)).sum(), [1, 1], method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11},
    )  # fmt: skip
    assert np.log(share.prior) == pytest.approx(other.x, abs=1e-4)
    assert share.mean == pytest.approx(0.3, abs=0.03)
    assert ((share.low < share.estimate) & (share.estimate < share.high)).all()
    alike = shrinkage.beta_binomial(np.array([30, 60, 90, 120]), np.array([100, 200, 300, 400]))
    assert alike.sd == 0.0
    assert alike.estimate == pytest.approx(np.full(4, 0.3), abs=1e-4)


def arms(seed, *, narrowing=0.0, treated=30, others=60):
    """Two years of areas whose true rates spread by 8 points, in the treated by less after."""
    draw = np.random.default_rng(seed)
    rows = []
    for area in range(treated + others):
        level = draw.normal(0, 0.08)
        for year in (2022, 2024):
            mine = level * (1 - narrowing * (area < treated and year == 2024))
            n = int(draw.integers(150, 600))
            rows.append(
                {
                    "area": f"A{area:03d}",
                    "year": year,
                    "start": 2023.0 if area < treated else np.nan,
                    "n": n,
                    "yes": draw.binomial(n, np.clip(0.5 + mine, 0, 1)),
                }
            )
    return shares(pd.DataFrame(rows), strata=[])


def test_spread_takes_chance_out():
    """SD of 8 points planted in 90 areas: its standard error is about 8/sqrt(180) = 0.6, so within 3 of them."""
    found = spread.spread_change(arms(3), before=[2022], after=[2024])
    assert found.frame.loc[1, "before"] == pytest.approx(8.0, abs=2.2)
    draw = np.random.default_rng(6)
    n = np.full(400, 50)
    drawn = draw.binomial(n, 0.4) / n
    assert abs(spread.between_variance(drawn, drawn * (1 - drawn) / (n - 1))) < 4 * np.sqrt(2 / 399) * 0.24 / 50
    assert drawn.std() > 0.06
    rate, variance = draw.random((30, 2)), draw.random((30, 2)) / 50
    chosen = np.stack([np.arange(30), np.arange(30)[::-1]])
    for row in spread._spreads(rate, variance, chosen):
        assert row == pytest.approx([spread.between_variance(rate[:, at], variance[:, at]) for at in (0, 1)])


def test_a_planted_narrowing_of_the_spread_is_found_and_none_where_none_was_planted():
    found = spread.spread_change(arms(5, narrowing=0.7), before=[2022], after=[2024])
    at = found.frame.set_index("arm")
    assert at.loc["difference", "change"] < -2
    assert at.loc["difference", "change_high"] < 0
    assert found.p_value < 0.01
    assert "in the programme's areas" in found.sentence()
    p_values = [spread.spread_change(arms(seed), before=[2022], after=[2024], draws=199).p_value for seed in range(60)]
    # 60 tests at 10%: more than 12 rejections would happen in about 1 of 100 sets.
    assert sum(p <= 0.1 for p in p_values) <= 12
    few = spread.spread_change(arms(2, treated=6), before=[2022], after=[2024])
    assert few.frame["change_low"].isna().tolist() == [True, False, True]
    with pytest.raises(DesignError, match="at least 4"):
        spread.spread_change(arms(2, treated=2), before=[2022], after=[2024])
    with pytest.raises(UsageError, match="no period 2019"):
        spread.spread_change(arms(2), before=[2019], after=[2024])

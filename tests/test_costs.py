"""Costs: discounting by hand, Fieller's interval by test inversion and simulation, and what isn't printed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from scipy.optimize import brentq

from sendap.costs import (
    Benefit,
    CostEffect,
    CostItem,
    Costs,
    benefit_cost_ratio,
    cost_band,
    cost_per_outcome,
    discount_factor,
    present_value,
)
from sendap.errors import DesignError, UsageError
from sendap.report.sizes_text import cost_sentences, payers_table, pounds


def item(what: str = "delivery", amount: float = 100_000.0, year: int = 2023, **others: object) -> CostItem:
    given_ = {"description": f"{what} of the pilot", "payer": "local authority", "source": "budget", **others}
    return CostItem(what=what, amount=amount, year=year, **given_)  # type: ignore[arg-type]


def costs(*items: CostItem, **others: object) -> Costs:
    usual = {"base_year": 2023, "price_year": 2024, "children": {2023: 500, 2024: 500}}
    usual |= {"deflators": {2023: 80.0, 2024: 84.0, 2025: 86.0}, "deflator_source": "GDP deflators, November 2025"}
    return Costs(items=items, **(usual | others))  # type: ignore[arg-type]


def test_discount_factors_step_down_by_the_green_book():
    assert discount_factor(0) == 1.0
    assert discount_factor(30) == pytest.approx(1.035**-30, rel=1e-12)
    assert discount_factor(31) == pytest.approx(1.035**-30 / 1.03, rel=1e-12)
    assert discount_factor(75) == pytest.approx(1.035**-30 * 1.03**-45, rel=1e-12)
    assert discount_factor(125) == pytest.approx(1.035**-30 * 1.03**-45 * 1.025**-50, rel=1e-12)
    assert discount_factor(100, "health") == pytest.approx(1.015**-30 * 1.0129**-45 * 1.0107**-25, rel=1e-12)
    assert discount_factor(100, "sensitivity") == pytest.approx(1.03**-30 * 1.0257**-45 * 1.0214**-25, rel=1e-12)
    for year in (-1, 126):
        with pytest.raises(UsageError, match="no discount rate"):
            discount_factor(year)
    assert present_value([100, 100, 100]) == pytest.approx(100 + 100 / 1.035 + 100 / 1.035**2, rel=1e-12)


def test_real_prices_present_values_and_who_pays():
    found = costs(
        item("delivery", 100_000, 2023),
        item("NHS time", 42_000, 2024, payer="NHS", prices=2024),
        item("family time", 8_600, 2025, payer="families"),
        item("transfer", 5_000_000, 2024, payer="Department for Education", prices=2024),
    )
    parts = [100_000 * 84 / 80, 42_000 / 1.035, 8_600 * 84 / 86 / 1.035**2]
    assert found.present_value() == pytest.approx(sum(parts), rel=1e-12)
    assert found.per_child() == pytest.approx(sum(parts) / 1000, rel=1e-12)
    payers = found.by_payer().set_index("payer")
    assert payers.loc["NHS", "present_value"] == pytest.approx(parts[1], rel=1e-12)
    assert payers.loc["Department for Education", "present_value"] == 0
    assert payers.loc["Department for Education", "transfers"] == pytest.approx(5_000_000 / 1.035, rel=1e-12)
    shown = str(payers_table(found, pilot="AA"))
    assert "Families" in shown
    assert "over and above usual practice" in shown


def test_training_is_spread_over_the_years_it_lasts_up_to_the_end():
    found = costs(item("training", 40_000, 2023, lasts=4, prices=2024))
    table = found.table()
    assert table["year"].tolist() == [2023, 2024]
    assert table["real"].tolist() == pytest.approx([10_000, 10_000], rel=1e-12)
    assert found.band == "very low"
    with pytest.raises(ValidationError, match="only a set-up or training lasts"):
        item("delivery", lasts=3)


def test_costs_that_cant_be_added_are_refused():
    with pytest.raises(ValidationError, match="deflators: there is none for 2026"):
        costs(item(year=2026))
    with pytest.raises(ValidationError, match="say where the deflators come from"):
        costs(item(), deflator_source="")
    with pytest.raises(ValidationError, match="before the base year"):
        costs(item(year=2022))
    with pytest.raises(ValidationError, match="above 0"):
        costs(item(), children={2023: 0})
    assert costs(item(prices=2024), deflators={}, deflator_source="").present_value() == 100_000


def test_cost_bands():
    limits = (0, 79.99, 80, 200, 200.01, 700, 700.01, 1200, 1200.01)
    named = ["very low", "very low", "low", "low", "moderate", "moderate", "high", "high", "very high"]
    assert [cost_band(each) for each in limits] == named
    assert costs(item(amount=350_000, prices=2024)).band == "moderate"  # £350,000 over 1,000 children and years
    with pytest.raises(UsageError):
        cost_band(-1)


@settings(max_examples=60)
@given(st.floats(-500, 3000), st.floats(0.5, 20), st.floats(1, 800), st.floats(0.1, 0.45), st.floats(-0.95, 0.95))
def test_fiellers_interval_holds_the_ratios_that_a_test_doesnt_reject(cost, effect, cost_error, relative, correlation):
    error = relative * effect
    found = CostEffect(cost, effect, cost_error, error, correlation * cost_error * error)
    limits = found.fieller()
    assert limits is not None
    critical = stats.norm.ppf(0.975)

    def statistic(ratio: float) -> float:
        spread = cost_error**2 + ratio**2 * error**2 - 2 * ratio * found.covariance
        return (cost - ratio * effect) ** 2 - critical**2 * spread

    reach = 1 + 10 * (abs(cost) + cost_error) / effect / (1 - (critical * relative) ** 2)
    assume(statistic(found.ratio - reach) > 0 < statistic(found.ratio + reach))
    inverted = [
        brentq(statistic, found.ratio - reach, found.ratio),
        brentq(statistic, found.ratio, found.ratio + reach),
    ]
    # The root finder stops at 2e-12; the quadratic loses some digits where its roots are far apart in size.
    assert limits == pytest.approx(inverted, rel=1e-6, abs=1e-6 * reach)


def test_fiellers_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(11)
    covariance = np.array([[90.0**2, 0.4 * 90 * 1.2], [0.4 * 90 * 1.2, 1.2**2]])
    drawn = generator.multivariate_normal([400.0, 4.0], covariance, size=20_000)
    square = 1.959964**2
    inside = 0
    for cost, effect in drawn:
        found = CostEffect(cost, effect, 90.0, 1.2, covariance[0, 1])
        limits = found.fieller()
        if limits is None:
            # No finite interval: the set of ratios that aren't rejected then lies outside two limits, or is everything.
            spread = 90.0**2 + 100.0**2 * 1.2**2 - 2 * 100.0 * covariance[0, 1]
            inside += (cost - 100.0 * effect) ** 2 <= square * spread
        else:
            inside += limits[0] <= 100.0 <= limits[1]
    # Four standard errors of a share of 0.95 in 20,000 draws.
    assert inside / 20_000 == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 20_000))


@given(st.floats(-5, 5), st.floats(0.1, 3))
def test_no_ratio_is_printed_where_the_effect_cant_be_told_from_none(effect, error):
    found = cost_per_outcome(CostEffect(500.0, effect, 50.0, error))
    if effect**2 <= 1.959963984540054**2 * error**2:
        assert (found.ratio, found.ci_low, found.ci_high) == (None, None, None)
        assert "can't be told apart from no change" in found.why
    else:
        assert (found.ratio is None) == (effect < 0)


def test_the_ratio_is_only_for_a_gain_that_costs_more():
    better = cost_per_outcome(CostEffect(500.0, 5.0, 0.0, 1.0))
    assert better.ratio == pytest.approx(100.0, rel=1e-12)
    # A budget is known: the limits are the cost over the limits of the effect.
    reach = 1.959963984540054
    assert (better.ci_low, better.ci_high) == pytest.approx((500 / (5 + reach), 500 / (5 - reach)), rel=1e-9)
    assert "did better and cost less" in cost_per_outcome(CostEffect(-500.0, 5.0, 10.0, 1.0)).why
    assert "did worse and cost more" in cost_per_outcome(CostEffect(500.0, -5.0, 10.0, 1.0)).why
    assert "saving for each outcome lost" in cost_per_outcome(CostEffect(-500.0, -5.0, 10.0, 1.0)).why
    with pytest.raises(UsageError, match="covariance"):
        CostEffect(1.0, 1.0, 1.0, 1.0, 2.0)


def test_acceptability_is_the_share_of_draws_with_a_net_benefit():
    found = CostEffect(400.0, 4.0, 90.0, 1.2, 0.4 * 90 * 1.2)
    covariance = np.array([[90.0**2, found.covariance], [found.covariance, 1.2**2]])
    drawn = np.random.default_rng(5).multivariate_normal([400.0, 4.0], covariance, size=200_000)
    curve = found.acceptability([0, 50, 100, 150, 300])
    shares = [(value * drawn[:, 1] - drawn[:, 0] > 0).mean() for value in curve["value"]]
    # Four standard errors of a share of a half in 200,000 draws.
    assert curve["probability"].to_numpy() == pytest.approx(np.array(shares), abs=4 * np.sqrt(0.25 / 200_000))
    assert curve["probability"][2] == pytest.approx(0.5, abs=1e-12)
    benefit, low, high = found.net_benefit(150)
    assert benefit == pytest.approx(200.0, rel=1e-12)
    assert (high - low) / 2 == pytest.approx(1.959964 * np.std(150 * drawn[:, 1] - drawn[:, 0]), rel=0.01)


def test_fiellers_limits_are_where_the_net_benefit_is_just_told_from_none():
    found = CostEffect(400.0, 4.0, 90.0, 1.0, 20.0)
    low, high = found.fieller()
    assert found.net_benefit(low)[2] == pytest.approx(0.0, abs=1e-8)
    assert found.net_benefit(high)[1] == pytest.approx(0.0, abs=1e-8)


def test_benefits_need_confidence_and_arent_transfers():
    benefits = [Benefit("earnings", 300.0), Benefit("less crime", 100.0)]
    assert benefit_cost_ratio(benefits, 200.0, confidence="Moderate") == pytest.approx(2.0, rel=1e-12)
    for word in ("Low", "Very low", "High at most"):
        with pytest.raises(DesignError, match="can't be set against costs"):
            benefit_cost_ratio(benefits, 200.0, confidence=word)
    with pytest.raises(DesignError, match="'deficit paid off' is a transfer"):
        benefit_cost_ratio([Benefit("deficit paid off", 1e6, transfer=True)], 200.0, confidence="High")


def test_costs_in_words():
    assert [pounds(value) for value in (3.456, 12.4, 1_234_567, -45.6)] == ["£3.46", "£12", "£1,200,000", "−£46"]
    found = costs(item(amount=300_000, prices=2024), not_counted=("time of parents",))
    sentences = cost_sentences(found, cost_per_outcome(CostEffect(300.0, 1.0, 0.0, 2.0)))
    assert sentences == [
        "It cost about £300 for each child and year, at 2024 prices, over 1,000 children and years, discounted from "
        "2023. On the scale of the Education Endowment Foundation the cost is moderate.",
        "We don't give a cost for each outcome. The effect can't be told apart from no change.",
        "Not counted: time of parents.",
    ]
    given_ = cost_sentences(
        found, cost_per_outcome(CostEffect(300.0, 0.06, 0.0, 0.01)), outcome="one more plan in time"
    )
    assert given_[1].startswith(
        "Our best estimate is £5,000 for one more plan in time (95% confidence interval £3,800 to"
    )

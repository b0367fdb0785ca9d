"""Verdicts on gaps: the table of the standard, planted effects found and worded, nothing found where none was."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
from disparity.made_groups import shares
from scipy import stats

from sendap.disparity.narrowed import Effect, harm, judge, narrowed, worst_group
from sendap.disparity.programme import programme_gaps
from sendap.disparity.relative import relative_triple
from sendap.errors import DesignError, UsageError
from sendap.groups import unfit_words
from sendap.inference.multiplicity import holm
from sendap.protocol import Guard
from sendap.verdict import guard

GAIN, LOSS, SAME, WIDE = Effect(4, 2, 6), Effect(-4, -6, -2), Effect(0, -0.4, 0.4), Effect(1, -5, 7)

TABLE = [
    ("better", "same", "better", "narrowed by gains"),
    ("better", "better", "better", "narrowed by gains"),
    ("same", "worse", "better", "narrowed by loss: not a success"),
    ("better", "worse", "better", "narrowed at least partly by loss: not a success"),
    ("unclear", "worse", "better", "narrowed at least partly by loss: not a success"),
    ("better", "unclear", "better", "narrowed with gains, but a loss in the other group isn't ruled out"),
    ("unclear", "unclear", "better", "narrowed, but we can't tell whether by gains or by loss"),
    ("same", "same", "better", "narrowed, but we can't tell whether by gains or by loss"),
    ("better", "better", "worse", "both gained, gap widened"),
    ("same", "better", "worse", "gap widened"),
    ("worse", "worse", "better", "group harmed"),
    ("worse", "same", "unclear", "group harmed"),
    ("unclear", "unclear", "unclear", "cannot tell"),
    ("better", "better", "unclear", "cannot tell"),
    ("same", "same", "same", "gap unchanged"),
]


@pytest.mark.parametrize(("behind", "ahead", "gap", "expected"), TABLE)
def test_the_table_of_verdicts(behind, ahead, gap, expected):
    assert judge(behind, ahead, gap) == expected


def verdict(on_group, on_reference, on_gap, **other):
    return narrowed(
        **{
            "group": "Black Caribbean",
            "reference": "White British",
            "on_group": on_group,
            "on_reference": on_reference,
            "on_gap": on_gap,
            "gap_before": -8.0,
            "better": "higher",
            "smallest": 1.0,
            "unit": "per cent",
            **other,
        }
    )


def test_direction_and_who_was_behind_turn_the_verdict():
    assert verdict(GAIN, SAME, GAIN).absolute == "narrowed by gains"
    assert verdict(SAME, LOSS, GAIN).absolute == "narrowed by loss: not a success"
    # The same figures where lower is better, and the group has more of it: both signs turn.
    assert verdict(LOSS, SAME, LOSS, better="lower", gap_before=8.0).absolute == "narrowed by gains"
    # The group was ahead: a gain of the group alone widens the gap.
    ahead = verdict(GAIN, SAME, GAIN, gap_before=8.0)
    assert (ahead.absolute, ahead.behind) == ("gap widened", "White British")
    assert verdict(LOSS, SAME, LOSS, gap_before=8.0).absolute == "narrowed by loss: not a success"
    assert verdict(LOSS, SAME, LOSS).absolute == "group harmed"
    # Without a smallest effect that matters nothing is called the same.
    assert verdict(SAME, LOSS, GAIN, smallest=None).absolute == "narrowed at least partly by loss: not a success"
    nothing = Effect(np.nan, np.nan, np.nan)
    assert verdict(nothing, nothing, nothing).absolute == "cannot tell"
    with pytest.raises(UsageError, match="better"):
        verdict(GAIN, SAME, GAIN, better="neither")


def test_words_and_relative_verdict():
    found = verdict(SAME, LOSS, GAIN)
    assert "That isn't a success" in found.sentence
    assert "−4.0 (−6.0 to −2.0) for pupils from the White British ethnic group" in found.sentence
    relative = verdict(GAIN, GAIN, LOSS, relative=Effect(1.3, 1.1, 1.5), smallest_relative=0.05)
    assert (relative.absolute, relative.relative) == ("both gained, gap widened", "narrowed by gains")
    assert relative.differ
    assert "As a ratio the verdict differs: narrowed by gains." in relative.sentence
    lower = verdict(LOSS, LOSS, LOSS, better="lower", gap_before=8.0, relative=Effect(0.8, 0.7, 0.9))
    assert (lower.relative, lower.differ) == ("narrowed by gains", False)
    for case in (found, relative, lower):
        assert unfit_words(case.sentence) == []


BOUNDS = [(-1, -3, 1, 2), (3, 1, 5, 2), (1.5, 0.5, 2.5, 2), (0.5, -2, 3, 2), (-0.5, -4, 3, 2), (1, 0.5, 1.5, 2)]


@pytest.mark.parametrize(("estimate", "low", "high", "margin"), BOUNDS)
def test_harm_is_that_of_the_guards_of_the_protocol(estimate, low, high, margin):
    rule = Guard(concern="x", basis="ours", paragraph="1.1", harm_if="rises", margin=margin, reason="x")
    row = pd.Series({"estimate": estimate, "one_sided_low": low, "one_sided_high": high})
    assert harm(estimate, low, high, margin) == guard(row, rule, None)[0]


def test_the_worst_group_decides_and_small_groups_are_named():
    effects = pd.DataFrame(
        {
            "group": ["Chinese", "Black Caribbean", "White British", "Roma"],
            "estimate": [1.0, -3.0, 0.5, np.nan],
            "one_sided_low": [0.0, -5.0, -0.5, np.nan],
            "one_sided_high": [2.0, -1.0, 1.5, np.nan],
        }
    )
    found = worst_group(effects, better="higher", margin=2.0, by="ethnicity")
    assert found.verdict == "serious harm"
    assert found.too_small == ("Roma",)
    assert found.sentence == ("Serious harm for pupils from the Black Caribbean ethnic group. Too small to test: Roma.")
    safe = worst_group(effects[effects["group"] != "Black Caribbean"], better="higher", margin=2.0, by="ethnicity")
    assert safe.verdict == "no harm beyond the margin"
    assert "2 groups" in safe.sentence
    unsure = effects.assign(one_sided_low=-5.0, one_sided_high=5.0, estimate=1.0).iloc[:3]
    words = worst_group(unsure, better="higher", margin=2.0, by="ethnicity").sentence
    assert words == "We can't rule out harm for 3 groups: Chinese, Black Caribbean and White British."
    none = worst_group(effects.iloc[[3]], better="higher", margin=2.0, by="ethnicity")
    assert none.verdict == "cannot tell"
    with pytest.raises(UsageError, match="above zero"):
        worst_group(effects, better="higher", margin=0.0, by="ethnicity")


def programme(seed, *, a=0.0, b=0.0, areas=40, starts=(2023.0,), extra=None):
    """Half of the areas start; group A is 10 points behind B, and the programme adds ``a`` and ``b`` to them."""
    draw = np.random.default_rng(seed)
    rows = []
    for area in range(areas):
        level, start = draw.normal(0.5, 0.05), starts[area % len(starts)] if area < areas // 2 else np.nan
        for name, effect, gap, n in (("A", a, -0.10, 300), ("B", b, 0.0, 900), *(extra or ())):
            for year in range(2020, 2025):
                p = level + gap + effect * (year >= start) + 0.01 * (year - 2020) + draw.normal(0, 0.01)
                rows.append(
                    {"area": f"L{area:02d}", "g": name, "year": year, "start": start, "n": n,
                     "yes": draw.binomial(n, np.clip(p, 0, 1))}
                )  # fmt: skip
    return shares(pd.DataFrame(rows), strata=["g"])


PLANTED = [
    ({"a": 0.06, "b": 0.0}, {"narrowed by gains"}),
    ({"a": 0.0, "b": -0.06}, {"narrowed by loss: not a success"}),
    ({"a": 0.03, "b": 0.09}, {"both gained, gap widened"}),
    ({"a": -0.06, "b": 0.0}, {"group harmed"}),
    ({"a": 0.0, "b": 0.0}, {"gap unchanged", "cannot tell"}),
]


@pytest.mark.parametrize(("planted", "expected"), PLANTED)
def test_planted_effects_are_found_and_named(planted, expected):
    found = programme_gaps(programme(7, **planted), by="g", reference="B", better="higher", smallest=3.0, margin=3.0)
    row = found.frame.iloc[0]
    assert row["verdict"] in expected
    assert row["effect_low"] < 100 * planted["a"] < row["effect_high"]
    assert row["gap_effect_low"] < 100 * (planted["a"] - planted["b"]) < row["gap_effect_high"]
    assert row["gap_before"] == pytest.approx(-10, abs=2)
    worst = min(planted["a"], planted["b"])
    assert found.guard.verdict == ("serious harm" if worst < 0 else "no harm beyond the margin")


def test_nothing_is_found_where_nothing_was_planted_at_the_stated_rate():
    """40 seeds, 5% of which may be called changed: more than 7 would happen in fewer than 1 of 1,000 sets."""
    changed = 0
    for seed in range(40):
        found = programme_gaps(
            programme(seed + 500, areas=30), by="g", reference="B", better="higher", smallest=2.0, method="two_way"
        )
        row = found.frame.iloc[0]
        changed += row["gap_effect_low"] > 0 or row["gap_effect_high"] < 0
        assert row["verdict"] != "narrowed by loss: not a success"
    assert changed <= 7


def test_many_groups_are_pooled_adjusted_and_small_ones_said():
    extra = [(name, effect, -0.05, 200) for name, effect in (("C", 0.0), ("D", 0.08), ("E", 0.0))]
    cells = programme(3, extra=[*extra, ("Z", 0.0, 0.0, 1)], areas=6)
    few = programme_gaps(cells, by="g", reference="B", better="higher", margin=2.0, threshold=10)
    assert few.frame.set_index("group").loc["Z", "status"] == "too few to say"
    assert "Z" in few.guard.too_small
    found = programme_gaps(programme(3, extra=extra), by="g", reference="B", better="higher", smallest=3.0, margin=3.0)
    frame = found.frame.set_index("group")
    assert frame.index.tolist() == ["A", "C", "D", "E"]
    assert (frame["p_adjusted"] >= frame["p_value"]).all()
    # Step-down over shared draws of areas, never beyond Holm's by more than their 1,999 draws allow.
    assert set(frame["adjustment"]) == {"romano_wolf (multiplier)"}
    assert (frame["p_adjusted"] <= holm(frame["p_value"].to_numpy()) + 0.02).all()
    assert frame.loc["D", "verdict"] == "narrowed by gains"
    centre = frame["pooled"].mean()
    assert (abs(frame["pooled"] - centre) <= abs(frame["gap_effect"] - centre) + 1).all()
    assert frame["pooled"].std() < frame["gap_effect"].std()
    assert len(found.guard.frame) == 5
    staggered = programme_gaps(programme(3, starts=(2022.0, 2023.0)), by="g", reference="B", better="higher")
    assert (
        staggered.frame["ratio_low"].iloc[0] < staggered.frame["ratio"].iloc[0] < staggered.frame["ratio_high"].iloc[0]
    )
    with pytest.raises(UsageError, match="no group 'Q'"):
        programme_gaps(cells, by="g", reference="Q", better="higher")


@pytest.mark.parametrize("starts", [(2023.0,), (2022.0, 2023.0)])
def test_the_relative_triple_difference_is_that_of_a_poisson_regression(starts):
    """exp(beta) with effects of group by area, group by period and area by period; pyfixest stops at 1e-8."""
    cells = programme(11, a=0.06, starts=starts)
    found = relative_triple(cells, by="g", group="A", reference="B")
    frame = cells.frame.assign(
        events=cells.frame["sum"] / 100,
        treated=((cells.frame["period"] >= cells.frame["cohort"]) & (cells.frame["g"] == "A")).astype(float),
        size=np.log(cells.frame["weight"]),
        gc=cells.frame["g"] + cells.frame["cluster"],
        gt=cells.frame["g"] + cells.frame["period"].astype(str),
        ct=cells.frame["cluster"] + cells.frame["period"].astype(str),
    )
    fit = pf.fepois("events ~ treated | gc + gt + ct", data=frame, offset="size", vcov={"CRV1": "cluster"})
    beta, error = float(fit.coef().iloc[0]), float(fit.se().iloc[0])
    assert found.estimate == pytest.approx(np.exp(beta), rel=1e-6)
    # The jackknife and the sandwich agree to the order of one over the number of areas; t with 19 and more degrees.
    assert np.log(found.high / found.low) / 2 == pytest.approx(2.09 * error, rel=0.15)
    assert found.low > 1


def test_a_ratio_without_enough_areas_has_no_interval():
    few = relative_triple(programme(1, areas=8), by="g", group="A", reference="B")
    assert np.isnan(few.low)
    assert np.isfinite(few.estimate)
    with pytest.raises(DesignError, match="before and after"):
        relative_triple(programme(1, areas=8, starts=(2030.0,)), by="g", group="A", reference="B")
    with pytest.raises(UsageError, match="no group 'Q'"):
        relative_triple(programme(1, areas=8), by="g", group="Q", reference="B")


def test_the_error_of_a_relative_triple_difference_is_that_of_repeated_draws():
    """40 made-up programmes: their spread is known to about a ninth, the mean of the errors much better."""
    found = [relative_triple(programme(seed), by="g", group="A", reference="B") for seed in range(40)]
    spread = np.std([np.log(each.estimate) for each in found], ddof=1)
    half = np.mean([np.log(each.high / each.low) / 2 for each in found])
    assert half / stats.t.ppf(0.975, 19) == pytest.approx(spread, rel=0.35)
    assert np.mean([each.low < 1 < each.high for each in found]) > 0.8

"""Several outcomes at once: the formulas by hand and against other software, on the same draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from panels import as_cells, made_up
from scipy import stats

from sendap.errors import DataError, DesignError, UsageError
from sendap.estimators import fit_group_time, fit_two_way
from sendap.inference import infer
from sendap.inference.multiplicity import (
    ADJUSTMENT_WORDS,
    Draws,
    Member,
    adjust_family,
    benjamini_hochberg,
    holm,
    multiplier_draws,
    permutation_draws,
    romano_wolf,
    wild_draws,
)

pyfixest = pytest.importorskip("pyfixest")


def family(
    treated: int,
    areas: int,
    *,
    outcomes: int = 3,
    shared: float = 0.5,
    effects: tuple[float, ...] = (),
    seed: int = 0,
    fitter=fit_two_way,
    **options,
) -> dict[str, object]:
    """Results of several outcomes of the same areas whose errors go together."""
    frame = made_up(areas=areas, share_treated=treated / areas, starts=(2018.0,), regions=1, years=4)
    base = as_cells(frame).panel()
    draw = np.random.default_rng(seed)
    common = draw.normal(size=base.mean.shape)
    after = (base.periods[None, :] >= base.cohort[:, None]).astype(float)
    found = {}
    for number in range(outcomes):
        own = draw.normal(size=base.mean.shape)
        mean = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
        mean = mean + after * (effects[number] if effects else 0.0)
        fit = fitter(replace(base, mean=mean, outcome=f"y{number}"))
        found[f"y{number}"] = infer(fit, only=("overall",), permute=False, **options)
    return found


def test_holm_of_the_standard():
    """Evaluation standard, section 8."""
    assert holm([0.004, 0.02, 0.03, 0.2]) == pytest.approx([0.016, 0.06, 0.06, 0.2], abs=1e-12)


def test_adjustments_leave_missing_p_values_out():
    assert holm([0.03, np.nan, 0.01]) == pytest.approx([0.03, np.nan, 0.02], nan_ok=True, abs=1e-12)
    # m = 3: q_(3) = .04, q_(2) = min(3/2 * .03, .04), q_(1) = min(3 * .01, ...).
    assert benjamini_hochberg([0.04, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04], abs=1e-12)
    assert np.isnan(holm([np.nan, np.nan])).all()


def by_hand(statistic: np.ndarray, null: np.ndarray) -> np.ndarray:
    """The formula of the standard, 4.3, in loops."""
    order = sorted(range(len(statistic)), key=lambda each: -statistic[each])
    found, before = np.empty(len(statistic)), 0.0
    for step, member in enumerate(order):
        left = order[step:]
        count = sum(max(row[each] for each in left) >= statistic[member] for row in null)
        before = max(before, (1 + count) / (len(null) + 1))
        found[member] = before
    return found


@settings(max_examples=40, deadline=None)
@given(
    arrays(float, st.tuples(st.integers(1, 30), st.just(4)), elements=st.integers(0, 12).map(lambda each: each / 3)),
    arrays(float, 4, elements=st.integers(0, 12).map(lambda each: each / 3)),
)
def test_step_down_is_the_formula(null, statistic):
    found = romano_wolf(Draws(statistic, null, exact=False, method="given"))
    assert found == pytest.approx(by_hand(statistic, null), abs=1e-12)
    # Larger statistics never have larger p-values, and no p-value lies below the one of its own column.
    assert (np.diff(found[np.argsort(-statistic)]) >= 0).all()
    alone = (1 + (null >= statistic).sum(axis=0)) / (1 + len(null))
    assert (found >= alone - 1e-12).all()


def test_step_down_equals_pyfixest_on_the_same_draws():
    import sys

    theirs = sys.modules[pyfixest.rwolf.__module__]._get_rwolf_pval
    draw = np.random.default_rng(3)
    null = draw.normal(size=(999, 5)) @ np.linalg.cholesky(0.5 + 0.5 * np.eye(5)).T
    statistic = np.array([0.3, 2.9, -2.2, 1.1, 2.6])
    found = romano_wolf(Draws(statistic, null, exact=False, method="given"))
    assert found == pytest.approx(theirs(statistic, null), abs=1e-12)


def test_wild_draws_are_those_of_pyfixest():
    """With ten clusters both use every draw of signs; theirs holds each twice, with all signs turned round."""
    results = family(6, 10, effects=(0.0, 1.6, 0.9), seed=5)
    members = [Member.of(each) for each in results.values()]
    draws = wild_draws(members)
    assert draws.exact
    assert len(draws.null) == 2**9
    frame = pd.DataFrame(
        {
            "area": np.repeat(np.arange(10), 4),
            "year": np.tile(members[0].fit.panel.periods, 10),
            "d": members[0].fit.regressors[:, :, 0].ravel(),
            **{name: each.fit.panel.mean.ravel() for name, each in zip(results, members, strict=True)},
        }
    )
    models = [pyfixest.feols(f"{name} ~ d + C(area) + C(year)", frame, vcov={"CRV1": "area"}) for name in results]
    with np.errstate(all="ignore"):
        theirs = pyfixest.rwolf(models, "d", reps=9999, seed=1).loc["RW Pr(>|t|)"].to_numpy(dtype=float)
    ours = romano_wolf(draws)
    count, twice = ours * len(draws.null), 2 * len(draws.null)
    # They add one to the count and to the draws. The sample itself, there twice, equals its own statistic but for the
    # last digits, so they may leave it out of the count.
    assert theirs == pytest.approx((1 + 2 * count) / (1 + twice), abs=2 / (1 + twice) + 1e-9)
    assert ours.min() < 0.05 < ours.max()


def test_multiplier_draws_have_the_dependence_and_the_margins():
    results = family(10, 60, shared=0.9, seed=2)
    members = [Member.of(each) for each in results.values()]
    draws = multiplier_draws(members, draws=20_000)
    away = np.column_stack([each.fit.leave_one_out()[:, 0] - each.fit.estimate[0] for each in members])
    size = np.sqrt((away**2).sum(axis=0))
    expected = (away.T @ away) / np.outer(size, size)
    # Five standard errors of a correlation of 20,000 draws.
    assert np.cov(draws.null.T) == pytest.approx(expected, abs=5 / np.sqrt(20_000) * 1.5)
    # Each statistic alone keeps the p-value of the member's headline method.
    assert 2 * stats.norm.sf(draws.statistic) == pytest.approx([each.p_value for each in members], rel=1e-9)
    single = romano_wolf(Draws(draws.statistic[:1], draws.null[:, :1], exact=False, method="multiplier"))
    assert single[0] == pytest.approx(members[0].p_value, abs=5 * np.sqrt(0.25 / 20_000))


def test_equal_outcomes_cost_nothing_and_independent_ones_what_sidak_says():
    one = family(20, 60, outcomes=1, seed=9, effects=(0.7,))["y0"]
    same = adjust_family("secondary", {"a": one, "b": one, "c": one}, draws=20_000)
    assert same["p_adjusted"].to_numpy() == pytest.approx(same["p_value"].to_numpy(), abs=5 * np.sqrt(0.25 / 20_000))
    apart = family(20, 60, shared=0.0, effects=(0.7, 0.0, 0.0), seed=9)
    found = adjust_family("secondary", apart, draws=20_000)
    smallest = found["p_value"].min()
    # Independent errors are only nearly uncorrelated in one sample.
    assert found["p_adjusted"].min() == pytest.approx(1 - (1 - smallest) ** 3, rel=0.2)


def test_permutation_draws_deal_the_same_starts_to_all():
    results = family(3, 12, shared=1.0, seed=4, fitter=fit_group_time)
    members = [Member.of(each) for each in results.values()]
    draws = permutation_draws(members)
    assert draws.exact
    assert len(draws.null) == 220
    # The errors of all members are the same, so every draw gives them the same statistic.
    assert draws.null[:, 1] == pytest.approx(draws.null[:, 0], rel=1e-9)
    found = adjust_family("secondary", results)
    assert set(found["adjustment"]) == {"romano_wolf (permutation)"}
    assert found["p_adjusted"].to_numpy() == pytest.approx(found["p_value"].to_numpy(), abs=1e-12)


def test_permutation_of_members_with_other_areas_and_of_one_treated_area():
    whole = family(1, 30, outcomes=2, seed=1, draws=199)
    frame = made_up(areas=28, share_treated=1 / 28, starts=(2018.0,), regions=1, years=4, seed=8)
    fewer = infer(fit_two_way(as_cells(frame).panel()), permute=False, draws=199)
    members = [Member.of(each) for each in (*whole.values(), fewer)]
    draws = permutation_draws(members, draws=99)
    # Divided by the spread over the allocations, since one treated area has no standard error.
    assert np.sqrt((draws.null**2).mean(axis=0))[:2] == pytest.approx(1.0, rel=1e-9)
    with pytest.raises(DesignError, match="only 1 ways"):
        permutation_draws(members, regions={f"A{number:03d}": str(number) for number in range(30)})
    later = made_up(areas=28, share_treated=1 / 28, starts=(2019.0,), regions=1, years=4)
    moved = Member.of(infer(fit_two_way(as_cells(later).panel()), permute=False, draws=199))
    with pytest.raises(DesignError, match="'A000' doesn't start at the same time"):
        permutation_draws([members[0], moved])


def test_each_family_has_its_rule():
    results = family(20, 60, effects=(0.5, 0.4, 0.0), seed=6)
    p_values = np.array([each.headline()["p_value"].iloc[0] for each in results.values()])
    for name in ("primary", "guard"):
        found = adjust_family(name, results)
        assert found["p_adjusted"].to_numpy() == pytest.approx(p_values)
        assert set(found["adjustment"]) == {"none"}
    explored = adjust_family("exploratory", results)
    assert explored["p_adjusted"].to_numpy() == pytest.approx(benjamini_hochberg(p_values))
    assert set(explored["adjustment"]) == {"benjamini_hochberg"}
    for name in ("secondary", "disparity"):
        found = adjust_family(name, results)
        assert set(found["adjustment"]) == {"romano_wolf (multiplier)"}
        assert (found["p_adjusted"] >= found["p_value"]).all()
        # Never beyond Holm by more than the error of 9,999 draws.
        assert (found["p_adjusted"] <= holm(p_values) + 4 * np.sqrt(0.25 / 9999)).all()
        assert set(found["adjustment"]) <= set(ADJUSTMENT_WORDS)
    wild = adjust_family("secondary", results, resampling="wild", draws=999)
    assert set(wild["adjustment"]) == {"romano_wolf (wild)"}
    assert wild["p_adjusted"].to_numpy() == pytest.approx(found["p_adjusted"].to_numpy(), abs=0.06)


def test_holm_takes_over_where_draws_cant_be_made_together():
    results = family(20, 60, seed=6)
    without = {name: replace(each, parts={}) for name, each in results.items()}
    found = adjust_family("secondary", without)
    assert set(found["adjustment"]) == {"holm"}
    assert found["p_adjusted"].to_numpy() == pytest.approx(holm(found["p_value"].to_numpy()))
    with pytest.raises(DataError, match="don't hold the fit"):
        Member.of(without["y0"])


def test_a_family_of_one_and_members_without_a_p_value():
    results = family(20, 60, outcomes=2, seed=6)
    first = adjust_family("secondary", {"y0": results["y0"]})
    assert first["p_adjusted"].tolist() == first["p_value"].tolist()
    lost = results["y1"].with_columns(p_value=np.nan)
    found = adjust_family("secondary", {"y0": results["y0"], "y1": lost})
    assert found["p_adjusted"].iloc[0] == found["p_value"].iloc[0]
    assert np.isnan(found["p_adjusted"].iloc[1])


def test_seeded_and_refused():
    results = family(20, 60, seed=6)
    one, two, other = (adjust_family("secondary", results, draws=199, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert not one["p_adjusted"].equals(other["p_adjusted"])
    with pytest.raises(UsageError, match="family must be one of"):
        adjust_family("tertiary", results)
    with pytest.raises(UsageError, match="resampling must be"):
        adjust_family("secondary", results, resampling="bootstrap")
    with pytest.raises(UsageError, match="one column for each of the 2"):
        romano_wolf(Draws(np.ones(2), np.ones((5, 3)), exact=False, method="given"))


def test_false_alarms_of_a_family_at_the_stated_rate():
    """40 families of four without an effect, 8 treated of 40.

    Binomial(40, 0.05) lies at 8 or below with probability 0.9998. Unadjusted, more than one family in twenty has a
    false alarm.
    """
    adjusted = unadjusted = 0
    for seed in range(40):
        found = adjust_family("secondary", family(8, 40, outcomes=4, seed=seed), draws=499, seed=seed)
        adjusted += (found["p_adjusted"] <= 0.05).any()
        unadjusted += (found["p_value"] <= 0.05).any()
    assert adjusted <= 8
    assert unadjusted > 2
    assert adjusted < unadjusted

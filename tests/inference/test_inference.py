"""Intervals and tests: the jackknife by hand, permutation by enumeration, the selector at its edges."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from panels import as_cells, made_up
from scipy import stats

from sendap import effects
from sendap.errors import UsageError
from sendap.estimators import fit_group_time, fit_two_by_two, fit_two_way
from sendap.inference.cluster_robust import crv3_variance, effective_clusters, satterthwaite_dof
from sendap.inference.permutation import allocations, permutation_test, possible_allocations
from sendap.inference.selector import choose


def one_start(treated: int, controls: int, seed: int = 0, effect: float = 0.0):
    areas = treated + controls
    return made_up(
        areas=areas, share_treated=treated / areas, starts=(2019.0,), regions=1, seed=seed, effect=effect, years=4
    )


def overall_position(fit) -> int:
    return int(fit.terms.index[fit.terms["term"] == "overall"][0])


@pytest.mark.parametrize(
    ("treated", "controls", "headline"),
    [
        (0, 50, "none"),
        (1, 150, "permutation"),
        (5, 150, "permutation"),
        (6, 150, "crv3"),
        (12, 150, "crv3"),
        (13, 150, "crv3"),
        (40, 60, "crv3"),
        (41, 60, "crv1"),
        (60, 41, "crv1"),
        (150, 5, "permutation"),
        (60, 12, "crv3"),
        (150, 0, "none"),
    ],
)
def test_the_smaller_side_decides_the_method(treated, controls, headline):
    assert choose(treated, controls).headline == headline


def test_forbidden_methods_are_refused():
    cells = as_cells(one_start(4, 40))
    for method in ("crv1", "crv3", "wcr"):
        with pytest.raises(UsageError, match="isn't valid here"):
            effects.two_way(cells, inference=method)
    with pytest.raises(UsageError, match="inference must be one of"):
        effects.two_way(cells, inference="normal")


def test_satterthwaite_of_a_difference_of_means_is_bell_mccaffrey():
    """Two groups of equal errors have (1/a + 1/b)^2 / (1/a^3 + 1/b^3) degrees, a and b the sizes less one."""
    treated, controls = 7, 40
    fit = fit_two_by_two(as_cells(one_start(treated, controls)).panel(), before=2018, after=2019)
    a, b = treated - 1, controls - 1
    expected = (1 / a + 1 / b) ** 2 / (1 / a**3 + 1 / b**3)
    assert satterthwaite_dof(fit, overall_position(fit)) == pytest.approx(expected, rel=1e-8)


def test_jackknife_of_a_difference_of_means_by_hand():
    frame = one_start(6, 30, seed=3)
    fit = fit_two_by_two(as_cells(frame).panel(), before=2018, after=2019)
    wide = frame.pivot(index="area", columns="year", values="y")
    change = wide[2019] - wide[2018]
    treated = frame.groupby("area")["cohort"].first().notna()
    total = len(change)
    expected = (
        (total - 1)
        / total
        * sum(
            ((group - group.mean()) ** 2).sum() / (len(group) - 1) ** 2 for group in (change[treated], change[~treated])
        )
    )
    position = overall_position(fit)
    assert crv3_variance(fit.leave_one_out(), fit.estimate)[position] == pytest.approx(expected, rel=1e-9)


def test_effective_clusters_of_equal_clusters_is_their_number():
    fit = fit_two_by_two(as_cells(one_start(20, 20)).panel(), before=2018, after=2019)
    assert effective_clusters(fit)[overall_position(fit)] == pytest.approx(40, rel=1e-9)
    lopsided = fit_two_by_two(as_cells(one_start(2, 38)).panel(), before=2018, after=2019)
    assert effective_clusters(lopsided)[overall_position(lopsided)] < 10


def brute_force_p(frame, effect: float) -> float:
    """Every way to deal the starts out, refitted from rows, with the statistic written out."""
    areas = sorted(frame["area"].unique())
    starts = frame.groupby("area")["cohort"].first()
    actual = frame.assign(y=frame["y"] - effect * (frame["year"] >= frame["cohort"]))

    def statistic(allocation) -> float:
        dealt = actual.assign(cohort=actual["area"].map(dict(zip(areas, allocation, strict=True))))
        fit = fit_two_by_two(as_cells(dealt).panel(), before=2018, after=2019)
        position = overall_position(fit)
        return abs(fit.estimate[position]) / np.sqrt((fit.scores[:, position] ** 2).sum())

    own = [float(starts[area]) for area in areas]
    # Missing starts don't equal each other, so each different allocation is found by where the starts are.
    different = {
        tuple(np.isfinite(allocation)): allocation
        for allocation in map(tuple, set(permutations(range(len(own)))))
        for allocation in [tuple(own[position] for position in allocation)]
    }
    reference = statistic(own)
    found = [statistic(allocation) for allocation in different.values()]
    return float(np.mean([value >= reference * (1 - 1e-10) for value in found]))


@pytest.mark.parametrize("effect", [0.0, 1.5, -4.0])
def test_permutation_equals_brute_force_enumeration(effect):
    frame = one_start(2, 5, seed=9)
    fit = fit_two_by_two(as_cells(frame).panel(), before=2018, after=2019)
    position = overall_position(fit)
    cohorts = fit.panel.cluster_cohort
    dealt, exact = allocations(cohorts, np.zeros(7, dtype=int), 999, 1)
    assert exact
    assert len(dealt) == 21
    from sendap.inference.permutation import _p_value

    found, own = fit.permute(dealt, np.array([position])), fit.permute(cohorts[None], np.array([position]))
    assert _p_value(own, found, 0, effect, True, True) == pytest.approx(brute_force_p(frame, effect), abs=1e-12)


def test_number_of_allocations_inside_regions():
    """One of each region: the product of the sizes, as for one partnership in each English region."""
    sizes = [12, 24, 15, 10, 14, 11, 33, 19, 15]
    groups = np.repeat(np.arange(9), sizes)
    cohorts = np.full(sum(sizes), np.inf)
    cohorts[np.r_[0, np.cumsum(sizes)[:-1]]] = 2023
    assert possible_allocations(cohorts, groups) == np.prod(np.array(sizes, dtype=object))
    dealt, exact = allocations(cohorts, groups, 50, 7)
    assert not exact
    for group in range(9):
        assert (np.isfinite(dealt[:, groups == group]).sum(axis=1) == 1).all()


def test_interval_ends_are_where_the_test_stops_rejecting():
    fit = fit_two_way(as_cells(one_start(5, 25, seed=2)).panel())
    groups = np.zeros(30, dtype=int)
    (result,) = permutation_test(fit, np.array([0]), groups, draws=499, seed=3, levels=(0.9,))
    (low, high) = result.intervals[0]
    assert low < fit.estimate[0] < high
    # Fewer draws than this can't reject at the level on both sides of each end.
    (inside,) = permutation_test(fit, np.array([0]), groups, draws=499, seed=3, levels=(0.5,))
    assert low < inside.intervals[0][0] < inside.intervals[0][1] < high


def test_same_seed_same_results_other_seed_other_draws():
    cells = as_cells(one_start(4, 40))
    first, again, other = (effects.two_way(cells, draws=199, seed=seed).frame for seed in (5, 5, 6))
    assert first.equals(again)
    assert not first["ci_low"].equals(other["ci_low"])


def test_headline_interval_is_estimate_and_t_quantile():
    found = effects.two_way(as_cells(one_start(15, 60)), permute=False).headline().iloc[0]
    assert found["inference"] == "crv3"
    half = stats.t.ppf(0.975, found["dof"]) * found["std_error"]
    assert found["ci_high"] - found["estimate"] == pytest.approx(half, rel=1e-10)
    one_sided = stats.t.ppf(0.95, found["dof"]) * found["std_error"]
    assert found["one_sided_high"] - found["estimate"] == pytest.approx(one_sided, rel=1e-10)


def test_clusters_and_years_are_those_used():
    frame = one_start(15, 60).assign(region="one")
    found = effects.group_time(as_cells(frame), permute=False).headline()
    row = found[found["term"] == "overall"].iloc[0]
    assert (row["clusters"], row["treated_clusters"]) == (75, 15)
    assert (row["periods_before"], row["periods_after"]) == ("2018", "2019")
    assert row["headline"]


def test_false_alarms_at_the_stated_rate():
    """200 panels without an effect, 8 treated of 60: at most one in ten rejected at 5%, at least one in a hundred.

    Binomial(200, 0.05) lies in 2 to 20 with probability over 0.998.
    """
    rejected = 0
    for seed in range(200):
        fit = fit_two_by_two(as_cells(one_start(8, 52, seed=seed)).panel(), before=2018, after=2019)
        position = overall_position(fit)
        error = np.sqrt(crv3_variance(fit.leave_one_out(), fit.estimate)[position])
        dof = satterthwaite_dof(fit, position)
        rejected += abs(fit.estimate[position]) / error > stats.t.ppf(0.975, dof)
    assert 2 <= rejected <= 20


def test_trend_check_finds_a_planted_drift_and_passes_without():
    from sendap.probe import check_trends

    plain = made_up(areas=80, seed=31, starts=(2020.0,), years=7)
    drifting = plain.assign(y=plain["y"] + 1.5 * (plain["year"] - 2016) * plain["cohort"].notna())
    calm, moving = (check_trends(fit_group_time(as_cells(each).panel()), 0) for each in (plain, drifting))
    assert not calm.differs
    assert moving.differs
    assert moving.periods == 3
    assert moving.largest == pytest.approx(4.5, abs=1.5)


def test_the_wild_bootstrap_stands_beside_the_headline_of_two_way():
    found = effects.two_way(as_cells(one_start(15, 60)), draws=999).frame.set_index("inference")
    assert set(found.index) == {"crv3", "crv1", "permutation", "wcr"}
    assert found.loc["wcr", "draws"] == 999
    # With 15 of 75 areas treated all valid methods agree on the width within a quarter.
    width = found["ci_high"] - found["ci_low"]
    assert width["wcr"] == pytest.approx(width["crv3"], rel=0.25)
    assert width["permutation"] == pytest.approx(width["crv3"], rel=0.25)

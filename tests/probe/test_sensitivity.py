"""Robust sets: held against the authors' own software, and against the definitions solved by general programmes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from diff_diff import HonestDiD, MultiPeriodDiD
from diff_diff.pretrends import PreTrendsPower
from panels import as_cells, made_up
from scipy import stats
from scipy.optimize import linprog, minimize

from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_event_study, fit_group_time
from sendap.probe.power import trend_power
from sendap.probe.robust_sets import (
    EventPath,
    SmoothProblem,
    _largest_normal,
    _relative_moments,
    folded_quantile,
    relative_accepts,
    relative_interval,
)
from sendap.probe.sensitivity import event_path, sensitivity, target_weights

# Event study of profits after a cut of value-added tax in French restaurants, Benzarti and Carloni (2019), as the R
# package HonestDiD carries it (BCdata_EventStudy): base 2008, four years before and four after.
BC_ESTIMATE = [
    0.00669635180383921, 0.0293450336903334, -0.00647297222167253, 0.0730149894952774,
    0.195961117744446, 0.312063902616501, 0.239541545510292, 0.126042500138283,
]  # fmt: skip
BC_COVARIANCE = [
    [0.000842835812363774, 0.00047686867765151, 0.000261805107584223, 0.000235422034165822,
     0.000167637146660127, 0.000112870766315609, 1.99281621462433e-05, -0.000136826536618173],
    [0.00047686867765151, 0.000642542028799653, 0.000398742500692606, 0.00024355151981581,
     0.000220196030568331, 0.00018045911565423, 3.84376508009154e-05, -2.96042198897339e-05],
    [0.000261805107584223, 0.000398742500692606, 0.000522994960192591, 0.000211768609005958,
     0.000184072225238197, 0.000145852784044109, 7.00519740348682e-05, 5.95299497945234e-05],
    [0.000235422034165822, 0.00024355151981581, 0.000211768609005958, 0.000308959541143849,
     0.000119786607683636, 0.000133408131659962, 0.000101633500889875, 0.000107905172626488],
    [0.000167637146660127, 0.000220196030568331, 0.000184072225238197, 0.000119786607683636,
     0.000359970435965806, 0.000247881864197552, 0.000174957924173214, 0.000165425692102872],
    [0.000112870766315609, 0.00018045911565423, 0.000145852784044109, 0.000133408131659962,
     0.000247881864197552, 0.000426394981332123, 0.000217143780901097, 0.000289274787064642],
    [1.99281621462433e-05, 3.84376508009154e-05, 7.00519740348682e-05, 0.000101633500889875,
     0.000174957924173214, 0.000217143780901097, 0.000488669786136597, 0.000380532204871997],
    [-0.000136826536618173, -2.96042198897339e-05, 5.95299497945234e-05, 0.000107905172626488,
     0.000165425692102872, 0.000289274787064642, 0.000380532204871997, 0.000761739443987608],
]  # fmt: skip


@pytest.fixture(scope="module")
def restaurants() -> EventPath:
    times = np.array([-5.0, -4, -3, -2, 0, 1, 2, 3])
    return EventPath(times, np.array(BC_ESTIMATE), np.array(BC_COVARIANCE), base=-1.0)


def random_path(seed: int, *, before: int = 3, partly: int = 0, after: int = 3, uneven: bool = False) -> EventPath:
    draw = np.random.default_rng(seed)
    gaps = draw.integers(1, 3, before + partly + after) if uneven else np.ones(before + partly + after, dtype=int)
    times = np.concatenate([-np.cumsum(gaps[:before])[::-1], np.cumsum(gaps[before:])]).astype(float)
    mixing = draw.normal(size=(len(times), 2 * len(times)))
    start = times[before + partly]
    return EventPath(times, draw.normal(size=len(times)), mixing @ mixing.T / 20, base=0.0, start=float(start))


# HonestDiD 0.2.8 in R 4.5.2, method C-LF on a grid of 10,000 points, spacing 1.4e-4, as the test data of the public
# package did_methods carry it. R simulates the least favourable critical value from 1,000 draws, hence 5e-4.
@pytest.mark.parametrize(
    ("bound", "low", "high"),
    [(0.5, 0.06775439808538886, 0.3691913893670205), (1.0, -0.06968617947647976, 0.506631966928889)],
)
def test_relative_magnitudes_of_the_average_are_those_of_the_authors_software(restaurants, bound, low, high):
    found = relative_interval(restaurants, target_weights(restaurants, "average"), bound=bound, level=0.95)
    assert found == pytest.approx((low, high), abs=5e-4)


# The table "R vs Stata Comparison" of the Stata package honestdid (columns of R). Its grid has a spacing of 7.6e-4, and
# R's upper ends from 1.78 on are the end of its grid, so only lower ends are held there.
@pytest.mark.parametrize(
    ("bound", "low", "high"),
    [
        (0, 0.159, 0.233), (2 / 9, 0.143, 0.248), (4 / 9, 0.123, 0.267), (6 / 9, 0.101, 0.288), (8 / 9, 0.0786, 0.309),
        (10 / 9, 0.0551, 0.330), (12 / 9, 0.0308, 0.352), (14 / 9, 0.00722, 0.376),
        (16 / 9, -0.0171, None), (2, -0.0414, None),
    ],
)  # fmt: skip
def test_relative_magnitudes_of_the_first_effect_are_those_of_the_authors_software(restaurants, bound, low, high):
    found = relative_interval(restaurants, target_weights(restaurants, "first"), bound=bound, level=0.95)
    assert found[0] == pytest.approx(low, abs=1.5e-3)
    if high is not None:
        assert found[1] == pytest.approx(high, abs=1.5e-3)


# HonestDiD 0.2.8, FLCI, as the parity fixtures of the public package StatsPAI carry it, and the table of the Stata
# package for the third effect. R draws its folded normal quantile from simulations, hence 1e-3 (1e-2 where the ends
# are printed with two decimals).
@pytest.mark.parametrize(
    ("target", "bound", "low", "high", "close"),
    [
        ("first", 0.0, 0.131411315937022, 0.216169648182799, 1e-3),
        ("first", 0.01, 0.154965267080773, 0.27038453032652, 1e-3),
        ("first", 0.02, 0.177301087900198, 0.315956468194821, 1e-3),
        ("first", 0.3, -0.0806, 0.619, 1e-3),
        ("average", 0.0, 0.133193369303247, 0.230362614090703, 1e-3),
        ("average", 0.01, 0.124138265521726, 0.368035364887987, 1e-3),
        ("average", 0.02, 0.113901858858792, 0.476743542104818, 1e-3),
        ("third", 0.0, 0.144, 0.260, 1e-3),
        ("third", 0.1, -0.244, 1.161, 1e-3),
        ("third", 0.3, -1.444, 2.361, 1e-3),
    ],
)
def test_smoothness_is_that_of_the_authors_software(restaurants, target, bound, low, high, close):
    weights = target_weights(restaurants, np.array([0, 0, 1.0, 0]) if target == "third" else target)
    assert SmoothProblem(restaurants, weights).interval(bound=bound, level=0.95) == pytest.approx(
        (low, high), abs=close
    )


def polyhedron(path: EventPath, bound: float, chosen: np.ndarray) -> np.ndarray:
    """Rows A with A drift <= 0: each step after the base is at most bound times the chosen step, per period."""
    times = np.r_[path.base, path.times[~path.before]]
    columns = np.flatnonzero(~path.before)
    rows = []
    for position in range(1, len(times)):
        step = np.zeros(len(path.times))
        step[columns[position - 1]] += 1
        if position > 1:
            step[columns[position - 2]] -= 1
        room = bound * (times[position] - times[position - 1]) * chosen
        rows += [step - room, -step - room]
    return np.array(rows)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [{}, {"partly": 2}, {"uneven": True}, {"before": 4, "after": 1}, {"after": 5}])
def test_the_statistic_is_the_linear_programme_of_andrews_roth_and_pakes(seed, shape):
    """min eta such that some effects with the given combination leave every moment below eta standard errors."""
    path = random_path(seed, **shape)
    draw = np.random.default_rng(seed + 100)
    weights = target_weights(path, draw.normal(size=int(path.after.sum())))
    chosen, bound = draw.choice([-1.0, 1.0]) * path.steps_before()[draw.integers(0, 3)], draw.uniform(0.1, 2)
    rows = polyhedron(path, bound, chosen)
    error = np.sqrt(np.diag(rows @ path.covariance @ rows.T))
    moments = _relative_moments(path, weights, bound, 0.95, chosen)
    later = ~path.before
    for effect in draw.normal(size=4) * 3:
        # Unknown: eta and what comes with the treatment in each period from the base on, partly exposed ones too.
        solved = linprog(
            np.r_[1.0, np.zeros(int(later.sum()))],
            A_ub=np.column_stack([-error, -rows[:, later]]),
            b_ub=-rows @ path.estimate,
            A_eq=np.r_[0.0, weights[later]][None, :],
            b_eq=[effect],
            bounds=(None, None),
        )
        assert solved.success
        assert (moments.value + effect * moments.slope).max() == pytest.approx(solved.fun, rel=1e-7, abs=1e-8)


def test_the_least_favourable_quantile_of_two_independent_normals():
    """P(both below x) is the square of the normal distribution."""
    tail = 0.005
    expected = stats.norm.ppf(np.sqrt(1 - tail))
    assert _largest_normal(np.eye(2), tail) == pytest.approx(expected, rel=1e-4)
    assert _largest_normal(3 * np.eye(2)[:1], tail) == pytest.approx(3 * stats.norm.ppf(1 - tail), rel=1e-4)


def worst_drift(path: EventPath, combined: np.ndarray) -> float:
    """The largest combination of a drift through zero at the base whose slope changes by at most one a period."""
    knots = np.sort(np.r_[path.times, path.base])
    position = [int(np.flatnonzero(knots == time)[0]) for time in path.times]
    full = np.zeros(len(knots))
    full[position] = combined
    rows = []
    for at in range(1, len(knots) - 1):
        left, right = knots[at] - knots[at - 1], knots[at + 1] - knots[at]
        row = np.zeros(len(knots))
        row[at - 1 : at + 2] = [1 / left, -1 / left - 1 / right, 1 / right]
        rows.append(row / ((left + right) / 2))
    rows = np.array(rows)
    at_base = (knots == path.base).astype(float)[None, :]
    solved = linprog(
        -full, A_ub=np.vstack([rows, -rows]), b_ub=np.ones(2 * len(rows)), A_eq=at_base, b_eq=[0], bounds=(None, None)
    )
    return -solved.fun if solved.success else np.inf


@pytest.mark.parametrize("shape", [{}, {"partly": 1}, {"uneven": True}, {"before": 4, "after": 2}])
@pytest.mark.parametrize("bound", [0.02, 0.3, 3.0])
def test_the_fixed_length_interval_is_the_shortest_by_a_general_search(shape, bound):
    """The bias is that of the worst drift, found by a linear programme, and no other weights give less length."""
    path = random_path(11, **shape)
    weights = target_weights(path, "average")
    low, high = SmoothProblem(path, weights).interval(bound=bound, level=0.95)
    early = np.flatnonzero(path.before)
    times = path.times - path.base

    def combined(free: np.ndarray) -> np.ndarray:
        made = weights.copy()
        made[early[1:]] = free
        made[early[0]] = -(times @ made) / times[early[0]]
        return made

    def half(free: np.ndarray) -> float:
        made = combined(free)
        error = np.sqrt(made @ path.covariance @ made)
        return error * folded_quantile(bound * worst_drift(path, made) / error, 0.95)

    best = min(
        (
            minimize(half, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 800})
            for start in (np.zeros(len(early) - 1), np.full(len(early) - 1, -0.3))
        ),
        key=lambda found: found.fun,
    )
    # A search without derivatives over a kinked function ends a little above the minimum.
    assert (high - low) / 2 <= best.fun * (1 + 1e-7)
    assert (high - low) / 2 == pytest.approx(best.fun, rel=2e-3)


def test_one_step_before_the_base_extrapolates_its_line():
    """With one step and no change of slope, the first effect is the coefficient plus the step back: known by hand."""
    covariance = np.array([[0.5, 0.1], [0.1, 0.4]])
    path = EventPath(np.array([-2.0, 0.0]), np.array([0.3, 1.0]), covariance, base=-1.0)
    found = sensitivity(path, smooth_bounds=(0.0,))
    error = np.sqrt(0.5 + 0.4 + 2 * 0.1)
    assert found.intervals[0].low == pytest.approx(1.3 - stats.norm.ppf(0.975) * error, rel=1e-9)
    assert [each.restriction for each in found.intervals] == ["smooth"]
    assert np.isnan(found.breakdown_relative)
    assert "only one step" in found.note
    assert "can't be told" in found.sentence()


def test_breakdown_values_are_where_zero_comes_in(restaurants):
    found = sensitivity(restaurants)
    weights = target_weights(restaurants)
    for factor, inside in ((0.999, False), (1.001, True)):
        relative, smooth = found.breakdown_relative * factor, found.breakdown_smooth * factor
        assert relative_accepts(restaurants, weights, bound=relative, level=0.95) is inside
        assert (relative_interval(restaurants, weights, bound=relative, level=0.95)[0] <= 0) is inside
        assert (SmoothProblem(restaurants, weights).interval(bound=smooth, level=0.95)[0] <= 0) is inside
    # R's ends for the first effect change sign between 14/9 and 16/9.
    first = sensitivity(restaurants, target="first", relative_bounds=(0.0,))
    assert 14 / 9 < first.breakdown_relative < 16 / 9
    assert "0.75 times" in found.sentence()
    assert found.frame().query("restriction == 'relative' and bound == 1")["includes_zero"].item()


def test_an_effect_within_its_error_breaks_down_at_nothing(restaurants):
    path = EventPath(restaurants.times, restaurants.estimate * 0.05, restaurants.covariance, base=-1.0)
    found = sensitivity(path, relative_bounds=(0.0, 1.0))
    assert found.breakdown_relative == 0
    assert "includes no change" in found.sentence()


def test_the_unit_of_the_outcome_changes_nothing(restaurants):
    scaled = EventPath(restaurants.times, restaurants.estimate * 1e4, restaurants.covariance * 1e8, base=-1.0)
    plain, large = sensitivity(restaurants), sensitivity(scaled)
    assert large.breakdown_relative == pytest.approx(plain.breakdown_relative, rel=1e-6)
    assert large.breakdown_smooth == pytest.approx(plain.breakdown_smooth * 1e4, rel=1e-6)


def test_robust_sets_cover_under_the_worst_drift():
    """200 samples whose drift goes on as far as Mbar = 1 allows; a rate of 95% or more, less its binomial error."""
    times, draw = np.array([-3.0, -2.0, 0.0, 1.0]), np.random.default_rng(8)
    drift = np.array([-3.0, -1.5, 1.5, 3.0])
    mixing = draw.normal(size=(4, 8))
    covariance = mixing @ mixing.T / 8
    covered = 0
    for sample in draw.multivariate_normal(drift, covariance, size=200):
        path = EventPath(times, sample, covariance, base=-1.0)
        covered += relative_accepts(path, target_weights(path), bound=1.0, level=0.95, effect=0.0)
    assert covered >= stats.binom.ppf(0.001, 200, 0.95)


def test_the_path_of_a_fit_is_its_event_terms_with_the_jackknife():
    cells = as_cells(made_up(areas=30, starts=(2019.0,), years=7, regions=1, seed=4))
    fit = fit_event_study(cells.panel())
    path = event_path(fit)
    assert path.base == -1
    assert list(path.times) == [-3, -2, 0, 1, 2, 3]
    names = fit.panel.clusters
    again = [fit_event_study(cells.without_clusters([name]).panel()).estimate for name in names]
    deviation = np.array(again) - fit.estimate
    assert path.covariance == pytest.approx(29 / 30 * deviation.T @ deviation, rel=1e-7)
    grouped = event_path(fit_group_time(cells.panel()))
    # One start, equal weights: both estimators compare the same means.
    assert grouped.estimate == pytest.approx(path.estimate, rel=1e-8)
    assert sensitivity(fit, relative_bounds=(0.5,)).breakdown_relative == pytest.approx(
        sensitivity(path, relative_bounds=(0.5,)).breakdown_relative
    )


def test_partly_exposed_periods_are_neither_before_nor_after():
    cells = as_cells(made_up(areas=30, starts=(2020.0,), years=7, regions=1, seed=4))
    path = event_path(fit_group_time(cells.panel(), anticipation=1), anticipation=1)
    assert path.base == -2
    assert list(path.times[path.before]) == [-4, -3]
    assert list(path.times[path.after]) == [0, 1, 2]
    weights = target_weights(path, "first")
    assert weights[path.times == -1] == 0
    # From base to start the drift takes two steps, so its room is twice that of one.
    steps = np.abs(path.steps_before() @ path.estimate).max()
    assert path.steps_after()[1].sum() == 4
    wide, narrow = (relative_interval(path, weights, bound=bound, level=0.95) for bound in (40.0, 20.0))
    assert (wide[1] - wide[0]) - (narrow[1] - narrow[0]) >= 2 * 2 * 20 * steps


def test_the_overall_target_is_the_overall_effect():
    """Two starts, weighed by areas and by children: the same number as the fit's own average of group-time effects."""
    frame = made_up(areas=40, starts=(2019.0, 2021.0), years=8, regions=1, counts=True)
    for weights in ("areas", "children"):
        fit = fit_group_time(as_cells(frame).panel(weights=weights))
        path = event_path(fit)
        overall = fit.estimate[fit.terms.index[fit.terms["term"] == "overall"][0]]
        assert sensitivity(path, target="overall", relative_bounds=()).estimate == pytest.approx(overall, rel=1e-8)
    assert abs(path.value(target_weights(path, "average"))[0] - overall) > 0.01
    one = event_path(fit_event_study(as_cells(frame).panel()))
    assert target_weights(one, "overall")[one.after] == pytest.approx(np.array([16, 16, 16, 8, 8]) / 64)


def test_fixed_length_intervals_equal_those_of_diff_diff():
    """From an event study by other software, through its public interface.

    Both search for the shortest, which is flat there: lengths agree to 1e-6, ends to about its square root.
    """
    frame = made_up(areas=60, starts=(2020.0,), years=8, regions=1, seed=3, effect=2)
    frame["treated"] = frame["cohort"].notna().astype(int)
    years = [2016, 2017, 2018, 2020, 2021, 2022, 2023]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = MultiPeriodDiD().fit(
            frame,
            outcome="y",
            treatment="treated",
            time="year",
            post_periods=years[3:],
            reference_period=2019,
            unit="area",
        )
        chosen = [other.interaction_indices[year] for year in years]
        estimate = np.array([other.period_effects[year].effect for year in years])
        covariance = other.vcov[np.ix_(chosen, chosen)]
        path = EventPath(np.array(years) - 2020.0, estimate, covariance, base=-1.0)
        problem = SmoothProblem(path, target_weights(path))
        for bound in (0.0, 0.1, 0.5, 1.0):
            found = HonestDiD(method="smoothness", M=bound).fit(other)
            mine = problem.interval(bound=bound, level=0.95)
            assert mine[1] - mine[0] == pytest.approx(found.ci_ub - found.ci_lb, rel=1e-6)
            assert mine[1] - mine[0] <= (found.ci_ub - found.ci_lb) * (1 + 1e-9)
            assert mine == pytest.approx((found.ci_lb, found.ci_ub), rel=1e-3)
        # The power of the pre-test against a slope, with its own integrals and ours.
        for test, form in (("individual", "nis"), ("joint", "wald")):
            slope = PreTrendsPower(power=0.5, pretest_form=form).fit(other).mdv
            assert trend_power(path, test=test).slope_50 == pytest.approx(slope, rel=2e-4)


def test_paths_that_cant_be_put_together_are_refused():
    frame = made_up(areas=40, starts=(2019.0, 2021.0), years=7)
    panel = as_cells(frame).panel()
    with pytest.raises(DesignError, match="varying base"):
        event_path(fit_group_time(panel, base="varying"))
    gap = as_cells(frame[frame["year"] != 2018]).panel()
    with pytest.raises(DesignError, match="a year is missing"):
        event_path(fit_group_time(gap))
    few = as_cells(made_up(areas=30, share_treated=5 / 30, starts=(2019.0,))).panel()
    with pytest.raises(DesignError, match="at least 6 treated areas"):
        event_path(fit_group_time(few))


def test_a_missing_year_is_a_longer_step():
    frame = made_up(areas=30, starts=(2021.0,), years=7)
    path = event_path(fit_group_time(as_cells(frame[frame["year"] != 2019]).panel()))
    assert list(path.times) == [-5, -4, -3, 0, 1]
    values = dict(zip(path.times, path.estimate, strict=True))
    expected = [values[-4] - values[-5], values[-3] - values[-4], (0 - values[-3]) / 2]
    assert path.steps_before() @ path.estimate == pytest.approx(expected)


def test_event_times_with_few_treated_areas_end_the_path():
    frame = made_up(areas=40, share_treated=0.4, starts=(2018.0, 2020.0), years=7)
    starts = frame.groupby("area")["cohort"].first()
    lost = starts[starts == 2018].index[5:]
    path = event_path(fit_group_time(as_cells(frame[~frame["area"].isin(lost)]).panel()))
    # Five areas started in 2018, eight in 2020: only event times that the second reach have six or more.
    assert list(path.times) == [-4, -3, -2, 0, 1, 2]


@pytest.mark.parametrize(
    "wrong",
    [{"target": "last"}, {"target": "overall"}, {"target": np.ones(2)}, {"relative_bounds": (-1.0,)}, {"level": 0.2}],
)
def test_wrong_use_is_refused(restaurants, wrong):
    with pytest.raises(UsageError):
        sensitivity(restaurants, **wrong)

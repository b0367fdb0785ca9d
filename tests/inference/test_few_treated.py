"""Few treated clusters: by enumeration, by simulation of true nulls, and CRV2 against its definition."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from panels import as_cells, made_up
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_event_study, fit_group_time, fit_two_by_two, fit_two_way
from sendap.inference.cluster_robust import crv2, crv3_variance
from sendap.inference.few_treated import (
    conley_taber,
    ferman_pinto,
    rearrangement,
    rearrangement_bound,
    rearrangement_weight,
    size_variance,
)


def one_start(treated: int, controls: int, *, seed: int = 0, effect: float = 0.0, years: int = 4) -> pd.DataFrame:
    areas = treated + controls
    share = treated / areas
    return made_up(areas=areas, share_treated=share, starts=(2018.0,), regions=1, seed=seed, effect=effect, years=years)


def overall(fit) -> int:
    return int(fit.terms.index[fit.terms["term"] == "overall"][0])


def wide(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes by area and year, and which areas are treated."""
    table = frame.pivot(index="area", columns="year", values="y")
    return table.to_numpy(), frame.groupby("area")["cohort"].first().notna().to_numpy()


@pytest.mark.parametrize(("fitter", "treated"), [(fit_two_way, 1), (fit_two_way, 2), (fit_group_time, 2)])
@pytest.mark.parametrize("effect", [0.0, 2.0])
def test_conley_taber_equals_the_formula_written_out(fitter, treated, effect):
    """Gamma* = sum_j sum_t (D_jt - mean D_j) eta*_jt / sum sum (D_jt - mean D_j)^2, for every choice of controls."""
    frame = one_start(treated, 9, seed=4, effect=effect)
    fit = fitter(as_cells(frame).panel())
    found = conley_taber(fit, overall(fit), small_sample=False)
    outcome, is_treated = wide(frame)
    if fitter is fit_two_way:
        centred = np.array([0, 0, 1, 1]) - 0.5
        weights = centred / (treated * (centred**2).sum())
    else:
        # The base of group-time effects is the year before the start.
        weights = np.array([0, -1, 0.5, 0.5]) / treated
    residual = outcome[~is_treated] - outcome[~is_treated].mean(axis=0)
    drawn = np.array([sum(weights @ residual[c] for c in chosen) for chosen in product(range(9), repeat=treated)])
    expected = (1 + (np.abs(drawn) >= abs(fit.estimate[overall(fit)])).sum()) / (1 + 9**treated)
    assert found.exact
    assert found.draws == 9**treated
    assert found.p_value == pytest.approx(expected, abs=1e-12)
    assert found.smallest_p == pytest.approx(1 / (1 + 9**treated))


@pytest.mark.parametrize(
    ("method", "treated", "controls"),
    # With 39 the level falls on a whole number of draws, where one too few or too many shows.
    [(conley_taber, 2, 30), (ferman_pinto, 2, 30), (conley_taber, 1, 39), (rearrangement, 1, 30)],
)
def test_interval_ends_are_where_the_test_stops_rejecting(method, treated, controls):
    frame = one_start(treated, controls, seed=6, effect=3.0)
    # Skewed errors, so that the two ends lie at different distances.
    frame["y"] = frame["y"] + np.random.default_rng(1).exponential(3, len(frame))
    fit = fit_two_way(as_cells(frame).panel())
    low, high = method(fit, 0).intervals[0]
    for end, inward in ((low, 1e-5), (high, -1e-5)):
        for effect, rejected in ((end + inward, False), (end - inward, True)):
            moved = frame.assign(y=frame["y"] - effect * (frame["year"] >= frame["cohort"]))
            again = method(fit_two_way(as_cells(moved).panel()), 0)
            assert (again.p_value <= 0.05) is rejected


def test_draws_are_seeded_and_near_enumeration():
    fit = fit_two_way(as_cells(one_start(3, 30, seed=6, effect=1.0)).panel())
    every = conley_taber(fit, 0, draws=30**3)
    first, again, other = (conley_taber(fit, 0, draws=9999, seed=seed) for seed in (1, 1, 2))
    assert every.exact
    assert not first.exact
    assert first == again
    assert first != other
    # Four standard errors of a share of 9,999 draws.
    assert first.p_value == pytest.approx(every.p_value, abs=4 * np.sqrt(every.p_value / 9999))


def test_too_few_controls_for_a_level_give_no_interval():
    fit = fit_two_way(as_cells(one_start(1, 15, effect=40.0)).panel())
    found = conley_taber(fit, 0, levels=(0.95, 0.8))
    assert found.p_value == pytest.approx(1 / 16)
    assert found.intervals[0] == (-np.inf, np.inf)
    assert np.isfinite(found.intervals[1]).all()


def test_equal_sizes_make_ferman_and_pinto_conley_and_taber():
    fit = fit_group_time(as_cells(one_start(2, 25, seed=3)).panel())
    first, second = conley_taber(fit, overall(fit)), ferman_pinto(fit, overall(fit))
    assert second.p_value == first.p_value
    assert second.intervals[0] == pytest.approx(first.intervals[0], rel=1e-9)


def test_variance_by_size_is_the_constrained_regression():
    draw = np.random.default_rng(2)
    sizes = draw.uniform(10, 1000, 400)
    moved = draw.normal(0, np.sqrt(0.5 + 40 / sizes))
    variance = size_variance(moved, sizes)
    columns = np.column_stack([np.ones(400), 1 / sizes])
    level, slope = np.linalg.lstsq(columns, moved**2, rcond=None)[0]
    assert min(level, slope) > 0
    assert variance(np.array([20.0, 500.0])) == pytest.approx([level + slope / 20, level + slope / 500], rel=1e-6)
    # A slope that would be negative is set to zero: the mean square is left.
    grown = draw.normal(0, np.sqrt(sizes))
    assert size_variance(grown, sizes)(np.array([5.0])) == pytest.approx(np.mean(grown**2), rel=1e-9)


def null_rejections(method, *, samples: int, treated: int, controls: int, sizes=None, scale=None, **options) -> int:
    """How often no effect is rejected at 5% where there's none; normal errors with one ``scale`` an area."""
    draw = np.random.default_rng(17)
    frame = one_start(treated, controls)
    base = as_cells(frame).panel()
    area = np.ones(treated + controls) if scale is None else scale
    rejected = 0
    for _ in range(samples):
        fit = fit_two_way(replace(base, mean=draw.normal(size=base.mean.shape) * area[:, None]))
        more = options if sizes is None else {**options, "sizes": sizes}
        rejected += method(fit, 0, draws=999, **more).p_value <= 0.05
    return rejected


def within(count: int, samples: int) -> bool:
    """A rate of 5%, by a two-sided binomial test at one in a thousand."""
    return stats.binom.ppf(0.0005, samples, 0.05) <= count <= stats.binom.ppf(0.9995, samples, 0.05)


@pytest.mark.parametrize(("treated", "controls"), [(1, 39), (2, 60), (4, 60)])
def test_conley_taber_has_its_size_with_equal_variances(treated, controls):
    assert within(null_rejections(conley_taber, samples=600, treated=treated, controls=controls), 600)


def test_few_controls_reject_too_often_and_less_so_with_the_small_sample_factor():
    """The source lets the number of controls grow without end; with 16 the spread of the draws is itself uncertain."""
    few = {"samples": 600, "treated": 4, "controls": 16}
    plain, widened = (null_rejections(conley_taber, small_sample=choice, **few) for choice in (False, True))
    assert plain > stats.binom.ppf(0.9995, 600, 0.05)
    assert widened < 0.8 * plain
    # A t test with 15 degrees of freedom and the normal's critical value rejects in 7%.
    assert widened <= stats.binom.ppf(0.9995, 600, 2 * stats.t.sf(1.96, 15))


def test_ferman_pinto_has_its_size_where_small_clusters_vary_more():
    """A small treated area among large ones: Conley and Taber reject far too often, Ferman and Pinto don't."""
    sizes = np.r_[20.0, np.full(9, 20.0), np.full(50, 2000.0)]
    scale = np.sqrt(0.02 + 20 / sizes)
    small = {"samples": 600, "treated": 1, "controls": 59, "scale": scale}
    assert within(null_rejections(ferman_pinto, sizes=sizes, **small), 600)
    assert null_rejections(conley_taber, **small) > 600 * 0.2
    # And the other way round: a large treated area among small ones is never found by Conley and Taber.
    turned = np.r_[2000.0, np.full(50, 20.0), np.full(9, 2000.0)]
    large = {"samples": 300, "treated": 1, "controls": 59, "scale": np.sqrt(0.02 + 20 / turned)}
    assert null_rejections(conley_taber, **large) == 0
    assert within(null_rejections(ferman_pinto, sizes=turned, **large), 300)


def test_sizes_are_the_records_of_the_panel():
    frame = made_up(areas=30, share_treated=1 / 30, starts=(2018.0,), regions=1, counts=True, years=4)
    fit = fit_two_way(as_cells(frame).panel())
    sizes = frame.groupby("area")["n"].mean().to_numpy()
    assert ferman_pinto(fit, 0) == ferman_pinto(fit, 0, sizes=sizes)
    with pytest.raises(UsageError, match="30 numbers above zero"):
        ferman_pinto(fit, 0, sizes=np.zeros(30))


def test_controls_with_gaps_are_left_out_and_counted():
    frame = one_start(1, 20)
    gap = frame.drop(frame[(frame["area"] == "A009") & (frame["year"] == 2017)].index)
    fit = fit_group_time(as_cells(gap).panel())
    term = int(fit.terms.query("term == 'overall'").index[0])
    found = conley_taber(fit, term)
    # An area without its base year isn't in the estimate at all.
    assert found.controls == 19
    later = frame.drop(frame[(frame["area"] == "A009") & (frame["year"] == 2019)].index)
    fit = fit_group_time(as_cells(later).panel())
    found = conley_taber(fit, overall(fit))
    assert (found.controls, found.left_out) == (19, 1)


def test_designs_that_cant_be_tested_are_refused():
    fit = fit_two_way(as_cells(one_start(2, 4)).panel())
    with pytest.raises(DesignError, match="at least 5"):
        conley_taber(fit, 0)
    with pytest.raises(DesignError, match="one treated cluster"):
        rearrangement(fit_two_way(as_cells(one_start(2, 30)).panel()), 0)


def test_rearrangement_bound_by_a_general_integrator():
    """2^-(q+1) + int Phi((1-w) rho y)^(q-1) phi(y) dy + min_b [Phi(w sqrt(q-1) b)^(q-1) + 2 Phi(-b q)]."""
    for controls, ratio, weight in ((12, 1.0, 0.3), (20, 2.0, 0.5), (60, 3.0, 0.6), (150, 0.5, 0.1)):
        power = controls - 1
        order = quad(
            lambda y, w=weight, r=ratio, p=power: stats.norm.cdf((1 - w) * r * y) ** p * stats.norm.pdf(y), 0, 12
        )[0]
        price = minimize_scalar(
            lambda b, w=weight, p=power, q=controls: (
                stats.norm.cdf(w * np.sqrt(p) * b) ** p + 2 * stats.norm.cdf(-b * q)
            ),
            bounds=(0, 2),
            method="bounded",
            options={"xatol": 1e-10},
        ).fun
        expected = 2.0 ** -(controls + 1) + order + price
        # The least price is sought on a grid of a thousandth.
        assert rearrangement_bound(weight, controls=controls, ratio=ratio)[0] == pytest.approx(expected, abs=2e-5)


def test_rearrangement_decides_as_by_sorting():
    """No effect is rejected just when the two treated copies come first in order, at a weight of the right size."""
    weight = rearrangement_weight(controls=30, ratio=1.5)
    assert rearrangement_bound(weight, controls=30, ratio=1.5)[0] <= 0.025 + 1e-9
    decisions = set()
    for effect in np.linspace(-14, 14, 15):
        frame = one_start(1, 30, seed=8, effect=effect)
        fit = fit_group_time(as_cells(frame).panel())
        found = rearrangement(fit, overall(fit), ratio=1.5)
        outcome, treated = wide(frame)
        own = outcome[:, 2:].mean(axis=1) - outcome[:, 1]
        gap, others = own[treated][0] - own[~treated].mean(), own[~treated] - own[~treated].mean()
        sides = []
        for sign in (1, -1):
            values = sign * np.r_[(1 + weight) * gap, (1 - weight) * gap, others]
            order = np.argsort(-values, kind="stable")
            sides.append(set(order[:2]) == {0, 1})
        low, high = found.intervals[0]
        assert (not low <= 0 <= high) == any(sides)
        assert (found.p_value <= 0.05) == any(sides)
        assert (found.largest_ratio >= 1.5) == any(sides)
        decisions.add(any(sides))
    assert decisions == {True, False}


def test_rearrangement_keeps_its_size_where_the_treated_area_varies_twice_as_much():
    scale = np.r_[2.0, np.ones(40)]
    draw = np.random.default_rng(4)
    weight = rearrangement_weight(controls=40, ratio=2.0)
    sample = draw.normal(size=(200_000, 41)) * scale
    gap, others = sample[:, 0] - sample[:, 1:].mean(axis=1), sample[:, 1:] - sample[:, 1:].mean(axis=1, keepdims=True)
    rejected = np.abs(gap) * (1 - weight) >= np.where(gap > 0, others.max(axis=1), (-others).max(axis=1))
    assert 0.005 < rejected.mean() <= 0.05 + 3 * np.sqrt(0.05 / 200_000)


def test_few_controls_have_no_rearrangement_interval():
    assert np.isnan(rearrangement_weight(controls=8, ratio=2.0))
    fit = fit_two_way(as_cells(one_start(1, 8, effect=30.0)).panel())
    found = rearrangement(fit, 0)
    assert found.intervals == ((-np.inf, np.inf),)
    assert found.p_value > 0.05


def test_crv2_of_a_difference_of_means_is_the_unbiased_two_sample_variance():
    """Two periods: changes of the treated and the untreated, with Bell and McCaffrey's degrees of freedom."""
    frame = made_up(areas=22, share_treated=7 / 22, starts=(2017.0,), years=2, regions=1, seed=3)
    outcome, treated = wide(frame)
    change = outcome[:, 1] - outcome[:, 0]
    one, two = change[treated], change[~treated]
    variance, dof = crv2(fit_two_way(as_cells(frame).panel()))
    assert variance[0] == pytest.approx(one.var(ddof=1) / 7 + two.var(ddof=1) / 15, rel=1e-10)
    assert dof[0] == pytest.approx((1 / 7 + 1 / 15) ** 2 / (1 / (49 * 6) + 1 / (225 * 14)), rel=1e-10)


def rows_of(fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regressors with a dummy for every area and year, outcome and cluster, one row a cell."""
    panel = fit.panel
    unit, time = np.nonzero(fit.observed)
    dummies = [unit[:, None] == np.unique(unit), time[:, None] == np.unique(time)[1:]]
    design = np.column_stack([fit.regressors[unit, time], *dummies]).astype(float)
    return design, panel.mean[unit, time], panel.cluster[unit]


@pytest.mark.parametrize("fitter", [fit_two_way, fit_event_study])
def test_crv2_equals_its_definition_row_by_row(fitter):
    """(I - H_gg)^(-1/2) from each cluster's block of the full projection, area dummies and all; tolerance of solves."""
    frame = made_up(areas=14, years=5, seed=5, missing=0.1, starts=(2018.0,), regions=1)
    fit = fitter(as_cells(frame).panel())
    design, outcome, cluster = rows_of(fit)
    inverse = np.linalg.inv(design.T @ design)
    hat = design @ inverse @ design.T
    residual = outcome - hat @ outcome
    effects = fit.regressors.shape[2]
    meat, pieces = np.zeros((len(inverse), len(inverse))), []
    for group in np.unique(cluster):
        inside = cluster == group
        size, vectors = np.linalg.eigh(np.eye(inside.sum()) - hat[np.ix_(inside, inside)])
        root = (vectors * np.where(size > 1e-9, 1 / np.sqrt(np.maximum(size, 1e-300)), 0.0)) @ vectors.T
        score = design[inside].T @ root @ residual[inside]
        meat += np.outer(score, score)
        spread = np.zeros((len(outcome), effects))
        spread[inside] = root @ design[inside] @ inverse[:, :effects]
        pieces.append(spread - hat @ spread)
    variance, dof = crv2(fit)
    assert variance == pytest.approx(np.diag(inverse @ meat @ inverse)[:effects], rel=1e-7)
    for effect in range(effects):
        stacked = np.array([piece[:, effect] for piece in pieces])
        form = stacked @ stacked.T
        assert dof[effect] == pytest.approx(np.trace(form) ** 2 / (form**2).sum(), rel=1e-6)
        # Without bias where errors are independent and equal.
        assert np.trace(form) == pytest.approx(inverse[effect, effect], rel=1e-7)


def test_crv2_equals_diff_diff():
    """The port of the R package clubSandwich in diff-diff, from rows with dummies."""
    linalg = pytest.importorskip("diff_diff.linalg")
    frame = made_up(areas=24, years=6, seed=5, missing=0.1)
    fit = fit_two_way(as_cells(frame).panel())
    design, outcome, cluster = rows_of(fit)
    residual = outcome - design @ np.linalg.lstsq(design, outcome, rcond=None)[0]
    with pytest.warns(UserWarning, match="Satterthwaite"):
        theirs, degrees = linalg.compute_robust_vcov(design, residual, cluster, vcov_type="hc2_bm", return_dof=True)
    variance, dof = crv2(fit)
    assert variance[0] == pytest.approx(theirs[0, 0], rel=1e-9)
    assert dof[0] == pytest.approx(degrees[0], rel=1e-9)


def test_crv2_lies_below_the_jackknife():
    """The jackknife is the conservative one of the two."""
    fit = fit_two_way(as_cells(made_up(areas=24, years=6, seed=5)).panel())
    assert crv2(fit)[0][0] < crv3_variance(fit.leave_one_out(), fit.estimate)[0]


def test_the_tests_take_any_linear_fit():
    frame = one_start(3, 30, seed=2, effect=1.0)
    panel = as_cells(frame).panel()
    fit = fit_two_by_two(panel, before=2017, after=2018)
    outcome, treated = wide(frame)
    change = outcome[:, 2] - outcome[:, 1]
    found = conley_taber(fit, overall(fit))
    assert found.estimate == pytest.approx(change[treated].mean() - change[~treated].mean())
    within_region = fit_group_time(
        as_cells(made_up(areas=60, share_treated=0.05, starts=(2018.0,))).panel(within="region")
    )
    assert 0 < conley_taber(within_region, overall(within_region)).p_value <= 1

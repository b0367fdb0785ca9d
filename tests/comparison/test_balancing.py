"""Entropy balancing: exact moments, least entropy against an independent solver, and refusals by name."""

from __future__ import annotations

import numpy as np
import pytest
from comparison.made import from_values, one_start
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.spatial import ConvexHull, QhullError

from sendap.comparison import balance, entropy_balance, profiles
from sendap.comparison.balancing import balanced_weights
from sendap.errors import DesignError, UsageError


def made(treated: int, others: int, seed: int, measures: int = 2, shift: float = 0.3):
    generator = np.random.default_rng(seed)
    return from_values(generator.normal(shift, 1, (treated, measures)), generator.normal(0, 1, (others, measures)))


@settings(max_examples=40)
@given(st.integers(1, 100_000), st.integers(1, 3), st.sampled_from([1, 2]))
def test_moments_are_met_exactly_wherever_it_is_possible(seed, measures, moments):
    found = made(6, 40, seed, measures)
    try:
        group = entropy_balance(found, moments=moments)
    except DesignError:
        assume(False)
        return
    share = group.shares.reindex(found.clusters[~found.treated]).to_numpy()
    others, treated = found.values[~found.treated], found.values[found.treated]
    # Solved to 1e-13 standard deviations; the bound is what the standard of the project promises.
    assert np.abs(share @ others - treated.mean(axis=0)).max() < 1e-8
    if moments == 2:
        centre = treated.mean(axis=0)
        assert np.abs(share @ (others - centre) ** 2 - treated.var(axis=0)).max() < 1e-8
    assert (share > 0).all()


def test_weights_are_those_of_the_primal_problem_solved_directly():
    generator = np.random.default_rng(7)
    design, target = generator.normal(size=(12, 2)), np.array([0.2, -0.3])
    base = generator.uniform(0.5, 2, 12)
    base /= base.sum()
    found = balanced_weights(design, target, base)
    direct = minimize(
        lambda w: float((w * np.log(w / base)).sum()),
        base,
        jac=lambda w: np.log(w / base) + 1,
        bounds=[(1e-12, 1)] * 12,
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - 1},
            {"type": "eq", "fun": lambda w: w @ design - target},
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    # The tolerance is that of sequential quadratic programming, not of the dual.
    assert found == pytest.approx(direct.x, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(1, 100_000), st.floats(0.0, 3.0))
def test_it_is_refused_just_where_the_treated_lie_outside_the_hull_of_the_others(seed, shift):
    found = made(2, 7, seed, shift=shift)
    target, others = found.values[found.treated].mean(axis=0), found.values[~found.treated]
    try:
        faces = ConvexHull(others).equations
    except QhullError:
        assume(False)
        return
    depth = -(faces[:, :-1] @ target + faces[:, -1]).max()
    assume(abs(depth) > 1e-3)
    if depth > 0:
        assert entropy_balance(found).effective_controls <= 7
    else:
        with pytest.raises(DesignError, match="x[01]"):
            entropy_balance(found)


def test_the_measure_out_of_range_is_named_with_its_numbers():
    found = from_values(np.array([[1.0, 80.0], [2.0, 90.0]]), np.array([[0.0, 10.0], [3.0, 60.0], [1.5, 30.0]]))
    with pytest.raises(
        DesignError, match=r"x1 can't be balanced. Its mean over the treated areas is 85.00, .*10.00 to 60"
    ):
        entropy_balance(found)


def test_the_farthest_measure_is_named_where_each_alone_could_be_balanced():
    # The others lie on a line; the treated beside it, inside the range of each measure.
    found = from_values(np.array([[0.2, 0.8], [0.2, 0.8]]), np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]))
    with pytest.raises(DesignError, match="each measure by itself could be balanced"):
        entropy_balance(found)


def test_a_target_on_the_edge_is_refused_since_some_areas_could_count_for_nothing_only():
    found = from_values(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([[0.0, -1.0], [0.0, 1.0], [1.0, 0.0]]))
    with pytest.raises(DesignError, match="no weights"):
        entropy_balance(found)


def test_measures_that_repeat_each_other_are_no_obstacle():
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(5, 1)), generator.normal(size=(30, 1))
    group = entropy_balance(from_values(np.hstack([first, 2 * first]), np.hstack([second, 2 * second])))
    alone = entropy_balance(from_values(first, second))
    assert group.shares.sort_index().to_numpy() == pytest.approx(alone.shares.sort_index().to_numpy(), abs=1e-10)


def test_regions_get_the_shares_that_they_have_among_the_treated():
    found = profiles(one_start(areas=40, seed=3))
    group = entropy_balance(found, within_region=True)
    region = dict(zip(found.clusters, found.regions, strict=True))
    treated = [region[each] for each in group.treated]
    wanted = {each: treated.count(each) / len(treated) for each in set(treated)}
    shares = group.shares.groupby(lambda each: region[each]).sum()
    assert shares.to_dict() == pytest.approx(wanted, abs=1e-8)
    assert balance(group).table["difference_after"].abs().max() < 1e-8


def test_areas_that_count_by_their_children_are_balanced_by_them():
    cells = one_start(areas=40, counts=True, seed=6)
    found = profiles(cells, weights="children")
    group = entropy_balance(found)
    base = dict(zip(found.clusters, found.base, strict=True))
    weight = np.array([group.weights[each] * base[each] for each in found.clusters[~found.treated]])
    target = np.average(found.values[found.treated], axis=0, weights=found.base[found.treated])
    assert weight @ found.values[~found.treated] / weight.sum() == pytest.approx(target, abs=1e-8)


def test_only_one_or_two_moments():
    with pytest.raises(UsageError, match="moments must be 1"):
        entropy_balance(made(3, 9, 1), moments=3)

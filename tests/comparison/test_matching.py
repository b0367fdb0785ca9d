"""Matching against every possible assignment, an independent search tree, and the rules that it promises."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from comparison.made import from_values, one_start
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from sendap.comparison import match, profiles, same_region
from sendap.comparison.matching import distances
from sendap.errors import DesignError, UsageError


def made(treated: int, others: int, seed: int, measures: int = 2):
    generator = np.random.default_rng(seed)
    return from_values(generator.normal(size=(treated, measures)), generator.normal(size=(others, measures)))


def test_mahalanobis_distance_is_the_quadratic_form_in_the_pooled_covariance():
    found = made(6, 9, 3)
    first, second = found.values[found.treated], found.values[~found.treated]
    pooled = (5 * np.cov(first.T) + 8 * np.cov(second.T)) / 13
    gap = first[2] - second[4]
    # Standardised before and after, so only rounding differs.
    assert distances(found, "mahalanobis")[2, 4] == pytest.approx(np.sqrt(gap @ np.linalg.inv(pooled) @ gap), rel=1e-12)
    size = np.sqrt(np.diag(pooled))
    assert distances(found, "euclid")[2, 4] == pytest.approx(np.linalg.norm(gap / size), rel=1e-12)


def test_matching_with_replacement_finds_the_neighbours_of_a_search_tree():
    found = made(12, 40, 5, measures=3)
    size = np.sqrt(np.diag(found.covariance))
    tree = cKDTree(found.values[~found.treated] / size)
    _, nearest = tree.query(found.values[found.treated] / size, k=3)
    group = match(found, nearest=3, distance="euclid")
    wanted = {
        (f"T{row:02d}", f"C{column:02d}", rank) for row in range(12) for rank, column in enumerate(nearest[row], 1)
    }
    assert set(group.chosen[["treated", "comparison", "rank"]].itertuples(index=False, name=None)) == wanted


@settings(max_examples=40)
@given(st.integers(1, 10_000))
def test_matching_without_replacement_has_the_least_total_distance_of_all_assignments(seed):
    found = made(3, 6, seed)
    cost = distances(found, "mahalanobis")
    least = min(sum(cost[row, column] for row, column in enumerate(order)) for order in permutations(range(6), 3))
    group = match(found, replacement=False)
    assert group.chosen["distance"].sum() == pytest.approx(least, rel=1e-10)
    assert group.chosen["comparison"].is_unique


@settings(max_examples=40)
@given(st.integers(1, 10_000), st.floats(0.3, 3.0))
def test_optimal_matching_with_a_caliper_matches_as_many_areas_as_can_be_and_then_the_nearest(seed, caliper):
    found = made(3, 4, seed)
    cost = distances(found, "euclid")
    best = (0, 0.0)
    for order in permutations([*range(4), None, None, None], 3):
        pairs = [(row, column) for row, column in enumerate(order) if column is not None]
        if all(cost[pair] <= caliper for pair in pairs):
            best = max(best, (len(pairs), -sum(cost[pair] for pair in pairs)))
    if best[0] == 0:
        with pytest.raises(DesignError, match="near enough"):
            match(found, replacement=False, distance="euclid", caliper=caliper)
        return
    group = match(found, replacement=False, distance="euclid", caliper=caliper)
    assert len(group.chosen) == best[0]
    assert group.chosen["distance"].sum() == pytest.approx(-best[1], rel=1e-9)
    assert len(group.left_out) == 3 - best[0]


def test_nobody_gets_a_second_match_before_all_that_can_have_a_first():
    # Two treated areas, three others all next to the first: its second match would be far nearer than T01's first.
    found = from_values(np.array([[0.0], [9.0]]), np.array([[0.1], [0.2], [0.3]]))
    group = match(found, nearest=2, replacement=False, distance="euclid")
    assert group.chosen["treated"].value_counts().to_dict() == {"T00": 2, "T01": 1}


def test_weights_share_a_treated_area_among_its_matches_and_average_one():
    found = made(7, 12, 8)
    group = match(found, nearest=2)
    shares = group.chosen.groupby("comparison")["share"].sum() / 7
    assert group.shares.sort_index().to_numpy() == pytest.approx(shares.sort_index().to_numpy(), rel=1e-12)
    assert np.mean([group.weights[each] for each in group.controls]) == pytest.approx(1.0, rel=1e-12)
    assert {group.weights[each] for each in group.treated} == {1.0}


def test_a_caliper_by_measure_is_in_pooled_standard_deviations():
    found = from_values(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 5.0], [3.0, 0.1], [1.0, 1.2]]))
    size = np.sqrt(np.diag(found.covariance))
    first, second = found.values[found.treated, 0], found.values[~found.treated, 0]
    gap = np.abs(first[:, None] - second[None, :])
    group = match(found, distance="euclid", caliper={"x0": 0.5})
    assert all(gap[int(row.treated[1:]), int(row.comparison[1:])] <= 0.5 * size[0] for row in group.chosen.itertuples())
    assert "0.5 standard deviations of x0" in group.how
    with pytest.raises(UsageError, match="There is no measure 'x'"):
        match(found, caliper={"x": 1.0})


def test_matches_stay_inside_their_region():
    cells = one_start(areas=24, seed=4)
    found = profiles(cells)
    group = match(found, nearest=2, within_region=True)
    region = dict(zip(found.clusters, found.regions, strict=True))
    assert (group.chosen["treated"].map(region) == group.chosen["comparison"].map(region)).all()
    assert same_region(found).rule == "same region"


def test_ties_go_to_the_lower_code():
    found = from_values(np.array([[0.0], [4.0]]), np.array([[1.0], [1.0], [-1.0]]))
    assert match(found, distance="euclid").chosen["comparison"].iloc[0] == "C00"


def test_measures_that_say_nothing_or_repeat_each_other_are_refused():
    generator = np.random.default_rng(1)
    constant = from_values(np.ones((3, 1)), np.ones((4, 1)))
    with pytest.raises(DesignError, match="'x0' is the same in all areas"):
        match(constant)
    column = generator.normal(size=(7, 1))
    twice = from_values(np.hstack([column[:3], 2 * column[:3]]), np.hstack([column[3:], 2 * column[3:]]))
    with pytest.raises(DesignError, match="x0, x1 repeat each other"):
        match(twice)
    assert len(match(twice, distance="euclid").chosen) == 3
    with pytest.raises(UsageError, match="nearest must be 1"):
        match(twice, nearest=0)


def test_an_area_without_a_match_is_left_out_with_the_reason():
    found = from_values(np.array([[0.0], [50.0]]), np.array([[0.0], [0.5], [1.0]]))
    group = match(found, distance="euclid", caliper=0.5)
    assert group.treated == ["T00"]
    assert group.left_out.to_dict("records") == [
        {"cluster": "T01", "role": "treated", "reason": "no untreated area near enough"}
    ]
    assert isinstance(group.chosen, pd.DataFrame)

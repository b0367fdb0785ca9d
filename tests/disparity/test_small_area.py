"""Fay and Herriot's model: published results on the price of milk, statsmodels, simulation; intervals of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.meta_analysis import combine_effects

from sendap.disparity.ranks import rank_intervals
from sendap.disparity.small_area import fay_herriot
from sendap.errors import DesignError, UsageError

# Fresh milk, 43 areas of the United States in 1989: direct estimate and its standard error, as printed by Arora and
# Lahiri (1997), Statistica Sinica 7, and You and Chapman (2006), Survey Methodology 32.
MILK = np.array(
    [1.099, 1.075, 1.105, 0.628, 0.753, 0.981, 1.257, 1.095, 1.405, 1.356, 0.615, 1.460, 1.338, 0.854, 1.176, 1.111,
     1.257, 1.430, 1.278, 1.292, 1.002, 1.183, 1.044, 1.267, 1.193, 0.791, 0.795, 0.759, 0.796, 0.565, 0.886, 0.952,
     0.807, 0.582, 0.684, 0.787, 0.440, 0.759, 0.770, 0.800, 0.756, 0.865, 0.640]
)  # fmt: skip
ERROR = np.array(
    [0.163, 0.080, 0.083, 0.109, 0.119, 0.141, 0.202, 0.127, 0.168, 0.178, 0.100, 0.201, 0.148, 0.143, 0.149, 0.145,
     0.135, 0.172, 0.137, 0.163, 0.125, 0.247, 0.140, 0.171, 0.106, 0.121, 0.121, 0.259, 0.106, 0.089, 0.225, 0.205,
     0.119, 0.067, 0.106, 0.126, 0.092, 0.132, 0.100, 0.113, 0.083, 0.121, 0.129]
)  # fmt: skip
MAJOR = np.repeat([1, 2, 3, 4], [7, 7, 11, 18])
DESIGN = np.column_stack([np.ones(43), *(area == MAJOR for area in (2, 3, 4))]).astype(float)


def test_the_published_results_on_milk():
    """The example of the R package sae (Molina and Marhuenda 2015), which prints eight digits of these."""
    found = fay_herriot(MILK, ERROR**2, DESIGN)
    assert found.between == pytest.approx(0.01855022, rel=1e-5)
    assert found.coefficients == pytest.approx([0.9681890, 0.1327801, 0.2269462, -0.2413011], abs=1e-6)
    assert found.errors == pytest.approx([0.06936208, 0.10300072, 0.09232981, 0.08161707], rel=1e-4)
    # samplics 0.6.1 on the same figures, tolerance 1e-12 there.
    assert found.estimate[:3] == pytest.approx([1.02197054, 1.04760195, 1.06795143], abs=1e-6)
    assert found.mse[:3] == pytest.approx([0.01346026, 0.00537288, 0.00570199], abs=1e-7)


def test_the_moment_method_on_milk():
    """samplics 0.6.1 with Fay and Herriot's own method, to the digits shown."""
    found = fay_herriot(MILK, ERROR**2, DESIGN, method="moment")
    assert found.between == pytest.approx(0.016420263654, rel=1e-9)
    assert found.coefficients == pytest.approx([0.96790115, 0.12945018, 0.22679103, -0.24215179], abs=1e-7)
    assert found.estimate[:2] == pytest.approx([1.01797592, 1.04496386], abs=1e-7)
    assert found.mse[:2] == pytest.approx([0.01275701, 0.00531447], abs=1e-7)


@given(st.integers(0, 1000), st.floats(0.0, 2.0))
def test_the_moment_method_solves_its_equation(seed, spread):
    """The weighted squares come to areas less columns, or to less than that at a variance of zero."""
    draw = np.random.default_rng(seed)
    error = draw.uniform(0.4, 1.2, 15)
    y = draw.normal(1, np.sqrt(spread**2 + error**2))
    found = fay_herriot(y, error**2, method="moment")
    squares = ((y - found.coefficients[0]) ** 2 / (found.between + error**2)).sum()
    assert squares == pytest.approx(14, rel=1e-8) if found.between > 0 else squares <= 14
    assert found.estimate == pytest.approx(found.kept * y + (1 - found.kept) * found.coefficients[0])
    low, high = np.minimum(y, found.coefficients[0]), np.maximum(y, found.coefficients[0])
    assert ((found.estimate >= low - 1e-9) & (found.estimate <= high + 1e-9)).all()


def test_without_covariates_the_moment_method_is_that_of_paule_and_mandel():
    draw = np.random.default_rng(14)
    v = draw.uniform(0.5, 3.0, 30)
    y = draw.normal(5, np.sqrt(v + 2.0))
    other = combine_effects(y, v, method_re="iterated", atol=1e-12)
    found = fay_herriot(y, v, method="moment")
    assert found.between == pytest.approx(other.tau2, rel=1e-6)
    assert found.coefficients[0] == pytest.approx(other.mean_effect_re, rel=1e-8)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """200 sets of 30 areas: 6,000 intervals, whose errors go together inside a set, so two points either way."""
    draw = np.random.default_rng(5)
    error = np.linspace(0.3, 1.5, 30)
    x = np.column_stack([np.ones(30), np.linspace(-1, 1, 30)])
    held = []
    for _ in range(200):
        truth = x @ [1.0, 0.5] + draw.normal(0, 1, 30)
        found = fay_herriot(draw.normal(truth, error), error**2, x)
        held.append(((found.low < truth) & (truth < found.high)).mean())
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_what_small_areas_refuse():
    with pytest.raises(DesignError, match="above zero"):
        fay_herriot(MILK, np.zeros(43))
    with pytest.raises(DesignError, match="can't tell"):
        fay_herriot(MILK[:5], ERROR[:5] ** 2, DESIGN[:5])
    with pytest.raises(UsageError, match="'reml' or 'moment'"):
        fay_herriot(MILK, ERROR**2, method="ml")


def test_ranks_are_known_only_as_far_as_intervals_tell():
    sure = rank_intervals(np.array(["a", "b", "c"]), np.array([3.0, 1.0, 2.0]), np.full(3, 0.01))
    assert sure[["first", "last"]].to_numpy().tolist() == [[1, 1], [3, 3], [2, 2]]
    unsure = rank_intervals(np.array(["a", "b", "c"]), np.array([3.0, 1.0, 2.0]), np.full(3, 5.0))
    assert unsure[["first", "last"]].to_numpy().tolist() == [[1, 3]] * 3
    assert unsure["name"].tolist() == ["a", "b", "c"]
    with pytest.raises(DesignError, match="at least two"):
        rank_intervals(np.array(["a"]), np.array([1.0]), np.array([1.0]))


def test_all_ranks_hold_together():
    """200 sets: all true ranks inside at once in at least 95% but for chance (three errors of 1.5 points)."""
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        truth = draw.normal(0, 1, 25)
        found = rank_intervals(np.arange(25), draw.normal(truth, 0.4), np.full(25, 0.4))
        place = (-truth).argsort().argsort() + 1
        held += bool(((found["first"] <= place) & (place <= found["last"])).all())
    assert held / 200 > 0.95 - 0.045

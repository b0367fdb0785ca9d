"""Simulated power: where the formula is right it agrees, and where it isn't, counting detections agrees."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from panels import as_cells, made_up

from sendap.errors import DesignError, UsageError
from sendap.probe.placements import simulated_power
from sendap.probe.power import detectable_change


def quiet(areas: int, years: int = 6, seed: int = 3):
    """A panel with area and year effects, noise with standard deviation 2, and one late real start."""
    frame = made_up(areas=areas, years=years + 1, starts=(2016.0 + years,), share_treated=0.2, regions=1, seed=seed)
    return as_cells(frame).panel()


def test_with_many_normal_areas_it_is_the_formula():
    """One period after: a change has standard deviation 2 sqrt(2); 200 areas and five years tell it to some 3%."""
    found = simulated_power(quiet(200, years=5), treated=30, after=1)
    expected = detectable_change(30, 170, spread=2 * np.sqrt(2))
    assert found.effect == pytest.approx(expected, rel=0.06)
    assert found.formula == pytest.approx(expected, rel=0.06)
    assert found.starts == (2017, 2018, 2019, 2020)
    assert found.placements == 4 * 1999
    assert (found.treated, found.controls) == (30, 170)
    at = np.interp(found.effect, found.curve["effect"], found.curve["power"])
    assert at == pytest.approx(0.8, abs=0.02)
    assert found.curve["power"].iloc[0] == pytest.approx(0.05, abs=0.01)


def test_skewed_errors_are_found_by_counting_detections():
    """Two treated areas with exponential shocks: every pair in turn, by differences of means."""
    base = quiet(60, years=2)
    mean = np.random.default_rng(5).exponential(5, size=base.mean.shape)
    panel = replace(base, mean=mean, cohort=np.full(60, np.inf)).select([2016, 2017])
    found = simulated_power(panel, treated=2, after=1, draws=9999)
    change = mean[:, 1] - mean[:, 0]
    pairs = [list(pair) for pair in combinations(range(60), 2)]
    estimates = np.array([change[pair].mean() - np.delete(change, pair).mean() for pair in pairs])
    assert found.spread == pytest.approx(estimates.std(), rel=0.03)
    limit = np.quantile(np.abs(estimates), 0.95)
    share = np.mean([np.abs(estimates + sign * found.effect) > limit for sign in (1, -1)])
    # 9,999 draws of 1,770 pairs leave an error of half a point in the limit's rank and in the power.
    assert share == pytest.approx(0.8, abs=0.03)
    # With a single area the formula can't be right; with two such it's still off.
    assert abs(found.effect / found.formula - 1) > 0.02


def test_only_periods_without_a_programme_count():
    panel = quiet(40)
    loud = replace(panel, mean=panel.mean + 1000.0 * (panel.periods >= panel.cohort.min() - 1))
    first, second = (simulated_power(each, treated=3, after=2, anticipation=1, draws=199) for each in (panel, loud))
    assert first.effect == second.effect
    assert first.starts == (2018, 2019)
    assert simulated_power(panel, treated=3, after=1, before=2019, draws=199).starts == (2017, 2018)


def test_more_areas_find_smaller_effects():
    panel = quiet(60)
    effects = [simulated_power(panel, treated=count, after=2, draws=499).effect for count in (1, 4, 16)]
    assert effects[0] > 1.5 * effects[1] > 1.5 * 1.5 * effects[2]
    assert "4 areas followed for 2 periods" in simulated_power(panel, treated=4, after=2, draws=499).sentence("points")


def test_pilots_that_cant_be_placed():
    panel = quiet(20, years=3)
    with pytest.raises(DesignError, match="too few for one before"):
        simulated_power(panel, treated=2, after=4)
    with pytest.raises(DesignError, match="20 areas"):
        simulated_power(panel, treated=19, after=1)
    with pytest.raises(UsageError):
        simulated_power(panel, treated=0, after=1)

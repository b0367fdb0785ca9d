"""Programmes that never were: blind to the real one, and dealt where and as often as it was."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from panels import as_cells, made_up

from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time
from sendap.probe.placebos import _dealt, placebo_groups, placebo_outcomes


def regions_of(panel):
    return np.array([panel.group_names[group] for group in panel.cluster_group])


def test_it_never_sees_the_real_programme():
    frame = made_up(areas=50, starts=(2019.0, 2020.0), seed=3)
    loud = frame.assign(y=frame["y"] + 500.0 * (frame["year"] >= frame["cohort"]))
    calm, shouted = (
        placebo_groups(panel, regions_of(panel), draws=199)
        for panel in (as_cells(each).panel(within="region") for each in (frame, loud))
    )
    np.testing.assert_array_equal(calm.estimates, shouted.estimates)
    assert shouted.real == pytest.approx(calm.real + 500, rel=1e-9)
    assert shouted.as_large == 0.0
    assert calm.as_large > 0.2


def test_its_spread_is_that_of_every_way_to_deal_it():
    """Two areas of one region: 200 of the 66 pairs of twelve untreated ones, against all of them."""
    frame = made_up(areas=14, starts=(2019.0,), share_treated=2 / 14, regions=1, seed=9)
    panel = as_cells(frame).panel()
    found = placebo_groups(panel, draws=1999)
    quiet = frame[frame["cohort"].isna()]
    every = []
    for pair in combinations(sorted(quiet["area"].unique()), 2):
        fit = fit_group_time(as_cells(quiet.assign(cohort=np.where(quiet["area"].isin(pair), 2019.0, np.nan))).panel())
        every.append(float(fit.estimate[(fit.terms["term"] == "overall").to_numpy()][0]))
    assert set(np.round(found.estimates, 8)) == set(np.round(every, 8))
    # 1,999 draws: the standard deviation is known to 1.6%, quantiles of 66 values to one of them.
    assert found.spread == pytest.approx(np.std(every), rel=0.06)
    assert (found.treated, found.untreated) == (2, 12)
    assert found.range()[0] < 0 < found.range()[1]


def test_each_region_gets_the_starts_it_really_has_but_at_most_half():
    treated, quiet = np.array(["n", "n", "s", "s", "s", "w"]), np.array(["n"] * 6 + ["s"] * 4 + ["e"] * 3)
    starts = np.array([2019.0, 2020.0, 2019.0, 2019.0, 2021.0, 2019.0])
    made = _dealt(starts, treated, quiet, 200, np.random.default_rng(1))
    north, south, east = made[:, :6], made[:, 6:10], made[:, 10:]
    assert (np.sort(north, axis=1)[:, :2] == [2019, 2020]).all()
    assert (np.isfinite(south).sum(axis=1) == 2).all()
    assert np.isinf(east).all()
    assert {tuple(np.sort(row[np.isfinite(row)])) for row in south} == {(2019, 2019), (2019, 2021)}


def test_areas_that_start_after_the_data_are_untreated():
    frame = made_up(areas=20, starts=(2019.0, 2040.0), share_treated=0.4, regions=1)
    assert placebo_groups(as_cells(frame).panel(), draws=99).untreated == 16


def test_too_little_to_deal_is_refused():
    crowded = made_up(areas=5, starts=(2019.0,), share_treated=0.8, regions=1)
    with pytest.raises(DesignError, match="too few"):
        placebo_groups(as_cells(crowded).panel(), draws=99)
    with pytest.raises(UsageError):
        placebo_groups(as_cells(made_up()).panel(), draws=98)


def test_outcomes_that_cant_move_show_what_they_show():
    panel = as_cells(made_up(areas=40, starts=(2019.0,), seed=2, regions=1)).panel()
    jumped = replace(panel, mean=panel.mean + 50.0 * (panel.periods >= panel.cohort[:, None]))
    late = replace(panel, cohort=np.where(np.isfinite(panel.cohort), 2040.0, np.inf))
    panels = {"still": panel, "jumped": jumped, "late": late}
    found = placebo_outcomes(panels, control="never", anticipation=dict.fromkeys(panels, 0)).set_index("outcome")
    assert found.loc["jumped", "estimate"] == pytest.approx(found.loc["still", "estimate"] + 50)
    assert found.loc["jumped", "low"] > 40
    assert found.loc["still", "low"] < 0 < found.loc["still", "high"]
    assert "No area is treated" in found.loc["late", "note"]

"""Donuts: by hand, and on a panel where the programme reaches its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from panels import as_cells, made_up

from sendap.errors import DesignError
from sendap.estimators import fit_group_time
from sendap.probe.spillover import OTHER_REGIONS, away_from_home, donut


def regions_of(panel):
    return np.array([panel.group_names[group] for group in panel.cluster_group])


def by_hand(frame):
    """Each region's treated areas against the untreated of all others, weighted by treated area-years."""
    total, shares = 0.0, 0.0
    for region in sorted(frame.loc[frame["cohort"].notna(), "region"].unique()):
        here = frame["region"] == region
        part = frame[(here & frame["cohort"].notna()) | (~here & frame["cohort"].isna())]
        fit = fit_group_time(as_cells(part).panel())
        share = sum(
            (part.drop_duplicates("area")["cohort"] == start).sum() * (2021 - start + 1)
            for start in part["cohort"].dropna().unique()
        )
        total += share * float(fit.estimate[(fit.terms["term"] == "overall").to_numpy()][0])
        shares += share
    return total / shares


def test_it_is_each_region_against_the_others_and_exact_without_each_area():
    frame = made_up(areas=30, seed=4, regions=3)
    panel = as_cells(frame).panel(within="region")
    linear = away_from_home(panel, regions_of(panel), fit_group_time)
    known = np.nan_to_num(panel.mean)
    assert (linear.full * known).sum() == pytest.approx(by_hand(frame), rel=1e-9)
    for position in (0, 3, 17, 29):
        again = by_hand(frame[frame["area"] != panel.clusters[position]])
        assert (linear.without[position] * known).sum() == pytest.approx(again, rel=1e-8)
    assert (linear.treated, linear.controls) == (12, 18)


def test_a_programme_that_reaches_its_neighbours_hides_itself():
    """All of region 0 rises by the effect of 10, its treated areas as well: only other regions show it."""
    frame = made_up(areas=60, starts=(2019.0,), seed=7, regions=3)
    frame.loc[frame["cohort"].notna(), "cohort"] = np.where(
        frame.loc[frame["cohort"].notna(), "region"] == "region 0", 2019.0, np.nan
    )
    frame["y"] += 10.0 * ((frame["region"] == "region 0") & (frame["year"] >= 2019))
    panel = as_cells(frame).panel(within="region")
    found = donut(panel, regions_of(panel))
    rows = found.frame.set_index("comparison")["estimate"]
    # Noise of 2 in each area and year leaves a standard error near 1.
    assert rows["headline"] == pytest.approx(0, abs=3)
    assert rows[OTHER_REGIONS] == pytest.approx(10, abs=3)
    assert found.furthest() == pytest.approx(abs(rows[OTHER_REGIONS] - rows["headline"]))
    untreated = frame[frame["cohort"].isna()].drop_duplicates("area")
    assert found.near == pytest.approx((untreated["region"] == "region 0").mean())


def test_sets_are_left_out_and_refusals_are_told():
    cells = as_cells(made_up(areas=24, seed=9, regions=1))
    panel = cells.panel()
    gone = frozenset(["A012", "A020"])
    everyone = frozenset(str(each) for each in panel.clusters[np.isinf(panel.cluster_cohort)])
    found = donut(panel, regions_of(panel), left_out={"two": gone, "all": everyone}).frame.set_index("comparison")
    fit = fit_group_time(cells.without_clusters(gone).panel())
    expected = float(fit.estimate[(fit.terms["term"] == "overall").to_numpy()][0])
    assert found.loc["two", "estimate"] == pytest.approx(expected, rel=1e-9)
    assert "no untreated area in another region" in found.loc[OTHER_REGIONS, "note"]
    assert "no area to compare with" in found.loc["all", "note"]
    unknown = donut(panel, None)
    assert list(unknown.frame["comparison"]) == ["headline"]
    assert np.isnan(unknown.near)
    assert np.isnan(unknown.furthest())


def test_too_many_clusters_are_refused(monkeypatch):
    monkeypatch.setattr("sendap.probe.spillover.LARGEST", 100)
    panel = as_cells(made_up(areas=24)).panel(within="region")
    with pytest.raises(DesignError, match="too many"):
        away_from_home(panel, regions_of(panel), fit_group_time)

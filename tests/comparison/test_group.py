"""A comparison group in use: later outcomes can't change it, its weights reach every estimator, reasons are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from comparison.made import one_start
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

import sendap
from sendap.cells import Cells
from sendap.comparison import (
    entropy_balance,
    match,
    profiles,
    same_region,
    statistical_neighbours,
)
from sendap.comparison.group import GIVEN
from sendap.errors import DataError, DesignError, UsageError

AREAS = [f"A{at:03d}" for at in range(30)]
NEIGHBOURS = pd.DataFrame(
    [
        {"cluster": area, "rank": rank, "neighbour": AREAS[(at + rank * 7) % 30]}
        for at, area in enumerate(AREAS)
        for rank in range(1, 4)
    ]
)
RULES = {
    "matching": lambda found: match(found, nearest=2),
    "optimal": lambda found: match(found, replacement=False, distance="euclid"),
    "balancing": entropy_balance,
    "neighbours": lambda found: statistical_neighbours(found, NEIGHBOURS, count=3),
    "region": same_region,
}


@settings(max_examples=8)
@given(st.integers(0, 1000))
@pytest.mark.parametrize("rule", RULES)
def test_outcomes_after_the_start_change_nothing_in_the_choice(rule, seed):
    cells = one_start(seed=2)
    generator = np.random.default_rng(seed)
    frame = cells.frame.copy()
    after = frame["period"] >= 2019
    frame.loc[after, "sum"] += generator.normal(0, 100, int(after.sum()))
    frame.loc[after, "sum_squares"] = frame.loc[after, "sum"] ** 2
    first, second = RULES[rule](profiles(cells)), RULES[rule](profiles(replace(cells, frame=frame)))
    assert dict(first.weights) == dict(second.weights)
    pd.testing.assert_frame_equal(first.chosen, second.chosen)


def test_a_period_that_might_be_affected_already_cant_be_chosen_by():
    cells = one_start()
    assert profiles(cells, anticipation=1).before == (2016, 2017)
    for late in (2019, 2018):
        with pytest.raises(UsageError, match=f"Period {late} isn't before the first start"):
            profiles(cells, anticipation=1, before=[2016, late])


def test_covariates_of_later_periods_are_never_read():
    cells = one_start()
    frame = pd.DataFrame(
        [
            {"cluster": area, "period": year, "roll": at + 0.5 * year}
            for at, area in enumerate(AREAS)
            for year in (2017, 2018)
        ]
    )
    later = pd.concat([frame, frame.assign(period=2019, roll=1e9)])
    assert profiles(cells, covariates=later).values == pytest.approx(profiles(cells, covariates=frame).values, abs=0)
    with pytest.raises(DataError, match="'roll' holds text"):
        profiles(cells, covariates=frame.assign(roll="many"))
    with pytest.raises(DataError, match="twice"):
        profiles(cells, covariates=frame.drop(columns="period"))


def test_levels_and_slope_are_the_mean_and_the_least_squares_line_before_the_start():
    found = profiles(one_start(seed=9))
    frame = made_up(starts=(2019.0,), seed=9)
    own = frame[(frame["area"] == "A004") & (frame["year"] < 2019)]
    slope, _ = np.polyfit(own["year"], own["y"], 1)
    at = list(found.clusters).index("A004")
    assert found.names == ("mean 2016 to 2018", "change a year 2016 to 2018")
    assert found.values[at] == pytest.approx([own["y"].mean(), slope], rel=1e-9)
    each = profiles(one_start(seed=9), levels="each")
    assert each.values[at] == pytest.approx(own["y"].to_numpy(), rel=1e-12)


def test_one_region_rule_two_ways():
    """Weights by region give what group-time effects inside regions give, to rounding."""
    cells = one_start(areas=40, seed=5)
    group = same_region(profiles(cells))
    weighted = sendap.group_time(group.apply(cells), permute=False).aggregate("simple")
    inside = sendap.group_time(cells, within="region", permute=False).aggregate("simple")
    assert weighted["estimate"][0] == pytest.approx(inside["estimate"][0], rel=1e-10)


def test_weights_multiply_children_too():
    cells = one_start(areas=40, counts=True, seed=5)
    group = entropy_balance(profiles(cells))
    weighted = group.apply(cells)
    for kind in ("areas", "children"):
        plain, found = cells.panel(weights=kind), weighted.panel(weights=kind)
        scale = np.array([group.weights[each] for each in found.units["cluster"]])
        kept = plain.units["cluster"].isin(group.weights).to_numpy()
        assert found.weight == pytest.approx(plain.weight[kept] * scale[:, None], rel=1e-15)
        assert found.weights == f"{kind}, weighted"


def test_the_two_way_estimate_is_weighted_least_squares():
    import statsmodels.formula.api as smf

    cells = one_start(areas=20, seed=8)
    group = match(profiles(cells), nearest=2)
    frame = made_up(areas=20, starts=(2019.0,), seed=8)
    frame["w"] = frame["area"].map(group.weights).fillna(0.0)
    frame["d"] = (frame["year"] >= frame["cohort"]).astype(float)
    fit = smf.wls("y ~ d + C(area) + C(year)", frame[frame["w"] > 0], weights=frame.loc[frame["w"] > 0, "w"]).fit()
    found = sendap.two_way(group.apply(cells), permute=False).headline()["estimate"][0]
    assert found == pytest.approx(fit.params["d"], rel=1e-9)


def test_equal_weights_change_no_estimator():
    cells = one_start(areas=20, seed=8)
    found = profiles(cells)
    alike = same_region(replace(found, regions=np.full(len(found.clusters), "one")))
    assert set(alike.weights.values()) == {1.0}
    for estimator in (sendap.two_way, sendap.event_study, sendap.group_time, sendap.imputation, sendap.sun_abraham):
        first = estimator(cells, permute=False, only=("overall", "event")).frame
        second = estimator(alike.apply(cells), permute=False, only=("overall", "event")).frame
        assert second["estimate"].to_numpy() == pytest.approx(first["estimate"].to_numpy(), rel=1e-12, nan_ok=True)
        assert second["ci_low"].to_numpy() == pytest.approx(first["ci_low"].to_numpy(), rel=1e-9, nan_ok=True)
    with pytest.raises(UsageError, match="count every area once"):
        sendap.synthetic_did(alike.apply(cells))


def test_weights_travel_with_the_file_and_cant_be_mixed(tmp_path):
    cells = one_start(areas=20)
    group = match(profiles(cells))
    group.apply(cells).write(tmp_path / "cells.parquet")
    again = Cells.read(tmp_path / "cells.parquet")
    assert again.panel().weight == pytest.approx(group.apply(cells).panel().weight, abs=0)
    assert GIVEN in str(again.metadata["comparison"])
    with pytest.raises(UsageError, match="hold a comparison group already"):
        profiles(again)
    other = replace(cells, frame=cells.frame.assign(outcome="z"), outcomes={"z": cells.outcomes["y"]})
    second = entropy_balance(profiles(other)).apply(other)
    with pytest.raises(UsageError, match="two comparison weights"):
        Cells.stack([again, second])


def test_the_note_says_that_weights_are_given():
    cells = one_start(areas=20)
    group = match(profiles(cells))
    noted = group.noted(sendap.two_way(group.apply(cells), permute=False))
    assert noted.frame["note"].str.contains("nearest to it by Mahalanobis").all()
    assert noted.frame["note"].str.endswith(GIVEN).all()


def test_areas_are_left_out_by_reason_and_never_filled_in():
    frame = made_up(starts=(2019.0,), seed=2)
    frame = frame[~((frame["area"] == "A029") & (frame["year"] == 2017))]
    frame = frame[~((frame["area"] == "A000") & (frame["year"] < 2018))]
    cells = as_cells(frame)
    found = profiles(cells, exclude={"A020": "in another programme"})
    assert sorted(found.left_out.itertuples(index=False, name=None)) == [
        ("A000", "treated", "no figure for 2016, 2017"),
        ("A020", "comparison", "in another programme"),
        ("A029", "comparison", "no figure for 2017"),
    ]
    held = set(entropy_balance(found).apply(cells).frame["cluster"])
    assert not held & {"A000", "A020", "A029"}
    with pytest.raises(UsageError, match="'A001' is a treated area"):
        profiles(cells, exclude={"A001": "no reason"})


def test_areas_that_start_after_the_data_are_neither_treated_nor_chosen_but_kept():
    frame = made_up(starts=(2019.0,), seed=2)
    frame.loc[frame["area"] == "A005", "cohort"] = 2022.0
    cells = as_cells(frame)
    group = match(profiles(cells))
    assert group.profiles.later == ("A005",)
    assert "A005" not in group.weights
    panel = group.apply(cells).panel()
    assert panel.weight[list(panel.units["cluster"]).index("A005")] == pytest.approx(1.0, abs=0)


def test_neighbours_that_are_treated_are_passed_over_not_replaced():
    cells = one_start(seed=2)
    found = profiles(cells)
    group = statistical_neighbours(found, NEIGHBOURS, count=3)
    treated = set(found.clusters[found.treated])
    wanted = NEIGHBOURS[NEIGHBOURS["cluster"].isin(treated) & ~NEIGHBOURS["neighbour"].isin(treated)]
    assert len(group.chosen) == len(wanted)
    one = wanted["cluster"].iloc[0]
    own = group.chosen[group.chosen["treated"] == one]
    assert own["comparison"].tolist() == wanted.loc[wanted["cluster"] == one, "neighbour"].tolist()
    assert own["share"].sum() == pytest.approx(1.0, rel=1e-15)
    without = NEIGHBOURS[~((NEIGHBOURS["cluster"] == "A000") & ~NEIGHBOURS["neighbour"].isin(treated))]
    left = statistical_neighbours(found, without, count=3).left_out
    assert left.to_dict("records") == [
        {"cluster": "A000", "role": "treated", "reason": "no statistical neighbour is untreated"}
    ]
    with pytest.raises(DataError, match="none of the treated areas"):
        statistical_neighbours(found, NEIGHBOURS.assign(cluster="301"), count=3)


def test_it_is_refused_where_nothing_is_known_before_or_nobody_is_left():
    cells = one_start(seed=2)
    with pytest.raises(DesignError, match="no period before"):
        profiles(cells, anticipation=9)
    untreated = cells.filter(cluster=[each for each in AREAS if each >= "A012"])
    with pytest.raises(DesignError, match="No area is treated"):
        profiles(untreated)
    with pytest.raises(DesignError, match="no comparison area is left"):
        profiles(cells, exclude={each: "not wanted" for each in AREAS if each >= "A012"})

"""The decomposition of a two-way estimate: published pairs, other software, and sums that must come out."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap.cells import Cells
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time, fit_two_way
from sendap.probe.decomposition import KINDS, decompose, negative_weights


def rates(frame: pd.DataFrame) -> Cells:
    return Cells.from_rates(frame, cluster="area", period="year", cohort="cohort", outcome="y", rate="y")


def test_pairs_of_the_mathematics_reform(oracles):
    """Goodman (2019) by the R package bacondecomp, to the printed digits."""
    folder = oracles / "goodman_bacon_math_reform"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    frame = pd.read_csv(folder / "math_reform.csv")
    cells = Cells.from_rates(
        frame, cluster="state", period="class", cohort="reformyr_math", outcome="income", rate="incearn_ln"
    )
    found = decompose(cells.panel())
    for pair in expected["pairs"]:
        mine = found.pairs.query("treated == @pair['treated'] and untreated == @pair['untreated']")
        assert mine["estimate"].item() == pytest.approx(pair["estimate"], abs=expected["tolerance"])
        assert mine["weight"].item() == pytest.approx(pair["weight"], abs=expected["tolerance"])
    names = dict(
        zip(KINDS, ["Treated vs Untreated", "Earlier vs Later Treated", "Later vs Earlier Treated"], strict=False)
    )
    for row in found.summary().itertuples():
        weight, estimate = expected["summary"][names[row.kind]]
        assert (row.weight, row.estimate) == pytest.approx((weight, estimate), abs=expected["tolerance"])
    assert found.already_treated == pytest.approx(expected["summary"]["Later vs Earlier Treated"][0], abs=5e-5)
    assert (found.areas, found.left_out) == (26, 0)
    assert "5% of the weight" in found.sentence()


def test_weights_of_the_example_in_the_paper(oracles):
    expected = json.loads((oracles / "bacon_weights_synthetic" / "expected.json").read_text(encoding="utf-8"))
    frame = pd.DataFrame(
        [
            {"area": name, "year": year, "cohort": start, "y": float(year * (year >= start)) if start else year % 7}
            for name, start in (("early", 34), ("late", 85), ("never", None))
            for year in range(1, 101)
        ]
    )
    pairs = decompose(rates(frame).panel()).pairs.set_index(["treated", "untreated"])["weight"]
    order = [(34.0, np.inf), (85.0, np.inf), (34.0, 85.0), (85.0, 34.0)]
    assert [pairs[pair] for pair in order] == pytest.approx(
        expected["weights_order_untreated_first"], abs=expected["tolerance"]
    )


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    starts=st.lists(st.integers(2015, 2023), min_size=1, max_size=4, unique=True),
    regions=st.integers(1, 3),
    share=st.sampled_from([0.5, 0.8]),
)
def test_the_pairs_add_up_to_the_two_way_estimate(seed, starts, regions, share):
    """With starts before, at, inside and after the data, and comparisons inside regions."""
    frame = made_up(areas=24, starts=tuple(map(float, starts)), share_treated=share, regions=regions, seed=seed)
    panel = as_cells(frame).panel(within="region")
    try:
        found = decompose(panel)
    except DesignError:
        # Nobody is treated inside the data, or all are from the first year on.
        first = np.sort(np.minimum(np.maximum(panel.cohort, 2016), 2022))
        assert set(first) <= {2016.0, 2022.0} or not np.isfinite(panel.cohort).any()
        return
    pairs = found.pairs
    assert pairs["weight"].sum() == pytest.approx(1, abs=1e-12)
    assert (pairs["weight"] > 0).all()
    assert (pairs["estimate"] * pairs["weight"]).sum() == pytest.approx(fit_two_way(panel).estimate[0], abs=1e-8)


def test_pairs_equal_those_of_diff_diff():
    from diff_diff import BaconDecomposition

    frame = made_up(areas=40, starts=(2018.0, 2019.0, 2021.0), years=7, seed=12)
    found = decompose(as_cells(frame).panel()).pairs.set_index(["treated", "untreated"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = BaconDecomposition().fit(
            frame.assign(start=frame["cohort"].fillna(0)), outcome="y", unit="area", time="year", first_treat="start"
        )
    assert len(other.comparisons) == len(found)
    for pair in other.comparisons:
        control = pair.control_group if isinstance(pair.control_group, (int, float, np.number)) else np.inf
        mine = found.loc[(float(pair.treated_group), float(control))]
        assert (mine["estimate"], mine["weight"]) == pytest.approx((pair.estimate, pair.weight), abs=1e-8)


def test_incomplete_areas_are_left_out_and_counted_or_refused():
    frame = made_up(areas=30, seed=2)
    short = frame.drop(frame[(frame["area"] == "A003") & (frame["year"] == 2018)].index)
    panel = as_cells(short).panel()
    found = decompose(panel)
    assert (found.areas, found.left_out) == (29, 1)
    whole = as_cells(frame[frame["area"] != "A003"]).panel()
    assert found.two_way == pytest.approx(fit_two_way(whole).estimate[0], rel=1e-10)
    assert "(1 without every period left out)" in found.sentence()
    with pytest.raises(DesignError, match="1 of 30 areas"):
        decompose(panel, incomplete="refuse")
    with pytest.raises(UsageError, match="incomplete"):
        decompose(panel, incomplete="impute")


def test_weights_that_change_over_time_are_refused():
    panel = as_cells(made_up(areas=30, counts=True)).panel(weights="children")
    with pytest.raises(DesignError, match="change over time"):
        decompose(panel)


def staggered_without_controls() -> pd.DataFrame:
    return made_up(areas=30, share_treated=1.0, starts=(2017.0, 2021.0), years=6, seed=6)


def test_negative_weights_by_regression_of_the_treatment():
    """The weight of a treated cell is its residual from area and period effects, over the sum of them."""
    frame = staggered_without_controls()
    panel = as_cells(frame).panel()
    found = negative_weights(fit_two_way(panel))
    treated = (frame["year"] >= frame["cohort"]).to_numpy(float)
    dummies = pd.get_dummies(frame[["area", "year"]].astype(str)).to_numpy(float)
    residual = treated - dummies @ np.linalg.lstsq(dummies, treated, rcond=None)[0]
    weight = residual[treated == 1] / residual[treated == 1].sum()
    assert found.cells == len(weight)
    assert found.negative_cells == (weight < -1e-9).sum() > 0
    assert found.negative_sum == pytest.approx(weight[weight < 0].sum(), rel=1e-8)
    assert f"sum to {found.negative_sum:.2f}" in found.sentence()


def test_negative_weights_equal_those_of_diff_diff():
    from diff_diff import twowayfeweights

    frame = staggered_without_controls()
    frame = frame.assign(treated=(frame["year"] >= frame["cohort"]).astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = twowayfeweights(frame, outcome="y", unit="area", time="year", treatment="treated")
    found = negative_weights(fit_two_way(as_cells(frame).panel()))
    assert found.negative_share == pytest.approx(other.fraction_negative, abs=1e-12)
    assert found.sign_spread == pytest.approx(other.sigma_fe, rel=1e-8)


def test_one_start_has_no_negative_weight():
    fit = fit_two_way(as_cells(made_up(areas=30, starts=(2019.0,))).panel())
    found = negative_weights(fit)
    assert found.negative_cells == 0
    assert found.sign_spread == np.inf
    assert "no treated area" in found.sentence()
    with pytest.raises(UsageError, match="two_way"):
        negative_weights(fit_group_time(fit.panel))

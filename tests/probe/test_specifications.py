"""The specification curve: each point against the public estimator that it stands for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from panels import as_cells, made_up

from sendap.effects import group_time, two_way
from sendap.effects_more import imputation, sun_abraham
from sendap.errors import DesignError
from sendap.probe.specifications import ALL_AREAS, SpecificationCurve, specification_curve

FRAME = made_up(areas=36, years=8, starts=(2020.0, 2021.0), seed=11, counts=True, effect=1.0)
CELLS = as_cells(FRAME)
GONE = frozenset(f"A{number:03d}" for number in (3, 20, 25))
CURVE = specification_curve(
    CELLS, control="not_yet", weights="children", within="region", left_out={"without three": GONE}
)


def pick(**conditions):
    frame = CURVE.frame
    chosen = frame[np.logical_and.reduce([frame[name] == value for name, value in conditions.items()])]
    assert len(chosen) == 1, conditions
    return chosen.iloc[0]


def test_the_headline_is_there_once_and_is_the_headline():
    assert CURVE.frame["headline"].sum() == 1
    row = CURVE.headline
    options = {"within": "region", "weights": "children", "permute": False, "only": ("overall",)}
    real = group_time(CELLS, control="not_yet", **options).headline().iloc[0]
    assert row["estimate"] == pytest.approx(real["estimate"], rel=1e-9)
    assert [row["low"], row["high"]] == pytest.approx([real["ci_low"], real["ci_high"]], rel=1e-6)
    assert CURVE.frame["estimate"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("estimator", "public", "control"),
    [("group_time", group_time, "never"), ("two_way", two_way, ""), ("imputation", imputation, ""),
     ("sun_abraham", sun_abraham, "")],
)  # fmt: skip
@pytest.mark.parametrize("gone", [frozenset(), GONE])
def test_each_point_is_the_estimator_on_its_data(estimator, public, control, gone):
    row = pick(
        estimator=estimator, control=control, comparison="without three" if gone else ALL_AREAS, weights="areas",
        window="all years", anticipation=1, region="none", form="levels",
    )  # fmt: skip
    options = {"control": control} if control else {}
    found = public(
        CELLS.without_clusters(gone), weights="areas", anticipation=1, permute=False, only=("overall",), **options
    )
    assert row["estimate"] == pytest.approx(found.headline()["estimate"].iloc[0], rel=1e-8)


def test_a_point_on_logarithms_is_put_back_into_units():
    row = pick(
        estimator="two_way", comparison=ALL_AREAS, weights="areas", window="all years", anticipation=0, region="none",
        form="logs",
    )  # fmt: skip
    logged = two_way(as_cells(FRAME.assign(y=np.log(FRAME["y"]))), permute=False).headline()["estimate"].iloc[0]
    mean = FRAME.loc[FRAME["year"] >= FRAME["cohort"], "y"].mean()
    assert row["estimate"] == pytest.approx(mean * (1 - np.exp(-logged)), rel=1e-8)


def test_a_short_window_holds_three_years_before_the_first_start():
    row = pick(
        estimator="imputation", comparison=ALL_AREAS, weights="areas", window="3 years before", anticipation=0,
        region="none", form="levels",
    )  # fmt: skip
    late = as_cells(FRAME[FRAME["year"] >= 2017])
    assert row["estimate"] == pytest.approx(
        imputation(late, permute=False, only=("overall",)).headline()["estimate"].iloc[0], rel=1e-8
    )


def test_how_many_there_are_follows_from_the_choices():
    """By 2 weights, regions, sets of areas and forms: group-time twice (two rules), Sun-Abraham once, and two others
    over two windows, but over one where a partly exposed period leaves only three years before. Given the past,
    group-time twice again for each number of partly exposed periods, in levels only."""
    assert len(CURVE.frame) == ((2 + 1 + 2 * 2) + (2 + 1 + 2)) * 2**4 + (2 + 2) * 2**3
    assert CURVE.refused == {}
    assert set(CURVE.frame["estimator"]) == {
        "group_time", "group_time_lagged", "sun_abraham", "imputation", "two_way"
    }  # fmt: skip


def test_the_headline_may_be_another_estimator():
    found = specification_curve(
        as_cells(made_up(areas=24, years=6, starts=(2019.0,), seed=3)), headline="group_time_lagged"
    )
    assert found.headline["estimator"] == "group_time_lagged"
    assert found.frame["headline"].sum() == 1


def test_choices_that_make_no_difference_are_not_counted():
    one = specification_curve(as_cells(made_up(areas=24, years=4, starts=(2018.0,), seed=3)), control="not_yet")
    assert set(one.frame.loc[one.frame["estimator"] == "group_time", "control"]) == {"never"}
    assert one.headline["control"] == "never"
    assert set(one.frame["weights"]) == {"areas"}
    assert set(one.frame["window"]) == {"all years"}


def test_logarithms_need_figures_above_zero():
    frame = made_up(areas=24, starts=(2019.0,), seed=3)
    frame.loc[0, "y"] = 0.0
    assert set(specification_curve(as_cells(frame)).frame["form"]) == {"levels"}


def test_a_headline_that_cant_be_estimated_is_refused():
    with pytest.raises(DesignError, match="No area is treated"):
        specification_curve(as_cells(made_up(areas=12, starts=(2030.0,))))


def test_what_the_curve_says():
    base = dict.fromkeys(("comparison", "control", "weights", "window", "anticipation", "region"), "x")
    rows = [
        {**base, "estimator": "a", "form": "levels", "estimate": 2.0, "low": 1.0, "high": 3.0, "headline": True},
        {**base, "estimator": "a", "form": "logs", "estimate": -5.0, "low": -6.0, "high": -4.0, "headline": False},
        {**base, "estimator": "b", "form": "levels", "estimate": 2.5, "low": None, "high": None, "headline": False},
        {**base, "estimator": "b", "form": "logs", "estimate": -1.0, "low": -3.0, "high": 2.0, "headline": False},
    ]
    curve = SpecificationCurve(pd.DataFrame(rows).astype({"low": float, "high": float}), {})
    assert curve.same_sign == 0.5
    assert curve.inside == 0.5
    assert curve.clear() == (3, 1, 1)
    assert curve.largest_choice() == "form"
    table = curve.choices().set_index(["choice", "option"])
    assert set(table.index.get_level_values(0)) == {"estimator", "form"}
    assert tuple(table.loc[("form", "logs")]) == (2, -3.0, 0.0)

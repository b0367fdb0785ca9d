"""Levels, logarithms and proportions: against a Poisson model and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap.errors import DesignError
from sendap.estimators import fit_group_time
from sendap.probe.forms import functional_forms, ratio_effect


def overall(fit) -> float:
    return float(fit.estimate[(fit.terms["term"] == "overall").to_numpy()][0])


def test_with_two_periods_proportions_are_a_poisson_model():
    """E[y] = exp(group + period + effect): the effect in units is what was observed less the prediction without it."""
    frame = made_up(areas=30, years=2, starts=(2017.0,), regions=1, seed=6, effect=4.0)
    found, _ = ratio_effect(fit_group_time(as_cells(frame).panel()))
    treated, late = frame["cohort"].notna().astype(float), (frame["year"] == 2017).astype(float)
    design = np.column_stack([np.ones(len(frame)), treated, late, treated * late])
    fit = sm.GLM(frame["y"], design, family=sm.families.Poisson()).fit(tol=1e-12)
    both = (treated * late) == 1
    expected = (frame.loc[both, "y"] - np.exp(design[both, :3] @ fit.params[:3])).mean()
    # Two closed forms of the same ratio of means, but for the tolerance of the iteration.
    assert found == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("control", ["never", "not_yet"])
def test_without_each_cluster_is_a_fit_without_it(control):
    cells = as_cells(made_up(areas=18, starts=(2018.0, 2020.0), seed=8, missing=0.05, counts=True))

    def fitted(part):
        return fit_group_time(part.panel(weights="children", within="region"), control=control, anticipation=1)

    fit = fitted(cells)
    _, without = ratio_effect(fit)
    for position, cluster in enumerate(fit.panel.clusters):
        try:
            again, _ = ratio_effect(fitted(cells.without_clusters([cluster])))
        except DesignError:
            continue
        assert without[position] == pytest.approx(again, rel=1e-9)


def test_forms_agree_where_nobody_else_moves():
    """Comparison areas that stand still leave the treated mean where it was, in levels as in proportions."""
    frame = made_up(areas=30, starts=(2019.0,), seed=2, regions=1)
    still = frame["cohort"].isna()
    frame.loc[still, "y"] = frame[still].groupby("area")["y"].transform("first")
    fit = fit_group_time(as_cells(frame).panel())
    assert ratio_effect(fit)[0] == pytest.approx(overall(fit), rel=1e-9)


def test_a_sign_that_hangs_on_the_form_is_told():
    """Treated areas go from 10 to 15, others from 40 to 50: less in points, more in proportion."""
    frame = made_up(areas=40, years=2, starts=(2017.0,), share_treated=0.5, regions=1, seed=1)
    treated, late = frame["cohort"].notna(), frame["year"] == 2017
    base = np.where(treated, np.where(late, 15.0, 10.0), np.where(late, 50.0, 40.0))
    frame["y"] = base + np.random.default_rng(3).normal(0, 0.2, len(frame))
    found = functional_forms(fit_group_time(as_cells(frame).panel()))
    by_form = found.frame.set_index("form")
    # Means of twenty areas with noise of a fifth: a standard error near a tenth.
    assert by_form.loc["levels", "estimate"] == pytest.approx(5 - 10, abs=0.4)
    assert by_form.loc["proportions", "estimate"] == pytest.approx(15 - 10 * 50 / 40, abs=0.4)
    assert by_form.loc["logs", "estimate"] == pytest.approx(15 * (1 - (50 / 40) / (15 / 10)), abs=0.4)
    assert found.sign_depends
    assert found.clear_both_ways


def test_zeros_have_no_logarithm_and_negatives_no_proportion():
    frame = made_up(areas=24, starts=(2019.0,), seed=3)
    frame.loc[0, "y"] = 0.0
    rows = functional_forms(fit_group_time(as_cells(frame).panel())).frame.set_index("form")
    assert "have no logarithm" in rows.loc["logs", "note"]
    assert np.isfinite(rows.loc["proportions", "estimate"])
    frame.loc[0, "y"] = -1.0
    rows = functional_forms(fit_group_time(as_cells(frame).panel())).frame.set_index("form")
    assert rows.loc["proportions", "note"] == "Some figures are below zero."
    frame.loc[frame["cohort"].isna(), "y"] = 0.0
    frame.loc[0, "y"] = 1.0
    with pytest.raises(DesignError, match="comparison mean is zero"):
        ratio_effect(fit_group_time(as_cells(frame).panel()))


@settings(max_examples=15)
@given(st.floats(0.01, 1000))
def test_proportions_scale_with_the_unit(scale):
    frame = made_up(areas=14, years=4, starts=(2018.0,), seed=5, regions=1)
    first, _ = ratio_effect(fit_group_time(as_cells(frame).panel()))
    found, _ = ratio_effect(fit_group_time(as_cells(frame.assign(y=frame["y"] * scale)).panel()))
    assert found == pytest.approx(first * scale, rel=1e-9)

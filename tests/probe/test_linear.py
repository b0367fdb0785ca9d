"""The overall effect as weights: against inference on the same fit, and against leaving clusters out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap.estimators import fit_group_time, fit_two_way
from sendap.estimators.imputation import fit_imputation
from sendap.inference import infer
from sendap.probe.linear import LinearEffect, in_units, keep_clusters, overall_effect, treated_mean, without

PANEL = as_cells(made_up(areas=30, seed=4, missing=0.05, counts=True)).panel(weights="children", within="region")
LINEAR = LinearEffect.of(fit_group_time(PANEL, anticipation=1))


@pytest.mark.parametrize("fitter", [fit_group_time, fit_two_way, fit_imputation])
def test_it_is_the_jackknife_of_inference(fitter):
    fit = fitter(PANEL)
    row = infer(fit, permute=False, only=("overall",), inference="crv3").headline().iloc[0]
    found = overall_effect(fit)
    # Both are sums of the same numbers in another order.
    assert [found.estimate, found.low, found.high, found.std_error, found.dof] == pytest.approx(
        row[["estimate", "ci_low", "ci_high", "std_error", "dof"]].astype(float).tolist(), rel=1e-9
    )
    assert (found.treated, found.treated + found.controls) == (row["treated_clusters"], row["clusters"])


def test_with_few_treated_areas_there_is_no_interval():
    found = overall_effect(fit_group_time(as_cells(made_up(areas=25, share_treated=0.2, starts=(2019.0,))).panel()))
    assert np.isfinite(found.estimate)
    assert np.isnan([found.low, found.high, found.std_error]).all()
    assert not found.excludes_zero


@given(st.floats(-5, 5), st.floats(0.1, 10))
def test_weights_are_linear_in_the_outcome(shift, scale):
    first = LINEAR.on(PANEL.mean)
    moved = LINEAR.on(scale * PANEL.mean + shift)
    # A shift of all figures is no effect; rounding is relative to figures of some fifty points.
    assert moved.estimate == pytest.approx(scale * first.estimate, abs=1e-9 * scale)
    assert moved.std_error == pytest.approx(scale * first.std_error, rel=1e-7)
    assert moved.dof == first.dof


def test_keeping_clusters_is_leaving_the_others_out():
    cells = as_cells(made_up(areas=12, seed=2))
    panel = cells.panel(within="region")
    gone = frozenset(str(each) for each in panel.clusters[[1, 5, 11]])
    kept, again = without(panel, gone), cells.without_clusters(gone).panel(within="region")
    assert list(kept.clusters) == list(again.clusters)
    np.testing.assert_array_equal(kept.cluster, again.cluster)
    np.testing.assert_array_equal(kept.mean, again.mean)
    with pytest.raises(Exception, match="no area left"):
        keep_clusters(panel, np.zeros(12, dtype=bool))


def test_an_effect_on_logarithms_in_units():
    """A tenth on top of 50 is 5: the mean since the start is 55, and its logarithm moved by log 1.1."""
    assert in_units(np.log(1.1), 55.0) == pytest.approx(5.0, rel=1e-12)
    panel = as_cells(made_up(areas=10, starts=(2019.0,), counts=True)).panel(weights="children")
    after = (panel.periods[None, :] >= panel.cohort[:, None]) & np.isfinite(panel.mean)
    assert treated_mean(panel) == pytest.approx(np.average(panel.mean[after], weights=panel.weight[after]))
    assert treated_mean(replace(panel, mean=panel.mean + 1)) == pytest.approx(treated_mean(panel) + 1)

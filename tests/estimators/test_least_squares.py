"""Two-way and event-study effects, against linearmodels, pyfixest and brute force."""

from __future__ import annotations

import numpy as np
import pyfixest
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linearmodels.panel import PanelOLS
from panels import as_cells, made_up

from sendap.errors import DesignError
from sendap.estimators import fit_event_study, fit_group_time, fit_two_way
from sendap.inference.cluster_robust import crv1_variance, crv3_variance

EXACT = {"rtol": 1e-8, "atol": 1e-10}


def treated(frame, anticipation=0):
    """The panel with a treatment dummy, without the periods that may be anticipated."""
    event = frame["year"] - frame["cohort"]
    return frame.assign(d=(event >= 0).astype(float))[~((event < 0) & (event >= -anticipation))]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.15]),
    weights=st.sampled_from(["areas", "children"]),
    anticipation=st.integers(0, 1),
)
def test_two_way_equals_panel_least_squares(seed, missing, weights, anticipation):
    frame = made_up(seed=seed, areas=20, missing=missing, counts=True)
    fit = fit_two_way(as_cells(frame).panel(weights=weights), anticipation=anticipation)
    rows = treated(frame, anticipation).set_index(["area", "year"])
    other = PanelOLS(
        rows["y"],
        rows[["d"]],
        entity_effects=True,
        time_effects=True,
        weights=rows["n"] if weights == "children" else None,
    ).fit(cov_type="clustered", cluster_entity=True)
    assert fit.estimate[0] == pytest.approx(other.params["d"], rel=1e-8, abs=1e-9)
    # linearmodels applies no small-sample factor by default, but for its debiasing; compare without either.
    plain = float(np.sqrt((fit.scores[:, 0] ** 2).sum()))
    factor = other.std_errors["d"] / plain
    cells, effects = other.nobs, other.df_model
    assert factor**2 == pytest.approx(cells / (cells - effects), rel=1e-6) or factor == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("weights", ["areas", "children"])
def test_two_way_cluster_robust_errors_equal_pyfixest(weights):
    """CRV1 with pyfixest's default small-sample factors: effects nested in clusters aren't counted."""
    frame = made_up(seed=21, missing=0.1, counts=True)
    fit = fit_two_way(as_cells(frame).panel(weights=weights))
    options = {"weights": "n"} if weights == "children" else {}
    other = pyfixest.feols("y ~ d | area + year", treated(frame), vcov={"CRV1": "area"}, fixef_tol=1e-12, **options)
    assert fit.estimate[0] == pytest.approx(other.coef()["d"], rel=1e-8)
    assert np.sqrt(crv1_variance(fit)[0]) == pytest.approx(other.se()["d"], rel=1e-8)


@pytest.mark.parametrize("weights", ["areas", "children"])
def test_two_way_jackknife_errors_equal_pyfixest(weights):
    """CRV3 without further factors is (G - 1)/G times the squared distances, as in the standard."""
    frame = made_up(seed=21, missing=0.1, counts=True)
    fit = fit_two_way(as_cells(frame).panel(weights=weights))
    options = {"weights": "n"} if weights == "children" else {}
    plain = pyfixest.ssc(k_adj=False, G_adj=False)
    other = pyfixest.feols(
        "y ~ d | area + year", treated(frame), vcov={"CRV3": "area"}, ssc=plain, fixef_tol=1e-12, **options
    )
    ours = np.sqrt(crv3_variance(fit.leave_one_out(), fit.estimate)[0])
    areas = frame["area"].nunique()
    # pyfixest sums the squared distances and leaves (G - 1)/G to its small-sample factor.
    assert ours == pytest.approx(other.se()["d"] * np.sqrt((areas - 1) / areas), rel=1e-8)


def test_inside_regions_equals_region_by_year_effects():
    frame = made_up(seed=22, areas=45)
    fit = fit_two_way(as_cells(frame).panel(within="region"))
    other = pyfixest.feols("y ~ d | area + region^year", treated(frame), vcov={"CRV1": "area"}, fixef_tol=1e-12)
    assert fit.estimate[0] == pytest.approx(other.coef()["d"], rel=1e-8)


def test_event_study_equals_pyfixest_at_every_event_time():
    frame = made_up(seed=23, starts=(2019.0,), missing=0.05)
    fit = fit_event_study(as_cells(frame).panel(), anticipation=1)
    rows = frame.assign(event=(frame["year"] - frame["cohort"]).fillna(-99).astype(int))
    dummies = [event for event in sorted(rows["event"].unique()) if event not in (-99, -2)]
    for event in dummies:
        rows[f"e{event + 50}"] = (rows["event"] == event).astype(float)
    names = [f"e{event + 50}" for event in dummies]
    other = pyfixest.feols(f"y ~ {' + '.join(names)} | area + year", rows, vcov={"CRV1": "area"}, fixef_tol=1e-12)
    assert fit.terms["event_time"].tolist() == [float(event) for event in dummies]
    np.testing.assert_allclose(fit.estimate, other.coef()[names], **EXACT)
    np.testing.assert_allclose(np.sqrt(crv1_variance(fit)), other.se()[names], **EXACT)


@pytest.mark.real_data
@pytest.mark.parametrize("pilot", ["CP", "SV"])
def test_every_real_two_way_estimate_equals_linearmodels(pilot, real_data, workspace):
    """Each outcome of both programmes, on the same area panel, to 1e-8."""
    from sendap.protocol import read_protocol
    from sendap.runs.cells_of import prepare

    protocol = read_protocol(workspace.analysis, pilot)
    prepared = prepare(protocol, workspace.catalog, real_data)
    for outcome in protocol.outcomes:
        anticipation = prepared.anticipation[outcome.id]
        cells = prepared.cells.only(outcome.id)
        fit = fit_two_way(cells.panel(), anticipation=anticipation)
        frame = cells.frame.assign(y=cells.frame["sum"] / cells.frame["weight"], year=cells.frame["period"])
        rows = treated(frame, anticipation).set_index(["cluster", "year"])
        other = PanelOLS(rows["y"], rows[["d"]], entity_effects=True, time_effects=True).fit()
        assert fit.estimate[0] == pytest.approx(other.params["d"], rel=1e-8, abs=1e-8), outcome.id


def test_leaving_a_cluster_out_equals_refitting_without_it():
    frame = made_up(seed=24, missing=0.1, areas=16)
    panel = as_cells(frame).panel(within="region")
    fit = fit_event_study(panel)
    left_out = fit.leave_one_out()
    checked = 0
    for position, area in enumerate(panel.clusters):
        try:
            again = fit_event_study(as_cells(frame[frame["area"] != area]).panel(within="region"))
        except DesignError:
            assert np.isnan(left_out[position]).any()
            continue
        if again.terms["event_time"].tolist() == fit.terms["event_time"].tolist():
            np.testing.assert_allclose(left_out[position], again.estimate, rtol=1e-7, atol=1e-8)
            checked += 1
    assert checked >= 8


def test_the_weights_give_the_estimates():
    panel = as_cells(made_up(seed=25, missing=0.1)).panel()
    fit = fit_event_study(panel)
    values = np.nan_to_num(panel.mean)
    np.testing.assert_allclose(np.einsum("kut,ut->k", fit.weights(), values), fit.estimate, rtol=1e-7, atol=1e-8)
    left = np.einsum("gut,ut->g", fit.leave_one_out_weights(1), values)
    np.testing.assert_allclose(left, fit.leave_one_out()[:, 1], rtol=1e-7, atol=1e-8)


def test_the_actual_starts_permuted_are_the_estimate():
    panel = as_cells(made_up(seed=26, missing=0.1)).panel(within="region")
    fit = fit_two_way(panel)
    again = fit.permute(panel.cluster_cohort[None, :], np.array([0]))
    assert again.outcome[0, 0] == pytest.approx(fit.estimate[0], rel=1e-8)
    assert again.square_outcome[0, 0] == pytest.approx((fit.scores[:, 0] ** 2).sum(), rel=1e-8)
    assert again.planted[0, 0] == pytest.approx(1.0, rel=1e-9)


def test_an_outcome_that_never_varies_is_refused():
    panel = as_cells(made_up().assign(y=7.0)).panel()
    for fit in (fit_two_way, fit_event_study, fit_group_time):
        with pytest.raises(DesignError, match="never varies"):
            fit(panel)


def test_designs_that_cannot_work_are_refused():
    with pytest.raises(DesignError, match="can't be told apart"):
        fit_two_way(as_cells(made_up(share_treated=1.0, starts=(2019.0,))).panel())
    with pytest.raises(DesignError, match="no period before treatment"):
        fit_two_way(as_cells(made_up(starts=(2016.0,))).panel())
    panel = as_cells(made_up()).panel()
    fit = fit_event_study(panel)
    with pytest.raises(DesignError, match="isn't defined"):
        fit.permute(panel.cluster_cohort[None, :], np.array([0]))

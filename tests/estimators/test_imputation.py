"""Imputation and two-stage effects, against two independent packages, dense regressions and brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyfixest
import pytest
from diff_diff import ImputationDiD, TwoStageDiD
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap.cells import Cells
from sendap.cells.compress import compress
from sendap.errors import DesignError, UsageError
from sendap.estimators.imputation import fit_imputation, fit_two_stage
from sendap.inference.cluster_robust import crv1_variance

EXACT = {"rtol": 1e-8, "atol": 1e-10}
CLOSE = {"rtol": 1e-7, "atol": 1e-8}


def shown(fit) -> pd.DataFrame:
    """Estimates and unadjusted errors by term, cohort and event time."""
    return fit.terms.assign(estimate=fit.estimate, error=np.sqrt((fit.scores**2).sum(axis=0)))


def by_event(fit) -> pd.DataFrame:
    rows = shown(fit)
    return rows[rows["term"] == "event"].set_index("event_time")[["estimate", "error"]]


def package(kind, frame, **options):
    data = frame.assign(first=frame["cohort"].fillna(0).astype(int))
    return kind(**options).fit(data, outcome="y", unit="area", time="year", first_treat="first", aggregate="all")


def dense(frame: pd.DataFrame, weights: str, within: bool, anticipation: int) -> pd.DataFrame:
    """Treated rows with the effect imputed by a dense regression on dummies, where it can be."""
    event = (frame["year"] - frame["cohort"]).fillna(-99)
    period = frame["year"].astype(str) + (frame["region"] if within else "")
    dummies = np.hstack([pd.get_dummies(frame["area"], dtype=float), pd.get_dummies(period, dtype=float)])
    weight = np.sqrt(frame["n"].to_numpy() if weights == "children" else np.ones(len(frame)))
    untreated = (event < -anticipation).to_numpy()
    design = dummies[untreated] * weight[untreated, None]
    coefficients = np.linalg.lstsq(design, frame["y"][untreated] * weight[untreated], rcond=1e-10)[0]
    space = np.linalg.pinv(design, rcond=1e-10) @ design
    known = np.abs(dummies @ space - dummies).max(axis=1) < 1e-6
    effect = frame.assign(event=event, effect=frame["y"] - dummies @ coefficients, weight=weight**2)
    return effect[known & (event >= 0)]


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.2]),
    weights=st.sampled_from(["areas", "children"]),
    within=st.booleans(),
    anticipation=st.integers(0, 1),
)
def test_averages_equal_a_dense_regression_on_dummies(seed, missing, weights, within, anticipation):
    frame = made_up(seed=seed, areas=21, missing=missing, counts=True)
    panel = as_cells(frame).panel(weights=weights, within="region" if within else None)
    fit = fit_imputation(panel, anticipation=anticipation)
    rows = dense(frame, weights, within, anticipation)
    ours = shown(fit)
    assert ours.loc[0, "estimate"] == pytest.approx(np.average(rows["effect"], weights=rows["weight"]), rel=1e-8)
    for key, column, term in (("event", "event_time", "event"), ("cohort", "cohort", "group")):
        theirs = rows.groupby(key)[["effect", "weight"]].apply(
            lambda part: np.average(part.effect, weights=part.weight)
        )
        found = ours[ours["term"] == term].set_index(column)["estimate"]
        np.testing.assert_allclose(found.reindex(theirs.index), theirs, **EXACT)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.sampled_from([0.0, 0.1]))
def test_averages_and_errors_equal_an_independent_package(seed, missing):
    frame = made_up(seed=seed, areas=24, missing=missing)
    fit = fit_imputation(as_cells(frame).panel())
    other = package(ImputationDiD, frame)
    assert shown(fit).loc[0, "estimate"] == pytest.approx(other.overall_att, rel=1e-8, abs=1e-9)
    assert shown(fit).loc[0, "error"] == pytest.approx(other.overall_se, rel=1e-8)
    for event, item in other.event_study_effects.items():
        if event >= 0:
            np.testing.assert_allclose(by_event(fit).loc[event], (item["effect"], item["se"]), **EXACT)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.sampled_from([0.0, 0.1]))
def test_two_stage_equals_an_independent_package(seed, missing):
    """Static and event-time estimates with their errors, before and after treatment."""
    frame = made_up(seed=seed, areas=24, missing=missing)
    fit = fit_two_stage(as_cells(frame).panel())
    other = package(TwoStageDiD, frame, pretrends=True)
    assert shown(fit).loc[0, "estimate"] == pytest.approx(other.overall_att, rel=1e-8, abs=1e-9)
    assert shown(fit).loc[0, "error"] == pytest.approx(other.overall_se, rel=1e-7)
    compared = 0
    for event, item in other.event_study_effects.items():
        if event != -1:
            np.testing.assert_allclose(by_event(fit).loc[event], (item["effect"], item["se"]), rtol=1e-7, atol=1e-8)
            compared += 1
    assert compared >= 6


def test_errors_with_weights_follow_the_published_formula():
    """Cluster sums of weight times residual, treated cells around their cohort and period's mean by squared weights."""
    frame = made_up(seed=6, areas=20, missing=0.1, counts=True)
    panel = as_cells(frame).panel(weights="children")
    fit = fit_imputation(panel)
    linear = fit.weights()[0]
    position = {area: number for number, area in enumerate(panel.clusters)}
    rows = dense(frame, "children", False, 0)
    residual = np.zeros(panel.mean.shape)
    for item in rows.itertuples():
        residual[position[item.area], item.year - 2016] = item.effect
    treated = panel.periods[None, :] >= panel.cohort[:, None]
    for cohort in (2019, 2021):
        for time in np.flatnonzero(panel.periods >= cohort):
            own = (panel.cohort == cohort) & np.isfinite(panel.mean[:, time])
            centre = np.average(residual[own, time], weights=linear[own, time] ** 2)
            residual[own, time] -= centre
    before = frame[~(frame["year"] >= frame["cohort"])]
    model = pyfixest.feols("y ~ 1 | area + year", before, weights="n", fixef_tol=1e-13)
    for item, left in zip(before.itertuples(), model.resid(), strict=True):
        residual[position[item.area], item.year - 2016] = left
    assert (np.abs(residual[treated & np.isfinite(panel.mean)]) > 0).mean() > 0.9
    assert shown(fit).loc[0, "error"] == pytest.approx(np.sqrt(((linear * residual).sum(axis=1) ** 2).sum()), rel=1e-7)


def test_two_stage_averages_are_those_of_imputation():
    panel = as_cells(made_up(seed=3, missing=0.1, counts=True)).panel(weights="children", within="region")
    first, second = shown(fit_imputation(panel)), shown(fit_two_stage(panel))
    after = [rows[~(rows["event_time"] < 0)].reset_index(drop=True) for rows in (first, second)]
    assert len(after[0]) == len(after[1]) >= 6
    np.testing.assert_allclose(after[0]["estimate"], after[1]["estimate"], **EXACT)


@pytest.mark.parametrize("leads", [2, None])
def test_coefficients_before_treatment_are_a_regression_of_untreated_rows(leads):
    frame = made_up(seed=7, missing=0.05, counts=True)
    fit = fit_imputation(as_cells(frame).panel(weights="children"), leads=leads)
    event = (frame["year"] - frame["cohort"]).fillna(-99).astype(int)
    rows = frame[event < 0].assign(event=event[event < 0])
    times = sorted(set(rows["event"]) - {-99})[1:] if leads is None else [-2, -1]
    for time in times:
        rows[f"lead{-time}"] = (rows["event"] == time).astype(float)
    names = [f"lead{-time}" for time in times]
    other = pyfixest.feols(
        f"y ~ {' + '.join(names)} | area + year",
        rows,
        weights="n",
        vcov={"CRV1": "area"},
        ssc=pyfixest.ssc(k_adj=False, G_adj=False),
        fixef_tol=1e-13,
    )
    ours = by_event(fit).query("event_time < 0")
    assert ours.index.tolist() == [float(time) for time in times]
    np.testing.assert_allclose(ours["estimate"], other.coef()[names], **CLOSE)
    np.testing.assert_allclose(ours["error"], other.se()[names], **CLOSE)


def test_leaving_a_cluster_out_equals_refitting_without_it():
    frame = made_up(seed=24, missing=0.1, areas=16)
    panel = as_cells(frame).panel(within="region")
    for build in (fit_imputation, fit_two_stage):
        fit = build(panel)
        left_out, checked = fit.leave_one_out(), 0
        for position, area in enumerate(panel.clusters):
            try:
                again = build(as_cells(frame[frame["area"] != area]).panel(within="region"))
            except DesignError:
                continue
            keys = ["term", "cohort", "event_time"]
            joined = fit.terms.assign(ours=left_out[position]).merge(again.terms.assign(theirs=again.estimate), on=keys)
            # Without an area fewer leads can be told apart, so only fits with the same ones compare.
            if len(again.terms) == len(fit.terms) or build is fit_two_stage:
                np.testing.assert_allclose(joined["ours"], joined["theirs"], **CLOSE)
                checked += len(joined)
        assert checked >= 60


def test_the_weights_give_the_estimates():
    panel = as_cells(made_up(seed=25, missing=0.1, counts=True)).panel(weights="children")
    values = np.nan_to_num(panel.mean)
    for fit in (fit_imputation(panel, anticipation=1), fit_two_stage(panel)):
        np.testing.assert_allclose(np.einsum("kut,ut->k", fit.weights(), values), fit.estimate, **CLOSE)
        for term in (0, 3, len(fit.terms) - 1):
            left = np.einsum("gut,ut->g", fit.leave_one_out_weights(term), values)
            np.testing.assert_allclose(left, fit.leave_one_out()[:, term], **CLOSE)


def test_the_actual_starts_permuted_are_the_estimate():
    panel = as_cells(made_up(seed=26, missing=0.05)).panel(within="region")
    fit = fit_imputation(panel)
    terms = np.arange(len(fit.terms))
    again = fit.permute(panel.cluster_cohort[None, :], terms)
    np.testing.assert_allclose(again.outcome[0], fit.estimate, **CLOSE)
    np.testing.assert_allclose(again.square_outcome[0], (fit.scores**2).sum(axis=0), **CLOSE)
    after = ~(fit.terms["event_time"] < 0).to_numpy()
    np.testing.assert_allclose(again.planted[0], after.astype(float), **CLOSE)


def test_permuted_starts_give_what_a_panel_with_those_starts_gives():
    panel = as_cells(made_up(seed=27, missing=0.05)).panel()
    fit = fit_imputation(panel, leads=1)
    dealt = np.random.default_rng(4).permuted(np.repeat(panel.cohort[None], 5, axis=0), axis=1)
    found = fit.permute(dealt, np.arange(len(fit.terms)))
    for cohort, estimate, squares in zip(dealt, found.outcome, found.square_outcome, strict=True):
        again = fit_imputation(replace(panel, cohort=cohort), leads=1)
        joined = fit.terms.assign(ours=estimate, squares=squares).merge(
            again.terms.assign(theirs=again.estimate, own=(again.scores**2).sum(axis=0)),
            on=["term", "cohort", "event_time"],
        )
        assert len(joined) >= 5
        np.testing.assert_allclose(joined["ours"], joined["theirs"], **CLOSE)
        np.testing.assert_allclose(joined["squares"], joined["own"], **CLOSE)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.sampled_from([0.0, 0.15]), within=st.booleans())
def test_unit_and_period_effects_and_names_change_nothing(seed, missing, within):
    frame = made_up(seed=seed, areas=18, missing=missing, counts=True)
    generator = np.random.default_rng(seed)
    names = frame["area"].unique()
    level = dict(zip(names, generator.normal(0, 20, len(names)), strict=True))
    period = frame["year"].astype(str) + (frame["region"] if within else "")
    drift = {each: generator.normal(0, 9) for each in period.unique()}
    moved = frame.assign(y=frame["y"] + frame["area"].map(level) + period.map(drift))
    renamed = moved.assign(area=moved["area"].map(dict(zip(names, generator.permutation(names), strict=True))))
    region = "region" if within else None
    first, *others = (
        fit_imputation(as_cells(each).panel(weights="children", within=region)) for each in (frame, moved, renamed)
    )
    for other in others:
        np.testing.assert_allclose(first.estimate, other.estimate, **CLOSE)
        np.testing.assert_allclose(crv1_variance(first), crv1_variance(other), **CLOSE)


@pytest.mark.parametrize("seed", [1, 2])
def test_cells_give_what_rows_give(seed):
    """Two stages on pupils' rows by a third package, estimate and error, against the cells of these rows."""
    frame = made_up(seed=seed, areas=16, effect=3.0)
    generator = np.random.default_rng(seed)
    rows = frame.loc[frame.index.repeat(generator.integers(1, 9, len(frame)))].reset_index(drop=True)
    rows["y"] += generator.normal(0, 5, len(rows))
    rows["treated"] = (rows["year"] >= rows["cohort"]).astype(int)
    cells = compress(rows, cluster="area", cohort="cohort", outcomes=["y"])
    fit = fit_two_stage(cells.panel(weights="children"))
    other = pyfixest.did2s(
        rows,
        yname="y",
        first_stage="~ 0 | area + year",
        second_stage="~ treated",
        treatment="treated",
        cluster="area",
    )
    # The package takes effects out in turns and stops some six digits in.
    assert shown(fit).loc[0, "estimate"] == pytest.approx(other.coef()["treated"], rel=2e-5)
    assert shown(fit).loc[0, "error"] == pytest.approx(other.se()["treated"], rel=2e-5)
    imputed = dense(rows.assign(n=1), "areas", False, 0)
    assert fit_imputation(cells.panel(weights="children")).estimate[0] == pytest.approx(
        imputed["effect"].mean(), rel=1e-8
    )


@pytest.mark.real_data
@pytest.mark.parametrize("pilot", ["CP", "SV"])
def test_every_real_estimate_equals_an_independent_package(pilot, real_data, workspace):
    """Each outcome of both programmes, all areas, gaps included."""
    from sendap.protocol import read_protocol
    from sendap.runs.cells_of import prepare

    protocol = read_protocol(workspace.analysis, pilot)
    prepared = prepare(protocol, workspace.catalog, real_data)
    for outcome in protocol.outcomes:
        cells = prepared.cells.only(outcome.id)
        frame = cells.frame.assign(y=cells.frame["sum"] / cells.frame["weight"])
        frame = frame.rename(columns={"cluster": "area", "period": "year"})
        other = package(ImputationDiD, frame[["area", "year", "cohort", "y"]])
        found = shown(fit_imputation(cells.panel(), leads=0)).loc[0]
        assert found["estimate"] == pytest.approx(other.overall_att, rel=1e-7, abs=1e-9), outcome.id
        assert found["error"] == pytest.approx(other.overall_se, rel=1e-6), outcome.id


def test_strata_may_share_the_effect_of_their_area():
    """Shared effects equal a regression with area effects on all strata's cells."""
    frame = made_up(seed=9, areas=14, counts=True)
    other = made_up(seed=10, areas=14, counts=True)
    both = pd.concat([frame.assign(sex="Female"), other.assign(sex="Male", cohort=frame["cohort"])])
    cells = Cells.from_rates(
        both.assign(part=both["y"] * both["n"] / 100),
        cluster="area",
        period="year",
        cohort="cohort",
        outcome="y",
        numerator="part",
        denominator="n",
        scale=100,
        strata=["sex"],
    )
    fit = fit_imputation(cells.panel(weights="children"), unit_effects="cluster")
    rows = dense(both.reset_index(drop=True), "children", False, 0)
    assert fit.estimate[0] == pytest.approx(np.average(rows["effect"], weights=rows["weight"]), rel=1e-8)


def test_areas_never_seen_untreated_are_left_out_and_named():
    frame = made_up(seed=11, starts=(2016.0, 2019.0))
    fit = fit_imputation(as_cells(frame).panel())
    assert set(fit.terms["cohort"].dropna()) == {2019.0}
    assert "36 treated cell(s) of 6 unit(s) are left out" in fit.terms["note"].iloc[0]


def test_designs_that_cannot_work_are_refused():
    def panel(**options):
        return as_cells(made_up(**options)).panel()

    with pytest.raises(DesignError, match=r"no period before treatment.*Add earlier periods"):
        fit_imputation(panel(starts=(2016.0,)))
    with pytest.raises(DesignError, match=r"all areas of the same region are treated.*never or later treated"):
        fit_imputation(panel(share_treated=1.0, starts=(2019.0,)))
    with pytest.raises(DesignError, match="No area is treated by 2021"):
        fit_imputation(panel(starts=(2030.0,)))
    with pytest.raises(DesignError, match="never varies"):
        fit_two_stage(as_cells(made_up().assign(y=3.0)).panel())
    with pytest.raises(UsageError, match="anticipation must be"):
        fit_imputation(panel(), anticipation=-1)
    with pytest.raises(UsageError, match="leads must be"):
        fit_imputation(panel(), leads=-1)
    with pytest.raises(UsageError, match="unit_effects must be"):
        fit_imputation(panel(), unit_effects="area")
    mixed = panel()
    fit = fit_imputation(replace(mixed, cluster=np.arange(30) // 2, clusters=np.arange(15)))
    with pytest.raises(DesignError, match="units with different starts"):
        fit.permute(np.zeros((1, 15)), np.array([0]))

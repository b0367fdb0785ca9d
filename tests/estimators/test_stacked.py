"""Stacked effects, against regressions on stacked rows, an independent package, group-time effects and brute force."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pyfixest
import pytest
from diff_diff import StackedDiD
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap import stacked
from sendap.cells.compress import compress
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time
from sendap.estimators.stacked import fit_stacked
from sendap.inference.cluster_robust import crv1_variance

EXACT = {"rtol": 1e-8, "atol": 1e-9}
CLOSE = {"rtol": 1e-7, "atol": 1e-8}
STARTS = (2018.0, 2019.0, 2021.0)


def stacked_rows(frame: pd.DataFrame, before: int, after: int, *, within: bool = False, weighted: bool = False):
    """Rows on top of each other, one copy for each start that they serve, with the weights of the method by hand."""
    parts = []
    for start in sorted(frame["cohort"].dropna().unique()):
        if start - before < frame["year"].min() or start + after > frame["year"].max():
            continue
        clean = ~(frame["cohort"] <= start + after)
        window = frame["year"].between(start - before, start + after)
        part = frame[((frame["cohort"] == start) | clean) & window]
        parts.append(part.assign(start=int(start), event=(part["year"] - start).astype(int)))
    rows = pd.concat(parts)
    rows["treated"] = (rows["cohort"] == rows["start"]).astype(float)
    rows["group"] = rows["start"].astype(str) + (rows["region"] if within else "")
    base = rows[rows["event"] == -1].set_index(["area", "start"])["n" if weighted else "treated"]
    base = base if weighted else base * 0 + 1.0
    rows["size"] = [base.get(key, 0.0) for key in zip(rows["area"], rows["start"], strict=True)]
    rows = rows[rows["size"] > 0]
    units = rows.drop_duplicates(["area", "start"])
    treated = units[units["treated"] == 1].groupby("group")["size"].sum()
    controls = units[units["treated"] == 0].groupby("group")["size"].sum()
    both = treated.index.intersection(controls.index)
    rows = rows[rows["group"].isin(both)].copy()
    scale = (treated[both] / treated[both].sum()) / (controls[both] / controls[both].sum())
    rows["w"] = rows["size"] * np.where(rows["treated"] == 1, 1.0, rows["group"].map(scale))
    rows["unit_start"] = rows["area"] + rows["start"].astype(str)
    rows["group_event"] = rows["group"] + rows["event"].astype(str)
    events = [event for event in sorted(rows["event"].unique()) if event != -1]
    for event in events:
        rows[f"d{event + 50}"] = rows["treated"] * (rows["event"] == event)
    return rows, [f"d{event + 50}" for event in events]


def regression(frame: pd.DataFrame, before: int, after: int, **options):
    rows, names = stacked_rows(frame, before, after, **options)
    model = pyfixest.feols(
        f"y ~ {' + '.join(names)} | unit_start + group_event",
        rows,
        weights="w",
        vcov={"CRV1": "area"},
        fixef_tol=1e-13,
        fixef_rm="none",
    )
    return model, names


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1]),
    weights=st.sampled_from(["areas", "children"]),
    within=st.booleans(),
)
def test_terms_and_cluster_robust_errors_equal_a_regression_on_stacked_rows(seed, missing, weights, within):
    """Unit and period effects inside each start (and region), clustered on the area across starts."""
    frame = made_up(seed=seed, areas=36, years=8, starts=STARTS, missing=missing, counts=True)
    panel = as_cells(frame).panel(weights=weights, within="region" if within else None)
    fit = fit_stacked(panel, before=2, after=1)
    model, names = regression(frame, 2, 1, within=within, weighted=weights == "children")
    assert fit.terms["event_time"].tolist()[1:] == [-2.0, 0.0, 1.0]
    np.testing.assert_allclose(fit.estimate[1:], model.coef()[names], **EXACT)
    np.testing.assert_allclose(np.sqrt(crv1_variance(fit))[1:], model.se()[names], **EXACT)
    after = np.array([0.0, 0.5, 0.5])
    assert fit.estimate[0] == pytest.approx(after @ model.coef()[names], rel=1e-8, abs=1e-9)
    assert crv1_variance(fit)[0] == pytest.approx(after @ model._vcov @ after, rel=1e-8)


@pytest.mark.parametrize(("seed", "before", "after", "anticipation"), [(1, 2, 1, 0), (2, 1, 2, 0), (3, 1, 1, 1)])
def test_estimates_equal_an_independent_package(seed, before, after, anticipation):
    """The package has no unit effects and so other errors; on whole panels the estimates are the same numbers."""
    frame = made_up(seed=seed, areas=30, years=9, starts=STARTS if not anticipation else (2019.0, 2021.0))
    fit = fit_stacked(as_cells(frame).panel(), before=before, after=after, anticipation=anticipation)
    model = StackedDiD(
        kappa_pre=before, kappa_post=after, anticipation=anticipation, control_group="never_treated"
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = model.fit(
            frame.assign(first=frame["cohort"].fillna(np.inf)),
            outcome="y", unit="area", time="year", first_treat="first",
        )  # fmt: skip
    never = fit_stacked(
        as_cells(frame).panel(), before=before, after=after, anticipation=anticipation, control="never"
    )  # fmt: skip
    found = never.terms.assign(estimate=never.estimate).query("term == 'event'").set_index("event_time")["estimate"]
    compared = 0
    for event, item in other.event_study_effects.items():
        if event != -1 - anticipation:
            assert found[float(event)] == pytest.approx(item["effect"], rel=1e-8, abs=1e-9)
            compared += 1
    assert compared == len(found) == before + after + anticipation
    assert len(fit.terms) == len(never.terms)


def test_a_whole_panel_gives_averages_of_group_time_effects_over_the_same_areas():
    """Weights make each treated area count once: the trimmed aggregate of effects by start and period."""
    frame = made_up(seed=4, areas=40, years=9, starts=(2018.0, 2021.0), counts=True)
    panel = as_cells(frame).panel(weights="children", within="region")
    fit = fit_stacked(panel, before=2, after=2, control="never")
    groups = fit_group_time(panel)
    pairs = groups.terms.assign(estimate=groups.estimate).query("term == 'att'")
    base = {start: list(panel.periods).index(start - 1) for start in (2018.0, 2021.0)}
    size = {start: panel.weight[panel.cohort == start, place].sum() for start, place in base.items()}
    for term, value in zip(fit.terms.to_dict("records")[1:], fit.estimate[1:], strict=True):
        own = pairs[pairs["event_time"] == term["event_time"]].set_index("cohort")["estimate"]
        assert value == pytest.approx(np.average(own, weights=[size[start] for start in own.index]), rel=1e-8)
        assert len(own) == 2


def test_the_widest_window_keeps_every_start_and_others_are_named():
    frame = made_up(seed=5, areas=30, years=9, starts=(2018.0, 2021.0))
    fit = fit_stacked(as_cells(frame).panel())
    assert (fit.window.before, fit.window.after, fit.window.cohorts) == (2, 3, (2018.0, 2021.0))
    assert fit.terms["note"].tolist()[0] == "Window: 2 period(s) before the start to 3 after its first."
    narrow = fit_stacked(as_cells(frame).panel(), before=3, after=3)
    assert narrow.window.cohorts == (2021.0,)
    assert (
        "Areas that start in 2018 are left out: the data don't hold their periods before."
        in (narrow.terms["note"].iloc[0])
    )
    late = fit_stacked(as_cells(frame).panel(), after=4)
    assert "start in 2021 are left out: the data end before" in late.terms["note"].iloc[0]
    nobody = made_up(seed=6, areas=20, years=8, starts=(2018.0, 2021.0), share_treated=1.0)
    fit = fit_stacked(as_cells(nobody).panel())
    assert (fit.window.after, fit.window.cohorts) == (2, (2018.0,))
    assert "start in 2021 are left out: no area stays untreated" in fit.terms["note"].iloc[0]


def test_leaving_a_cluster_out_equals_refitting_without_it():
    frame = made_up(seed=7, areas=18, years=8, starts=STARTS, missing=0.05)
    panel = as_cells(frame).panel(within="region")
    fit = fit_stacked(panel, before=1, after=1)
    left_out, compared = fit.leave_one_out(), 0
    for position, area in enumerate(panel.clusters):
        again = fit_stacked(as_cells(frame[frame["area"] != area]).panel(within="region"), before=1, after=1)
        np.testing.assert_allclose(left_out[position], again.estimate, **CLOSE)
        compared += 1
    assert compared == 18


def test_the_weights_give_the_estimates():
    panel = as_cells(made_up(seed=8, years=8, starts=STARTS, missing=0.1, counts=True)).panel(weights="children")
    fit = fit_stacked(panel, before=2, after=1, anticipation=0)
    values = np.nan_to_num(panel.mean)
    np.testing.assert_allclose(np.einsum("kut,ut->k", fit.weights(), values), fit.estimate, **CLOSE)
    for term in range(len(fit.terms)):
        left = np.einsum("gut,ut->g", fit.leave_one_out_weights(term), values)
        np.testing.assert_allclose(left, fit.leave_one_out()[:, term], **CLOSE)


def test_permuted_starts_give_what_a_panel_with_those_starts_gives():
    panel = as_cells(made_up(seed=9, areas=24, years=8, starts=STARTS)).panel()
    fit = fit_stacked(panel, before=2, after=1)
    terms = np.arange(len(fit.terms))
    own = fit.permute(panel.cluster_cohort[None, :], terms)
    np.testing.assert_allclose(own.outcome[0], fit.estimate, **CLOSE)
    np.testing.assert_allclose(own.square_outcome[0], (fit.scores**2).sum(axis=0), **CLOSE)
    np.testing.assert_allclose(own.planted[0], [1.0, 0.0, 1.0, 1.0], atol=1e-10)
    dealt = np.random.default_rng(4).permuted(np.repeat(panel.cohort[None], 4, axis=0), axis=1)
    found = fit.permute(dealt, terms)
    for cohort, estimate, squares in zip(dealt, found.outcome, found.square_outcome, strict=True):
        again = fit_stacked(replace(panel, cohort=cohort), before=2, after=1)
        np.testing.assert_allclose(estimate, again.estimate, **CLOSE)
        np.testing.assert_allclose(squares, (again.scores**2).sum(axis=0), **CLOSE)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.sampled_from([0.0, 0.15]), within=st.booleans())
def test_unit_and_period_effects_and_names_change_nothing(seed, missing, within):
    frame = made_up(seed=seed, areas=21, years=8, starts=STARTS, missing=missing, counts=True)
    generator = np.random.default_rng(seed)
    names = frame["area"].unique()
    level = dict(zip(names, generator.normal(0, 20, len(names)), strict=True))
    period = frame["year"].astype(str) + (frame["region"] if within else "")
    drift = {each: generator.normal(0, 9) for each in period.unique()}
    moved = frame.assign(y=frame["y"] + frame["area"].map(level) + period.map(drift))
    renamed = moved.assign(area=moved["area"].map(dict(zip(names, generator.permutation(names), strict=True))))
    region = "region" if within else None
    first, *others = (
        fit_stacked(as_cells(each).panel(weights="children", within=region), before=2, after=1)
        for each in (frame, moved, renamed)
    )
    for other in others:
        np.testing.assert_allclose(first.estimate, other.estimate, **CLOSE)
        np.testing.assert_allclose(crv1_variance(first), crv1_variance(other), **CLOSE)


def test_cells_give_what_rows_give():
    """Pupils' rows, each weighing its area's size before the start over its own year's, against their cells."""
    frame = made_up(seed=10, areas=24, years=8, starts=STARTS, effect=3.0)
    generator = np.random.default_rng(10)
    rows = frame.drop(columns="n").loc[frame.index.repeat(generator.integers(1, 7, len(frame)))].reset_index(drop=True)
    rows["y"] += generator.normal(0, 5, len(rows))
    fit = fit_stacked(
        compress(rows, cluster="area", cohort="cohort", outcomes=["y"]).panel(weights="children"), before=2, after=1
    )
    count = rows.groupby(["area", "year"]).size().rename("n").reset_index()
    stack, names = stacked_rows(frame.drop(columns="n").merge(count), 2, 1, weighted=True)
    pupils = stack.drop(columns="y").merge(rows[["area", "year", "y"]], on=["area", "year"])
    pupils["w"] /= pupils["n"]
    model = pyfixest.feols(
        f"y ~ {' + '.join(names)} | unit_start + group_event",
        pupils,
        weights="w",
        vcov={"CRV1": "area"},
        ssc=pyfixest.ssc(k_adj=False, G_adj=False),
        fixef_tol=1e-13,
    )
    assert len(pupils) > len(stack)
    np.testing.assert_allclose(fit.estimate[1:], model.coef()[names], **EXACT)
    np.testing.assert_allclose(np.sqrt((fit.scores**2).sum(axis=0))[1:], model.se()[names], **EXACT)


def test_a_year_without_figures_is_not_counted_as_one():
    """Without 2020 the base of a start in 2021 is 2019, two years before, and no effect of 2020 is given."""
    frame = made_up(seed=11, areas=30, years=9, starts=(2021.0,)).query("year != 2020")
    fit = fit_stacked(as_cells(frame).panel(), before=3, after=1)
    assert fit.terms["event_time"].tolist()[1:] == [-3.0, 0.0, 1.0]
    pivot = frame.pivot(index="area", columns="year", values="y")
    treated = frame.drop_duplicates("area").set_index("area")["cohort"].notna()
    for event, value in zip((-3, 0, 1), fit.estimate[1:], strict=True):
        change = pivot[2021 + event] - pivot[2019]
        assert value == pytest.approx(change[treated].mean() - change[~treated].mean(), rel=1e-9)


def test_results_come_with_the_inference_that_their_areas_allow():
    frame = made_up(seed=12, areas=40, years=8, starts=STARTS, effect=6.0)
    found = stacked(as_cells(frame), before=2, after=1, within="region", draws=199)
    row = found.headline().query("term == 'overall'").iloc[0]
    assert (row["estimator"], row["inference"], row["treated_clusters"]) == ("stacked", "crv3", 16)
    assert row["ci_low"] < 6.0 < row["ci_high"]
    assert "permutation" in set(found.frame.query("term == 'overall'")["inference"])
    few = stacked(as_cells(made_up(seed=13, years=8, share_treated=0.1, effect=20.0)), draws=199)
    assert few.headline()["inference"].iloc[0] == "permutation"
    with pytest.raises(UsageError, match="'crv1' isn't valid here"):
        stacked(as_cells(made_up(seed=13, years=8, share_treated=0.1)), inference="crv1")


def test_windows_that_cannot_be_are_refused():
    panel = as_cells(made_up(seed=14, years=8)).panel()
    with pytest.raises(DesignError, match=r"no start has 6 period\(s\) before.*Make the window narrower"):
        fit_stacked(panel, before=6)
    for wrong, match in (
        ({"before": 0}, "before must be 1"),
        ({"after": -1}, "after must be 0"),
        ({"anticipation": -1}, "anticipation must be 0"),
        ({"control": "later"}, "control must be"),
    ):
        with pytest.raises(UsageError, match=match):
            fit_stacked(panel, **wrong)
    # One area of each region, and the treated ones alone in theirs.
    frame = made_up(seed=15, areas=12, starts=(2019.0,))
    apart = frame.assign(region=np.where(frame["cohort"].notna(), "north", "south"))
    with pytest.raises(DesignError, match="none in the same region.*compare across regions"):
        fit_stacked(as_cells(apart).panel(within="region"))

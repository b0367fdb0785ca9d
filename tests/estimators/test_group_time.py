"""Group-time effects, against a published result, two independent packages and brute force."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from diff_diff import CallawaySantAnna
from differences import ATTgt
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap.cells import Cells
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time, fit_two_by_two

# Sums in another order differ in their last digits only.
EXACT = {"rtol": 1e-8, "atol": 1e-10}


def overall(fit) -> tuple[float, float]:
    position = fit.terms.index[fit.terms["term"] == "overall"][0]
    return float(fit.estimate[position]), float(np.sqrt((fit.scores[:, position] ** 2).sum()))


def by_event(fit) -> pd.DataFrame:
    rows = fit.terms.assign(estimate=fit.estimate, error=np.sqrt((fit.scores**2).sum(axis=0)))
    return rows[rows["term"] == "event"].set_index("event_time")[["estimate", "error"]]


def test_published_minimum_wage_result(oracles):
    folder = oracles / "callaway_santanna_mpdta"
    expected = json.loads((folder / "expected.json").read_text())
    frame = pd.read_csv(folder / "mpdta.csv")
    frame["cohort"] = frame["first.treat"].replace(0, np.nan)
    cells = Cells.from_rates(frame, cluster="countyreal", period="year", cohort="cohort", outcome="lemp", rate="lemp")
    fit = fit_group_time(cells.panel(), base="varying")
    rows = fit.terms.assign(estimate=fit.estimate, error=np.sqrt((fit.scores**2).sum(axis=0)))
    pairs = rows[rows["term"] == "att"].set_index(["cohort", "period"])
    for item in expected["att_gt"]:
        found = pairs.loc[(item["group"], item["time"])]
        assert found["estimate"] == pytest.approx(item["att"], abs=expected["tolerance"]["att"])
        # The published errors come from a bootstrap, with a simulation error of about 5%.
        assert found["error"] == pytest.approx(item["se"], rel=0.12)
    for event, (estimate, _) in expected["event"]["by_event_time"].items():
        assert by_event(fit).loc[float(event), "estimate"] == pytest.approx(estimate, abs=5e-5)
    groups = rows[rows["term"] == "group"].set_index("cohort")["estimate"]
    for cohort, (estimate, _) in expected["group"]["by_group"].items():
        assert groups[float(cohort)] == pytest.approx(estimate, abs=5e-5)


@pytest.mark.parametrize("control", ["never", "not_yet"])
@pytest.mark.parametrize("base", ["varying", "universal"])
@pytest.mark.parametrize("anticipation", [0, 1])
def test_equals_an_independent_package(control, base, anticipation):
    frame = made_up(seed=5)
    fit = fit_group_time(as_cells(frame).panel(), control=control, base=base, anticipation=anticipation)
    other = ATTgt(
        data=frame.set_index(["area", "year"])[["y", "cohort"]],
        cohort_column="cohort",
        base_period=base,
        anticipation=anticipation,
    )
    names = {"never": "never_treated", "not_yet": "not_yet_treated"}
    other.fit("y", control_group=names[control], progress_bar=False)
    simple = other.aggregate("simple").droplevel([0, 1], axis=1)
    np.testing.assert_allclose(overall(fit), simple[["ATT", "std_error"]].iloc[0].astype(float), **EXACT)
    events = other.aggregate("event").droplevel([0, 1], axis=1)[["ATT", "std_error"]].astype(float)
    ours = by_event(fit)
    shared = [event for event in ours.index if event in events.index]
    assert {event for event in events.index if abs(events.loc[event, "ATT"]) > 0} <= set(shared)
    np.testing.assert_allclose(ours.loc[shared], events.loc[shared], **EXACT)


def test_inside_regions_equals_regression_adjustment_for_the_region():
    frame = made_up(seed=8, areas=60, share_treated=0.35)
    fit = fit_group_time(as_cells(frame).panel(within="region"), control="never", base="varying")
    other = ATTgt(data=frame.set_index(["area", "year"])[["y", "cohort", "region"]], cohort_column="cohort")
    other.fit("y ~ C(region)", control_group="never_treated", est_method="reg", progress_bar=False)
    simple = other.aggregate("simple").droplevel([0, 1], axis=1)
    np.testing.assert_allclose(overall(fit), simple[["ATT", "std_error"]].iloc[0].astype(float), **EXACT)


def test_equals_a_second_independent_package_on_every_pair():
    frame = made_up(seed=11)
    fit = fit_group_time(as_cells(frame).panel(), control="not_yet", base="varying")
    other = CallawaySantAnna(control_group="not_yet_treated", base_period="varying", estimation_method="reg").fit(
        frame.assign(first=frame["cohort"].fillna(0).astype(int)),
        outcome="y",
        unit="area",
        time="year",
        first_treat="first",
        aggregate="all",
    )
    rows = fit.terms.assign(estimate=fit.estimate)
    pairs = rows[rows["term"] == "att"].set_index(["cohort", "period"])["estimate"]
    assert len(pairs) == len(other.group_time_effects)
    for (cohort, period), item in other.group_time_effects.items():
        assert pairs[(float(cohort), float(period))] == pytest.approx(item["effect"], rel=1e-8, abs=1e-10)
    np.testing.assert_allclose(overall(fit), (other.overall_att, other.overall_se), **EXACT)


@pytest.mark.real_data
@pytest.mark.parametrize("pilot", ["CP", "SV"])
def test_every_real_outcome_equals_an_independent_package(pilot, real_data, workspace):
    """The panels of both programmes, areas with every year: overall and by event time, with standard errors."""
    from sendap.protocol import read_protocol
    from sendap.runs.cells_of import prepare

    protocol = read_protocol(workspace.analysis, pilot)
    prepared = prepare(protocol, workspace.catalog, real_data)
    names = {"never": "never_treated", "not_yet": "not_yet_treated"}
    for outcome in protocol.outcomes:
        cells = prepared.cells.only(outcome.id)
        years = cells.frame.groupby("cluster")["period"].nunique()
        cells = cells.without_clusters(years.index[years < years.max()])
        # The package numbers periods one after the other, so years without a figure (2020) are closed up for both.
        order = {year: 2000 + place for place, year in enumerate(sorted(cells.frame["period"].unique()))}
        frame = cells.frame.assign(
            y=cells.frame["sum"] / cells.frame["weight"],
            area=cells.frame["cluster"],
            year=cells.frame["period"].map(order),
            cohort=cells.frame["cohort"].map(order),
            region=cells.frame["cluster"].map(cells.clusters.set_index("cluster")["region"]),
            n=1,
        )
        anticipation = prepared.anticipation[outcome.id]
        fit = fit_group_time(
            as_cells(frame).panel(),
            control=protocol.comparison.control,
            base="universal",
            anticipation=anticipation,
        )
        other = ATTgt(
            data=frame.set_index(["area", "year"])[["y", "cohort"]],
            cohort_column="cohort",
            base_period="universal",
            anticipation=anticipation,
        )
        other.fit("y", control_group=names[protocol.comparison.control], progress_bar=False)
        simple = other.aggregate("simple").droplevel([0, 1], axis=1)
        theirs = simple[["ATT", "std_error"]].iloc[0].astype(float)
        np.testing.assert_allclose(overall(fit), theirs, err_msg=outcome.id, **EXACT)
        events = other.aggregate("event").droplevel([0, 1], axis=1)[["ATT", "std_error"]].astype(float)
        shared = [event for event in by_event(fit).index if event in events.index]
        assert len(shared) >= 3
        np.testing.assert_allclose(by_event(fit).loc[shared], events.loc[shared], err_msg=outcome.id, **EXACT)


def test_two_by_two_is_the_difference_of_four_means():
    frame = made_up(seed=3, starts=(2019.0,))
    fit = fit_two_by_two(as_cells(frame).panel(), before=2017, after=2020)
    means = (
        frame[frame["year"].isin([2017, 2020])]
        .assign(treated=lambda rows: rows["cohort"].notna())
        .pivot_table(index="treated", columns="year", values="y")
    )
    change = means[2020] - means[2017]
    assert overall(fit)[0] == pytest.approx(change[True] - change[False], rel=1e-10)


def test_leaving_a_cluster_out_equals_refitting_without_it():
    frame = made_up(seed=4, missing=0.1, areas=18)
    for within in (None, "region"):
        panel = as_cells(frame).panel(within=within)
        fit = fit_group_time(panel, control="not_yet")
        left_out = fit.leave_one_out()
        for position, area in enumerate(panel.clusters):
            rest = as_cells(frame[frame["area"] != area]).panel(within=within)
            again = fit_group_time(rest, control="not_yet")
            joined = fit.terms.assign(ours=left_out[position]).merge(
                again.terms.assign(theirs=again.estimate),
                on=["term", "cohort", "period", "event_time"],
                how="left",
            )
            known = joined.dropna(subset=["theirs"])
            np.testing.assert_allclose(known["ours"], known["theirs"], **EXACT)


def test_the_weights_give_the_estimates():
    panel = as_cells(made_up(seed=6, missing=0.1)).panel(within="region")
    fit = fit_group_time(panel, control="not_yet", anticipation=1)
    np.testing.assert_allclose(np.einsum("kut,ut->k", fit.weights(), np.nan_to_num(panel.mean)), fit.estimate, **EXACT)
    for term in (0, int(fit.terms.index[fit.terms["term"] == "overall"][0])):
        left = np.einsum("gut,ut->g", fit.leave_one_out_weights(term), np.nan_to_num(panel.mean))
        np.testing.assert_allclose(left, fit.leave_one_out()[:, term], **EXACT)


def test_the_actual_starts_permuted_are_the_estimate():
    panel = as_cells(made_up(seed=6, missing=0.05)).panel()
    fit = fit_group_time(panel)
    terms = np.arange(len(fit.terms))
    again = fit.permute(panel.cluster_cohort[None, :], terms)
    np.testing.assert_allclose(again.outcome[0], fit.estimate, **EXACT)
    np.testing.assert_allclose(again.square_outcome[0], (fit.scores**2).sum(axis=0), **EXACT)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.15]),
    shift=st.floats(-50, 50, allow_nan=False),
    weights=st.sampled_from(["areas", "children"]),
)
def test_area_and_year_effects_change_nothing(seed, missing, shift, weights):
    frame = made_up(seed=seed, areas=16, missing=missing, counts=True)
    generator = np.random.default_rng(seed)
    moved = frame.assign(
        y=frame["y"]
        + frame["area"].map(dict(zip(frame["area"].unique(), generator.normal(0, 20, 16), strict=False)))
        + shift * (frame["year"] - 2016)
    )
    if weights == "children":
        # A course common to all areas cancels whatever the weights are, as long as they're of the base period.
        assert (moved["n"] == frame["n"]).all()
    first, second = (
        fit_group_time(as_cells(each).panel(weights=weights), control="not_yet") for each in (frame, moved)
    )
    np.testing.assert_allclose(first.estimate, second.estimate, rtol=1e-7, atol=1e-8)


def test_a_known_effect_is_found():
    fit = fit_group_time(as_cells(made_up(areas=400, effect=7.0, seed=2)).panel())
    estimate, error = overall(fit)
    # Noise of 2 a cell over some 160 treated areas: the error is near 0.25.
    assert estimate == pytest.approx(7.0, abs=4 * error)
    assert error < 0.5


def test_designs_that_cannot_work_are_refused():
    nobody = made_up(starts=(2030.0,))
    with pytest.raises(DesignError, match="No area is treated by 2021"):
        fit_group_time(as_cells(nobody).panel())
    always = made_up(starts=(2016.0,))
    with pytest.raises(DesignError, match="no period before treatment"):
        fit_group_time(as_cells(always).panel())
    everyone = made_up(share_treated=1.0, starts=(2019.0,))
    with pytest.raises(DesignError, match="no area to compare with"):
        fit_group_time(as_cells(everyone).panel(), control="not_yet")
    with pytest.raises(UsageError, match="control must be"):
        fit_group_time(as_cells(made_up()).panel(), control="some")
    with pytest.raises(DesignError, match="no period 2050"):
        fit_two_by_two(as_cells(made_up()).panel(), before=2050, after=2020)
    with pytest.raises(DesignError, match="treated by 2020 already"):
        fit_two_by_two(as_cells(made_up()).panel(), before=2020, after=2021)


def test_figures_that_end_before_every_start_are_refused_in_words():
    frame = made_up(areas=20, regions=2)
    frame.loc[frame["cohort"].notna() & (frame["year"] >= frame["cohort"]), "y"] = np.nan
    with pytest.raises(DesignError, match="no start from which on both treated and comparison areas have figures"):
        fit_group_time(as_cells(frame).panel())

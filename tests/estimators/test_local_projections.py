"""Local projections, against two independent packages, hand-built regressions, group-time and stacked effects."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pyfixest
import pytest
from diff_diff import LPDiD
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap import local_projections
from sendap.cells.compress import compress
from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_group_time
from sendap.estimators.local_projections import fit_local_projections
from sendap.estimators.stacked import fit_stacked
from sendap.inference.cluster_robust import crv1_variance

EXACT = {"rtol": 1e-8, "atol": 1e-9}
CLOSE = {"rtol": 1e-7, "atol": 1e-8}
STARTS = (2018.0, 2019.0, 2021.0)


def by_event(fit) -> pd.DataFrame:
    rows = fit.terms.assign(estimate=fit.estimate, error=np.sqrt(crv1_variance(fit)))
    return rows[rows["term"] == "event"].set_index("event_time")


def long_differences(frame: pd.DataFrame, horizons: list[int], *, within: bool, weighted: bool) -> pd.DataFrame:
    """Rows of one horizon (the mean of several for the pooled effect): area and year, change from the year before."""
    wide = frame.pivot(index="area", columns="year", values="y")
    size = frame.pivot(index="area", columns="year", values="n")
    about = frame.drop_duplicates("area").set_index("area")
    rows = []
    for year in sorted(frame["year"].unique()):
        ends = [year + h for h in horizons]
        if year - 1 not in wide.columns or not set(ends) <= set(wide.columns):
            continue
        new = about["cohort"] == year
        clean = ~(about["cohort"] <= max(*ends, year))
        change = wide[ends].mean(axis=1, skipna=False) - wide[year - 1]
        kept = (new | clean) & change.notna()
        rows.append(
            pd.DataFrame(
                {
                    "change": change[kept],
                    "new": new[kept].astype(float),
                    "group": str(year) + (about["region"][kept] if within else ""),
                    "w": size[year - 1][kept] if weighted else 1.0,
                }
            ).reset_index()
        )
    found = pd.concat(rows)
    both = found.groupby("group")["new"].transform(lambda new: 0 < new.mean() < 1)
    return found[both.astype(bool)]


def regression(rows: pd.DataFrame, weighting: str):
    if weighting == "equal":
        total = rows.groupby("group")["w"].transform("sum")
        against = (rows["w"] * (1 - rows["new"])).groupby(rows["group"]).transform("sum")
        rows = rows.assign(w=rows["w"] * total / against)
    return pyfixest.feols(
        "change ~ new | group", rows, weights="w", vcov={"CRV1": "area"}, fixef_tol=1e-13, fixef_rm="none"
    )


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1]),
    weights=st.sampled_from(["areas", "children"]),
    within=st.booleans(),
    weighting=st.sampled_from(["equal", "variance"]),
)
def test_every_horizon_equals_a_regression_of_long_differences(seed, missing, weights, within, weighting):
    frame = made_up(seed=seed, areas=36, years=8, starts=STARTS, missing=missing, counts=True)
    panel = as_cells(frame).panel(weights=weights, within="region" if within else None)
    fit = fit_local_projections(panel, weighting=weighting, after=1)
    terms = fit.terms.assign(estimate=fit.estimate, error=np.sqrt(crv1_variance(fit)))
    for row in terms.to_dict("records"):
        horizons = [0, 1] if row["term"] == "overall" else [int(row["event_time"])]
        model = regression(
            long_differences(frame, horizons, within=within, weighted=weights == "children"), weighting
        )  # fmt: skip
        assert row["estimate"] == pytest.approx(model.coef()["new"], rel=1e-8, abs=1e-9)
        assert row["error"] == pytest.approx(model.se()["new"], rel=1e-8)
    assert len(terms) >= 8


@pytest.mark.parametrize("weighting", ["equal", "variance"])
def test_estimates_equal_two_independent_packages(weighting):
    """Their plain regressions also hold the years in which nobody starts, which changes no estimate."""
    frame = made_up(seed=3, areas=30, years=8, starts=STARTS)
    fit = fit_local_projections(as_cells(frame).panel(), weighting=weighting, after=2)
    ours = by_event(fit)
    data = frame.assign(d=(frame["year"] >= frame["cohort"]).astype(int))
    model = LPDiD(pre_window=4, post_window=2, reweight=weighting == "equal", cluster="area")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = model.fit(data, outcome="y", unit="area", time="year", treatment="d")
    theirs = other.event_study.set_index("horizon").drop(index=-1)
    np.testing.assert_allclose(ours.loc[theirs.index.astype(float), "estimate"], theirs["coefficient"], **EXACT)
    pooled = other.pooled.set_index("window").loc["post"]
    assert fit.estimate[0] == pytest.approx(pooled["coefficient"], rel=1e-8)
    if weighting == "equal":
        np.testing.assert_allclose(ours.loc[theirs.index.astype(float), "error"], theirs["se"], **EXACT)
        assert np.sqrt(crv1_variance(fit)[0]) == pytest.approx(pooled["se"], rel=1e-8)
        return
    numbered = frame.assign(first=frame["cohort"].fillna(0), unit=frame["area"].astype("category").cat.codes)
    second = pyfixest.lpdid(
        numbered, yname="y", idname="unit", tname="year", gname="first", att=False, pre_window=-4, post_window=2
    ).tidy()
    named = [float(name.split("::")[1]) for name in second.index]
    np.testing.assert_allclose(ours.loc[named, "estimate"], second["Estimate"].astype(float), **EXACT)


@pytest.mark.parametrize(("weights", "within"), [("areas", None), ("children", "region")])
def test_equal_weights_give_group_time_effects_by_event_time(weights, within):
    """Against the not yet treated, whatever is missing; and the stacked effect where the panel is whole."""
    frame = made_up(seed=5, areas=36, years=9, starts=(2018.0, 2021.0), missing=0.08)
    panel = as_cells(frame).panel(weights=weights, within=within)
    groups = fit_group_time(panel, control="not_yet")
    theirs = groups.terms.assign(theirs=groups.estimate).query("term == 'att'")
    ours = by_event(fit_local_projections(panel))
    for event, row in ours.iterrows():
        own = theirs[theirs["event_time"] == event]
        if len(own) == 1:
            assert row["estimate"] == pytest.approx(own["theirs"].iloc[0], rel=1e-8)
    whole = as_cells(made_up(seed=6, areas=36, years=9, starts=(2018.0, 2021.0), counts=True))
    panel = whole.panel(weights=weights, within=within)
    fit = fit_local_projections(panel, after=2)
    groups = fit_group_time(panel, control="not_yet")
    theirs = groups.terms.assign(theirs=groups.estimate).query("term == 'event'").set_index("event_time")["theirs"]
    if weights == "areas" and within is None:
        np.testing.assert_allclose(by_event(fit)["estimate"], theirs[by_event(fit).index], **EXACT)
    assert fit.estimate[0] == pytest.approx(fit_stacked(panel, before=1, after=2).estimate[0], rel=1e-8)


def test_leaving_a_cluster_out_equals_refitting_without_it():
    frame = made_up(seed=7, areas=18, years=8, starts=STARTS, missing=0.05)
    panel = as_cells(frame).panel(within="region")
    for weighting in ("equal", "variance"):
        fit = fit_local_projections(panel, weighting=weighting, after=1)
        left_out, compared = fit.leave_one_out(), 0
        for position, area in enumerate(panel.clusters):
            rest = as_cells(frame[frame["area"] != area]).panel(within="region")
            again = fit_local_projections(rest, weighting=weighting, after=1)
            joined = fit.terms.assign(ours=left_out[position]).merge(
                again.terms.assign(theirs=again.estimate), on=["term", "event_time"]
            )
            np.testing.assert_allclose(joined["ours"], joined["theirs"], **CLOSE)
            compared += len(joined)
        assert compared >= 100


def test_the_weights_give_the_estimates():
    panel = as_cells(made_up(seed=8, years=8, starts=STARTS, missing=0.1, counts=True)).panel(weights="children")
    values = np.nan_to_num(panel.mean)
    for weighting in ("equal", "variance"):
        fit = fit_local_projections(panel, weighting=weighting)
        np.testing.assert_allclose(np.einsum("kut,ut->k", fit.weights(), values), fit.estimate, **CLOSE)
        left_out = fit.leave_one_out()
        for term in (0, 2, len(fit.terms) - 1):
            left = np.einsum("gut,ut->g", fit.leave_one_out_weights(term), values)
            np.testing.assert_allclose(left, left_out[:, term], **CLOSE)


def test_permuted_starts_give_what_a_panel_with_those_starts_gives():
    panel = as_cells(made_up(seed=9, areas=24, years=8, starts=STARTS)).panel()
    fit = fit_local_projections(panel, after=1)
    terms = np.arange(len(fit.terms))
    own = fit.permute(panel.cluster_cohort[None, :], terms)
    np.testing.assert_allclose(own.outcome[0], fit.estimate, **CLOSE)
    np.testing.assert_allclose(own.square_outcome[0], (fit.scores**2).sum(axis=0), **CLOSE)
    np.testing.assert_allclose(own.planted[0], (~(fit.terms["event_time"] < 0)).astype(float), atol=1e-10)
    dealt = np.random.default_rng(4).permuted(np.repeat(panel.cohort[None], 4, axis=0), axis=1)
    found = fit.permute(dealt, terms)
    for cohort, estimate, squares in zip(dealt, found.outcome, found.square_outcome, strict=True):
        again = fit_local_projections(replace(panel, cohort=cohort), after=1)
        np.testing.assert_allclose(estimate, again.estimate, **CLOSE)
        np.testing.assert_allclose(squares, (again.scores**2).sum(axis=0), **CLOSE)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.15]),
    within=st.booleans(),
    weighting=st.sampled_from(["equal", "variance"]),
)
def test_unit_and_period_effects_and_names_change_nothing(seed, missing, within, weighting):
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
        fit_local_projections(as_cells(each).panel(weights="children", within=region), weighting=weighting, after=1)
        for each in (frame, moved, renamed)
    )
    for other in others:
        np.testing.assert_allclose(first.estimate, other.estimate, **CLOSE)
        np.testing.assert_allclose(crv1_variance(first), crv1_variance(other), rtol=1e-6, atol=1e-8)


def test_cells_give_what_rows_give():
    """Effects from pupils' rows, as means of each area and year by pandas, are those from their cells."""
    frame = made_up(seed=10, areas=24, years=8, starts=STARTS, effect=3.0)
    generator = np.random.default_rng(10)
    rows = frame.drop(columns="n").loc[frame.index.repeat(generator.integers(1, 7, len(frame)))].reset_index(drop=True)
    rows["y"] += generator.normal(0, 5, len(rows))
    fit = fit_local_projections(
        compress(rows, cluster="area", cohort="cohort", outcomes=["y"]).panel(weights="children"), after=1
    )
    means = rows.groupby(["area", "year"])["y"].agg(["mean", "size"]).reset_index()
    means = means.rename(columns={"mean": "y", "size": "n"}).merge(frame[["area", "year", "cohort", "region"]])
    for row, estimate in zip(fit.terms.to_dict("records"), fit.estimate, strict=True):
        horizons = [0, 1] if row["term"] == "overall" else [int(row["event_time"])]
        model = regression(long_differences(means, horizons, within=False, weighted=True), "equal")
        assert estimate == pytest.approx(model.coef()["new"], rel=1e-8, abs=1e-9)


def test_known_effects_are_found_and_the_pooled_window_is_said():
    frame = made_up(seed=12, areas=60, years=9, starts=(2018.0, 2021.0), effect=6.0)
    found = local_projections(as_cells(frame), within="region", draws=199)
    row = found.headline().query("term == 'overall'").iloc[0]
    assert (row["estimator"], row["inference"], row["treated_clusters"]) == ("local_projections", "crv3", 24)
    assert row["ci_low"] < 6.0 < row["ci_high"]
    assert row["note"] == "Mean of the first 4 period(s); each treated unit counts equally."
    events = found.headline().query("term == 'event'")
    assert events["event_time"].tolist() == [-5.0, -4.0, -3.0, -2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    longer = local_projections(as_cells(frame), after=5, permute=False).headline().iloc[0]
    assert "Areas that start in 2021 are left out: the data end before their window does." in longer["note"]


def test_arguments_that_cannot_be_are_refused():
    panel = as_cells(made_up(seed=14, years=8)).panel()
    with pytest.raises(UsageError, match="weighting must be 'equal' or 'variance'"):
        fit_local_projections(panel, weighting="treated")
    with pytest.raises(DesignError, match=r"no start has 1 period\(s\) before and 7 after"):
        fit_local_projections(panel, after=7)
    frame = made_up(seed=15, areas=12, starts=(2019.0,))
    apart = frame.assign(region=np.where(frame["cohort"].notna(), "north", "south"))
    with pytest.raises(DesignError, match="none in the same region.*compare across regions"):
        fit_local_projections(as_cells(apart).panel(within="region"))

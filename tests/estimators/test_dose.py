"""Effects of differing doses, against an independent package, regressions, formulas and brute force."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pyfixest
import pytest
from diff_diff import ContinuousDiD
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap import dose
from sendap.cells import Cells
from sendap.cells.compress import compress
from sendap.errors import DataError, DesignError, UsageError
from sendap.estimators import fit_group_time
from sendap.estimators.dose import fit_dose
from sendap.inference.cluster_robust import crv1_variance

EXACT = {"rtol": 1e-8, "atol": 1e-9}
CLOSE = {"rtol": 1e-7, "atol": 1e-8}


def doses_for(frame: pd.DataFrame, seed: int, values: tuple[float, ...] | None = None) -> pd.Series:
    """A dose for each area with a start: one of ``values``, or any from 0.1 to 1."""
    generator = np.random.default_rng(seed)
    names = sorted(frame["area"][frame["cohort"].notna()].unique())
    drawn = generator.choice(values, len(names)) if values else generator.uniform(0.1, 1, len(names))
    return pd.Series(drawn, index=names)


def after_dose(frame: pd.DataFrame, doses: pd.Series, anticipation: int = 0) -> pd.DataFrame:
    event = frame["year"] - frame["cohort"]
    kept = ~((event < 0) & (event >= -anticipation))
    return frame.assign(x=frame["area"].map(doses).fillna(0.0) * (event >= 0))[kept]


def terms_of(fit) -> pd.DataFrame:
    rows = fit.terms.assign(
        estimate=fit.estimate,
        error=np.sqrt(crv1_variance(fit)),
        plain=np.sqrt((fit.scores**2).sum(axis=0)),
    )
    return rows.set_index(rows["term"] + rows["event_time"].map(lambda time: "" if np.isnan(time) else f" {time:g}"))


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1]),
    weights=st.sampled_from(["areas", "children"]),
    anticipation=st.integers(0, 1),
)
def test_the_slope_and_its_error_equal_pyfixest(seed, missing, weights, anticipation):
    frame = made_up(seed=seed, areas=30, missing=missing, counts=True)
    doses = doses_for(frame, seed)
    fit = fit_dose(as_cells(frame).panel(weights=weights), doses, anticipation=anticipation)
    options = {"weights": "n"} if weights == "children" else {}
    other = pyfixest.feols(
        "y ~ x | area + year",
        after_dose(frame, doses, anticipation),
        vcov={"CRV1": "area"},
        fixef_tol=1e-13,
        fixef_rm="none",
        **options,
    )
    slope = terms_of(fit).loc["slope"]
    assert slope["estimate"] == pytest.approx(other.coef()["x"], rel=1e-8, abs=1e-9)
    assert slope["error"] == pytest.approx(other.se()["x"], rel=1e-8)


def test_the_slope_inside_regions_equals_pyfixest():
    frame = made_up(seed=2, areas=45)
    doses = doses_for(frame, 2)
    fit = fit_dose(as_cells(frame).panel(within="region"), doses)
    other = pyfixest.feols("y ~ x | area + region^year", after_dose(frame, doses), fixef_tol=1e-13)
    assert terms_of(fit).loc["slope", "estimate"] == pytest.approx(other.coef()["x"], rel=1e-8)


@pytest.mark.parametrize("seed", [3, 4])
def test_level_effects_and_errors_equal_an_independent_package(seed):
    """One start and three doses: the effect at each dose, and their average over the treated."""
    frame = made_up(seed=seed, areas=40, years=8, starts=(2019.0,))
    doses = doses_for(frame, seed, (0.2, 0.5, 0.9))
    fit = fit_dose(as_cells(frame).panel(), doses, bins=[0.2, 0.5])
    data = frame.assign(dose=frame["area"].map(doses).fillna(0.0), first=frame["cohort"].fillna(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = ContinuousDiD(treatment_type="discrete").fit(
            data, outcome="y", unit="area", time="year", first_treat="first", dose="dose"
        )
    ours = terms_of(fit)
    assert ours.loc["overall", "estimate"] == pytest.approx(other.overall_att, rel=1e-8)
    assert ours.loc["overall", "plain"] == pytest.approx(other.overall_att_se, rel=1e-8)
    named = ["dose 0.2", "dose 0.5", "dose 0.9"]
    np.testing.assert_allclose(ours.loc[named, "estimate"], other.dose_response_att.effects, **EXACT)
    np.testing.assert_allclose(ours.loc[named, "plain"], other.dose_response_att.se, **EXACT)


def test_level_effects_are_group_time_effects_on_the_areas_of_the_bin():
    frame = made_up(seed=5, areas=40, years=8, starts=(2018.0, 2021.0), missing=0.05)
    doses = doses_for(frame, 5)
    cells = as_cells(frame)
    fit = fit_dose(cells.panel(within="region"), doses, bins=2)
    ours = terms_of(fit)
    whole = fit_group_time(cells.panel(within="region"))
    theirs = whole.terms.assign(estimate=whole.estimate)
    assert ours.loc["overall", "estimate"] == pytest.approx(theirs.query("term == 'overall'")["estimate"].iloc[0])
    events = theirs.query("term == 'event'").set_index("event_time")["estimate"]
    found = ours[ours["term"] == "event"].set_index("event_time")["estimate"]
    np.testing.assert_allclose(found, events[found.index], **EXACT)
    for each in fit.bins:
        gone = doses.index[(doses < each.low) | (doses > each.high)]
        part = fit_group_time(cells.without_clusters(gone).panel(within="region"))
        expected = part.estimate[part.terms["term"] == "overall"][0]
        assert ours.loc[each.term, "estimate"] == pytest.approx(expected, rel=1e-8)
    assert [each.low for each in fit.bins] == sorted(each.low for each in fit.bins)
    counted = [int(ours.loc[each.term, "treated_clusters"]) for each in fit.bins]
    # One treated area lacks its base year.
    assert counted == [8, 7]


def test_weights_of_the_slope_are_those_of_the_decomposition():
    """Two periods: (dose - mean dose) / sum of squares, untreated included; shares of effects per dose sum to one."""
    frame = made_up(seed=6, areas=30, years=2, starts=(2017.0,))
    doses = doses_for(frame, 6)
    fit = fit_dose(as_cells(frame).panel(), doses)
    found = fit.slope_weights().set_index("cluster")
    every = doses.reindex(sorted(frame["area"].unique())).fillna(0.0)
    expected = (every - every.mean()) / ((every - every.mean()) ** 2).sum()
    np.testing.assert_allclose(found["weight"], expected[found.index], **EXACT)
    assert found["share"].sum() == pytest.approx(1.0, rel=1e-10)
    assert (found["weight"] < 0).any()
    low = int((found["weight"] < 0).sum())
    note = fit.terms["note"].iloc[-1]
    assert "strong parallel trends" in note
    assert f"{low} of 12 treated areas, with doses up to" in note


def test_known_effects_by_dose_are_found_and_a_chosen_dose_misleads_the_slope():
    """Areas whose programme does little took much of it: levels say what happened, the slope nothing of dose."""
    frame = made_up(seed=7, areas=120, years=6, starts=(2019.0,))
    doses = doses_for(frame, 7, (0.2, 0.8))
    per_dose = frame["area"].map(doses).map({0.2: 10.0, 0.8: 4.0}).fillna(0.0)
    moved = frame.assign(y=frame["y"] + per_dose * (frame["year"] >= frame["cohort"]))
    ours = terms_of(fit_dose(as_cells(moved).panel(), doses, bins=2))
    for name, truth in (("dose 0.2", 10.0), ("dose 0.8", 4.0)):
        assert ours.loc[name, "estimate"] == pytest.approx(truth, abs=4 * ours.loc[name, "error"])
        assert ours.loc[name, "error"] < 0.7
    assert 4.0 < ours.loc["overall", "estimate"] < 10.0
    assert ours.loc["slope", "estimate"] > 0


def test_leaving_a_cluster_out_equals_refitting_without_it():
    frame = made_up(seed=8, areas=16, missing=0.05)
    doses = doses_for(frame, 8, (0.3, 0.6, 0.9))
    fit = fit_dose(as_cells(frame).panel(), doses, bins=[0.4])
    left_out = fit.leave_one_out()
    for position, area in enumerate(fit.panel.clusters):
        again = fit_dose(as_cells(frame[frame["area"] != area]).panel(), doses, bins=[0.4])
        for name in ("overall", "slope"):
            at, there = fit.terms["term"].tolist().index(name), again.terms["term"].tolist().index(name)
            assert left_out[position, at] == pytest.approx(again.estimate[there], rel=1e-7)
    values = np.nan_to_num(fit.panel.mean)
    np.testing.assert_allclose(np.einsum("kut,ut->k", fit.weights(), values), fit.estimate, **CLOSE)
    for term in range(len(fit.terms)):
        left = np.einsum("gut,ut->g", fit.leave_one_out_weights(term), values)
        np.testing.assert_allclose(left, left_out[:, term], **CLOSE)


def test_permutation_deals_starts_with_the_doses_of_their_areas():
    frame = made_up(seed=9, areas=20)
    doses = doses_for(frame, 9)
    fit = fit_dose(as_cells(frame).panel(), doses)
    terms = np.arange(len(fit.terms))
    own = fit.permute(fit.panel.cluster_cohort[None], terms)
    np.testing.assert_allclose(own.outcome[0], fit.estimate, **CLOSE)
    np.testing.assert_allclose(own.square_outcome[0], (fit.scores**2).sum(axis=0), **CLOSE)
    np.testing.assert_allclose(own.planted[0], (~(fit.terms["event_time"] < 0)).astype(float), atol=1e-9)
    dealt = np.random.default_rng(1).permuted(np.repeat(fit.panel.cluster_cohort[None], 6, axis=0), axis=1)
    given = fit._deal_doses(dealt)
    for cohorts, amounts in zip(dealt, given, strict=True):
        for start in (2019.0, 2021.0):
            actual = fit.doses[fit.panel.cluster_cohort == start]
            assert sorted(amounts[cohorts == start]) == sorted(actual)
        assert (amounts[np.isinf(cohorts)] == 0).all()
    moved = frame.drop(columns="cohort").merge(
        pd.DataFrame({"area": fit.panel.clusters, "cohort": np.where(np.isinf(dealt[0]), np.nan, dealt[0])})
    )
    again = pyfixest.feols(
        "y ~ x | area + year",
        after_dose(moved, pd.Series(given[0], index=fit.panel.clusters)),
        fixef_tol=1e-13,
    )
    assert fit.permute(dealt, terms).outcome[0, -1] == pytest.approx(again.coef()["x"], rel=1e-8)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.sampled_from([0.0, 0.1]), within=st.booleans())
def test_unit_and_period_effects_and_names_change_nothing(seed, missing, within):
    frame = made_up(seed=seed, areas=24, missing=missing, counts=True)
    doses = doses_for(frame, seed, (0.25, 0.5, 1.0))
    generator = np.random.default_rng(seed)
    names = frame["area"].unique()
    level = dict(zip(names, generator.normal(0, 20, len(names)), strict=True))
    period = frame["year"].astype(str) + (frame["region"] if within else "")
    drift = {each: generator.normal(0, 9) for each in period.unique()}
    moved = frame.assign(y=frame["y"] + frame["area"].map(level) + period.map(drift))
    other_names = dict(zip(names, generator.permutation(names), strict=True))
    renamed = moved.assign(area=moved["area"].map(other_names))
    region = "region" if within else None
    first, *others = (
        fit_dose(as_cells(each).panel(weights="children", within=region), given)
        for each, given in ((frame, doses), (moved, doses), (renamed, doses.rename(index=other_names)))
    )
    for other in others:
        np.testing.assert_allclose(first.estimate, other.estimate, **CLOSE)
        np.testing.assert_allclose(crv1_variance(first), crv1_variance(other), rtol=1e-6, atol=1e-8)


def test_cells_give_the_slope_that_rows_give():
    frame = made_up(seed=10, areas=20, effect=3.0)
    doses = doses_for(frame, 10)
    generator = np.random.default_rng(10)
    rows = frame.drop(columns="n").loc[frame.index.repeat(generator.integers(1, 7, len(frame)))].reset_index(drop=True)
    rows["y"] += generator.normal(0, 5, len(rows))
    cells = compress(rows, cluster="area", cohort="cohort", outcomes=["y"])
    slope = terms_of(fit_dose(cells.panel(weights="children"), doses)).loc["slope"]
    other = pyfixest.feols(
        "y ~ x | area + year",
        after_dose(rows, doses),
        vcov={"CRV1": "area"},
        ssc=pyfixest.ssc(k_adj=False, G_adj=False),
        fixef_tol=1e-13,
    )
    assert slope["estimate"] == pytest.approx(other.coef()["x"], rel=1e-8)
    assert slope["plain"] == pytest.approx(other.se()["x"], rel=1e-8)


def with_doses(frame: pd.DataFrame, doses: pd.Series) -> Cells:
    cells = as_cells(frame)
    about = cells.clusters.assign(share_reached=cells.clusters["cluster"].map(doses))
    return Cells(cells.frame, cells.outcomes, clusters=about)


def test_doses_may_be_a_column_of_the_clusters():
    frame = made_up(seed=11, areas=40, effect=5.0)
    doses = doses_for(frame, 11)
    found = dose(with_doses(frame, doses), doses="share_reached", bins=2, draws=199)
    again = dose(as_cells(frame), doses=doses, bins=2, draws=199)
    pd.testing.assert_frame_equal(found.frame, again.frame)
    row = found.headline().iloc[0]
    assert (row["estimator"], row["term"], row["inference"]) == ("dose", "overall", "crv3")
    assert row["ci_low"] < 5.0 < row["ci_high"]
    assert "Mean dose" in row["note"]
    slope = found.headline().query("term == 'slope'").iloc[0]
    assert slope["note"].startswith("Description, not an effect of dose")
    with pytest.raises(UsageError, match="hold no 'share'.*Use one of: region, share_reached"):
        dose(with_doses(frame, doses), doses="share")


def test_doses_that_contradict_the_starts_are_refused():
    frame = made_up(seed=12)
    panel, doses = as_cells(frame).panel(), doses_for(frame, 12)
    untreated = frame["area"][frame["cohort"].isna()].iloc[0]
    for wrong, match in (
        (doses.drop(index=doses.index[0]), r"has a start but no dose above zero \(1 such\)"),
        (pd.concat([doses, pd.Series({untreated: 0.5})]), "has a dose but no start.*first treated period"),
        (-doses, "is negative"),
        (pd.concat([doses, doses.iloc[:1]]), "has two doses"),
        (doses.astype(object).where(doses.index != doses.index[0], "much"), "isn't a number"),
    ):
        with pytest.raises(DataError, match=match):
            fit_dose(panel, wrong)
    with pytest.raises(DesignError, match=r"same dose, 0.5.*Use group_time"):
        fit_dose(panel, doses * 0 + 0.5)
    with pytest.raises(UsageError, match="bins must be 1"):
        fit_dose(panel, doses, bins=0)
    whole = made_up(seed=12, share_treated=1.0)
    with pytest.raises(DesignError, match="every area has a dose.*Add areas without the programme"):
        fit_dose(as_cells(whole).panel(), doses_for(whole, 1))

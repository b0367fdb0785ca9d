"""Sun-Abraham and extended two-way effects, against saturated regressions and two independent packages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyfixest
import pytest
import statsmodels.api as sm
from diff_diff import SunAbraham, WooldridgeDiD
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap.errors import DataError, DesignError, UsageError
from sendap.estimators.imputation import fit_imputation
from sendap.estimators.interacted import fit_extended_two_way, fit_sun_abraham, unit_covariates
from sendap.estimators.interacted_glm import fit_extended_two_way_glm
from sendap.inference.cluster_robust import crv1_variance

EXACT = {"rtol": 1e-8, "atol": 1e-10}
CLOSE = {"rtol": 1e-7, "atol": 1e-8}


def shown(fit) -> pd.DataFrame:
    return fit.terms.assign(estimate=fit.estimate, error=np.sqrt(crv1_variance(fit)))


def pairs(fit) -> pd.DataFrame:
    rows = shown(fit)
    return rows[rows["term"] == "att"].set_index(["cohort", "period"])


def saturated(frame: pd.DataFrame, found: pd.DataFrame, *, weights: str, within: bool):
    """The same cohort-by-period dummies in a regression on rows; estimates and errors in the order of ``found``."""
    rows, names = frame.copy(), []
    for cohort, period in found.index:
        names.append(f"d{int(cohort)}_{int(period)}")
        rows[names[-1]] = ((rows["cohort"] == cohort) & (rows["year"] == period)).astype(float)
    effects = "area + region^year" if within else "area + year"
    options = {"weights": "n"} if weights == "children" else {}
    other = pyfixest.feols(
        f"y ~ {' + '.join(names)} | {effects}", rows, vcov={"CRV1": "area"}, fixef_tol=1e-13, **options
    )
    return other.coef()[names], other.se()[names]


def package(kind, frame, **options):
    data = frame.assign(first=frame["cohort"].fillna(0).astype(int))
    return kind(cluster="area", **options).fit(data, outcome="y", unit="area", time="year", first_treat="first")


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    weights=st.sampled_from(["areas", "children"]),
    anticipation=st.integers(0, 1),
    build=st.sampled_from([fit_sun_abraham, fit_extended_two_way]),
)
def test_every_pair_and_its_error_equal_a_regression_on_rows(seed, weights, anticipation, build):
    frame = made_up(seed=seed, areas=24, missing=0.1, counts=True)
    fit = build(as_cells(frame).panel(weights=weights), anticipation=anticipation)
    found = pairs(fit)
    estimates, errors = saturated(frame, found, weights=weights, within=False)
    np.testing.assert_allclose(found["estimate"], estimates, **CLOSE)
    np.testing.assert_allclose(found["error"], errors, **CLOSE)


def test_inside_regions_equals_region_by_year_effects():
    frame = made_up(seed=31, areas=60)
    assert frame["region"].nunique() == 3
    for build in (fit_sun_abraham, fit_extended_two_way):
        found = pairs(build(as_cells(frame).panel(within="region")))
        estimates, errors = saturated(frame, found, weights="areas", within=True)
        np.testing.assert_allclose(found["estimate"], estimates, **CLOSE)
        # pyfixest counts all 18 region-by-year effects, of which area effects explain one a region but the first.
        free = len(frame) - len(found) - 18
        np.testing.assert_allclose(found["error"] * np.sqrt((free + 2) / free), errors, **CLOSE)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_averages_and_errors_equal_independent_packages(seed):
    frame = made_up(seed=seed, areas=24)
    ours = shown(fit_sun_abraham(as_cells(frame).panel()))
    other = package(SunAbraham, frame)
    overall = ours.set_index("term").loc["overall", ["estimate", "error"]].astype(float)
    np.testing.assert_allclose(overall, (other.overall_att, other.overall_se), **CLOSE)
    events = ours[ours["term"] == "event"].set_index("event_time")[["estimate", "error"]]
    assert len(events) == len(other.event_study_effects) >= 6
    for event, item in other.event_study_effects.items():
        np.testing.assert_allclose(events.loc[event], (item["effect"], item["se"]), **CLOSE)
    ours = shown(fit_extended_two_way(as_cells(frame).panel())).set_index("term")
    other = package(WooldridgeDiD, frame)
    overall = ours.loc["overall", ["estimate", "error"]].astype(float)
    np.testing.assert_allclose(overall, (other.overall_att, other.overall_se), **CLOSE)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), within=st.booleans())
def test_extended_two_way_without_gaps_is_imputation(seed, within):
    """Wooldridge (2025), and Borusyak, Jaravel and Spiess (2024): the same numbers in a balanced panel."""
    panel = as_cells(made_up(seed=seed, areas=30)).panel(within="region" if within else None)
    first, second = fit_extended_two_way(panel), fit_imputation(panel, leads=0)
    keys = ["term", "cohort", "event_time"]
    joined = first.terms.assign(ours=first.estimate).merge(second.terms.assign(theirs=second.estimate), on=keys)
    if not within:
        assert len(joined) == len(second.terms)
        np.testing.assert_allclose(joined["ours"], joined["theirs"], **EXACT)
    else:
        # Regions share the effect of a cohort in the regression, not in the imputation.
        again = fit_extended_two_way(replace(panel, group=np.zeros_like(panel.group)))
        assert not np.allclose(again.estimate[: len(first.estimate)], first.estimate)


def test_covariates_equal_a_regression_with_interactions():
    frame = made_up(seed=33, areas=40)
    generator = np.random.default_rng(1)
    size = pd.Series(generator.normal(0, 1, 40), index=frame["area"].unique())
    rows = frame.assign(x=frame["area"].map(size))
    covariates = pd.DataFrame({"cluster": size.index, "size": size.to_numpy()})
    fit = fit_extended_two_way(as_cells(frame).panel(), covariates=covariates)
    found, names = pairs(fit), []
    for cohort, period in found.index:
        member = rows["cohort"] == cohort
        dummy = (member & (rows["year"] == period)).astype(float)
        name = f"{int(cohort)}_{int(period)}"
        rows[f"d{name}"], rows[f"dx{name}"] = dummy, dummy * (rows["x"] - rows.loc[member, "x"].mean())
        names += [f"d{name}", f"dx{name}"]
    for year in sorted(rows["year"].unique())[1:]:
        rows[f"x{year}"] = rows["x"] * (rows["year"] == year)
        names.append(f"x{year}")
    other = pyfixest.feols(f"y ~ {' + '.join(names)} | area + year", rows, vcov={"CRV1": "area"}, fixef_tol=1e-13)
    wanted = [name for name in names if name.startswith("d") and not name.startswith("dx")]
    np.testing.assert_allclose(found["estimate"], other.coef()[wanted], **CLOSE)
    np.testing.assert_allclose(found["error"], other.se()[wanted], **CLOSE)


def test_without_never_treated_the_last_cohort_is_the_control():
    frame = made_up(seed=34, starts=(2019.0, 2020.0, 2021.0), share_treated=1.0)
    fit = fit_sun_abraham(as_cells(frame).panel())
    assert set(fit.terms["cohort"].dropna()) == {2019.0, 2020.0}
    assert fit.terms["period"].max() == 2020
    short = frame[frame["year"] < 2021].assign(cohort=lambda rows: rows["cohort"].where(rows["cohort"] < 2021))
    found = pairs(fit)
    estimates, _ = saturated(short, found, weights="areas", within=False)
    np.testing.assert_allclose(found["estimate"], estimates, **CLOSE)


def test_effects_that_cannot_be_told_are_left_out_and_said():
    """Nobody is untreated in 2021, and one cohort is treated from the first period on."""
    frame = made_up(seed=38, starts=(2016.0, 2018.0, 2021.0), share_treated=1.0)
    for fit in (fit_extended_two_way(as_cells(frame).panel()), fit_imputation(as_cells(frame).panel())):
        assert set(fit.terms["cohort"].dropna()) == {2018.0}
        assert set(fit.terms["event_time"].dropna()) >= {0.0, 1.0, 2.0}
        assert fit.terms["event_time"].max() == 2.0
    note = fit_extended_two_way(as_cells(frame).panel()).terms["note"].iloc[0]
    assert note.startswith("8 of 11 effects by cohort and period are left out")
    glm = fit_extended_two_way_glm(as_cells(frame.assign(y=frame["y"].clip(1, 99) / 100)).panel(), family="logit")
    assert set(glm.terms["cohort"].dropna()) == {2018.0}
    assert "treated cell(s) are left out" in glm.terms["note"].iloc[0]


@pytest.mark.parametrize("build", [fit_sun_abraham, fit_extended_two_way])
def test_leaving_out_weights_and_permuting(build):
    """The jackknife refits, the weights give the estimates, and dealt starts give what a panel with them gives."""
    frame = made_up(seed=35, missing=0.1, areas=18, counts=True)
    panel = as_cells(frame).panel(weights="children")
    fit, values, keys = build(panel), np.nan_to_num(panel.mean), ["term", "cohort", "period", "event_time"]
    np.testing.assert_allclose(np.einsum("kut,ut->k", fit.weights(), values), fit.estimate, **CLOSE)
    left_out, compared = fit.leave_one_out(), 0
    overall = int(fit.terms.index[fit.terms["term"] == "overall"][0])
    left = np.einsum("gut,ut->g", fit.leave_one_out_weights(overall), values)
    np.testing.assert_allclose(left, left_out[:, overall], **CLOSE)
    for position, area in enumerate(panel.clusters):
        again = build(as_cells(frame[frame["area"] != area]).panel(weights="children"))
        joined = fit.terms.assign(ours=left_out[position]).merge(again.terms.assign(theirs=again.estimate), on=keys)
        np.testing.assert_allclose(joined["ours"], joined["theirs"], **CLOSE)
        compared += len(joined)
    assert compared > 100
    dealt = np.random.default_rng(2).permuted(np.repeat(panel.cohort[None], 3, axis=0), axis=1)
    found = fit.permute(np.vstack([panel.cohort, dealt]), np.arange(len(fit.terms)))
    np.testing.assert_allclose(found.outcome[0], fit.estimate, **CLOSE)
    np.testing.assert_allclose(found.square_outcome[0], (fit.scores**2).sum(axis=0), **CLOSE)
    np.testing.assert_allclose(found.planted[0, overall], 1.0, **CLOSE)
    for position, cohort in enumerate(dealt, 1):
        again = build(replace(panel, cohort=cohort))
        joined = fit.terms.assign(ours=found.outcome[position]).merge(
            again.terms.assign(theirs=again.estimate), on=keys
        )
        assert len(joined) == len(fit.terms)
        np.testing.assert_allclose(joined["ours"], joined["theirs"], **CLOSE)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), build=st.sampled_from([fit_sun_abraham, fit_extended_two_way]))
def test_unit_and_period_effects_and_names_change_nothing(seed, build):
    frame = made_up(seed=seed, areas=18, missing=0.1)
    generator, names = np.random.default_rng(seed), frame["area"].unique()
    level = dict(zip(names, generator.normal(0, 20, len(names)), strict=True))
    drift = {year: generator.normal(0, 9) for year in frame["year"].unique()}
    moved = frame.assign(y=frame["y"] + frame["area"].map(level) + frame["year"].map(drift))
    renamed = moved.assign(area=moved["area"].map(dict(zip(names, generator.permutation(names), strict=True))))
    first, *others = (build(as_cells(each).panel()) for each in (frame, moved, renamed))
    for other in others:
        np.testing.assert_allclose(first.estimate, other.estimate, **CLOSE)
        np.testing.assert_allclose(crv1_variance(first), crv1_variance(other), **CLOSE)


@pytest.mark.parametrize("family", ["poisson", "logit"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_families_equal_an_independent_package(family, seed):
    frame = made_up(seed=seed, areas=24)
    frame["y"] = frame["y"].clip(1, 99) / 100
    fit = fit_extended_two_way_glm(as_cells(frame).panel(), family=family)
    other = package(WooldridgeDiD, frame, method=family)
    # The package's factor is G/(G-1) (N-1)/(N-k) with k its columns: cohorts with the never treated, periods, pairs.
    columns = 3 + 5 + len(other.group_time_effects)
    factor = 24 / 23 * (len(frame) - 1) / (len(frame) - columns)
    error = np.sqrt(factor * (fit.scores[:, 0] ** 2).sum())
    np.testing.assert_allclose((fit.estimate[0], error), (other.overall_att, other.overall_se), rtol=1e-7)


@pytest.mark.parametrize("family", ["poisson", "logit"])
@pytest.mark.parametrize("within", [None, "region"])
def test_other_families_equal_a_model_of_rows(family, within):
    """With gaps and weights: dummies of cohort, period and treated pair, and the average of fitted less untreated."""
    frame = made_up(seed=37, areas=45, missing=0.1, counts=True)
    frame["y"] = frame["y"].clip(1, 99) / 100
    fit = fit_extended_two_way_glm(as_cells(frame).panel(weights="children", within=within), family=family)
    region = frame["region"] if within else ""
    start, year = frame["cohort"].fillna(0).astype(int).astype(str) + region, frame["year"].astype(str) + region
    treated = (frame["year"] >= frame["cohort"]).to_numpy()
    pair = pd.get_dummies((start + year).where(treated, "none"), dtype=float).drop(columns="none").to_numpy()
    parts = [pd.get_dummies(each, dtype=float).to_numpy() for each in (start, year)]
    design = np.hstack([*parts, pair])
    # Independent columns, so that the solver has a full rank to work with; none of the pairs is dropped.
    kept: list[int] = []
    for column in reversed(range(design.shape[1])):
        if np.linalg.matrix_rank(design[:, [*kept, column]]) > len(kept):
            kept.append(column)
    assert set(range(design.shape[1] - pair.shape[1], design.shape[1])) <= set(kept)
    kind = sm.families.Poisson() if family == "poisson" else sm.families.Binomial()
    model = sm.GLM(frame["y"], design[:, kept], family=kind, freq_weights=frame["n"]).fit(tol=1e-14, maxiter=200)
    without = design.copy()
    without[:, -pair.shape[1] :] = 0.0
    effect = model.predict(design[:, kept]) - model.predict(without[:, kept])
    assert fit.estimate[0] == pytest.approx(np.average(effect[treated], weights=frame["n"][treated]), rel=1e-8)
    events = fit.terms.assign(estimate=fit.estimate).query("term == 'event'").set_index("event_time")["estimate"]
    for event, found in events.items():
        chosen = (frame["year"] - frame["cohort"] == event).to_numpy()
        assert found == pytest.approx(np.average(effect[chosen], weights=frame["n"][chosen]), rel=1e-8, abs=1e-11)


@pytest.mark.parametrize("family", ["poisson", "logit"])
def test_other_families_leave_out_by_refitting_and_their_weights_are_derivatives(family):
    frame = made_up(seed=36, areas=14, missing=0.1, counts=True)
    frame["y"] = frame["y"].clip(1, 99) / 100
    panel = as_cells(frame).panel(weights="children")
    fit = fit_extended_two_way_glm(panel, family=family)
    left_out = fit.leave_one_out()
    for position in (0, 5, 13):
        rest = frame[frame["area"] != panel.clusters[position]]
        again = fit_extended_two_way_glm(as_cells(rest).panel(weights="children"), family=family)
        joined = fit.terms.assign(ours=left_out[position]).merge(
            again.terms.assign(theirs=again.estimate), on=["term", "cohort", "event_time"]
        )
        np.testing.assert_allclose(joined["ours"], joined["theirs"], **CLOSE)
    step = 1e-5
    for unit, time in ((0, 0), (13, 2), (1, 5)):
        if not np.isfinite(panel.mean[unit, time]):
            continue
        ends = []
        for sign in (-1, 1):
            mean = panel.mean.copy()
            mean[unit, time] += sign * step
            ends.append(fit_extended_two_way_glm(replace(panel, mean=mean), family=family).estimate)
        np.testing.assert_allclose((ends[1] - ends[0]) / (2 * step), fit.weights()[:, unit, time], atol=1e-6)


def test_designs_that_cannot_work_are_refused():
    def panel(**options):
        return as_cells(made_up(**options)).panel()

    for build in (fit_sun_abraham, fit_extended_two_way):
        with pytest.raises(DesignError, match=r"no period before treatment.*Add earlier periods"):
            build(panel(starts=(2016.0,)))
        with pytest.raises(DesignError, match=r"all areas.*treated at once.*never or later treated"):
            build(panel(share_treated=1.0, starts=(2019.0,)))
        with pytest.raises(DesignError, match="No area is treated by 2021"):
            build(panel(starts=(2030.0,)))
        with pytest.raises(DesignError, match="never varies"):
            build(as_cells(made_up().assign(y=3.0)).panel())
    with pytest.raises(DesignError, match=r"none is never treated. Use control='not_yet'"):
        fit_extended_two_way(panel(share_treated=1.0), control="never")
    with pytest.raises(UsageError, match="control must be"):
        fit_extended_two_way(panel(), control="some")
    with pytest.raises(DesignError, match="nothing is left to judge their error by"):
        fit_sun_abraham(panel(areas=3, years=3, starts=(2017.0, 2018.0), share_treated=0.67, regions=1))


def test_outcomes_outside_a_family_are_refused():
    frame = made_up(seed=2)
    percentages = as_cells(frame).panel()
    with pytest.raises(DesignError, match=r"a logit needs shares from 0 to 1. Divide a percentage by 100"):
        fit_extended_two_way_glm(percentages, family="logit")
    with pytest.raises(DesignError, match="a Poisson model needs 0 or more"):
        fit_extended_two_way_glm(as_cells(frame.assign(y=frame["y"] - 60)).panel(), family="poisson")
    never_before = frame.assign(y=np.where(frame["cohort"].eq(2019) & (frame["year"] < 2019), 0.0, frame["y"] / 100))
    with pytest.raises(DesignError, match="all zero or all one before treatment in some cohort"):
        fit_extended_two_way_glm(as_cells(never_before).panel(), family="poisson")
    with pytest.raises(UsageError, match="family must be"):
        fit_extended_two_way_glm(percentages, family="probit")
    fit = fit_extended_two_way_glm(as_cells(frame.assign(y=frame["y"] / 200)).panel(), family="logit")
    with pytest.raises(DesignError, match="Permutation isn't defined"):
        fit.permute(fit.panel.cluster_cohort[None, :], np.array([0]))


def test_covariates_that_cannot_serve_are_refused():
    panel = as_cells(made_up(areas=12)).panel()
    good = pd.DataFrame({"cluster": panel.clusters, "size": np.arange(12.0), "kind": ["a", "b", "c"] * 4})
    assert unit_covariates(panel, good).shape == (12, 3)
    with pytest.raises(DataError, match="Cluster 'A003' lacks a covariate"):
        unit_covariates(panel, good.drop(index=3))
    with pytest.raises(DataError, match="two rows"):
        unit_covariates(panel, pd.concat([good, good]))
    with pytest.raises(DataError, match="need a column 'cluster'"):
        unit_covariates(panel, good[["size", "kind"]])

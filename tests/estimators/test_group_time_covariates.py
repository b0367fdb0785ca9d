"""Group-time effects given covariates, against two independent packages, saturation and brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from diff_diff import CallawaySantAnna
from differences import ATTgt
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import as_cells, made_up

from sendap.errors import DesignError, UsageError
from sendap.estimators.group_time import fit_group_time
from sendap.estimators.group_time_covariates import fit_group_time_covariates, logit

METHODS = {"doubly_robust": "dr", "regression": "reg", "weighting": "ipw"}
CLOSE = {"rtol": 1e-7, "atol": 1e-8}


def with_size(seed: int, **options) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A panel whose trends follow a covariate that treated areas have more of."""
    frame = made_up(**{"seed": seed, "areas": 60, **options})
    generator = np.random.default_rng(seed)
    areas = frame.drop_duplicates("area")
    size = pd.Series(generator.normal(0, 1, len(areas)) + 0.4 * areas["cohort"].notna().to_numpy(), areas["area"])
    frame["size"] = frame["area"].map(size)
    frame["y"] += 2 * frame["size"] * (frame["year"] - 2016)
    return frame, pd.DataFrame({"cluster": size.index, "size": size.to_numpy()})


def errors(fit) -> np.ndarray:
    return np.sqrt((fit.scores**2).sum(axis=0))


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    method=st.sampled_from(["regression", "weighting"]),
    control=st.sampled_from(["never", "not_yet"]),
)
def test_equals_an_independent_package_on_every_pair(seed, method, control):
    """But for its doubly robust version, whose logit stops some six digits in: see the second package."""
    frame, covariates = with_size(seed)
    fit = fit_group_time_covariates(as_cells(frame).panel(), covariates, method=method, control=control, base="varying")
    names = {"never": "never_treated", "not_yet": "not_yet_treated"}
    other = CallawaySantAnna(
        control_group=names[control], base_period="varying", estimation_method=METHODS[method], pscore_trim=1e-6
    ).fit(
        frame.assign(first=frame["cohort"].fillna(0).astype(int)),
        outcome="y",
        unit="area",
        time="year",
        first_treat="first",
        covariates=["size"],
    )
    rows = fit.terms.assign(estimate=fit.estimate, error=errors(fit))
    pairs = rows[rows["term"] == "att"].set_index(["cohort", "period"])
    assert len(pairs) == len(other.group_time_effects)
    for (cohort, period), item in other.group_time_effects.items():
        found = pairs.loc[(float(cohort), float(period))]
        assert found["estimate"] == pytest.approx(item["effect"], rel=1e-8, abs=1e-9)
        assert found["error"] == pytest.approx(item["se"], rel=1e-8)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("control", ["never", "not_yet"])
def test_pairs_and_averages_equal_a_second_package(method, control):
    frame, covariates = with_size(3)
    fit = fit_group_time_covariates(as_cells(frame).panel(), covariates, method=method, control=control, base="varying")
    other = ATTgt(data=frame.set_index(["area", "year"])[["y", "cohort", "size"]], cohort_column="cohort")
    kind = {"doubly_robust": "dr-mle", "regression": "reg", "weighting": "std_ipw-mle"}[method]
    names = {"never": "never_treated", "not_yet": "not_yet_treated"}
    other.fit("y ~ size", control_group=names[control], est_method=kind, progress_bar=False)
    rows = fit.terms.assign(estimate=fit.estimate, error=errors(fit))
    found = other.results()
    found.columns = [column[-1] for column in found.columns]
    theirs = found.reset_index().set_index(["cohort", "time"])[["ATT", "std_error"]].astype(float)
    ours = rows[rows["term"] == "att"].set_index(["cohort", "period"])[["estimate", "error"]]
    assert len(ours) == len(theirs) == 10
    # Its logit stops a little early as well, which its errors show in the eighth digit.
    digits = 1e-8 if method == "regression" else 1e-6
    np.testing.assert_allclose(ours["estimate"], theirs["ATT"].reindex(ours.index), rtol=1e-8)
    np.testing.assert_allclose(ours["error"], theirs["std_error"].reindex(ours.index), rtol=digits)
    simple = other.aggregate("simple").droplevel([0, 1], axis=1)[["ATT", "std_error"]].iloc[0].astype(float)
    overall = rows.set_index("term").loc["overall", ["estimate", "error"]].astype(float)
    np.testing.assert_allclose(overall, simple, rtol=digits)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_contributions_are_what_the_estimate_gains_with_an_area_s_weight(method):
    """The infinitesimal jackknife: the derivative of each term by the weight of one area, by a small step."""
    frame, covariates = with_size(10, areas=40)
    panel = as_cells(frame).panel(weights="children")
    fit = fit_group_time_covariates(panel, covariates, method=method, control="not_yet")
    step = 1e-5
    for unit in (0, 9, 15, 16, 30):
        ends = []
        for sign in (-1, 1):
            weight = panel.weight.copy()
            weight[unit] *= 1 + sign * step
            heavier = replace(panel, weight=weight)
            ends.append(fit_group_time_covariates(heavier, covariates, method=method, control="not_yet").estimate)
        np.testing.assert_allclose((ends[1] - ends[0]) / (2 * step), fit.scores[unit], rtol=1e-5, atol=1e-8)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(sorted(METHODS)))
def test_with_one_category_all_methods_are_the_comparison_inside_it(seed, method):
    """Saturated in a category, regression, weighting and both are the group-time estimate within regions."""
    frame = made_up(seed=seed, areas=60, starts=(2019.0,), share_treated=0.35)
    cells = as_cells(frame)
    inside = fit_group_time(cells.panel(within="region"))
    fit = fit_group_time_covariates(cells.panel(), cells.clusters[["cluster", "region"]], method=method)
    keys = ["term", "cohort", "period", "event_time"]
    pd.testing.assert_frame_equal(fit.terms[keys], inside.terms[keys])
    np.testing.assert_allclose(fit.estimate, inside.estimate, **CLOSE)
    np.testing.assert_allclose(errors(fit), errors(inside), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_without_covariates_it_is_the_plain_estimate(method):
    panel = as_cells(made_up(seed=4, missing=0.1, counts=True)).panel(weights="children")
    plain = fit_group_time(panel, control="not_yet", anticipation=1)
    fit = fit_group_time_covariates(panel, None, method=method, control="not_yet", anticipation=1)
    np.testing.assert_allclose(fit.estimate, plain.estimate, **CLOSE)
    np.testing.assert_allclose(fit.scores, plain.scores, **CLOSE)
    assert fit.terms["treated_clusters"].tolist() == plain.terms["treated_clusters"].tolist()
    assert fit.terms["control_clusters"].tolist() == plain.terms["control_clusters"].tolist()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_leaving_out_weights_and_permuting(method):
    frame, covariates = with_size(5, areas=40)
    panel = as_cells(frame).panel()
    fit = fit_group_time_covariates(panel, covariates, method=method, control="not_yet")
    values, keys = np.nan_to_num(panel.mean), ["term", "cohort", "period", "event_time"]
    np.testing.assert_allclose(np.einsum("kut,ut->k", fit.weights(), values), fit.estimate, **CLOSE)
    left_out = fit.leave_one_out()
    for position in (0, 7, 20, 39):
        rest = frame[frame["area"] != panel.clusters[position]]
        again = fit_group_time_covariates(as_cells(rest).panel(), covariates, method=method, control="not_yet")
        joined = fit.terms.assign(ours=left_out[position]).merge(again.terms.assign(theirs=again.estimate), on=keys)
        assert len(joined) == len(fit.terms)
        np.testing.assert_allclose(joined["ours"], joined["theirs"], **CLOSE)
    dealt = np.random.default_rng(1).permuted(np.repeat(panel.cohort[None], 2, axis=0), axis=1)
    found = fit.permute(np.vstack([panel.cohort, dealt]), np.arange(len(fit.terms)))
    np.testing.assert_allclose(found.outcome[0], fit.estimate, **CLOSE)
    np.testing.assert_allclose(found.square_outcome[0], (fit.scores**2).sum(axis=0), **CLOSE)
    for position, cohort in enumerate(dealt, 1):
        again = fit_group_time_covariates(replace(panel, cohort=cohort), covariates, method=method, control="not_yet")
        joined = fit.terms.assign(ours=found.outcome[position]).merge(
            again.terms.assign(theirs=again.estimate), on=keys
        )
        np.testing.assert_allclose(joined["ours"], joined["theirs"], **CLOSE)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(sorted(METHODS)))
def test_unit_and_period_effects_and_the_scale_of_covariates_change_nothing(seed, method):
    frame, covariates = with_size(seed, areas=40, starts=(2019.0,))
    generator, names = np.random.default_rng(seed), frame["area"].unique()
    level = dict(zip(names, generator.normal(0, 20, len(names)), strict=True))
    drift = {year: generator.normal(0, 9) for year in frame["year"].unique()}
    moved = frame.assign(y=frame["y"] + frame["area"].map(level) + frame["year"].map(drift))
    first = fit_group_time_covariates(as_cells(frame).panel(), covariates, method=method)
    scaled = covariates.assign(size=1000 + 250 * covariates["size"])
    second = fit_group_time_covariates(as_cells(moved).panel(), scaled.sample(frac=1, random_state=1), method=method)
    np.testing.assert_allclose(first.estimate, second.estimate, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(errors(first), errors(second), rtol=1e-6, atol=1e-7)


def test_trends_that_follow_a_covariate_are_told_from_an_effect():
    frame, covariates = with_size(6, areas=400, effect=5.0)
    panel = as_cells(frame).panel()
    plain = fit_group_time(panel)
    position = int(plain.terms.index[plain.terms["term"] == "overall"][0])
    assert abs(plain.estimate[position] - 5) > 2 * errors(plain)[position]
    for method in METHODS:
        fit = fit_group_time_covariates(panel, covariates, method=method)
        assert abs(fit.estimate[position] - 5) < 2 * errors(fit)[position]


def test_sides_that_do_not_overlap_are_refused():
    frame, covariates = with_size(7, starts=(2019.0,))
    panel = as_cells(frame).panel()
    treated = covariates["cluster"].isin(frame.loc[frame["cohort"].notna(), "area"])
    apart = covariates.assign(size=np.where(treated, 5.0, -5.0) + covariates["size"] / 10)
    for method in ("weighting", "doubly_robust"):
        with pytest.raises(DesignError, match=r"don't overlap. Use fewer covariates or wider categories"):
            fit_group_time_covariates(panel, apart, method=method)
    # A category that only treated areas have: nothing among the controls predicts for it.
    alone = covariates.assign(size=np.where(treated & (np.arange(60) < 3), "only treated", "others"))
    with pytest.raises(DesignError, match="don't overlap"):
        fit_group_time_covariates(panel, alone, method="regression")


def test_pairs_without_overlap_are_left_out_and_said():
    """One of two cohorts has a category of its own; the other is estimated all the same."""
    frame, covariates = with_size(11)
    first = covariates["cluster"].isin(frame.loc[frame["cohort"] == 2019, "area"])
    apart = covariates.assign(kind=np.where(first, "first", np.where(np.arange(60) % 2, "odd", "even")))
    fit = fit_group_time_covariates(as_cells(frame).panel(), apart[["cluster", "kind"]], method="regression")
    assert set(fit.terms["cohort"].dropna()) == {2021.0}
    assert fit.terms["note"].str.startswith("5 of 10 effects by cohort and period are left out").all()


def test_wrong_uses_are_refused():
    frame, covariates = with_size(8)
    cells = as_cells(frame)
    with pytest.raises(UsageError, match="method must be"):
        fit_group_time_covariates(cells.panel(), covariates, method="matching")
    with pytest.raises(UsageError, match="give the region as one of them"):
        fit_group_time_covariates(cells.panel(within="region"), covariates)
    with pytest.raises(DesignError, match="never varies"):
        fit_group_time_covariates(as_cells(frame.assign(y=2.0)).panel(), covariates)


def test_logits_equal_statsmodels():
    import statsmodels.api as sm

    generator = np.random.default_rng(9)
    design = np.column_stack([np.ones(80), generator.normal(size=(80, 2))])
    treated = (generator.random((3, 80)) < 0.4).astype(float)
    weight = generator.integers(0, 5, (3, 80)).astype(float)
    found = logit(design, treated, weight)
    assert found.solved.all()
    for draw in range(3):
        other = sm.GLM(treated[draw], design, family=sm.families.Binomial(), freq_weights=weight[draw]).fit(tol=1e-14)
        np.testing.assert_allclose(found.probability[draw], other.predict(design), rtol=1e-9)
        np.testing.assert_allclose(found.inverse[draw], other.cov_params(), rtol=1e-7)

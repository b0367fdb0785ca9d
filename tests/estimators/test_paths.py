"""Fits on path cells equal software that works row by row.

Tolerance 1e-8 is what the design promises; both sides solve well-conditioned systems of some hundred records, so they
agree to 1e-12 or better where the other software isn't iterative.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from path_records import by_rows, draw_records, residualised, used_rows

from sendap.cells.compress_paths import compress_paths
from sendap.cells.paths import PathCells
from sendap.effects_paths import event_study_paths, infer_paths, two_way_paths
from sendap.errors import DataError, DesignError, UsageError
from sendap.estimators import paths as module
from sendap.estimators.paths import PathFit, fit_event_study_paths, fit_two_way_paths
from sendap.inference.cluster_robust import crv1_variance, crv3_variance

EXACT = {"rel": 1e-8, "abs": 1e-10}


def compressed(frame: pd.DataFrame, **options: object) -> PathCells:
    return compress_paths(frame, **{"unit": "pupil", "outcomes": ["absence"], **options})


def event_columns(frame: pd.DataFrame, fit: PathFit) -> np.ndarray:
    event = (frame["year"] - frame["first_treated"]).to_numpy()
    return np.column_stack([event == value for value in fit.terms["event_time"]]).astype(float)


def errors(fit: PathFit) -> tuple[np.ndarray, np.ndarray]:
    return np.sqrt(crv1_variance(fit)), np.sqrt(crv3_variance(fit.leave_one_out(), fit.estimate))


def pyfixest(frame: pd.DataFrame, regressors: np.ndarray, weights: str | None = None) -> tuple[np.ndarray, ...]:
    """Estimates, CRV1 errors with the default small-sample factor, and jackknife errors with (G - 1) / G."""
    pf = pytest.importorskip("pyfixest")
    names = [f"x{position}" for position in range(regressors.shape[1])]
    data = frame.assign(**{name: regressors[:, position] for position, name in enumerate(names)})
    formula = f"absence ~ {' + '.join(names)} | pupil + year"
    # Its demeaning is iterative, and stops too early for 1e-8 by default.
    options = {"weights": weights, "fixef_tol": 1e-13, "fixef_maxiter": 100_000}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = pf.feols(formula, data, vcov={"CRV1": "la_code"}, **options)
        bare = pf.ssc(k_adj=False, G_adj=False)
        three = pf.feols(formula, data, vcov={"CRV3": "la_code"}, ssc=bare, **options)
    clusters = used_rows(frame)["la_code"].nunique()
    return one.coef().to_numpy(), one.se().to_numpy(), three.se().to_numpy() * np.sqrt((clusters - 1) / clusters)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("weights", [None, "size"])
def test_two_way_equals_pyfixest(seed, weights):
    frame = draw_records(seed)
    fit = fit_two_way_paths(compressed(frame, weights=weights))
    estimate, one, three = pyfixest(frame, frame[["exposed"]].to_numpy(), weights)
    assert fit.estimate == pytest.approx(estimate, **EXACT)
    assert errors(fit)[0] == pytest.approx(one, **EXACT)
    assert errors(fit)[1] == pytest.approx(three, **EXACT)


def test_event_study_equals_pyfixest():
    frame = draw_records(3, pupils=300)
    fit = fit_event_study_paths(compressed(frame))
    estimate, one, _ = pyfixest(frame, event_columns(frame, fit))
    assert fit.estimate == pytest.approx(estimate, **EXACT)
    assert errors(fit)[0] == pytest.approx(one, **EXACT)


def test_nested_pupils_count_as_one_parameter():
    frame = draw_records(4, moving=0.0)
    frame = frame[frame["la_code"] != frame["la_code"].max()]  # the visitors' cluster
    fit = fit_two_way_paths(compressed(frame))
    assert not len(fit.products.visits.path)
    estimate, one, three = pyfixest(frame, frame[["exposed"]].to_numpy())
    assert fit.estimate == pytest.approx(estimate, **EXACT)
    assert errors(fit)[0] == pytest.approx(one, **EXACT)
    assert errors(fit)[1] == pytest.approx(three, **EXACT)


@pytest.mark.parametrize("weights", [None, "size"])
def test_equals_linearmodels(weights):
    panel = pytest.importorskip("linearmodels.panel")
    frame = draw_records(5)
    fit = fit_event_study_paths(compressed(frame, weights=weights))
    rows = used_rows(frame)
    data = rows.set_index(["pupil", "year"])
    columns = pd.DataFrame(event_columns(rows, fit), index=data.index)
    model = panel.PanelOLS(
        data["absence"],
        columns,
        entity_effects=True,
        time_effects=True,
        weights=None if weights is None else data[weights],
    )
    clusters = pd.DataFrame({"la": pd.factorize(rows["la_code"])[0]}, index=data.index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fit(cov_type="clustered", clusters=clusters, group_debias=True)
    assert fit.estimate == pytest.approx(found.params.to_numpy(), **EXACT)
    # With movers, pupil effects count as parameters, which linearmodels always does: the factors are the same.
    assert errors(fit)[0] == pytest.approx(found.std_errors.to_numpy(), **EXACT)


def left_out_by_rows(frame: pd.DataFrame, columns: np.ndarray) -> np.ndarray:
    """Estimates without each cluster, G by K, missing where the columns can't be told apart."""
    found = []
    for cluster in np.sort(used_rows(frame)["la_code"].unique()):
        kept = frame["la_code"] != cluster
        rest = frame[kept].reset_index(drop=True).assign(row=np.flatnonzero(kept))
        rest = used_rows(rest)
        chosen = columns[rest["row"]]
        free = residualised(rest, chosen, np.ones(len(rest)))
        enough = np.linalg.matrix_rank(free, tol=1e-8) == columns.shape[1]
        found.append(by_rows(rest, chosen) if enough else np.full(columns.shape[1], np.nan))
    return np.array(found)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.2]),
    st.integers(4, 6),
)
def test_random_designs_equal_least_squares_on_rows(seed, moving, gaps, missing, periods):
    frame = draw_records(
        seed, pupils=60, clusters=6, treated=3, periods=periods, moving=moving, gaps=gaps, missing=missing
    )
    fit = fit_two_way_paths(compressed(frame))
    rows = used_rows(frame)
    columns = rows[["exposed"]].to_numpy()
    assert fit.estimate == pytest.approx(by_rows(rows, columns), **EXACT)
    assert fit.records == len(rows)
    expected = left_out_by_rows(rows, columns)
    assert fit.leave_one_out() == pytest.approx(expected, **EXACT, nan_ok=True)
    assert fit.scores.sum(axis=0) == pytest.approx(0.0, abs=1e-10)


def weights_of_rows(rows: pd.DataFrame, columns: np.ndarray, term: int) -> np.ndarray:
    """The linear map from outcomes to one estimate (N)."""
    free = residualised(rows, columns, np.ones(len(rows)))
    return free @ np.linalg.pinv(free.T @ free)[term]


@pytest.mark.parametrize("moving", [0.0, 0.6])
def test_jackknife_degrees_of_freedom(moving):
    frame = draw_records(6, moving=moving, pupils=80, clusters=8, treated=4)
    fit = fit_two_way_paths(compressed(frame))
    rows = used_rows(frame)
    columns = rows[["exposed"]].to_numpy()
    full = weights_of_rows(rows, columns, 0)
    changes = []
    for cluster in np.sort(rows["la_code"].unique()):
        rest = used_rows(rows.assign(row=range(len(rows)))[rows["la_code"] != cluster])
        change = -full
        change[rest["row"]] += weights_of_rows(rest, rest[["exposed"]].to_numpy(), 0)
        changes.append(change)
    inner = np.array(changes) @ np.array(changes).T
    assert fit.jackknife_dof(0) == pytest.approx(np.trace(inner) ** 2 / (inner**2).sum(), rel=1e-9)
    leverage = (full**2 @ pd.get_dummies(rows["la_code"]).to_numpy(dtype=float))[None]
    spread = leverage.var() / leverage.mean() ** 2
    assert fit.effective_clusters() == pytest.approx(leverage.size / (1 + spread), rel=1e-9)


def test_anticipation_leaves_rows_out():
    frame = draw_records(7)
    fit = fit_two_way_paths(compressed(frame), anticipation=1)
    ahead = frame["year"] - frame["first_treated"] == -1
    rows = used_rows(frame[~ahead])
    assert fit.estimate == pytest.approx(by_rows(rows, rows[["exposed"]].to_numpy()), **EXACT)
    study = fit_event_study_paths(compressed(frame), anticipation=1)
    assert -2.0 not in study.terms["event_time"].to_numpy()
    assert -1.0 in study.terms["event_time"].to_numpy()
    rows = used_rows(frame)
    assert study.estimate == pytest.approx(by_rows(rows, event_columns(rows, study)), **EXACT)


def test_leaving_a_cluster_out_is_fitting_without_its_rows():
    cells = compressed(draw_records(16))
    found = fit_event_study_paths(cells)
    for position in (2, 8):
        rest = fit_event_study_paths(cells.without_clusters([found.panel.clusters[position]]))
        assert found.leave_one_out()[position] == pytest.approx(rest.estimate, **EXACT)


def test_blocks_change_nothing(monkeypatch):
    cells = compressed(draw_records(8))
    whole = fit_event_study_paths(cells)
    monkeypatch.setattr(module, "BLOCK", 100)
    parts = fit_event_study_paths(cells)
    assert parts.estimate == pytest.approx(whole.estimate, rel=1e-10)
    assert parts.leave_one_out() == pytest.approx(whole.leave_one_out(), rel=1e-9, nan_ok=True)
    assert len(parts.products.visits.path) == len(whole.products.visits.path)


@pytest.mark.parametrize("value", [0.1, 0.0, 1e9])
def test_an_outcome_that_never_varies_is_refused(value):
    frame = draw_records(9)
    frame["absence"] = frame["absence"].where(frame["absence"].isna(), value)
    for estimator in (fit_two_way_paths, fit_event_study_paths):
        with pytest.raises(DesignError, match="'absence' never varies.*Check that the right column was read"):
            estimator(compressed(frame))


def test_designs_that_cannot_answer():
    frame = draw_records(10)
    with pytest.raises(DesignError, match="No area is treated"):
        fit_two_way_paths(compressed(frame.assign(first_treated=np.nan)))
    with pytest.raises(DesignError, match="no period before treatment"):
        fit_two_way_paths(compressed(frame.assign(first_treated=frame["first_treated"] - 100)))
    with pytest.raises(DesignError, match="can't be told apart"):
        # All areas start at once.
        fit_two_way_paths(compressed(frame.assign(first_treated=2016.0)))
    with pytest.raises(DataError, match="in two periods"):
        fit_two_way_paths(compressed(frame.drop_duplicates("pupil")))


def test_results_have_the_selectors_inference():
    frame = draw_records(11, pupils=300, clusters=20, treated=8)
    found = two_way_paths(compressed(frame)).frame
    assert list(found["inference"]) == ["crv3", "permutation", "wcr"]
    assert list(found["headline"]) == [True, False, False]
    fit = fit_two_way_paths(compressed(frame))
    assert found["std_error"].iloc[0] == pytest.approx(errors(fit)[1][0], rel=1e-12)
    assert found["dof"].iloc[0] == pytest.approx(fit.jackknife_dof(0), rel=1e-12)
    assert found["ci_low"].iloc[0] < found["estimate"].iloc[0] < found["ci_high"].iloc[0]
    assert "seen once contribute nothing" in found["note"].iloc[0]
    with pytest.raises(UsageError, match="'crv1' isn't valid here"):
        two_way_paths(compressed(frame), inference="crv1")
    with pytest.raises(UsageError, match="inference must be one of"):
        infer_paths(fit, inference="bootstrap")


def test_few_treated_areas_get_permutation_and_no_standard_error():
    frame = draw_records(12, treated=3)
    found = two_way_paths(compressed(frame)).frame
    assert list(found["inference"]) == ["permutation"]
    assert found["std_error"].isna().all()
    assert found["ci_low"].iloc[0] < found["estimate"].iloc[0] < found["ci_high"].iloc[0]
    for method in ("crv3", "wcr", "wcu"):
        with pytest.raises(UsageError, match="isn't valid here"):
            two_way_paths(compressed(frame), inference=method)


def test_event_study_rows_and_marks():
    frame = draw_records(13, pupils=300, clusters=20, treated=9)
    cells = compressed(frame, metadata={"synthetic": True})
    found = event_study_paths(cells)
    assert found.frame["synthetic"].all()
    fit = fit_event_study_paths(cells)
    assert found.headline()["estimate"].to_numpy() == pytest.approx(fit.estimate, rel=1e-12)
    assert set(found.frame["weight"]) == {"children"}


def test_bootstrap_interval_is_reported():
    frame = draw_records(14, pupils=300, clusters=20, treated=8)
    found = two_way_paths(compressed(frame), inference="wcr", draws=499, seed=3).frame.iloc[0]
    assert found["draws"] == 499
    assert found["ci_low"] < found["one_sided_low"] < found["estimate"] < found["one_sided_high"] < found["ci_high"]
    assert (found["p_value"] <= 0.05) == (found["ci_low"] > 0 or found["ci_high"] < 0)

"""Permutation of event times, before the start too, and with pupil effects: against refitting each allocation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from panels import as_cells, made_up
from path_records import draw_records

from sendap.cells.compress_paths import compress_paths
from sendap.effects import group_time
from sendap.effects_paths import infer_paths
from sendap.errors import DesignError
from sendap.estimators import fit_event_study, fit_group_time
from sendap.estimators.imputation import fit_imputation
from sendap.estimators.interacted import fit_sun_abraham
from sendap.estimators.paths import fit_event_study_paths, fit_two_way_paths
from sendap.inference.permutation import allocations, collect, permutation_test
from sendap.inference.permutation_paths import permute_paths

# Both sides solve the same small systems in another order.
EXACT = {"rel": 1e-8, "abs": 1e-9}


def panel_of(seed: int = 1, **options):
    given = {"areas": 20, "starts": (2018.0, 2019.0), "share_treated": 0.3, "regions": 2, "missing": 0.05}
    return as_cells(made_up(**{**given, "counts": True, "seed": seed, **options})).panel(
        within="region", weights="children"
    )


def test_an_event_study_under_another_allocation_is_the_event_study_of_it():
    panel = panel_of()
    fit = fit_event_study(panel)
    terms = np.arange(len(fit.terms))
    dealt, _ = allocations(panel.cluster_cohort, panel.cluster_group, 8, 3)
    found, actual = collect(fit, dealt, terms)
    assert actual.outcome[0] == pytest.approx(fit.estimate, **EXACT)
    assert actual.square_outcome[0] == pytest.approx((fit.scores**2).sum(axis=0), **EXACT)
    # The effect of one is planted in each event time's own cells.
    assert actual.planted[0] == pytest.approx(1.0, rel=1e-9)
    for row, cohorts in enumerate(dealt):
        again = fit_event_study(replace(panel, cohort=cohorts[panel.cluster]))
        assert again.terms["event_time"].tolist() == fit.terms["event_time"].tolist()
        assert found.outcome[row] == pytest.approx(again.estimate, **EXACT)
        assert found.square_outcome[row] == pytest.approx((again.scores**2).sum(axis=0), **EXACT)
        for term in terms:
            moved = replace(panel, mean=np.where(np.isfinite(panel.mean), fit.regressors[:, :, term], np.nan))
            planted = fit_event_study(replace(moved, cohort=cohorts[panel.cluster]))
            assert found.planted[row, term] == pytest.approx(planted.estimate[term], **EXACT)
            assert found.square_planted[row, term] == pytest.approx((planted.scores[:, term] ** 2).sum(), **EXACT)


def test_an_allocation_without_a_comparison_has_no_estimate():
    panel = panel_of(missing=0.0)
    fit = fit_event_study(panel)
    # All areas at once: event times can't be told from periods.
    found, _ = collect(fit, np.full((1, 20), 2018.0), np.arange(len(fit.terms)))
    assert np.isnan(found.outcome).all()


@pytest.mark.parametrize(
    "fitter",
    [
        fit_group_time,
        lambda panel: fit_group_time(panel, base="varying"),
        fit_imputation,
        fit_sun_abraham,
        fit_event_study,
    ],
    ids=["universal", "varying", "imputation", "sun_abraham", "event_study"],
)
def test_intervals_before_the_start_end_where_the_test_of_a_step_there_stops_rejecting(fitter):
    """A difference before the start is put in as a step at that time, and the test run again from the start."""
    frame = made_up(areas=25, years=6, starts=(2020.0,), share_treated=0.16, regions=1, seed=4)
    frame["y"] += 3.0 * frame["cohort"].notna() * (frame["year"] == 2017)
    panel = as_cells(frame).panel()
    fit = fitter(panel)
    (term,) = np.flatnonzero((fit.terms["term"] == "event") & (fit.terms["event_time"] == -3))
    groups = np.zeros(25, dtype=int)

    def tested(panel, level: float = 0.9):
        again = fitter(panel)
        return permutation_test(again, np.array([term]), groups, draws=199, seed=5, levels=(level,))[0]

    low, high = tested(panel).intervals[0]
    assert np.isfinite([low, high]).all()
    assert low < fit.estimate[term] < high
    # Which side of the term the step lies on depends on where the estimator's base is; both move it by one.
    treated = np.isfinite(panel.cohort)[:, None]
    later = 1.0 * treated * (panel.periods >= 2017)
    earlier = -1.0 * treated * (panel.periods >= 2018)
    if fitter is fit_event_study:
        step = 1.0 * treated * (panel.periods == 2017)
    else:
        step = (
            later
            if abs(fitter(replace(panel, mean=panel.mean + later)).estimate[term] - fit.estimate[term]) > 0.5
            else earlier
        )
    for end, inward in ((low, 1e-4), (high, -1e-4)):
        for effect, rejected in ((end + inward, False), (end - inward, True)):
            moved = replace(panel, mean=panel.mean - effect * step)
            assert (tested(moved).p_value <= 0.1) is rejected


@pytest.mark.parametrize("moving", [0.0, 0.25])
@pytest.mark.parametrize("fitter", [fit_two_way_paths, fit_event_study_paths])
def test_pupil_effects_under_another_allocation_are_those_of_it(fitter, moving):
    records = draw_records(3, pupils=150, clusters=10, treated=4, moving=moving)
    if moving == 0:
        # The visitors of one cluster move too.
        visits = records.groupby("pupil")["la_code"].transform("nunique") > 1
        records = records[~visits]
    cells = compress_paths(records, unit="pupil", outcomes=["absence"])
    fit = fitter(cells)
    terms = np.arange(len(fit.terms))
    actual = permute_paths(fit, fit.panel.cohort[None], terms)
    assert actual.outcome[0] == pytest.approx(fit.estimate, **EXACT)
    assert actual.planted[0] == pytest.approx(1.0, rel=1e-9)
    squares = (fit.scores**2).sum(axis=0)
    if moving == 0:
        assert actual.square_outcome[0] == pytest.approx(squares, **EXACT)
    else:
        # With a quarter moving, contributions by cluster are near those of the fit, not the same.
        assert actual.square_outcome[0] == pytest.approx(squares, rel=0.5)
    dealt, _ = allocations(fit.panel.cohort, np.zeros(len(fit.panel.cohort), dtype=int), 5, 2)
    found = permute_paths(fit, dealt, terms)
    compared = 0
    for row, cohorts in enumerate(dealt):
        starts = dict(zip(fit.panel.clusters, np.where(np.isinf(cohorts), np.nan, cohorts), strict=True))
        clusters = cells.clusters.assign(cohort=cells.clusters["cluster"].map(starts).astype(float))
        try:
            again = fitter(replace(cells, clusters=clusters))
        except DesignError:
            assert np.isnan(found.outcome[row]).any()
            continue
        expected = dict(zip(again.terms["event_time"].fillna(0), again.estimate, strict=True))
        for term, time in enumerate(fit.terms["event_time"].fillna(0)):
            if time in expected:
                assert found.outcome[row, term] == pytest.approx(expected[time], **EXACT)
                compared += 1
    assert compared >= len(terms)


def test_few_treated_areas_with_pupil_effects_get_permutation():
    records = draw_records(12, pupils=200, clusters=20, treated=3)
    cells = compress_paths(records, unit="pupil", outcomes=["absence"])
    fit = fit_event_study_paths(cells)
    found = infer_paths(fit, draws=499).frame
    assert set(found["inference"]) == {"permutation"}
    assert (found["draws"] == 499).all()
    assert ((found["p_value"] > 0) & (found["p_value"] <= 1)).all()
    again = infer_paths(fit, draws=499).frame
    pd.testing.assert_frame_equal(found, again)
    # Dealt inside regions, three starts among six areas a region leave fewer than twenty ways.
    few = infer_paths(fit, regions=np.minimum(np.arange(20), 4) % 5, draws=499).frame
    assert set(few["inference"]) == {"none"}
    assert few["note"].str.contains("ways to deal the starts out").all()


def test_one_treated_area_in_a_small_region_is_dealt_out_over_all_of_them():
    frame = made_up(areas=40, share_treated=1 / 40, regions=5, starts=(2019.0,))
    own = frame.loc[frame["cohort"].notna(), "region"].iloc[0]
    inside = frame.loc[frame["region"] == own, "area"].nunique()
    assert inside < 20
    found = group_time(as_cells(frame), within="region").headline().query("term == 'overall'").iloc[0]
    assert found["inference"] == "permutation"
    assert found["draws"] == 40  # every area in turn
    assert f"over all regions: inside them there are only {inside} ways" in found["note"]
    assert np.isfinite([found["ci_low"], found["ci_high"], found["p_value"]]).all()

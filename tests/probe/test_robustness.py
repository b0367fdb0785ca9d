"""Leaving areas out and moving the date: by refitting from rows, and on panels whose truth is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from panels import as_cells, made_up

from sendap.errors import DesignError, UsageError
from sendap.estimators import fit_event_study, fit_group_time, fit_two_way
from sendap.probe.robustness import before_treatment, leave_one_out, placebo_dates


def overall(fit) -> float:
    return float(fit.estimate[fit.terms.index[fit.terms["term"] == "overall"][0]])


@pytest.mark.parametrize("fitter", [fit_two_way, fit_group_time])
def test_each_row_is_a_fit_without_that_area(fitter):
    cells = as_cells(made_up(areas=16, seed=3, regions=1))
    found = leave_one_out(fitter(cells.panel()))
    assert sorted(found.areas["cluster"]) == sorted(cells.frame["cluster"].unique())
    for row in found.areas.itertuples():
        again = fitter(cells.without_clusters([row.cluster]).panel())
        assert row.estimate == pytest.approx(overall(again), rel=1e-8)
        assert row.change == pytest.approx(row.estimate - found.estimate, abs=1e-10)
    assert found.areas["change"].abs().is_monotonic_decreasing


def test_an_area_that_makes_the_finding_is_named_first():
    frame = made_up(areas=40, seed=5, regions=1, starts=(2019.0,))
    frame.loc[(frame["area"] == "A007") & (frame["year"] >= 2019), "y"] += 60
    found = leave_one_out(fit_group_time(as_cells(frame).panel()))
    assert found.areas["cluster"].iloc[0] == "A007"
    assert bool(found.areas["treated"].iloc[0])
    assert found.low <= found.estimate
    assert "Newtown matters most" in found.sentence({"A007": "Newtown"})


def test_a_finding_that_turns_without_one_area_says_so():
    frame = made_up(areas=30, seed=5, regions=1, starts=(2019.0,), share_treated=0.2, effect=-2)
    frame.loc[(frame["area"] == "A002") & (frame["year"] >= 2019), "y"] += 60
    found = leave_one_out(fit_group_time(as_cells(frame).panel()))
    assert found.changes_sign == ("A002",)
    assert "Without A002 it would point the other way" in found.sentence()


def test_an_area_that_cant_be_left_out_comes_last():
    frame = made_up(areas=20, share_treated=0.05, starts=(2019.0,), regions=1)
    found = leave_one_out(fit_group_time(as_cells(frame).panel()))
    assert found.needed == ("A000",)
    assert found.areas["cluster"].iloc[-1] == "A000"
    assert "1 area(s) can't be left out" in found.sentence()


def test_a_fit_without_an_overall_effect_needs_a_term():
    fit = fit_event_study(as_cells(made_up(areas=30, starts=(2019.0,))).panel())
    with pytest.raises(UsageError, match="no overall effect"):
        leave_one_out(fit)
    assert leave_one_out(fit, term=0).estimate == pytest.approx(fit.estimate[0])


def test_placebo_dates_never_see_what_came_after_the_start():
    """A huge effect from one period before the start, as anticipation, leaves every placebo as it was."""
    plain = made_up(areas=40, years=8, starts=(2020.0, 2022.0), seed=9, regions=1)
    changed = plain.assign(y=plain["y"] + 1000.0 * (plain["year"] >= plain["cohort"] - 1))
    calm, loud = (placebo_dates(as_cells(each).panel(), anticipation=1, draws=199).frame for each in (plain, changed))
    assert list(calm["event_time"]) == [-2, -3, -4, -5]
    assert calm["estimate"].to_numpy() == pytest.approx(loud["estimate"].to_numpy(), rel=1e-9)
    assert calm["headline"].all()
    assert set(calm["contrast"]) == {"a start that never was"}


def test_a_placebo_is_a_fit_of_the_earlier_data_with_earlier_starts():
    frame = made_up(areas=40, years=8, starts=(2021.0,), seed=9, regions=1)
    found = placebo_dates(as_cells(frame).panel(), earlier=[2], draws=199).frame
    early = frame[frame["year"] < 2021].assign(cohort=frame["cohort"] - 2)
    assert found["estimate"].item() == pytest.approx(overall(fit_group_time(as_cells(early).panel())), rel=1e-10)
    two_way = placebo_dates(as_cells(frame).panel(), earlier=[2], fitter=fit_two_way, draws=199).frame
    assert two_way["estimate"].item() == pytest.approx(overall(fit_two_way(as_cells(early).panel())), rel=1e-10)


def test_areas_that_moved_apart_before_the_start_are_found():
    frame = made_up(areas=60, years=8, starts=(2021.0,), seed=9, regions=1)
    drifting = frame.assign(y=frame["y"] + 2.0 * (frame["year"] - 2016) * frame["cohort"].notna())
    found = placebo_dates(as_cells(drifting).panel(), draws=199).frame
    # One period of drift is hardly more than the noise of single years; from two on it's plain.
    assert (found.loc[found["event_time"] <= -2, "p_value"] < 0.001).all()
    # Two later periods than the base on average: the drift of one period for each.
    by_shift = found.set_index("event_time")["estimate"]
    assert by_shift[-4.0] == pytest.approx(2.0 * np.mean([1, 2, 3, 4]), abs=1.5)


def test_later_starters_serve_as_untreated_until_their_own_start():
    frame = made_up(areas=40, years=8, share_treated=1.0, starts=(2020.0, 2030.0), seed=9, regions=1)
    fitter = partial(fit_group_time, control="not_yet")
    found = placebo_dates(as_cells(frame).panel(), earlier=[1, 2], fitter=fitter, draws=199).frame
    assert (found["status"] == "ok").all()
    assert (found["treated_clusters"] == 20).all()
    assert np.isinf(before_treatment(as_cells(frame).panel(), earlier=2).cohort).sum() == 20


def test_placebos_that_cant_be_had():
    panel = as_cells(made_up(areas=30, years=4, starts=(2017.0,))).panel()
    with pytest.raises(DesignError, match="fewer than two periods"):
        placebo_dates(panel)
    with pytest.raises(UsageError, match="more than 1"):
        before_treatment(panel, anticipation=1, earlier=1)
    found = placebo_dates(panel, earlier=[5]).frame
    assert found["status"].item() == "not_estimable"
    assert found["note"].item()

"""Changes of a protocol with the result under both, and what the report says of a headline given the past."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from sendap.numerals import show
from sendap.report import board_page, given_past
from sendap.report.checklist import ITEMS
from sendap.report.deviations import NONE, deviations
from sendap.report.probe_words import places_of
from sendap.results import MAIN
from sendap.runs.leading import DIFFERENCES, LEADS, lead_of
from sendap.verdict import confidence, earlier_threat, impact
from tests.panels import as_cells, made_up
from tests.report.test_checklist import with_protocol


def test_each_change_is_told_with_the_result_under_both(evaluated):
    html = deviations(evaluated).html
    primary = evaluated.protocol.primary
    places = places_of(evaluated, primary)
    for name in ("group_time_lagged", "group_time"):
        row = evaluated.rows(primary, estimator=name, term="overall", contrast=MAIN).iloc[0]
        ends = [show(row[name], places) for name in ("estimate", "ci_low", "ci_high")]
        assert "{} ({} to {}; {:.0f} treated areas)".format(*ends, row["treated_clusters"]) in html
    assert "after outcomes were seen" in html
    assert "makes a result exploratory" in html
    assert evaluated.protocol.deviations[0].agreed in re.sub("&#x27;", "'", html)


def test_a_protocol_without_a_change_says_so(evaluated):
    assert NONE in deviations(with_protocol(evaluated, deviations=())).html


def test_the_headline_is_that_of_the_protocol_and_the_difference_in_differences_stands_beside_it(evaluated):
    for outcome in evaluated.outcomes:
        assert evaluated.headline(outcome)["estimator"] == evaluated.lead(outcome)
        assert evaluated.differences(outcome)["estimator"] == "group_time"
    primary = evaluated.protocol.primary
    assert evaluated.given_past(primary)
    assert evaluated.headline(primary)["periods_before"].split(", ")[-2:] == ["2021", "2022"]
    assert not with_protocol(evaluated, headline="group_time").given_past(primary)


def test_an_outcome_with_too_short_a_past_is_led_by_differences(evaluated):
    protocol = evaluated.protocol.model_copy(
        update={"comparison": evaluated.protocol.comparison.model_copy(update={"within": None})}
    )
    long = as_cells(made_up(areas=30, years=6, starts=(2019.0,)))
    short = as_cells(made_up(areas=30, years=4, starts=(2017.0,)))
    assert lead_of(long, protocol, 0) is LEADS["group_time_lagged"]
    for cells, ahead in ((long, 2), (short, 0)):
        found = lead_of(cells, protocol, ahead)
        assert found.name == DIFFERENCES.name
        assert "fewer than 2 periods before treatment" in found.instead


def test_the_checklist_says_what_is_assumed_instead_of_parallel_trends(evaluated):
    said = ITEMS["Parallel trends"](evaluated)
    assert said.startswith("Not assumed. Assumed instead, inside each region: areas with the same figures")
    assert "the same by design" in ITEMS["No anticipation"](evaluated)
    assert "outside the range of all comparison areas" in ITEMS["Overlap"](evaluated)
    assert "Differences in partly exposed periods: " in ITEMS["No anticipation"](evaluated)
    assert "doi:10.1017/pan.2019.25" in ITEMS["Estimator"](evaluated)
    assert "for areas with the same figures in the last two" in ITEMS["Pre-trends"](evaluated)


@pytest.mark.parametrize(("beyond", "words"), [(0, "None of"), (2, "2 of")])
def test_treated_areas_beyond_all_others_are_counted(evaluated, beyond, words):
    cells = evaluated.cells
    frame = cells.frame.copy()
    own = frame["outcome"] == evaluated.protocol.primary.id
    frame.loc[own, "sum"] = frame.loc[own, "weight"] * 50.0
    first = frame.loc[own & frame["cohort"].notna(), "cluster"].unique()[:beyond]
    frame.loc[own & frame["cluster"].isin(first), "sum"] += 10.0
    said = given_past.overlap_words(replace(evaluated, cells=replace(cells, frame=frame)))
    assert words in said


def test_a_verdict_names_whom_the_areas_moved_differently_from(evaluated):
    primary = evaluated.protocol.primary
    trend = evaluated.trends[primary.id]
    moved = replace(trend, p_value=0.001)
    assert trend.lags == 2
    assert "areas with the same recent figures" in impact(evaluated.headline(primary), primary, moved).sentence
    assert "from other areas" in impact(evaluated.headline(primary), primary, replace(moved, lags=0)).sentence
    assert np.isfinite(trend.largest)
    assert given_past.trend_sentence(moved, "2 points").endswith("No effect can be claimed.")


def test_earlier_years_of_areas_given_their_past_are_a_threat_never_low(evaluated):
    primary = evaluated.protocol.primary
    row = evaluated.headline(primary).copy()
    trend = replace(evaluated.trends[primary.id], p_value=0.5, largest=2.0)
    row["estimate"] = 3.0
    assert earlier_threat(row, trend) == "moderate"
    assert earlier_threat(row, replace(trend, largest=3.0)) == "high"
    assert earlier_threat(row, replace(trend, p_value=0.01)) == "high"
    assert earlier_threat(row, replace(trend, periods=0)) is None
    assert earlier_threat(row, None) is None
    given = {"missing_share": 0.0, "overlap_share": 0.0, "break_in_window": False}
    found = confidence(row, 100.0, trends="high", **given)
    assert ("Trends before the start", "high") in found.threats
    assert found.complete
    assert not confidence(row, 100.0, **given).complete
    # The breakdown value is the difference in differences', so it says nothing of this headline.
    assert evaluated.breakdown(primary) is not None
    own = dict(evaluated.confidence.threats)["Trends before the start"]
    assert own == earlier_threat(evaluated.headline(primary), evaluated.trends[primary.id])


def test_zeros_are_marked_at_the_periods_that_there_are(evaluated):
    primary = evaluated.protocol.primary
    assert given_past.past_times(evaluated, primary) == [-3.0, -2.0]
    cells = evaluated.cells
    gap = cells.frame[(cells.frame["period"] != 2021) | (cells.frame["outcome"] != primary.id)]
    assert given_past.past_times(replace(evaluated, cells=replace(cells, frame=gap)), primary) == [-4.0, -2.0]
    plain = with_protocol(evaluated, headline="group_time")
    assert given_past.past_times(plain, primary) == [-2.0]


def test_the_board_is_told_of_a_late_change(evaluated):
    words = "The method was changed after outcomes had been seen"
    assert words in board_page.conclusions(evaluated).html
    assert words not in board_page.conclusions(with_protocol(evaluated, deviations=())).html

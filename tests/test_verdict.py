"""Verdicts are computed: every branch with made-up numbers, and every limit on both of its sides."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendap.probe.trends import TrendCheck
from sendap.protocol import Guard, Outcome
from sendap.verdict import amount, confidence, could_have, decimals, guard, impact, in_every_hundred, show

NAN, INF = float("nan"), float("inf")
CALM = TrendCheck(periods=3, statistic=0.5, p_value=0.7, largest=0.5)
MOVING = TrendCheck(periods=3, statistic=9.0, p_value=0.004, largest=6.2)
BUMPY = TrendCheck(periods=3, statistic=1.0, p_value=0.4, largest=8.0)
FORBIDDEN = ("significan", "proven", "no effect", "no evidence", "trend towards")


def row(estimate, low, high, unit="per cent", **more):
    return pd.Series(
        {
            "estimate": estimate, "ci_low": low, "ci_high": high, "unit": unit, "note": "", "treated_clusters": 32,
            "one_sided_low": low, "one_sided_high": high, **more,
        }
    )  # fmt: skip


def outcome(least=5.0, name="the share of plans in time", **more):
    given = {
        "id": "timely", "dataset": "d", "series": "s", "name": name, "better": "higher", "family": "secondary",
        "population": "p", "why": "w", "smallest_effect": least, **more,
    }  # fmt: skip
    return Outcome(**given)


HARM = Guard(concern="Drift", basis="ours", paragraph="2.71", harm_if="rises", margin=3, reason="r")
FALL = HARM.model_copy(update={"harm_if": "falls"})


@pytest.mark.parametrize(
    ("estimate", "low", "high", "verdict"),
    [
        (10, 6, 14, "changed"),
        (10, 5, 15, "changed"),  # the near bound is the smallest effect itself
        (9.9, 4.9, 14.9, "too_small"),
        (-10, -14, -6, "changed"),
        (-9.9, -14.9, -4.9, "too_small"),
        (2, 1, 3, "too_small"),
        (0, -4.9, 4.9, "little_or_none"),
        (0, -5, 4.9, "cannot_tell"),  # touches the smallest effect
        (0, -4.9, 5, "cannot_tell"),
        (1, 0, 2, "little_or_none"),  # a bound on zero includes no change
        (-1, -2, 0, "little_or_none"),
        (3, 0, 6, "cannot_tell"),
        (1, -12, 14, "cannot_tell"),
        (NAN, NAN, NAN, "not_estimable"),
        (1, NAN, 3, "not_estimable"),
        (1, -INF, INF, "not_estimable"),
    ],
)
def test_the_interval_decides_the_verdict(estimate, low, high, verdict):
    assert impact(row(estimate, low, high), outcome(), CALM).verdict == verdict
    assert impact(row(estimate, low, high), outcome(), None).verdict == verdict


def test_an_effect_is_told_with_its_size_and_both_ends():
    assert impact(row(10, 6, 14), outcome(), CALM).sentence == (
        "The programme raised the share of plans in time by about 10 percentage points (likely between 6 and 14)."
    )
    assert impact(row(-10, -14, -6), outcome(), CALM).sentence == (
        "The programme lowered the share of plans in time by about 10 percentage points (likely between 6 and 14)."
    )


def test_a_change_that_may_be_too_small_is_told_without_naming_a_cause():
    found = impact(row(-2, -3, -1), outcome(), CALM)
    assert found.sentence == (
        "After the programme began, the share of plans in time had fallen by about 2.0 percentage points against "
        "other areas. The change may be too small to matter."
    )


def test_not_knowing_is_told_with_what_could_have_happened():
    found = impact(row(1, -12, 14), outcome(), CALM)
    assert found.sentence == (
        "We can't tell whether the share of plans in time changed because of the programme. It could have fallen by as "
        "much as 12 percentage points or risen by as much as 14 percentage points."
    )
    assert found.because == (
        "The interval, −12 to 14, includes no change and effects larger than 5, the smallest that would matter."
    )


def test_little_or_no_difference_needs_an_interval_inside_the_margin():
    found = impact(row(0.1, -1.2, 1.4), outcome(), CALM)
    assert found.sentence == "The programme made little or no difference to the share of plans in time."
    assert found.because == "The interval, −1.2 to 1.4, lies inside plus or minus 5."


@pytest.mark.parametrize("numbers", [(10, 6, 14), (0, -4, 4), (1, -12, 14), (2, 1, 3)])
def test_areas_on_another_path_before_the_start_outweigh_any_interval(numbers):
    found = impact(row(*numbers), outcome(), MOVING)
    assert found.verdict == "already_moving"
    assert found.sentence.startswith("We can't tell whether the programme changed the share of plans in time.")
    assert "p = 0.004, 3 periods" in found.because


@pytest.mark.parametrize(("p_value", "verdict"), [(0.049, "already_moving"), (0.05, "changed"), (NAN, "changed")])
def test_the_joint_test_counts_below_five_per_cent(p_value, verdict):
    trend = TrendCheck(periods=2, statistic=3.0, p_value=p_value, largest=0.5)
    assert impact(row(10, 6, 14), outcome(), trend).verdict == verdict


@pytest.mark.parametrize(
    ("largest", "verdict"), [(9.99, "changed"), (10.0, "already_moving"), (12.0, "already_moving")]
)
def test_an_effect_no_larger_than_earlier_differences_is_not_claimed(largest, verdict):
    trend = TrendCheck(periods=3, statistic=1.0, p_value=0.4, largest=largest)
    for sign in (1, -1):
        numbers = sorted((sign * 6, sign * 14))
        assert impact(row(sign * 10, *numbers), outcome(), trend).verdict == verdict


def test_earlier_differences_do_not_turn_not_knowing_into_something_else():
    assert impact(row(1, -12, 14), outcome(), BUMPY).verdict == "cannot_tell"
    assert impact(row(0, -4, 4), outcome(), BUMPY).verdict == "little_or_none"


def test_a_missing_estimate_carries_its_reason():
    found = impact(row(NAN, NAN, NAN, note="no treated area has figures"), outcome(), None)
    assert found.because == "no treated area has figures"
    assert impact(row(NAN, NAN, NAN), outcome(), None).because == "no interval could be computed"


def test_a_guard_is_judged_by_its_margin_where_it_has_no_smallest_effect():
    guarded = outcome(None, family="guard", guard=HARM.model_dump())
    assert impact(row(0, -2.9, 2.9), guarded, None).verdict == "little_or_none"
    assert impact(row(0, -2.9, 3.0), guarded, None).verdict == "cannot_tell"


def test_an_exploratory_outcome_without_a_smallest_effect_is_never_called_little_or_none():
    free = outcome(None, family="exploratory")
    assert impact(row(0, -0.1, 0.1), free, None).verdict == "cannot_tell"
    assert impact(row(2, 1, 3), free, None).verdict == "changed"


@given(
    st.floats(-50, 50), st.floats(0.01, 40), st.sampled_from([CALM, MOVING, BUMPY, None]), st.sampled_from([None, 5.0])
)
def test_no_sentence_ever_uses_a_forbidden_word(estimate, half, trend, least):
    family = "secondary" if least else "exploratory"
    found = impact(row(estimate, estimate - half, estimate + half), outcome(least, family=family), trend)
    for word in FORBIDDEN:
        assert word not in found.sentence.lower()
        assert word not in found.because.lower()
    assert found.sentence.endswith(".")
    assert "nan" not in found.sentence
    if found.verdict == "changed":
        assert (estimate - half) * (estimate + half) > 0


@pytest.mark.parametrize(
    ("estimate", "low", "high", "verdict"),
    [
        (-1, -4, 2.99, "no harm beyond the margin"),
        (1, 0.5, 2.99, "no harm beyond the margin"),  # above no change, but inside the margin
        (1, -1, 3, "possible harm"),  # the bound touches the margin
        (0.01, -5, 5, "possible harm"),
        (0, -5, 5, "cannot tell"),
        (-1, -6, 4, "cannot tell"),
        (2, 0.1, 4, "harm"),
        (3, 0.1, 6, "harm"),  # serious only beyond the margin
        (3.01, 0.1, 6, "serious harm"),
        (2, 0, 4, "possible harm"),  # a lower bound on zero isn't above it
        (NAN, NAN, NAN, "cannot tell"),
        (1, NAN, 2, "cannot tell"),
    ],
)
def test_a_guard_has_one_of_five_verdicts(estimate, low, high, verdict):
    assert guard(row(estimate, low, high), HARM, None)[0] == verdict
    # The mirror image: harm if the measure falls.
    assert guard(row(-estimate, -high, -low), FALL, None)[0] == verdict


def test_a_guard_says_its_numbers_and_which_way_they_count():
    verdict, why = guard(row(-2, -5, 1), FALL, None)
    assert verdict == "possible harm"
    assert why == (
        "The estimate points to harm and the bounds don't rule it out (best estimate 2, 95% bounds −1 to 5, margin 3, "
        "all counted so that a fall is above zero)."
    )
    assert guard(row(2, -1, 5), HARM, None)[1].endswith("(best estimate 2, 95% bounds −1 to 5, margin 3).")


def test_areas_already_moving_are_no_evidence_of_safety():
    assert guard(row(-1, -4, 1), HARM, CALM)[0] == "no harm beyond the margin"
    verdict, why = guard(row(-1, -4, 1), HARM, MOVING)
    assert verdict == "cannot tell"
    assert why.startswith("Areas were already moving differently before the start")


@given(st.floats(-20, 20), st.floats(0.01, 20))
def test_no_guard_is_called_safe_unless_its_upper_bound_is_inside_the_margin(estimate, half):
    verdict, _ = guard(row(estimate, estimate - half, estimate + half), HARM, None)
    assert (verdict == "no harm beyond the margin") == (estimate + half < 3)
    if verdict in ("harm", "serious harm"):
        assert estimate - half > 0


@pytest.mark.parametrize(
    ("error", "places"),
    [
        (25, 0), (10, 0), (9.9, 0), (1, 0), (0.99, 1), (0.1, 1), (0.099, 2), (0.01, 2), (0.001, 3), (0.00001, 3),
        (0, 1), (-1, 1), (NAN, 1), (INF, 1),
    ],
)  # fmt: skip
def test_decimals_show_one_figure_of_the_standard_error(error, places):
    assert decimals(error) == places


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (1234.5, 1, "1,234.5"), (-0.04, 1, "0.0"), (-0.06, 1, "−0.1"), (-1234, 0, "−1,234"), (0, 0, "0"),
        (-0.0, 2, "0.00"), (2.675, 0, "3"),
    ],
)  # fmt: skip
def test_numbers_have_a_true_minus_and_never_a_minus_zero(value, places, text):
    assert show(value, places) == text


@given(st.floats(-1e6, 1e6), st.integers(0, 3))
def test_a_shown_number_reads_back_to_its_rounding(value, places):
    back = float(show(value, places).replace("−", "-").replace(",", ""))
    # Half a unit of the last place, and the noise of binary fractions.
    assert abs(back - value) <= 0.5 * 10**-places + 1e-9 * abs(value)


@pytest.mark.parametrize(
    ("value", "unit", "places", "text"),
    [
        (1, "per cent", 0, "1 percentage point"), (1, "per cent", 1, "1.0 percentage points"),
        (-3, "per cent", 0, "3 percentage points"), (2.5, "points", 1, "2.5 points"), (-1200, "pounds", 0, "£1,200"),
        (2, "days", 0, "2 days"),
    ],
)  # fmt: skip
def test_an_amount_has_its_unit_and_no_sign(value, unit, places, text):
    assert amount(value, unit, places) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-8, 13, "fallen by as much as 8 percentage points or risen by as much as 13 percentage points"),
        (0, 6, "risen by between 0 and 6 percentage points"),
        (-6, 0, "fallen by between 0 and 6 percentage points"),
        (2, 6, "risen by between 2 and 6 percentage points"),
        (-6, -2, "fallen by between 2 and 6 percentage points"),
    ],
)
def test_what_an_interval_leaves_open_is_said_in_words(low, high, text):
    assert could_have(low, high, "per cent", 0) == text


@pytest.mark.parametrize(
    ("estimate", "low", "high", "unit", "counted", "text"),
    [
        (3.2, 0, 6.4, "per cent", "plans", "Our best estimate is about 3 more in every 100 plans."),
        (-3.2, -6.4, 0, "per cent", "plans", "Our best estimate is about 3 fewer in every 100 plans."),
        (0.2, -6, 6.4, "per cent", "plans", "Our best estimate is no difference in every 100 plans."),
        (3.2, 0, 6.4, "pounds", "plans", ""),
        (3.2, 0, 6.4, "per cent", None, ""),
        (NAN, NAN, NAN, "per cent", "plans", ""),
    ],
)
def test_percentage_points_are_told_in_children_too(estimate, low, high, unit, counted, text):
    assert in_every_hundred(row(estimate, low, high, unit), counted) == text


def word(half=1.0, treated=32, missing=0.0, overlap=0.0, broken=False, breakdown=2.0, least=5.0):
    return confidence(
        row(0, -half, half, treated_clusters=treated), least,
        missing_share=missing, overlap_share=overlap, break_in_window=broken, breakdown=breakdown,
    )  # fmt: skip


def test_a_difference_in_differences_is_at_most_moderate():
    found = word()
    assert (found.score, found.word, found.words, found.drops) == (3, "Moderate", "Moderate", 0)
    assert [score for _, score in found.parts] == [3, 5, 5]


@pytest.mark.parametrize(
    ("ratio", "score"),
    [(0.5, 5), (0.51, 4), (1, 4), (1.01, 3), (1.5, 3), (1.51, 2), (2, 2), (2.01, 1), (3, 1), (3.01, 0)],
)
def test_precision_is_the_half_width_against_the_smallest_effect(ratio, score):
    assert word(half=ratio * 5).parts[1][1] == score
    assert word(half=ratio * 5).score == min(score, 3)


@pytest.mark.parametrize(
    ("share", "score"),
    [(0, 5), (0.1, 5), (0.11, 4), (0.2, 4), (0.21, 3), (0.3, 3), (0.31, 2), (0.4, 2), (0.41, 1), (0.5, 1), (0.51, 0)],
)
def test_missing_figures_lower_the_data_score(share, score):
    assert word(missing=share).parts[2][1] == score


@pytest.mark.parametrize(
    ("what", "level"),
    [
        ({"overlap": 0.24}, "low"), ({"overlap": 0.25}, "moderate"), ({"overlap": 0.49}, "moderate"),
        ({"overlap": 0.5}, "high"), ({"broken": True}, "moderate"), ({"broken": False}, "low"),
        ({"treated": 13}, "low"), ({"treated": 12}, "moderate"), ({"treated": 6}, "moderate"), ({"treated": 5}, "high"),
        ({"breakdown": 1.0}, "low"), ({"breakdown": 0.99}, "moderate"), ({"breakdown": 0.5}, "moderate"),
        ({"breakdown": 0.49}, "high"),
    ],
)  # fmt: skip
def test_each_threat_has_its_limits(what, level):
    names = {"overlap": 0, "broken": 1, "treated": 2, "breakdown": 3}
    found = word(**what)
    assert found.threats[names[next(iter(what))]][1] == level
    assert [each for position, (_, each) in enumerate(found.threats) if position != names[next(iter(what))]] == [
        "low"
    ] * 3


@pytest.mark.parametrize(
    ("threats", "drops", "score", "words"),
    [
        ({"overlap": 0.3}, 0, 3, "Moderate"),
        ({"overlap": 0.3, "broken": True}, 0, 3, "Moderate"),  # two moderate of unknown direction
        ({"overlap": 0.3, "broken": True, "treated": 9}, 1, 2, "Low"),
        ({"overlap": 0.3, "broken": True, "treated": 9, "breakdown": 0.7}, 1, 2, "Low"),
        ({"treated": 4}, 1, 2, "Low"),
        ({"treated": 4, "broken": True}, 1, 2, "Low"),
        ({"treated": 4, "broken": True, "overlap": 0.3}, 2, 1, "Very low"),
        ({"treated": 4, "overlap": 0.6}, 2, 1, "Very low"),
        ({"treated": 4, "overlap": 0.6, "breakdown": 0.1}, 2, 1, "Very low"),
    ],
)
def test_threats_drop_the_score_by_the_rule_of_the_standard(threats, drops, score, words):
    found = word(**threats)
    assert (found.drops, found.score, found.word) == (drops, score, words)


def test_the_score_never_falls_below_nothing():
    found = word(half=100, treated=4, overlap=0.6)
    assert (found.score, found.word, found.drops) == (0, "Very low", 2)


def test_the_word_is_an_upper_bound_while_a_threat_is_not_assessed():
    found = word(breakdown=None)
    assert (found.complete, found.words) == (False, "Moderate at most")
    assert len(found.threats) == 3


def test_without_an_interval_precision_scores_nothing_and_says_so():
    found = confidence(row(1, NAN, NAN), 5.0, missing_share=0, overlap_share=0, break_in_window=False, breakdown=2.0)
    assert found.parts[1] == ("Precision: no interval could be computed", 0)
    assert found.score == 0

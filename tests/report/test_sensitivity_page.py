"""Whether to believe it: sentences whose numbers are those of the probes, and answers that follow from them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sendap.report import doubts, probe_words, sensitivity_page
from sendap.report.figures import ALT_LIMIT
from sendap.verdict import probed_threats

SECTIONS = (
    "every_outcome", "confidence_parts", "headings", "drift", "robust", "placebo_dates", "fake_programmes",
    "placebo_outcomes", "curve", "forms", "anticipation", "spillover", "single_areas", "mixture", "composition",
    "detectable",
)  # fmt: skip
FORBIDDEN = ("no effect", "significant", "proven", "BAME", " nan", ">nan")


def alter(evaluated, name, **changes):
    outcome = evaluated.protocol.primary.id
    probes = {**evaluated.probes, outcome: {**evaluated.probes[outcome], name: changes}}
    return replace(evaluated, probes=probes)


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_stands_with_its_probe_and_without(evaluated, section):
    full = getattr(sensitivity_page, section)(evaluated).html
    assert len(full) > 60
    bare = getattr(sensitivity_page, section)(replace(evaluated, probes={})).html
    assert bare
    for html in (full, bare):
        plain = re.sub(r"base64,[^\"]*", "", html)
        for word in FORBIDDEN:
            assert word not in plain, word
        for alt in re.findall(r'<img alt="([^"]*)"', html):
            assert 40 < len(alt) <= ALT_LIMIT
    # A figure comes with its table and file.
    assert full.count("<img ") == full.count("<details>")


def test_the_summary_counts_what_could_change_the_answer(evaluated):
    html = doubts.summary(evaluated).html
    found = doubts.doubts(evaluated, evaluated.protocol.primary)
    assert len(found) == 10
    assert {answer for _, _, answer in found} <= {"no", "perhaps", "yes", "can't tell"}
    open_to = sum(answer in ("yes", "perhaps") for _, _, answer in found)
    words = f"Of 10 doubts, {open_to} could change the answer." if open_to else "None of 10 doubts"
    assert words in html
    assert "Synthetic data, not a finding" in html


@pytest.mark.parametrize(
    ("claimed", "sides", "answer"),
    [
        (1, {1}, "no"), (1, {1, 0}, "perhaps"), (1, {0}, "perhaps"), (1, {1, -1}, "yes"), (1, {-1}, "yes"),
        (0, {0}, "no"), (0, {0, 1}, "perhaps"), (0, {-1}, "perhaps"), (0, {0, 1, -1}, "yes"), (0, set(), "can't tell"),
    ],
)  # fmt: skip
def test_an_answer_changes_where_intervals_tell_another_story(claimed, sides, answer):
    assert probe_words.changes_answer(claimed, sides) == answer


def test_sides_of_zero():
    rows = [{"low": 1, "high": 2}, {"low": -2, "high": -1}, {"low": -1, "high": 1}, {"low": None, "high": None}]
    assert probe_words.sides(rows) == {1, -1, 0}
    assert probe_words.sides(rows[3:]) == set()


def test_a_drift_is_told_with_what_it_leaves(evaluated):
    primary = evaluated.protocol.primary
    estimate = evaluated.headline(primary)["estimate"]
    found = {"slope": 0.5, "level": 1.0, "expected": 1.5, "estimate": estimate, "largest": 4.0, "points": 6}
    wide = alter(evaluated, "drift", **found, rest=2.0, rest_low=-1.0, rest_high=5.0)
    assert "Allowing for that drift, it could be a rise or a fall." in probe_words.drift_words(wide, primary)
    clear = alter(evaluated, "drift", **found, rest=-2.0, rest_low=-3.0, rest_high=-1.0)
    assert "That is a fall even when the drift is allowed for." in probe_words.drift_words(clear, primary)
    assert "4.0 percentage points" in probe_words.drift_words(clear, primary)
    part = alter(evaluated, "drift", **{**found, "estimate": estimate + 3}, rest=2.0, rest_low=-1.0, rest_high=5.0)
    assert "over the years that at least six areas have reached" in probe_words.drift_words(part, primary)


def test_a_missing_probe_says_why_with_the_outcome_in_words(evaluated):
    primary = evaluated.protocol.primary
    found = alter(evaluated, "forms", reason=f"'{primary.id}' never varies.")
    assert probe_words.forms_words(found, primary) == f"{primary.heading} never varies."


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0%"), (0.001, "under 1%"), (0.5, "50%"), (0.999, "over 99%"), (1 - 1e-12, "100%"), (1, "100%")],
)
def test_shares_never_round_to_all_or_nothing(value, text):
    assert probe_words.share(value) == text


def test_threats_follow_from_the_probes(evaluated):
    row = evaluated.headline(evaluated.protocol.primary).copy()
    row[["estimate", "ci_low", "ci_high"]] = [2.0, -2.0, 6.0]  # half-width 4
    ahead = [
        {"anticipation": 0, "headline": False, "estimate": 90.0},
        {"anticipation": 1, "headline": True, "estimate": 2.0},
    ]

    def levels(later, other, composition=None, **options):
        probes = {
            "anticipation": {"rows": [*ahead, {"anticipation": 2, "headline": False, "estimate": later}]},
            "donut": {"rows": [{"estimate": 2.0}, {"estimate": other}, {"estimate": None}]},
            "composition": {"threat": composition},
        }
        return dict(probed_threats(probes, row, **{"registered": True, **options}))

    assert levels(4.0, 4.1, "low") == {
        "Anticipation": "low", "Spillover": "moderate", "Composition": "low", "Deviations from the protocol": "low",
    }  # fmt: skip
    assert levels(-2.1, -1.9)["Anticipation"] == "high"
    assert levels(-2.1, -1.9)["Spillover"] == "moderate"
    assert levels(None, None) == {
        "Anticipation": None, "Spillover": None, "Composition": None, "Deviations from the protocol": "low",
    }  # fmt: skip
    assert levels(2, 2, registered=False)["Deviations from the protocol"] == "moderate"
    assert levels(2, 2, deviations=1)["Deviations from the protocol"] == "moderate"
    assert dict(probed_threats({}, row, registered=True))["Spillover"] is None


def test_confidence_shows_every_threat_of_the_standard(evaluated):
    names = [name for name, _ in evaluated.confidence.threats]
    assert names == [
        "Overlap with other programmes", "Data break inside the window", "Number of treated areas",
        "Trends before the start", "Anticipation", "Spillover", "Composition", "Deviations from the protocol",
    ]  # fmt: skip
    html = sensitivity_page.confidence_parts(evaluated).html
    assert all(name in html for name in names)
    assert not evaluated.confidence.complete
    assert "not assessed" in html

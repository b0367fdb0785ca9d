"""Comparison groups as a reader sees them: names, numbers that the results hold, and what they can't say."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
from comparison.made import from_values, one_start

from sendap.comparison import balance, entropy_balance, match, overlap, profiles
from sendap.report.comparison_tables import (
    balance_table,
    chosen_table,
    comparison_section,
    effective_controls,
    left_out_table,
    overlap_words,
)


def named():
    cells = one_start(areas=24, seed=4)
    names = {code: f"Town <{code}>" for code in cells.clusters["cluster"]}
    return replace(cells, clusters=cells.clusters.assign(name=cells.clusters["cluster"].map(names)))


def test_the_balance_table_holds_the_numbers_of_the_result():
    found = balance(entropy_balance(profiles(named())))
    html = balance_table(found, pilot="AA", outcome="outcome y").html
    (shown,) = pd.read_html(StringIO(html.replace("−", "-")))
    assert shown["Treated areas"].tolist() == [round(value, 2) for value in found.table["treated"]]
    assert shown["Difference after"].tolist() == [0.0, 0.0]
    assert shown["Balance"].tolist() == ["good", "good"]
    assert "aa-balance.csv" in html
    assert f"worth {found.effective_controls:.0f} areas" in str(effective_controls(found))


def test_comparison_areas_are_named_with_whom_they_stand_for_and_escaped():
    group = match(profiles(named()), nearest=1)
    html = chosen_table(group, pilot="AA").html
    first = group.controls[0]
    assert f"Town &lt;{first}&gt;" in html
    assert "<A0" not in html
    for treated in group.chosen.loc[group.chosen["comparison"] == first, "treated"]:
        assert f"Town &lt;{treated}&gt;" in html
    short = str(chosen_table(entropy_balance(profiles(named())), pilot="AA", shown=3))
    assert "The 3 comparison areas that count most" in short
    assert "more make up the other" in short


def test_areas_left_out_are_named_by_reason():
    found = from_values(np.array([[0.0], [50.0]]), np.array([[0.0], [0.5], [1.0]]))
    group = match(found, distance="euclid", caliper=0.5)
    assert "No untreated area near enough" in str(left_out_table(group, pilot="AA"))
    assert "T01" in str(left_out_table(group, pilot="AA"))
    section = str(
        comparison_section(
            group, balance(group), overlap(found), pilot="AA", outcome="outcome y", before="2016 to 2018"
        )
    )
    assert "The effect is that on the 1 of 2 treated areas that could be compared." in section
    assert "chosen on figures of 2016 to 2018 only" in section
    assert "taken as given" in section
    assert str(left_out_table(match(profiles(named())), pilot="AA")) == "No area was left out."


def test_overlap_is_said_in_words():
    others = np.random.default_rng(3).normal(0, 1, (60, 1))
    found = overlap(from_values(np.array([[0.0], [0.4], [-0.5], [1.0], [6.0]]), others))
    said = str(overlap_words(found, {"T04": "Far & Away"}))
    assert "1 treated area lies outside the range of the others (20% of the treated): Far & Away." in said
    apart = overlap(from_values(np.array([[10.0], [11.0]]), np.array([[0.0], [1.0], [2.0]])))
    assert "apart completely" in str(overlap_words(apart))
    inside = overlap(profiles(named()))
    assert ("Every treated area lies inside" in str(overlap_words(inside))) == (not inside.outside)

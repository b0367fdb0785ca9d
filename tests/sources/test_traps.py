"""Facts of the published tables that mislead whoever doesn't know them: for each, the guard, or a test here.

``GUARDED`` names the test that already holds a fact and the mechanism it exercises; what has no test elsewhere is
tested below.
"""

from __future__ import annotations

import ast
from functools import cache
from itertools import islice
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

from sendap.drafting.draft import draft
from sendap.drafting.opening import open_file
from sendap.errors import DataError
from sendap.groups import ethnicity, read_ethnicity
from sendap.periods import Month, PeriodKind
from sendap.sources.read import read_series
from sendap.sources.tables import read_text

TESTS = Path(__file__).resolve().parents[1]

GUARDED = {
    "means of timeliness, programme and other areas, are the known ones (keep_todays_boundaries)": (
        "sources/test_read.py", "test_with_abolished_areas_counted_the_means_are_those_of_the_readme"),
    "a naive before and after changes its sign with the base year (probe.trends, estimators)": (
        "sources/test_read.py", "test_a_naive_before_and_after_changes_its_sign_with_the_base_year"),
    "the tribunal table swaps the codes of two areas (read_tribunal_table joins by name)": (
        "sources/test_tribunal.py", "test_printed_codes_are_wrong_for_five_areas_and_names_are_used"),
    "and their decisions of 2024 (Doubtful in the catalogue)": (
        "sources/test_tribunal.py", "test_their_decisions_of_2024_are_swapped_by_the_publisher_and_so_are_left_out"),
    "labels of ethnic groups drift (groups.read_ethnicity)": (
        "test_groups.py", "test_every_label_of_the_published_files_is_known"),
    "gender in older files, sex in newer (groups.sex)": ("test_groups.py", "test_sex_of_new_and_older_files"),
    "a series reads one row of everyone (select, check_key)": (
        "sources/test_read.py", "test_totals_are_never_mixed_with_their_parts"),
    "margins aren't crossed (Cells.margins)": ("disparity/test_real.py", "test_margins_are_never_crossed"),
    "authorities were abolished and made (Places.keep_todays_boundaries)": (
        "sources/test_read.py", "test_boundary_changes_are_set_aside_with_their_reasons"),
    "one area under two codes (Places.canonical)": (
        "sources/test_read.py", "test_buckinghamshire_and_somerset_are_one_area_under_both_their_codes"),
    "the tool writes one sign for every missing value (symbols of the catalogue)": (
        "sources/test_read.py", "test_every_missing_value_of_the_tool_is_one_sign"),
    "a bare school year of the tool names its end (periods.parse_lait)": (
        "sources/test_read.py", "test_years_of_the_tool_are_those_in_which_they_start"),
    "programmes overlap (exposure.overlaps)": (
        "test_exposure.py", "test_overlaps_of_the_change_programme_name_areas_of_both"),
    "SAFE lies inside APST (exposure.overlaps)": (
        "test_exposure.py", "test_every_area_of_the_safe_taskforces_is_also_in_the_ap_taskforces"),
    "Delivering Better Value lists three of its areas (Rollout.complete)": (
        "test_catalog.py", "test_rollouts_have_the_published_numbers_of_areas"),
    "a window over a break must declare it (protocol.problems_with)": (
        "test_bad_input.py", "test_a_broken_protocol_or_rollout_is_refused_by_file_and_field"),
}  # fmt: skip


@cache
def names_of_tests(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("file", "test"), GUARDED.values(), ids=GUARDED)
def test_the_guard_of_a_known_trap_is_tested(file, test):
    assert test in names_of_tests(TESTS / file)


# Breaks and the pandemic.


@pytest.mark.parametrize(
    ("series", "breaks"),
    [
        ("plans_within_20_weeks_all", {"sen2_person_level"}),
        ("requests_refused", {"sen2_person_level"}),
        ("absence_special", {"absence_pandemic", "absence_codes_2024"}),
        ("key_stage_2_plan", {"key_stage_2_pandemic"}),
        ("attainment_8_plan", {"key_stage_4_pandemic"}),
    ],
)
def test_series_name_the_breaks_that_they_cross(catalog, series, breaks):
    found = set(catalog.dataset("lait").find_series(series).breaks)
    assert breaks <= found
    assert found <= set(catalog.breaks)


@pytest.mark.parametrize(
    ("name", "month"),
    [
        ("sen2_person_level", Month.of(2023, 1)), ("absence_pandemic", Month.of(2020, 3)),
        ("key_stage_2_pandemic", Month.of(2020, 3)), ("key_stage_4_pandemic", Month.of(2020, 3)),
    ],
)  # fmt: skip
def test_breaks_lie_in_the_months_of_the_change(catalog, name, month):
    assert catalog.breaks[name].month == month


@pytest.mark.real_data
def test_years_of_the_pandemic_are_missing_where_nothing_was_measured(catalog, real_data):
    """No key stage 2 tests in 2020 and 2021 (school years from 2019 and 2020): gaps, never zeros."""
    frame = read_series(catalog, "lait", "key_stage_2_plan", real_data).frame
    pandemic = frame[frame["period"].isin([2019, 2020])]
    assert len(pandemic) == 300
    assert pandemic["value"].isna().all()
    assert pandemic["reason"].str.startswith("not given").all()
    assert frame.loc[frame["period"] == 2018, "value"].notna().sum() > 100


# Programmes.


@pytest.mark.parametrize(
    ("programme", "starts"),
    [
        ("CP", {"2023-09": 32}),
        ("APST", {"2021-11": 21}),
        ("SAFE", {"2022-11": 10}),
        ("SV", {"2021-03": 5, "2022-03": 9, "2023-03": 20, "2024-03": 4}),
    ],
)
def test_programmes_start_in_the_months_of_the_public_sources(catalog, programme, starts):
    found = pd.Series([area.started for area in catalog.rollout(programme).areas]).value_counts()
    assert found.to_dict() == starts


# Small cells.


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "column", "cells", "share"),
    [("newplans.csv.gz", "new_ehc_plans", 2425, 0.580), ("assessments.csv.gz", "assess_in_year", 2536, 0.583)],
)
def test_most_areas_have_fewer_than_ten_children_of_most_ethnic_groups(real_data, file, column, cells, share):
    """Published unsuppressed, so nothing may be shown by area and group before the workbench's own control.

    The guard is the control of small numbers on cells; see test_an_area_row_says_too_few_more_often_than_not.
    """
    table = read_text(real_data / "ehc_plans_2025" / file)
    area = (table["geographic_level"] == "Local authority") & (table["time_period"] == "2024")
    groups = table[area & (table["breakdown_topic"] == "Ethnicity")]
    counts = pd.to_numeric(groups[column], errors="coerce")
    assert len(counts) == cells
    assert counts.notna().all()
    assert (counts < 10).mean() == pytest.approx(share, abs=0.0005)  # given to three decimals
    assert "test_an_area_row_says_too_few_more_often_than_not" in names_of_tests(TESTS / "disparity" / "test_real.py")


# Margins.


@pytest.mark.real_data
def test_adding_up_all_rows_of_an_area_counts_each_child_several_times(catalog, real_data):
    """Four margins with all children each: whoever adds up the column gets four times the plans."""
    table = read_text(real_data / "ehc_plans_2025" / "newplans.csv.gz")
    area = table[(table["geographic_level"] == "Local authority") & (table["time_period"] == "2024")]
    everything = pd.to_numeric(area["new_ehc_plans"], errors="coerce").sum()
    measured = read_series(catalog, "ehc-plans-2025", "new_plans_placement_unknown", real_data).frame
    right = measured.loc[measured["period"] == 2024, "denominator"].sum()
    assert (everything, right) == (390_988, 97_747)


# Ethnic groups.


@pytest.mark.parametrize(
    ("older", "newer", "name"),
    [
        ("Mixed - White and Asian", "Mixed - white and Asian", "Mixed White and Asian"),
        ("Asian - Chinese", "Chinese", "Chinese"),
        ("White - Traveller of Irish heritage", "White - traveller of Irish heritage", "Irish Traveller"),
    ],
)
def test_a_group_whose_label_drifts_stays_one_group(older, newer, name):
    assert read_ethnicity(older).minor == read_ethnicity(newer).minor == name
    assert ethnicity(pd.Series([older, newer])).nunique() == 1


@pytest.mark.real_data
def test_the_same_groups_are_found_in_files_of_different_words(real_data):
    """Two publications, no label in common for some groups, and the same groups after reading."""
    plans = read_text(real_data / "ehc_plans_2025" / "newplans.csv.gz")
    plans = plans.loc[plans["breakdown_topic"] == "Ethnicity", "breakdown"].drop_duplicates()
    census = read_text(real_data / "spc_pupils_ethnicity" / "spc_pupils_ethnicity_and_language.csv.gz", nrows=5000)
    census = census["ethnicity"].drop_duplicates()
    assert set(plans) != set(census)
    one, other = (set(ethnicity(labels).dropna()) for labels in (plans, census))
    assert one == other
    assert len(one) == 19


# Files that aren't what they seem.


@pytest.mark.real_data
def test_the_raw_table_of_absence_has_no_heading_and_padded_codes(real_data, catalog, tmp_path):
    """Read with a heading, it would lose its first row; compared as they stand, its codes would match nothing."""
    raw = real_data / "absence_bands_sen_sex_fsm" / "absence_bands_distributions_raw.zip"
    with ZipFile(raw) as archive, archive.open(archive.namelist()[0]) as source:
        (tmp_path / "raw.csv").write_bytes(b"".join(islice(source, 3000)))
    opened = open_file(tmp_path / "raw.csv")
    assert not opened.header
    assert len(opened.table) == 3000
    dataset = draft(opened, catalog.places, folder=".").dataset
    labels = {column.label.removeprefix("Looks like "): column.name for column in dataset.files[0].columns}
    assert {"time_identifier", "time_period", "geographic_level", "country_code", "new_la_code"} <= set(labels)
    codes = opened.table[labels["new_la_code"]]
    filled = codes[codes.str.strip() != ""]
    assert (filled != filled.str.strip()).any()
    assert catalog.places.canonical(filled, where="raw.csv").str.fullmatch(r"E\d{8}").all()


@pytest.mark.real_data
def test_the_crossed_table_of_absence_leaves_out_the_year_of_the_first_closures(real_data):
    """2019/20 isn't there at all, so neighbours in the file aren't neighbours in time."""
    path = real_data / "absence_bands_sen_sex_fsm" / "absence_bands_la_sen_sex_fsm_allyears.csv.gz"
    years = sorted(int(period[:4]) for period in read_text(path)["time_period"].unique())
    assert years == [2016, 2017, 2018, 2020, 2021, 2022]
    assert np.diff(years).max() == 2


def test_a_label_of_a_year_is_never_compared_without_its_kind(catalog):
    """Calendar 2023, school year 2023/24 and financial year 2023-24 are different months."""
    kinds = {series.id: series.period_kind for series in catalog.dataset("lait").series}
    assert kinds["plans_within_20_weeks_all"] is PeriodKind.CALENDAR
    assert kinds["pupils_with_plan"] is PeriodKind.ACADEMIC
    assert kinds["sen_spend"] is PeriodKind.FINANCIAL


@pytest.mark.real_data
def test_codes_of_areas_in_the_tribunal_table_are_those_of_another_area(real_data, catalog):
    """Joined by the printed code, two programmes would swap an area: 873 is Cambridgeshire, 823 isn't."""
    table = read_text(real_data / "send_tribunal_appeal_rate" / "tribunal_la_long_2014_2024.csv")
    swapped = table[table["old_la_code"].isin(["873", "823"])].drop_duplicates("old_la_code")
    printed = dict(
        zip(swapped["old_la_code"], swapped["la_name_raw"].str.replace(r"\d+$", "", regex=True), strict=True)
    )
    assert printed == {"873": "Central Bedfordshire", "823": "Cambridgeshire"}
    right = {code: catalog.places.name_of(code) for code in printed}
    assert right == {"873": "Cambridgeshire", "823": "Central Bedfordshire"}


def test_an_unknown_group_stops_the_work():
    """A new label is never passed over: it would quietly drop children from every disparity."""
    with pytest.raises(DataError, match="isn't a known ethnic group"):
        read_ethnicity("Asian - Nepali")

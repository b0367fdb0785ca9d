"""Descriptions drafted from files: of every published file, read again by the catalogue's own readers; and refusals."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import zipfile
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest

from sendap.catalog import Catalog, Dataset, read_model
from sendap.drafting.compare import compare
from sendap.drafting.draft import draft
from sendap.drafting.opening import open_file, stem
from sendap.drafting.series import rows_of_everyone
from sendap.drafting.wording import in_words
from sendap.errors import DataError, Problems, UsageError
from sendap.runs.describing import add_dataset, compare_files
from sendap.sources.read import read_series
from sendap.sources.stand_in import write_stand_in
from sendap.sources.whole import read_whole
from sendap.workspace import Workspace

META = """col_name,col_type,label,indicator_grouping,indicator_unit,indicator_dp,filter_hint,filter_grouping_column
school_type,Filter,School type,,,,Filter by school type,
ethnicity_major,Filter,Ethnicity,,,,,
enrolments,Indicator,Number of pupil enrolments,Absence,,0,,
sess_overall_percent,Indicator,Overall absence rate,Absence,%,1,,
"""
HEADING = (
    "time_period,time_identifier,geographic_level,country_code,country_name,region_code,region_name,old_la_code,"
    "new_la_code,la_name,school_type,ethnicity_major,enrolments,sess_overall_percent"
)
ENGLAND = "E92000001,England,,,,,"
NORTH_EAST = "E92000001,England,E12000001,North East,,,"
DURHAM = "E92000001,England,E12000001,North East,840,E06000047,County Durham"
HARTLEPOOL = "E92000001,England,E12000001,North East,805,E06000001,Hartlepool"


def rows() -> list[str]:
    made = []
    for year in (202122, 202223):
        for level, place in [
            ("National", ENGLAND), ("Regional", NORTH_EAST), ("Local authority", DURHAM),
            ("Local authority", HARTLEPOOL),
        ]:  # fmt: skip
            for school in ("Total", "Special"):
                for group in ("Total", "White", "Asian / Asian British"):
                    value = "c" if group.startswith("Asian") and level == "Local authority" else f"{len(made) / 10 + 5}"
                    made.append(f"{year},Academic year,{level},{place},{school},{group},{100 + len(made)},{value}")
    return made


@pytest.fixture
def pair(tmp_path):
    """Write a data file and its metadata, changed where a test asks for it; returns the data file."""

    def write(change=None, *, meta=META, name="absence.csv", heading=HEADING, lines=None):
        lines = list(lines if lines is not None else rows())
        if change is not None:
            heading, lines, meta = change(heading, lines, meta)
        path = tmp_path / name
        raw = ("\ufeff" + "\n".join([heading, *lines]) + "\n").encode()
        path.write_bytes(gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw)
        if meta is not None:
            ending = re.sub(r"\.csv(\.gz)?$", ".meta.csv", name)
            (tmp_path / ending).write_text(meta, encoding="utf-8")
        return path

    return write


def without(column):
    def change(heading, lines, meta):
        at = heading.split(",").index(column)
        drop = [
            ",".join(part for number, part in enumerate(line.split(",")) if number != at) for line in [heading, *lines]
        ]
        return drop[0], drop[1:], meta

    return change


def put(column, value, row=3):
    """Another value in one column of one row (row 0 is the first of the data)."""

    def change(heading, lines, meta):
        fields = lines[row].split(",")
        fields[heading.split(",").index(column)] = value
        return heading, [*lines[:row], ",".join(fields), *lines[row + 1 :]], meta

    return change


def in_meta(found, new):
    def change(heading, lines, meta):
        assert found in meta
        return heading, lines, meta.replace(found, new, 1)

    return change


def again(heading, lines, meta):
    return heading, [*lines, lines[5].rsplit(",", 2)[0] + ",1,1"], meta


def catalog_of(catalog, dataset):
    """The catalogue with one dataset, as if its description lay there alone."""
    alone = Catalog(catalog.folder)
    alone.__dict__["datasets"] = {dataset.id: dataset}
    return alone


def drafted(path: Path, catalog, folder: Path, **options) -> Dataset:
    """Draft, write as YAML, and read the YAML again as a description."""
    made = draft(open_file(path), catalog.places, folder=path.parent.relative_to(folder).as_posix(), **options)
    file = folder / "drafted.yaml"
    file.write_text(made.to_yaml(), encoding="utf-8")
    dataset = read_model(Dataset, file)
    assert dataset == made.dataset
    file.unlink()
    return dataset


# What a draft says.


def test_a_draft_says_what_file_and_metadata_say_and_lists_its_guesses(pair, catalog, tmp_path):
    dataset = drafted(pair(), catalog, tmp_path)
    columns = dataset.file("absence.csv").by_name
    assert columns["enrolments"].model_dump(exclude_defaults=True) == {
        "name": "enrolments", "type": "integer", "label": "Number of pupil enrolments", "unit": "count", "minimum": 0,
    }  # fmt: skip
    assert (columns["sess_overall_percent"].type, columns["sess_overall_percent"].unit) == ("number", "per cent")
    assert columns["school_type"].codes == ("Special", "Total")
    assert columns["geographic_level"].codes == ("Local authority", "National", "Regional")
    assert dataset.symbols == {"c": "suppressed for confidentiality"}
    assert dataset.what == "48 rows; Local authority, National, Regional; 202122 to 202223."
    assert (dataset.id, dataset.reader, dataset.access) == ("absence", "ees", "published")
    assert [series.id for series in dataset.series] == ["enrolments", "sess_overall_percent"]
    assert dataset.series[0].select == {"school_type": "Total", "ethnicity_major": "Total"}
    assert dataset.to_confirm == (
        "Title, publisher, licence, access, address and release.",
        "Series are read from the rows where school_type is 'Total', ethnicity_major is 'Total': is that everyone?",
        "What the signs mean: 'c' (suppressed for confidentiality).",
    )
    assert dataset.quirks == ()


def test_a_drafted_description_reads_its_file(pair, catalog, tmp_path):
    dataset = drafted(pair(name="absence.csv.gz"), catalog, tmp_path)
    whole = read_whole(dataset, "absence.csv.gz", tmp_path, catalog.places)
    assert len(whole.frame) == 48
    assert whole.frame["enrolments"].sum() == sum(range(100, 148))
    assert (whole.reasons["sess_overall_percent"] == "suppressed for confidentiality").sum() == 8
    series = read_series(catalog_of(catalog, dataset), "absence", "enrolments", tmp_path)
    assert series.frame[["la_code", "period", "value"]].to_numpy().tolist() == [
        ["E06000001", 2021, 118.0], ["E06000001", 2022, 142.0], ["E06000047", 2021, 112.0], ["E06000047", 2022, 136.0],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda heading, lines, meta: (heading, [*lines, lines[0]], meta), "rows 2, 50: the key is repeated"),
        (put("enrolments", "-5"), "column 'enrolments', row 5: found -5, expected a whole number of at least 0"),
        (put("enrolments", "5.5"), "column 'enrolments', row 5: found 5.5, expected a whole number"),
        (put("school_type", "Nursery"), "column 'school_type', row 5: found 'Nursery', expected one of Special, Total"),
        (put("enrolments", "k"), "column 'enrolments', row 5: found 'k', expected a number or one of the symbols 'c'"),
        (without("school_type"), "lacks the column 'school_type'"),
    ],
    ids=["a key", "a bound", "a whole number", "a label", "a sign", "a column"],
)
def test_a_drafted_description_refuses_a_file_that_breaks_it(pair, catalog, tmp_path, change, said):
    dataset = drafted(pair(), catalog, tmp_path)
    pair(change)
    with pytest.raises(DataError) as caught:
        read_whole(dataset, "absence.csv", tmp_path, catalog.places)
    assert said in str(caught.value)


def test_without_metadata_measures_are_guessed_and_the_guess_is_said(pair, catalog, tmp_path):
    dataset = drafted(pair(meta=None), catalog, tmp_path)
    columns = dataset.file("absence.csv").by_name
    assert columns["enrolments"].label == "Enrolments"
    assert (columns["sess_overall_percent"].type, columns["sess_overall_percent"].unit) == ("number", "per cent")
    assert any("There is no metadata file" in text for text in dataset.to_confirm)
    assert any("'school_type' is a label" in text for text in dataset.to_confirm)


def test_a_file_without_a_heading_gets_names_and_is_read(pair, catalog, tmp_path):
    path = pair(meta=None, heading=rows()[0], lines=rows()[1:])
    dataset = drafted(path, catalog, tmp_path)
    file = dataset.file("absence.csv")
    assert not file.header
    assert [column.name for column in file.columns] == [f"column_{number}" for number in range(1, 15)]
    assert [column.label for column in file.columns[:4]] == [
        "Looks like time_period", "Looks like time_identifier", "Looks like geographic_level",
        "Looks like country_code",
    ]  # fmt: skip
    assert any("has no heading, so its columns are called column_1 to column_14" in text for text in dataset.to_confirm)
    whole = read_whole(dataset, "absence.csv", tmp_path, catalog.places)
    assert (len(whole.frame), list(whole.frame.index[:2])) == (48, [1, 2])


def test_a_file_alone_in_a_zip_is_read_and_two_are_refused(pair, catalog, tmp_path):
    path = pair(meta=None)
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(path, "absence.csv")
    assert len(open_file(packed).table) == 48
    with zipfile.ZipFile(packed, "a") as archive:
        archive.write(path, "second.csv")
    with pytest.raises(DataError, match="can't be read as a table"):
        open_file(packed)


@pytest.mark.parametrize(
    ("frame", "expected", "without"),
    [
        ({"type": ["Total", "Special"], "sex": ["Male", "Total"]}, {"type": "Total", "sex": "Total"}, []),
        ({"topic": ["New plans", "Sex", "Sex"], "part": ["new plans", "Male", "Female"]},
         {"topic": "New plans", "part": "New plans"}, []),
        ({"phase": ["All schools", "Primary"]}, {"phase": "All schools"}, []),
        ({"one": ["six terms", "six terms"]}, {"one": "six terms"}, []),
        ({"group": ["In care", "In need", "In care"]}, {"group": "In care"}, ["group"]),
    ],
    ids=["totals", "a topic and its only category", "all of something", "one label", "nothing of everyone"],
)  # fmt: skip
def test_the_rows_of_everyone(frame, expected, without):
    chosen, lacking = rows_of_everyone(pd.DataFrame(frame), list(frame))
    assert {name: label.lower() for name, label in chosen.items()} == {
        n: label.lower() for n, label in expected.items()
    }
    assert lacking == without


def test_no_series_is_offered_where_no_rows_cover_the_areas(pair, catalog, tmp_path):
    """A filter that splits areas, so that whichever label is chosen leaves most of them out."""
    lines = [
        f"{year},Academic year,Local authority,E92000001,England,E12000001,North East,{area.three_digit_code},"
        f"{area.la_code},\"{area.name}\",Type {number % 3},Total,{number},5.0"
        for year in (202122, 202223) for number, area in enumerate(catalog.places.current[:12])
    ]  # fmt: skip
    dataset = drafted(pair(lines=lines), catalog, tmp_path)
    assert dataset.series == ()
    assert any("cover 8 of 24 areas and periods" in text for text in dataset.to_confirm)


# What is refused, each for its own reason. The sound pair passes, so each reason is that of the one change.


BROKEN = [
    ("a missing column", without("country_code"), "required columns", "the column 'country_code' is missing"),
    ("a missing geographic column", without("region_name"), "geographic columns",
     "rows of level 'Regional' need the column 'region_name'"),
    ("a blank geographic column", put("new_la_code", "", 12), "geographic columns filled",
     "column 'new_la_code', row 14: blank in a row of level 'Local authority'"),
    ("an unknown level", put("geographic_level", "Parish"), "geographic level",
     "row 5: found 'Parish', which isn't a level"),
    ("an unknown kind of period", put("time_identifier", "School year"), "time identifier",
     "row 5: found 'School year', not a kind of period"),
    ("a period of another kind", put("time_period", "2021"), "time period",
     "found '2021', expected six digits of two years that follow"),
    ("years that don't follow", put("time_period", "202124"), "time period", "row 5: found '202124'"),
    ("two families of period", lambda heading, lines, meta: (
        heading, [*lines, lines[0].replace("202122,Academic", "2021,Calendar", 1)], meta), "one kind of period",
     "years of four and of six digits stand in one file"),
    ("an unknown country", put("country_code", "E92000009"), "country code", "row 5: found 'E92000009' with 'England'"),
    ("a region under another's code", put("region_code", "E12000002", 7), "region code",
     "row 9: found 'E12000002' with 'North East', expected 'North West'"),
    ("an unknown local authority", put("new_la_code", "E06000099", 12), "local authority code",
     "row 14: found 'E06000099', not a code of a local authority"),
    ("a row twice", again, "no row twice", "rows 7, 50: the same place, period and filters more than once"),
    ("an obsolete sign", put("enrolments", "~"), "no obsolete symbols", "column 'enrolments': found '~'"),
    ("an old sign", put("enrolments", ".."), "no old symbols", "column 'enrolments': found '..'"),
    ("what a program writes", put("enrolments", "NULL"), "no NULL or NA", "column 'enrolments': found 'NULL'"),
    ("a blank", put("enrolments", ""), "no blanks", "column 'enrolments': found ''"),
    ("text in a number", put("enrolments", "about 60"), "numbers in indicators", "found 'about 60', expected numbers"),
    ("an unknown ethnic group", put("ethnicity_major", "Martian"), "ethnic groups", "found 'Martian'"),
    ("metadata of a column that isn't there", in_meta("enrolments,Indicator", "enrolment,Indicator"),
     "metadata fit the data", "the metadata describe 'enrolment', which the file doesn't have"),
    ("a column without metadata", in_meta("school_type,Filter,School type,,,,Filter by school type,\n", ""),
     "data fit the metadata", "the metadata don't describe 'school_type'"),
    ("metadata twice", in_meta("ethnicity_major,Filter", "school_type,Filter,School type,,,,,\nethnicity_major,Filter"),
     "metadata describe once", "describe 'school_type' more than once"),
    ("an unknown kind of column", in_meta("enrolments,Indicator", "enrolments,Measure"), "kinds of column",
     "found 'Measure', expected Filter or Indicator"),
    ("an unknown unit", in_meta("Absence,%,1", "Absence,percent,1"), "units", "found 'percent'"),
    ("NULL in the metadata", in_meta("Filter by school type", "NULL"), "no NULL or NA in metadata", "hold 'NULL'"),
    ("a name outside the standard", lambda heading, lines, meta: (
        heading.replace("ethnicity_major", "major_ethnicity"), lines,
        meta.replace("ethnicity_major", "major_ethnicity")),
     "harmonised names", "'major_ethnicity' should be called one of 'ethnicity_major'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "rule", "said"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_a_broken_file_is_refused_for_its_own_reason(pair, catalog, change, rule, said):
    with pytest.raises(Problems) as caught:
        draft(open_file(pair(change)), catalog.places, folder=".")
    assert "--anyway" in str(caught.value)
    named = {text.split(":")[0] for text in caught.value.problems}
    assert rule in named
    assert any(said in text for text in caught.value.problems), caught.value.problems
    if rule not in ("metadata fit the data", "kinds of column"):  # the column is then undescribed, which is said too
        assert named == {rule}


@pytest.mark.parametrize(("change", "rule"), [(each[1], each[2]) for each in BROKEN if "symbols" in each[2]])
def test_a_file_of_an_older_release_is_drafted_with_what_it_breaks_listed(pair, catalog, tmp_path, change, rule):
    """Metadata without indicator_dp are of before 2020: rules of today don't refuse the file, they're listed."""
    old = "\n".join(
        ",".join(part for number, part in enumerate(line.split(",")) if number != 5) for line in META.splitlines()
    )
    path = pair(change, meta=old + "\n")
    dataset = drafted(path, catalog, tmp_path)
    assert any(text.startswith(f"{rule}:") for text in dataset.quirks)
    assert len(read_whole(dataset, "absence.csv", tmp_path, catalog.places).frame) == 48


def test_anyway_drafts_what_would_be_refused(pair, catalog, tmp_path):
    dataset = drafted(pair(put("enrolments", "~")), catalog, tmp_path, anyway=True)
    assert dataset.symbols["~"] == "suppressed, or rounds to zero (an obsolete sign)"
    assert dataset.quirks[0].startswith("no obsolete symbols:")


def test_words_outside_the_standard_are_listed_not_refused(pair, catalog, tmp_path):
    dataset = drafted(pair(put("ethnicity_major", "White - Irish")), catalog, tmp_path)
    assert dataset.quirks == (
        "words for ethnic groups: column 'ethnicity_major': 'White - Irish' aren't the standard's words.",
    )


def test_rows_that_are_copies_in_every_column_are_refused(pair, catalog):
    path = pair(lambda heading, lines, meta: (heading, [*lines, lines[0]], None))
    with pytest.raises(DataError, match="rows 2, 50: rows are copies of one another in every column"):
        draft(open_file(path), catalog.places, folder=".")


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("nothing.csv", b"", DataError, "can't be read as a table|is empty"),
        ("heading.csv", b"a,b\n", DataError, "a heading and no rows"),
        ("table.xlsx", b"PK", UsageError, "isn't a CSV file"),
        ("latin.csv", b"a,b\ncaf\xe9,1\n", DataError, "isn't UTF-8"),
        ("broken.csv.gz", b"\x1f\x8b\x08broken", DataError, "can't be read as a table"),
    ],
)
def test_what_is_no_table_is_refused_plainly(tmp_path, name, content, error, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=said):
        open_file(tmp_path / name)


def test_a_file_that_isnt_there_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="doesn't exist"):
        open_file(tmp_path / "nowhere.csv")


# The publishers' own files.

LARGE, FIRST = 30_000, 1_200
"""Bytes from which only the first rows are read here: the rest is alike, and takes minutes."""
WHOLE = ("exclusions_by_reason.csv.gz", "lait_data_dictionary.csv.gz")
READERS = {
    "lait_send_absence_exclusion_long.csv.gz": "lait",
    "SEND_Tribunals_and_appeal_rate_2014-2024.csv": "tribunal",
    "newplans.csv.gz": "ees",
    "sen_la.csv.gz": "ees",
    "sn_model_2025_wide.csv.gz": "table",
    "absence_bands_distributions_raw.zip": "table",
}
REFUSED = {
    "fail_ethnicity_characteristics_filter_wrong_group_and_values.csv": {"groups of characteristics"},
    "fail_no_data_symbols.csv": {"no old symbols"},
    "fail_non_standard_headers.csv": {"harmonised names"},
    "fail_notavailable_symbols.csv": {"no obsolete symbols"},
    "fail_null.csv": {"no NULL or NA", "no NULL or NA in metadata"},
    "fail_roundedzero_symbols.csv": {"no obsolete symbols"},
}


def shortened(path: Path, folder: Path) -> Path:
    """The first rows of a large file, under the same name and with its metadata."""
    if path.stat().st_size < LARGE or path.name in WHOLE or path.suffix == ".csv":
        return path
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as source:
            lines = list(islice(source, FIRST))
        with zipfile.ZipFile(folder / path.name, "w") as archive:
            archive.writestr("first.csv", b"".join(lines))
        return folder / path.name
    with gzip.open(path) as source:
        lines = list(islice(source, FIRST))
    (folder / path.name).write_bytes(gzip.compress(b"".join(lines), compresslevel=1))
    meta = path.with_name(f"{stem(path)}.meta.csv")
    if meta.is_file():
        (folder / meta.name).write_bytes(meta.read_bytes())
    return folder / path.name


@pytest.mark.real_data
def test_every_published_file_is_drafted_and_read_again_by_its_draft(real_data, catalog, tmp_path):
    files = sorted([*real_data.rglob("*.csv"), *real_data.rglob("*.csv.gz"), *real_data.rglob("*.zip")])
    assert len(files) > 50
    readers, offered = {}, {}
    for path in files:
        if path.name in REFUSED:
            continue
        at = shortened(path, tmp_path)
        folder = tmp_path if at != path else real_data
        made = draft(open_file(at), catalog.places, folder=at.parent.relative_to(folder).as_posix())
        (tmp_path / "drafted.yaml").write_text(made.to_yaml(), encoding="utf-8")
        dataset = read_model(Dataset, tmp_path / "drafted.yaml")
        assert dataset == made.dataset
        assert len(read_whole(dataset, at.name, folder, catalog.places).frame) > 0
        for series in dataset.series[:1]:
            frame = read_series(catalog_of(catalog, dataset), dataset.id, series.id, folder).frame
            assert not frame.duplicated(["la_code", "period"]).any()
            assert frame["value"].notna().any() or at != path
        readers[path.name], offered[path.name] = dataset.reader, len(dataset.series)
    assert {name: readers[name] for name in READERS} == READERS
    assert offered["newplans.csv.gz"] == 48
    assert offered["exclusions_by_reason.csv.gz"] == 0  # two authorities of before 2009 have no code


@pytest.mark.real_data
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_files_made_to_fail_are_refused_for_their_own_reason(real_data, catalog, name):
    with pytest.raises(Problems) as caught:
        draft(open_file(real_data / "ees_fixtures" / name), catalog.places, folder="ees_fixtures")
    assert {text.split(":")[0] for text in caught.value.problems} == REFUSED[name]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("pass_ethnicity_meets_standards.csv", []),
        ("pass-warn-api_ethnicity_value_advisory.csv", ["words for ethnic groups"]),
        ("AbsenceSchool_data.csv", []),
    ],
)
def test_files_made_to_pass_are_drafted(real_data, catalog, name, rules):
    made = draft(open_file(real_data / "ees_fixtures" / name), catalog.places, folder="ees_fixtures")
    assert [finding.rule for finding in made.findings] == rules


@pytest.mark.real_data
def test_a_drafted_series_has_the_figures_of_the_catalogues_own(real_data, catalog):
    """The same share from a draft's counts as from the description that was written by hand."""
    path = real_data / "ehc_plans_2025" / "newplans.csv.gz"
    dataset = draft(open_file(path), catalog.places, folder="ehc_plans_2025").dataset
    alone = catalog_of(catalog, dataset)
    known = read_series(catalog, "ehc-plans-2025", "new_plans_in_mainstream", real_data).frame
    part = read_series(alone, dataset.id, "mainstream_total", real_data).frame
    keys = ["la_code", "period"]
    both = known.merge(part, on=keys, suffixes=("", "_drafted"))
    sound = both["numerator"].notna()
    assert sound.sum() > 800
    assert (both.loc[sound, "numerator"] == both.loc[sound, "value_drafted"]).all()


# Two versions of a file.


def changed(heading, lines, meta):
    lines = [line.replace("Asian / Asian British", "Asian or Asian British") for line in lines]
    lines = [line for line in lines if not line.startswith("202122")]
    lines = [line.replace("E06000047,County Durham", "E06000999,County Durham") for line in lines]
    first = lines[0].rsplit(",", 2)
    lines[0] = f"{first[0]},{int(first[1]) + 7},x"
    second = lines[1].rsplit(",", 1)
    lines[1] = f"{second[0]},{float(second[1]) - 2.5}"
    lines.append(lines[3].replace("202223", "202324"))
    heading = heading.replace("enrolments", "enrolments_total")
    meta = meta.replace("enrolments,Indicator", "enrolments_total,Indicator").replace(
        "Overall absence rate", "Absence rate"
    )
    return heading, lines, meta


@pytest.fixture
def versions(pair):
    return open_file(pair(name="absence.csv")), open_file(pair(changed, name="absence.version-2.0.csv"))


def test_what_differs_between_two_versions_is_found(versions):
    found = compare(*versions)
    assert found.columns_renamed == {"enrolments": "enrolments_total"}
    assert (found.columns_added, found.columns_removed) == ([], [])
    assert found.labels == {"sess_overall_percent": ("Overall absence rate", "Absence rate")}
    assert found.options_renamed == {"ethnicity_major": {"Asian / Asian British": "Asian or Asian British"}}
    assert found.codes == {"County Durham": ("E06000047", "E06000999")}
    assert (found.periods_added, found.periods_removed) == (["202324"], ["202122"])
    assert (found.symbols_added, found.symbols_removed) == (["x"], [])
    enrolments, absence = found.values
    assert (enrolments.revised, enrolments.largest, enrolments.hidden) == (1, 7.0, 0)
    assert enrolments.row.startswith(
        "time_period '202223', time_identifier 'Academic year', geographic_level 'National'"
    )
    assert (absence.revised, absence.largest, absence.hidden) == (1, -2.5, 1)
    assert found.rows_matched == 18  # of 24 in one year; the six of the area with a new code aren't the same rows


def test_differences_are_said_in_words(versions):
    said = in_words(compare(*versions), described=False)
    for line in [
        "columns that seem to be renamed: enrolments to enrolments_total",
        "areas with a new code: County Durham: E06000047 to E06000999",
        "labels of ethnicity_major that seem to be renamed: 'Asian / Asian British' to 'Asian or Asian British'",
        "enrolments_total: 1 of 18 figures revised, at most by +7 (time_period '202223'",
        "1 became signs",
        "No description in the catalogue names either file.",
    ]:
        assert line in said


def test_a_file_and_itself_differ_in_nothing(pair):
    one = open_file(pair())
    found = compare(one, one)
    assert not found.any
    assert found.rows_matched == 48
    assert "nothing differs" in in_words(found, described=True)


def test_rows_that_may_be_of_persons_are_never_shown(tmp_path):
    for name, first in (("old.csv", 10), ("new.csv", 90)):
        lines = [f"p{number},{first if number == 3 else 5}" for number in range(9)]
        (tmp_path / name).write_text("\n".join(["pupil,absence", *lines]) + "\n", encoding="utf-8")
    found = compare(open_file(tmp_path / "old.csv"), open_file(tmp_path / "new.csv"))
    assert (found.values[0].revised, found.values[0].largest, found.values[0].row) == (1, 80.0, "")
    assert "p3" not in in_words(found, described=False)


def test_a_column_under_another_name_is_known_by_its_values(pair):
    old = open_file(pair(name="old.csv"))
    new = open_file(pair(lambda h, lines, m: (h.replace("enrolments", "headcount"), lines, None), name="new.csv"))
    assert compare(old, new).columns_renamed == {"enrolments": "headcount"}


@pytest.mark.real_data
def test_the_older_and_the_newer_layout_of_one_return_hold_the_same_figures(real_data):
    """Two releases of the aggregate SEN2 return: 31 measures renamed by guess, and not one figure of them revised."""
    folder = real_data / "ehc_plans_2022"
    found = compare(open_file(folder / "sen2_mi.csv"), open_file(folder / "sen2_mi_release2023_2014_2022.csv"))
    assert found.periods_added == ["2022"]
    assert found.symbols_added == ["x"]
    assert found.columns_renamed["PersonalBudgets"] == "personal_budgets"
    assert found.rows_matched == found.rows_old == 1294
    assert sum(each.compared for each in found.values) > 20_000
    assert [each.measure for each in found.values if each.revised] == []


# The commands.


@pytest.fixture
def sendap(home, tmp_path):
    def run(*arguments):
        environment = {name: value for name, value in os.environ.items() if name != "SENDAP_DATA"}
        return subprocess.run(
            [sys.executable, "-m", "sendap.cli", "catalog", *map(str, arguments)],
            capture_output=True, text=True, env=environment | {"SENDAP_HOME": str(home)}, cwd=tmp_path, timeout=120,
            check=False,
        )  # fmt: skip

    return run


def test_add_writes_into_the_catalogue_once(sendap, pair, home):
    path = pair()
    done = sendap("add", path)
    written = home / "data-catalog" / "datasets" / "absence.yaml"
    assert done.returncode == 0, done.stderr
    assert f"{written}: drafted from absence.csv (48 rows" in done.stdout
    assert (
        f"Put the file where it will be looked for: {home / 'data' / path.parent.name / 'absence.csv'}." in done.stdout
    )
    assert "Guesses to confirm, then remove from to_confirm:" in done.stdout
    assert Catalog(home / "data-catalog").dataset("absence").to_confirm
    with pytest.raises(UsageError, match="is there already"):
        add_dataset(path, Workspace(home))
    (home / "data-catalog" / "datasets" / "lait.yaml").rename(home / "data-catalog" / "datasets" / "tool.yaml")
    with pytest.raises(UsageError, match="has a dataset 'lait' already. Name another with --id"):
        add_dataset(path, Workspace(home), dataset_id="lait")


def test_add_refuses_a_broken_file_and_writes_nothing(sendap, pair, tmp_path):
    done = sendap("add", pair(put("enrolments", "~")), "--out", tmp_path / "x.yaml")
    assert done.returncode == 1
    assert "no obsolete symbols: column 'enrolments'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.yaml").exists()


def test_a_draft_is_left_out_of_synthetic_data_until_it_is_confirmed(pair, home, tmp_path):
    add_dataset(pair(), Workspace(home))
    write_stand_in(Catalog(home / "data-catalog"), tmp_path / "made", datasets=["absence"])
    assert not list((tmp_path / "made").rglob("*.csv"))


def test_diff_ends_with_one_where_a_description_relies_on_what_has_changed(sendap, pair, home):
    old, new = pair(name="absence.csv"), pair(changed, name="absence.version-2.0.csv")
    said, broken = compare_files(old, new, Workspace(home))
    assert not broken
    assert "No description in the catalogue names either file." in said
    add_dataset(old, Workspace(home))
    done = sendap("diff", old, new, "--json")
    assert done.returncode == 1
    content = json.loads(done.stdout)
    assert content["described"] is True
    assert content["values"][0]["largest"] == 7
    assert content["used"] == [
        "absence, absence.csv: column 'enrolments' seems to be called 'enrolments_total' now",
        "absence, absence.csv: label 'Asian / Asian British' of 'ethnicity_major' seems to be 'Asian or Asian British' "
        "now",
        "absence, absence.csv: the sign 'x' isn't described",
    ]  # fmt: skip
    said, broken = compare_files(old, new, Workspace(home))
    assert broken
    assert all(line in said for line in content["used"])
    said, broken = compare_files(old, old, Workspace(home))
    assert not broken
    assert "Nothing that a description in the catalogue relies on has changed." in said

"""Labels of sex and ethnic groups: every label of the published files, order, words."""

from __future__ import annotations

import pandas as pd
import pytest

from sendap import groups
from sendap.cells.moments import ALL
from sendap.cells.moments import UNKNOWN as CELLS_UNKNOWN
from sendap.errors import DataError, UsageError

DRIFT = [
    ("Mixed - White and Asian", "Mixed White and Asian"),
    ("Mixed - white and Asian", "Mixed White and Asian"),
    ("White and Asian", "Mixed White and Asian"),
    ("Asian - Chinese", "Chinese"),
    ("Chinese", "Chinese"),
    ("CHINESE", "Chinese"),
    ("White - Traveller of Irish heritage", "Irish Traveller"),
    ("White - traveller of Irish heritage", "Irish Traveller"),
    ("White - Gypsy/Roma", "Gypsy or Roma"),
    ("Ethnicity Minor Gypsy Roma", "Gypsy or Roma"),
    ("Gypsy or Irish Traveller", "Gypsy or Irish Traveller"),
    ("White: Roma", "Roma"),
    ("Asian - Bangaladeshi", "Bangladeshi"),
    ("Mixed - White and Black Carribean", "Mixed White and Black Caribbean"),
    ("Unclassified", "Unknown"),
    ("Ethnicity Unclassified", "Unknown"),
    ("White - Irish", "White Irish"),
    ("English / Welsh / Scottish / Northern Irish / British", "White British"),
    ("White: English, Welsh, Scottish, Northern Irish or British", "White British"),
    ("Black, Black British, Black Welsh, Caribbean or African: African", "Black African"),
    ("Any other Black / African / Caribbean background", "Any other Black background"),
    ("Other ethnic group: Any other ethnic group", "Any other ethnic group"),
    ("Asian British", "Any other Asian background"),
    ("Black Welsh", "Any other Black background"),
]


@pytest.mark.parametrize(("label", "expected"), DRIFT)
def test_the_drift_of_labels_is_mapped(label, expected):
    found = groups.read_ethnicity(label)
    assert (found.kind, found.minor, found.major) == ("minor", expected, groups.MINORS[expected])


def test_harmonised_names_are_read_as_themselves():
    for name, major in groups.MINORS.items():
        assert groups.read_ethnicity(name).minor == name
        assert groups.read_ethnicity(name).major == major
    for major in groups.MAJORS[:-1]:
        assert groups.read_ethnicity(major) == groups.Ethnicity("major", None, major)


def test_an_unknown_label_is_refused_with_the_nearest():
    with pytest.raises(DataError, match="notes: 'Black Carribiean' isn't a known ethnic group. Did you mean 'Black C"):
        groups.ethnicity(pd.Series(["Chinese", "Black Carribiean"]), where="notes")
    with pytest.raises(DataError, match="'Femalle' isn't a known sex. Did you mean 'Female'"):
        groups.sex(pd.Series(["Femalle"]))
    with pytest.raises(UsageError, match="level"):
        groups.ethnicity(pd.Series(["Chinese"]), level="middle")  # type: ignore[arg-type]


def test_one_margin_is_left_whatever_a_file_mixes():
    mixed = pd.Series(["Total", "Ethnicity Major Asian Total", "Indian", "Chinese", "Ethnicity Minority ethnic pupil"])
    assert groups.ethnicity(mixed).dropna().tolist() == ["Indian", "Chinese"]
    assert groups.ethnicity(mixed, level="major").dropna().tolist() == [groups.ASIAN, groups.ASIAN]
    older = pd.Series(["ASIAN", "BLACK", "CHINESE", "MIXED", "WHITE", "Total", None])
    kept = groups.ethnicity(older, level="major").dropna().tolist()
    assert kept == [groups.ASIAN, groups.BLACK, groups.ASIAN, groups.MIXED, groups.WHITE, "Unknown"]


def test_sex_of_new_and_older_files():
    found = groups.sex(pd.Series(["Male", "Girls", "Boys", "Gender female", "Other", "Unclassified", None, "Total"]))
    assert found[:7].tolist() == ["Male", "Female", "Male", "Female", "Unknown", "Unknown", "Unknown"]
    assert found.isna().tolist() == [False] * 7 + [True]
    crossed = groups.split_sex(
        pd.Series(["Ethnicity Minor Any other black background Female", "Ethnicity Minor Irish Male"])
    )
    assert crossed["sex"].tolist() == ["Female", "Male"]
    assert groups.ethnicity(crossed["label"]).tolist() == ["Any other Black background", "White Irish"]
    with pytest.raises(DataError, match="doesn't end in a sex"):
        groups.split_sex(pd.Series(["Age 10"]))


def test_order_is_alphabetical_with_other_and_unknown_last():
    expected = ["Bangladeshi", "Black Caribbean", "White British", "Any other ethnic group", "Unknown"]
    assert groups.in_order(reversed(expected)) == expected
    assert groups.in_order(reversed(groups.MAJORS)) == list(groups.MAJORS)
    assert groups.in_order(["Unknown", "Other", "b", "A"]) == ["A", "b", "Other", "Unknown"]


def test_words_for_groups_and_words_that_are_barred():
    assert groups.pupils_in("Black Caribbean") == "pupils from the Black Caribbean ethnic group"
    assert groups.pupils_in("Unknown", of="sex") == "pupils whose sex isn't recorded"
    assert groups.pupils_in("Female", of="sex", who="children") == "female children"
    for bad in ("BAME pupils", "BME", "non-White", "people of colour", "mixed race people", "Whites", "Gypsy/Roma"):
        assert groups.unfit_words(bad), bad
    with pytest.raises(DataError, match=r"page: 'BAME': name the groups"):
        groups.check_words("BAME pupils", where="page")
    groups.check_words(f"{groups.REFERENCE_CAVEAT} {groups.SEX_NOTE} {groups.CODES_NOTE}", where="notes")
    for name in groups.MINORS:
        assert groups.unfit_words(groups.pupils_in(name)) == []


def test_marks_are_those_of_cells():
    assert (groups.EVERYONE, groups.UNKNOWN) == (ALL, CELLS_UNKNOWN)


@pytest.mark.real_data
def test_every_label_of_the_published_files_is_known(real_data):
    """Ethnic groups and sexes of every table of the data folder, under whatever heading they stand."""
    seen = {"ethnicity": 0, "sex": 0}
    for path in sorted([*real_data.glob("*/*.csv"), *real_data.glob("*/*.csv.gz")]):
        if "meta" in path.name or path.parent.name == "send_tribunal_appeal_rate" or path.name == "data_dictionary.csv":
            continue
        table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False)
        columns = {name: table[name] for name in table if not name.endswith("Code") and table[name].nunique() < 60}
        for topic, label in (("breakdown_topic", "breakdown"), ("characteristic_group", "characteristic")):
            if topic in table:
                columns |= {name: rows[label] for name, rows in table.groupby(topic)}
        for name, labels in columns.items():
            words, unique = name.lower(), pd.Series(labels.unique())
            if words == "ethnicity and gender":
                unique = groups.split_sex(unique)["label"]
            if "ethnic" in words:
                groups.ethnicity(unique, where=f"{path.name}, {name}")
                seen["ethnicity"] += len(unique)
            elif words in ("sex", "gender", "characteristic_gender"):
                groups.sex(unique, where=f"{path.name}, {name}")
                seen["sex"] += len(unique)
    assert seen["ethnicity"] > 200
    assert seen["sex"] > 20

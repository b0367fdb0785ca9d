"""Codes, names and boundary changes: one area under one code, and no area under a boundary that it didn't have."""

from __future__ import annotations

import pandas as pd
import pytest

from sendap.errors import DataError
from sendap.periods import PeriodKind
from sendap.places import BOUNDARY_RULE, Places

CALENDAR, ACADEMIC, FINANCIAL = PeriodKind.CALENDAR, PeriodKind.ACADEMIC, PeriodKind.FINANCIAL


@pytest.fixture(scope="module")
def places(catalog):
    return catalog.places


def rows(*keys, value=1.0):
    return pd.DataFrame([{"la_code": code, "period": year, "value": value} for code, year in keys])


def test_england_has_153_authorities_today_in_nine_regions(places):
    assert len(places.current) == 153
    assert len({area.la_code for area in places.current}) == 153
    assert len({area.region for area in places.current}) == 9


def test_five_authorities_were_abolished_and_lead_to_areas_of_today(places):
    former = {area.name: area for area in places.authorities if area.last_month is not None}
    assert set(former) == {"Bournemouth", "Poole", "Dorset (before April 2019)", "Northamptonshire", "Cumbria"}
    today = {area.la_code for area in places.current}
    for area in former.values():
        assert set(area.successors) <= today
        starts = {places.by_code[code].first_month for code in area.successors}
        assert starts == {area.last_month.plus(1)}


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("E10000002", "E06000060", "Buckinghamshire"),
        ("E10000027", "E06000066", "Somerset"),
        ("E10000023", "E06000065", "North Yorkshire"),
        ("E08000020", "E08000037", "Gateshead"),
        ("E06000048", "E06000057", "Northumberland"),
        ("933", "E06000066", "Somerset"),
        ("823", "E06000056", "Central Bedfordshire"),
        ("873", "E10000003", "Cambridgeshire"),
    ],
)
def test_old_and_short_codes_land_on_the_code_of_today(places, old, new, name):
    assert places.by_code[old].la_code == new
    assert places.name_of(old) == name
    assert places.canonical(pd.Series([old, new]), where="t.csv").tolist() == [new, new]


@pytest.mark.parametrize(
    ("printed", "code"),
    [
        ("St Helens", "E08000013"),
        ("St. Helens", "E08000013"),
        ("Durham", "E06000047"),
        ("Bedford Borough", "E06000055"),
        ("Kingston Upon Hull, City of", "E06000010"),
        ("North Northamptonshire7", "E06000061"),
        ("Bournemouth, Christchurch and Poole5", "E06000058"),
        ("  central   bedfordshire ", "E06000056"),
        ("Herefordshire", "E06000019"),
    ],
)
def test_names_are_found_as_publishers_print_them(places, printed, code):
    assert places.code_of_name(printed) == code


def test_an_unknown_name_has_no_code(places):
    assert places.code_of_name("Atlantis") is None
    assert places.code_of_name("") is None


def test_an_unknown_code_is_refused_with_file_column_row_and_the_nearest_code(places):
    codes = pd.Series(["E06000001", "E06000O01", "E06000O01"], index=[2, 7, 9], name="new_la_code")
    with pytest.raises(DataError) as caught:
        places.canonical(codes, where="table.csv")
    text = str(caught.value)
    assert "table.csv, column 'new_la_code', rows 7, 9: found 'E06000O01'" in text
    assert "expected a code of data-catalog/codes/local-authorities.csv" in text
    assert "Did you mean 'E060000" in text


def test_many_unknown_codes_are_counted_not_listed(places):
    codes = pd.Series(["E99"] * 8, index=range(2, 10), name="new_la_code")
    with pytest.raises(DataError, match=r"rows 2, 3, 4, 5, 6 and 3 more: found 'E99'"):
        places.canonical(codes, where="table.csv")


def test_the_rule_is_named():
    assert BOUNDARY_RULE == "today's boundaries, not joined"


def test_frames_without_boundary_changes_pass_untouched(places):
    frame = rows(("E06000001", 2016), ("E06000002", 2024))
    kept, aside = places.keep_todays_boundaries(frame, kind=CALENDAR)
    pd.testing.assert_frame_equal(kept, frame)
    assert aside.empty


@pytest.mark.parametrize(
    ("code", "kind", "measured", "first_kept"),
    [
        # Northamptonshire was divided in April 2021, inside calendar 2021, before school year 2021/22 began.
        ("E06000061", CALENDAR, None, 2021),
        ("E06000061", ACADEMIC, None, 2020),  # 2020/21 ends in August 2021
        ("E06000061", ACADEMIC, (1, 1), 2021),  # the census of January 2021 came before
        ("E06000061", ACADEMIC, (5, 5), 2020),  # tests in May 2021 came after
        ("E06000061", FINANCIAL, None, 2021),
        ("E06000063", CALENDAR, None, 2023),
        ("E06000063", ACADEMIC, (1, 1), 2023),
        ("E06000063", FINANCIAL, None, 2023),
        ("E06000058", CALENDAR, None, 2019),
        ("E06000059", CALENDAR, None, 2019),
    ],
)
def test_new_areas_count_from_the_first_period_that_reaches_their_first_month(places, code, kind, measured, first_kept):
    frame = rows(*((code, year) for year in range(2016, 2025)))
    kept, aside = places.keep_todays_boundaries(frame, kind=kind, measured=measured)
    assert kept["period"].tolist() == list(range(first_kept, 2025))
    assert aside["periods"].tolist() == [first_kept - 2016]
    month = places.by_code[code].first_month.words
    assert aside["reason"].tolist() == [f"before the area took its present shape in {month}"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("E10000006", "abolished after March 2023; its area is now in Cumberland and Westmorland and Furness"),
        (
            "E10000021",
            "abolished after March 2021; its area is now in North Northamptonshire and West Northamptonshire",
        ),
        (
            "E10000009",
            "abolished after March 2019; its area is now in Dorset and Bournemouth, Christchurch and Poole",
        ),
        ("E06000029", "abolished after March 2019; its area is now in Bournemouth, Christchurch and Poole"),
    ],
)
def test_abolished_areas_are_set_aside_in_every_period_with_their_successors(places, code, reason):
    frame = rows((code, 2016), (code, 2022), ("E06000001", 2016))
    kept, aside = places.keep_todays_boundaries(frame, kind=CALENDAR)
    assert kept["la_code"].tolist() == ["E06000001"]
    assert aside.to_dict("records") == [{"la_code": code, "name": places.name_of(code), "periods": 2, "reason": reason}]


def test_values_that_are_missing_anyway_are_taken_out_but_not_counted_as_set_aside(places):
    frame = pd.concat([rows(("E10000006", 2016)), rows(("E10000006", 2017), value=float("nan"))], ignore_index=True)
    kept, aside = places.keep_todays_boundaries(frame, kind=CALENDAR)
    assert kept.empty
    assert aside["periods"].tolist() == [1]


HEADING = "la_code,three_digit_code,name,region,other_la_codes,other_names,first_month,last_month,successors"


def test_a_code_list_that_gives_one_code_to_two_areas_is_refused(tmp_path):
    path = tmp_path / "local-authorities.csv"
    path.write_text(f"{HEADING}\nE1,801,Here,South,,,,,\nE2,801,There,South,,,,,\n", encoding="utf-8")
    with pytest.raises(DataError, match="the code '801' is given to Here and to There"):
        _ = Places.read(path).by_code


def test_a_code_list_that_is_missing_or_lacks_a_column_is_refused(tmp_path):
    path = tmp_path / "local-authorities.csv"
    with pytest.raises(DataError, match=r"local-authorities\.csv doesn't exist"):
        Places.read(path)
    path.write_text("la_code,name\nE1,Here\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"local-authorities\.csv lacks the column 'three_digit_code'"):
        Places.read(path)


def test_a_code_list_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "local-authorities.csv"
    path.write_text(f"{HEADING}\nE1,801,Here,South,,,2019-04,,\n", encoding="utf-8-sig")
    assert Places.read(path).by_code["E1"].first_month.words == "April 2019"

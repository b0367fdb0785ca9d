"""The wide table of appeals: found by its headings, joined by name, and added up to England."""

from __future__ import annotations

import pandas as pd
import pytest

from sendap.errors import DataError
from sendap.sources.locate import locate
from sendap.sources.read import read_series
from sendap.sources.tables import to_numbers
from sendap.sources.tribunal import read_tribunal_table

TOP = [
    "SEND Appeal rate table 1,,,,,,,",
    ",,,,,,,",
    "Local Authority,LA code,2023,,,2024,,",
    ',,Appeals registered4,Total Appealable Decisions1,Rate2,Appeals registered4,"Total Appealable Decisions1,9",Rate2',
    "EAST OF ENGLAND,,,,,,,",
]
AREAS = [
    'Central Bedfordshire,873,96,"3,711",2.60%,140,"8,246",1.70%',
    'Cambridgeshire,823,126,"7,655",1.60%,169,"4,410",3.80%',
    "North Northamptonshire7,940, - ,..,x,~,,",
]
FOOT = ["England Total4,,222,11366,,309,12656,", '"Sources: the Ministry,',  'of Justice",,,,,,,']  # fmt: skip


@pytest.fixture
def table(tmp_path, catalog):
    """Read a table of these lines."""

    def read(*, top=TOP, areas=AREAS, foot=FOOT):
        path = tmp_path / "appeals.csv"
        path.write_text("\n".join([*top, *areas, *foot]) + "\n", encoding="utf-8-sig")
        return read_tribunal_table(path, catalog.places)

    return read


def test_the_wide_table_becomes_one_row_an_area_and_year(table):
    found = table()
    assert list(found.columns) == [
        "la_code", "la_name", "printed_code", "year", "appeals_registered", "appealable_decisions"
    ]  # fmt: skip
    assert found.shape == (6, 6)
    assert found[found["year"] == "2023"]["appealable_decisions"].tolist() == ["3,711", "7,655", ".."]
    assert found[found["year"] == "2024"]["appeals_registered"].tolist() == ["140", "169", "~"]
    assert found.index.tolist() == [6, 7, 8, 6, 7, 8]  # rows of the file


def test_areas_are_found_by_name_and_printed_codes_only_kept(table):
    found = table().drop_duplicates("la_name").set_index("la_name")
    assert found.loc["Central Bedfordshire", ["la_code", "printed_code"]].tolist() == ["E06000056", "873"]
    assert found.loc["Cambridgeshire", ["la_code", "printed_code"]].tolist() == ["E10000003", "823"]
    assert found.loc["North Northamptonshire7", "la_code"] == "E06000061"


def test_headings_of_regions_and_the_total_of_england_are_not_areas(table):
    assert not table()["la_name"].str.contains("ENGLAND|England").any()


@pytest.mark.parametrize(
    ("cell", "value", "reason"),
    [
        (" - ", 0.0, None),
        ("-", 0.0, None),
        ("..", None, "not available"),
        ("x", None, "not available"),
        ("", None, "not available"),
        ("~", None, "suppressed for confidentiality"),
        ("1,071", 1071.0, None),
    ],
)
def test_each_symbol_of_the_table_has_its_meaning(catalog, tmp_path, cell, value, reason):
    symbols = catalog.dataset("send-tribunal-appeal-rate").symbols
    numbers, reasons = to_numbers(pd.Series([cell], name="appeals_registered"), symbols, path=tmp_path)
    assert numbers.isna().tolist() == [value is None]
    assert value is None or numbers.tolist() == [value]
    assert reasons.isna().tolist() == [reason is None]
    assert reason is None or reasons.tolist() == [reason]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"areas": ["Cambridgshire,823,1,2,,3,4,"]},
            r"appeals\.csv, column 'Local Authority', row 6: found 'Cambridgshire', expected the name .*"
            r"Did you mean 'Cambridgeshire'\?",
        ),
        ({"top": [line.replace("Local Authority", "Area") for line in TOP]},
         r"appeals\.csv, column 1: found 0 rows that begin"),
        ({"areas": [*AREAS, TOP[2]]}, r"column 1: found 2 rows that begin with 'Local Authority', expected one"),
        ({"top": TOP[:3], "areas": [], "foot": []}, r"row 3: nothing follows the row of years"),
        (
            {"top": [*TOP[:3], TOP[3].replace("Appeals registered", "Appeals lodged"), TOP[4]]},
            r"row 4: found no column 'appeals registered' under 2023, expected one for each year",
        ),
        ({"top": [*TOP[:3], ",,a,b,c,d,e,f"]}, r"row 4: found no columns of appeals and decisions under the years"),
    ],
)  # fmt: skip
def test_a_table_of_another_layout_is_refused_by_row_with_what_was_expected(table, change, expected):
    with pytest.raises(DataError, match=expected):
        table(**change)


def test_text_in_a_number_is_refused_with_file_column_row_and_content(catalog, broken):
    lines = broken.lines(broken.APPEALS)
    at = next(number for number, line in enumerate(lines, 1) if line.startswith("Darlington,"))
    appeals = lines[at - 1].split(",")[2]
    broken.change(broken.APPEALS, at, f",{appeals},", ",some,")
    with pytest.raises(DataError) as caught:
        read_series(catalog, "send-tribunal-appeal-rate", "appeal_rate", broken.folder)
    assert f"column 'appeals_registered', row {at}: found 'some', expected a number" in str(caught.value)


@pytest.fixture(scope="session")
def appeals(catalog, real_data):
    """The published table, with its counts as numbers."""
    dataset = catalog.dataset("send-tribunal-appeal-rate")
    path = locate(dataset, dataset.files[0].name, real_data)
    table = read_tribunal_table(path, catalog.places)
    for column in ("appeals_registered", "appealable_decisions"):
        table[column], table[f"{column}_reason"] = to_numbers(table[column], dataset.symbols, path=path)
    return table.assign(year=table["year"].astype(int))


@pytest.mark.real_data
def test_areas_add_up_to_england_in_every_year(appeals):
    """Nothing is suppressed under the older method of counting, so England is the exact sum of its areas, all years.

    The 22,082 printed as "England total excluding suppressed" belongs to the newer method of 2024, not read here.
    """
    totals = appeals.groupby("year")[["appeals_registered", "appealable_decisions"]].sum()
    assert totals["appeals_registered"].to_dict() == {
        2014: 4108, 2015: 3126, 2016: 3863, 2017: 4988, 2018: 6023, 2019: 7385, 2020: 7843, 2021: 9184, 2022: 12796,
        2023: 15615, 2024: 22276,
    }  # fmt: skip
    assert totals["appealable_decisions"].to_dict() == {
        2014: 251096, 2015: 269565, 2016: 305983, 2017: 338866, 2018: 376254, 2019: 413131, 2020: 450751, 2021: 498416,
        2022: 549887, 2023: 617776, 2024: 689739,
    }  # fmt: skip


@pytest.mark.real_data
def test_the_table_has_157_areas_of_then_and_now_in_eleven_years(appeals):
    assert appeals.groupby("year").size().to_dict() == dict.fromkeys(range(2014, 2025), 157)
    assert appeals.groupby("year")["la_code"].nunique().eq(157).all()


@pytest.mark.real_data
def test_no_appeal_is_a_zero_and_not_a_gap(appeals):
    assert (appeals["appeals_registered"] == 0).sum() == 33
    hartlepool = appeals[appeals["la_name"] == "Hartlepool"].set_index("year")["appeals_registered"]
    assert hartlepool.loc[2014:2019].tolist() == [0, 0, 0, 0, 0, 4]


@pytest.mark.real_data
def test_printed_codes_are_wrong_for_five_areas_and_names_are_used(appeals, catalog):
    printed = appeals.drop_duplicates("la_name")
    printed = printed[printed["printed_code"] != ""]
    joined = printed["printed_code"].map(lambda code: catalog.places.by_code[code].la_code)
    wrong = printed[joined != printed["la_code"]].set_index("la_name")["printed_code"].to_dict()
    assert wrong == {
        "Central Bedfordshire": "873",
        "Cambridgeshire": "823",
        "Northamptonshire7": "892",
        "Nottingham": "891",
        "Nottinghamshire": "928",
    }


@pytest.fixture(scope="session")
def load(appeals, catalog, real_data):
    """Decisions of a year for each plan of the January after it, by area and year."""
    plans = read_series(catalog, "ehc-plans-2025", "all_plans_in_mainstream", real_data).frame
    both = appeals.merge(plans, left_on=["la_code", "year"], right_on=["la_code", "period"])
    return both.assign(load=both["appealable_decisions"] / both["denominator"]).set_index(["la_name", "year"])["load"]


@pytest.mark.real_data
def test_central_bedfordshire_and_cambridgeshire_are_not_swapped_until_2023(load):
    """By value: most decisions that can be appealed are about a standing plan, so there's about one for each."""
    for name in ("Central Bedfordshire", "Cambridgeshire"):
        assert load[name].loc[2018:2023].between(1.0, 1.15).all()


@pytest.mark.real_data
def test_their_decisions_of_2024_are_swapped_by_the_publisher_and_so_are_left_out(load, catalog, real_data):
    """8,246 decisions for 4,035 plans in Central Bedfordshire, 4,410 for 8,007 in Cambridgeshire: each the other's."""
    assert load["Central Bedfordshire", 2024] == pytest.approx(8246 / 4035)
    assert load["Cambridgeshire", 2024] == pytest.approx(4410 / 8007)
    others = load.drop([("Central Bedfordshire", 2024), ("Cambridgeshire", 2024), ("Isles of Scilly", 2024)])
    assert others.dropna().between(0.85, 1.25).all()
    assert len(others.dropna()) > 1000
    frame = read_series(catalog, "send-tribunal-appeal-rate", "appeal_rate", real_data).frame
    for code in ("E06000056", "E10000003"):
        mine = frame[(frame["la_code"] == code) & (frame["period"] == 2024)].iloc[0]
        assert mine[["value", "numerator", "denominator"]].isna().all()
        assert "swapped the decisions" in mine["reason"]


@pytest.mark.real_data
def test_rates_are_those_that_the_publisher_prints(catalog, real_data):
    frame = read_series(catalog, "send-tribunal-appeal-rate", "appeal_rate", real_data).frame
    rate = frame.set_index(["la_code", "period"])["value"]
    # Printed to one decimal: Durham 2024, Gateshead 2023, Darlington 2014, and the two of the wrong codes 2023.
    printed = {("E06000047", 2024): 5.9, ("E08000037", 2023): 6.3, ("E06000005", 2014): 0.0,
               ("E06000056", 2023): 2.6, ("E10000003", 2023): 1.6}  # fmt: skip
    for key, value in printed.items():
        assert round(rate[key], 1) == value


@pytest.mark.real_data
def test_dorset_before_2019_is_set_aside_although_it_is_printed(catalog, real_data):
    measured = read_series(catalog, "send-tribunal-appeal-rate", "appeal_rate", real_data)
    aside = measured.set_aside.set_index("name")
    assert aside["periods"].to_dict() == {
        "Bournemouth": 5, "Poole": 5, "Dorset": 5, "Cumbria": 9, "Northamptonshire": 7
    }  # fmt: skip
    assert aside.loc["Dorset", "reason"] == "before the area took its present shape in April 2019"
    known = measured.frame.dropna(subset=["value"]).groupby("la_code")["period"].min()
    assert known.loc[["E06000059", "E06000058", "E06000061", "E06000063"]].tolist() == [2019, 2019, 2021, 2023]

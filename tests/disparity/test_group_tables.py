"""Published tables by group: read as described, refused where they aren't, and what the real ones hold."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from disparity.made_tables import made_table
from pydantic import ValidationError

from sendap.disparity.findings import Findings
from sendap.disparity.published import area_cells, group_cells
from sendap.errors import DataError, UsageError
from sendap.sources.group_catalog import find_group_table, read_group_tables
from sendap.sources.groups_stand_in import write_group_stand_in
from sendap.sources.groups_tables import ENGLAND, group_files, read_group_table
from sendap.sources.locate import is_synthetic

HEADING = "time_period,time_identifier,geographic_level,new_la_code,old_la_code,la_name,topic,label,placed,plans"
ROWS = [
    "2022,Calendar year,Local authority,E09000030,211,Tower Hamlets,Ethnicity,Asian - Bangladeshi,30,60",
    "2022,Calendar year,Local authority,E09000030,211,Tower Hamlets,Ethnicity,White - White British,20,25",
    "2022,Calendar year,Local authority,E09000030,211,Tower Hamlets,Sex,Female,40,60",
    "2022,Calendar year,Local authority,E09000030,211,Tower Hamlets,Sex,Male,x,x",
    "2024,Calendar year,Local authority,E09000030,211,Tower Hamlets,Ethnicity,Unclassified,0,0",
    "2024,Calendar year,Local authority,E09000030,211,Tower Hamlets,Sex,Female,40,60",
    "2024,Calendar year,National,,,,Ethnicity,Unclassified,5,9",
    "2024,Calendar year,National,,,,Sex,Female,400,600",
]


@pytest.fixture(scope="module")
def tables(catalog):
    return read_group_tables(catalog.folder)


@pytest.fixture
def written(tmp_path):
    def write(rows, **changes):
        table = made_table(**changes)
        (tmp_path / "made").mkdir(exist_ok=True)
        (tmp_path / "made" / "made.csv").write_text("\n".join([HEADING, *rows]) + "\n", encoding="utf-8")
        return table, tmp_path

    return write


def test_a_table_is_read_to_counts(written, catalog):
    table, folder = written(ROWS)
    found = read_group_table(table, catalog.places, folder)
    frame = found.frame.set_index(["period", "ethnicity", "sex"])
    assert frame.loc[(2022, "Bangladeshi", "(all)"), "numerator"] == 30
    assert frame.loc[(2022, "(all)", "Male"), "reason"] == "not available"
    assert frame.loc[(2024, "Unknown", "(all)"), "reason"] == "nobody to count"
    assert found.england["numerator"].tolist() == [5.0, 400.0]
    assert found.names.to_dict("records") == [{"area": "E09000030", "name": "Tower Hamlets", "region": "London"}]
    cells = group_cells(found)
    assert cells.margins == (("ethnicity",), ("sex",))
    assert area_cells(found).strata == ()


def test_labels_that_mean_the_same_are_added_up_and_a_missing_part_makes_the_sum_missing(written, catalog):
    more = "2022,Calendar year,Local authority,E09000030,211,Tower Hamlets,Ethnicity,Chinese,{0},{0}"
    table, folder = written([*ROWS, more.format(4)], ethnicity_level="major")
    frame = read_group_table(table, catalog.places, folder).frame
    asian = frame[(frame["ethnicity"] == "Asian / Asian British") & (frame["period"] == 2022)]
    assert asian[["numerator", "denominator"]].to_numpy().tolist() == [[34.0, 64.0]]
    table, folder = written([*ROWS, more.format("x")], ethnicity_level="major")
    frame = read_group_table(table, catalog.places, folder).frame
    asian = frame[(frame["ethnicity"] == "Asian / Asian British") & (frame["period"] == 2022)]
    assert asian["numerator"].isna().all()
    assert asian["reason"].tolist() == ["not available"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, ROWS[0]], "rows 2, 10: the key is repeated"),
        ([ROWS[0].replace("Bangladeshi", "Bangladesi"), *ROWS[1:]], "Did you mean 'Bangladeshi'"),
        ([ROWS[0].replace("30,60", "61,60"), *ROWS[1:]], "counts 61 of 60"),
        ([ROWS[0].replace("30,60", "many,60"), *ROWS[1:]], "found 'many'"),
        (ROWS[:4], "no row for 2024"),
        ([row.replace("Calendar", "Academic").replace("2022,", "202223,").replace("2024,", "202425,") for row in ROWS],
         "expected calendar year"),
        ([row.replace("Sex,", "Gender,") for row in ROWS], "no row with topic 'Sex'"),
        ([ROWS[0].replace("E09000030,211", "E09999999,999"), *ROWS[1:]], "found '999'"),
    ],
)  # fmt: skip
def test_what_a_reader_refuses(written, catalog, rows, message):
    table, folder = written(rows)
    with pytest.raises(DataError, match=message):
        read_group_table(table, catalog.places, folder)


def test_a_missing_file_or_column_is_named(written, catalog, tmp_path):
    table, folder = written(ROWS)
    measure = table.measures[0].model_copy(update={"denominator": ("plan",)})
    other = table.model_copy(update={"measures": (measure,)})
    with pytest.raises(DataError, match="lacks the column 'plan'"):
        read_group_table(other, catalog.places, folder)
    with pytest.raises(DataError, match=r"gone\.csv doesn't exist"):
        group_files(table.model_copy(update={"file": "gone.csv"}), folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": [{"strata": {"fsm": "label"}}]}, "no labels"),
        ({"references": {"sen": "None"}}, "isn't a stratum"),
        ({"gradient": {"stratum": "deprivation", "order": ["1"]}}, "isn't a label"),
        ({"measures": [{"id": "a", "label": "A", "means": "a", "numerator": ["a"], "denominator": ["b"],
                        "better": "higher", "role": "wait"}]}, "must be an outcome"),
        ({"measures": [{"id": "a", "label": "A", "means": "a", "numerator": ["a"], "denominator": ["b"],
                        "better": "higher"}] * 2}, "described twice"),
    ],
)  # fmt: skip
def test_a_description_that_doesnt_fit_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        made_table(**changes)


def test_every_description_reads_its_stand_in(tables, catalog, tmp_path):
    """Synthetic files in the publishers' layout go through the same reader, and hold no gap."""
    chosen = [tables[name] for name in ("KEYSTAGE4", "SUSPENSIONS", "TIMELINESS")]
    folder = write_group_stand_in(chosen, catalog.places, tmp_path / "made")
    assert is_synthetic(folder)
    for table in chosen:
        found = Findings.of(read_group_table(table, catalog.places, folder), catalog, synthetic=True)
        assert found.synthetic
        rows = found.compared(table.by[0])
        known = rows[rows["status"] == "ok"]
        assert len(known) > 2
        # No gap but chance, and the luck of living in areas with a level of their own.
        assert known["difference"].abs().median() < 2.5
        assert set(found.cells.frame["cluster"]) == {ENGLAND} or found.by_area


def test_reports_are_found_by_name(catalog, tables):
    assert find_group_table(catalog.folder, "newplans").id == "NEWPLANS"
    with pytest.raises(UsageError, match="Did you mean 'NEWPLANS'"):
        find_group_table(catalog.folder, "NEWPLAN")
    assert all(table.access == "published" for table in tables.values())
    assert {programme.rollout for table in tables.values() if (programme := table.programme)} <= set(catalog.rollouts)


@pytest.fixture(scope="module")
def real(tables, catalog, real_data):
    def read(name: str) -> Findings:
        return Findings.of(read_group_table(tables[name], catalog.places, real_data), catalog, synthetic=False)

    return read


@pytest.mark.real_data
def test_areas_add_up_to_published_england(real):
    found = real("NEWPLANS")
    checks = found.checks.set_index(["measure", "period"])["largest_difference"]
    assert checks.loc[("mainstream", 2023)] == 0
    assert checks.loc[("mainstream", 2024)] == 0
    # Counts of 2024 by hand from the publisher's England: 1,092 of 1,263 less 23 unknown, 47,658 of 63,857 less 2,036.
    rows = found.compared("ethnicity").set_index("group")
    assert rows.loc["Bangladeshi", "rate"] == pytest.approx(100 * 1092 / (1263 - 23))
    assert rows.loc["White British", "rate"] == pytest.approx(100 * 47658 / (63857 - 2036))
    # Cambridgeshire knew no placement in 2024.
    assert "E10000003" not in set(found.place["cluster"])
    assert 0.5 < (found.area_gaps["status"] != "ok").mean() < 0.7


@pytest.mark.real_data
def test_place_against_group_in_annual_reviews(real):
    """Bangladeshi children miss reviews because of where they live: inside the same areas they get a little more."""
    found = real("REVIEWS").place_parts("ethnicity", "Bangladeshi")
    assert found.part("total")["estimate"] == pytest.approx(79.73 - 91.59, abs=0.01)
    assert found.part("between")["high"] < 0 < found.part("within")["low"]
    assert found.part("between")["estimate"] + found.part("within")["estimate"] == pytest.approx(
        found.part("total")["estimate"]
    )
    assert "Inside the same areas the gap runs the other way" in found.sentence()


@pytest.mark.real_data
def test_suspensions_and_absence_are_those_published(real):
    """Figures of the publisher's own releases: 183,475 suspended pupils of 8,025,075; 21.2% persistently absent."""
    suspended = real("SUSPENSIONS")
    rows = suspended.compared("ethnicity").set_index("group")
    assert rows.loc["Black Caribbean", "ratio"] == pytest.approx((5425 / 92595) / (127445 / 5439960), abs=0.01)
    assert rows["n"].sum() == pytest.approx(8025075, abs=40)  # 38 counts, each rounded to 5
    assert rows.loc["Gypsy or Roma", "flag"]
    slope = suspended.gradient.value("slope index")
    assert slope["high"] < 0
    assert suspended.gradient.areas == 1
    assert suspended.parts.empty
    assert "England only" in " ".join(suspended.unanswerable)
    absent = real("ABSENCE")
    every = absent.compared("fsm", against_all=True)
    assert every["rate_against"].iloc[0] == pytest.approx(21.2, abs=0.05)
    assert absent.table.crossed == ("fsm", "sen", "sex", "phase")
    model = absent.rungs("sen")
    assert model == {"M0": (), "M1": ("phase", "sex"), "M2": ("phase", "sex", "fsm", "cluster")}


def test_file_is_read_zipped_or_not(written, catalog):
    table, folder = written(ROWS)
    plain = folder / "made" / "made.csv"
    Path(f"{plain}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    first = read_group_table(table, catalog.places, folder).frame
    plain.unlink()
    second = read_group_table(table, catalog.places, folder).frame
    pd.testing.assert_frame_equal(first, second)
    assert np.isfinite(first["denominator"]).sum() == 4

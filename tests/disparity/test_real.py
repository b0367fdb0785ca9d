"""Published tables: new plans in mainstream by ethnicity and by sex, for England and by area, from margins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sendap.cells import Cells, OutcomeInfo
from sendap.disparity.adjust import adjusted_gaps
from sendap.disparity.decomposition import place_parts
from sendap.disparity.funnel import funnel
from sendap.disparity.gaps import gaps, summarise
from sendap.disparity.intersections import intersections
from sendap.disparity.published import margin_cells
from sendap.disparity.rates import rates
from sendap.disparity.words import gap_sentence
from sendap.errors import DataError, DesignError
from sendap.groups import MINORS, UNKNOWN, ethnicity, split_sex, unfit_words
from sendap.sources.tables import read_text, to_numbers

pytestmark = pytest.mark.real_data
COUNTS = ("mainstream_total", "new_ehc_plans")


@pytest.fixture(scope="module")
def table(catalog, real_data):
    """Rows of new plans in 2024, with counts as numbers."""
    path = real_data / "ehc_plans_2025" / "newplans.csv.gz"
    rows = read_text(path)
    rows = rows[rows["time_period"] == "2024"]
    symbols = dict(catalog.dataset("ehc-plans-2025").symbols)
    for name in COUNTS:
        rows[name] = to_numbers(rows[name], symbols, path=path)[0]
    return rows.assign(period=2024)


@pytest.fixture(scope="module")
def cells(catalog, table):
    areas = table[table["geographic_level"] == "Local authority"]
    areas = areas.assign(la_code=catalog.places.canonical(areas["new_la_code"], where="new plans"))
    return margin_cells(
        areas,
        cluster="la_code",
        period="period",
        topic="breakdown_topic",
        label="breakdown",
        numerator=COUNTS[0],
        denominator=COUNTS[1],
        strata={"Ethnicity": "ethnicity", "Sex": "sex"},
        outcome="mainstream",
    )


def test_areas_add_up_to_the_published_england(cells, table):
    """Counts are published unrounded, so the sums agree exactly, group by group."""
    national = table[(table["geographic_level"] == "National") & (table["breakdown_topic"] == "Ethnicity")]
    national = national.assign(group=ethnicity(national["breakdown"])).set_index("group")
    found = gaps(cells, by="ethnicity", better="higher")
    found = found[found["against"] == "White British"].set_index("group")
    assert len(found) == 19
    assert set(found.index) <= set(MINORS)
    for group, row in found.iterrows():
        assert row["n"] == national.loc[group, "new_ehc_plans"]
        share = 100 * national.loc[group, "mainstream_total"] / national.loc[group, "new_ehc_plans"]
        assert row["rate"] == pytest.approx(share)


def test_what_england_shows(cells):
    found = gaps(cells, by="ethnicity", better="higher")
    assert found["group"].iloc[-1] == UNKNOWN
    unknown = found[(found["group"] == UNKNOWN) & (found["against"] == "White British")].iloc[0]
    assert unknown["status"] == "ok"
    assert unknown["difference_high"] < 0
    sex = gaps(cells, by="sex", better="higher")
    assert sex[sex["group"] == UNKNOWN]["status"].tolist() == ["too few to say"] * 2
    for _, row in pd.concat([found, sex]).iterrows():
        assert unfit_words(gap_sentence(row, who="children and young people")) == []
    spread = summarise(cells, by="ethnicity")
    assert 0 < spread.corrected < spread.between_variance
    assert spread.left_out == (UNKNOWN,)


def test_margins_are_never_crossed(cells):
    assert cells.margins == (("ethnicity",), ("sex",))
    with pytest.raises(DesignError, match="ethnicity by sex can't be answered"):
        rates(cells, by=["ethnicity", "sex"])
    with pytest.raises(DesignError, match="not crossed"):
        adjusted_gaps(cells, by="ethnicity", ladder={"M1": ("sex",)}, draws=2)


def test_an_area_row_says_too_few_more_often_than_not(cells):
    """More than half of the cells of an area and a group have fewer than ten plans, and all are in the table."""
    parts = rates(cells, by=("cluster", "ethnicity")).frame
    assert 0.5 < (parts["observed"] < 10).mean() < 0.7
    one = gaps(cells.filter(cluster="E08000025"), by="ethnicity", better="higher")
    assert set(one["status"]) <= {"ok", "too few to say", "reference"}
    small = one["observed"] < 10
    assert (one.loc[small, "status"] == "too few to say").all()
    assert one.loc[small, "difference"].isna().all()


def test_place_and_group(cells):
    """The two parts make the published gap, and drawing areas widens its interval beyond that of records."""
    found = place_parts(cells, by="ethnicity", group="Bangladeshi", reference="White British", draws=499)
    total, between, within = (found.part(name) for name in ("total", "between", "within"))
    plain = gaps(cells, by="ethnicity", better="higher").set_index(["group", "against"]).loc["Bangladeshi"]
    assert total["estimate"] == pytest.approx(plain.loc["White British", "difference"])
    assert between["estimate"] + within["estimate"] == pytest.approx(total["estimate"])
    records = plain.loc["White British", "difference_high"] - plain.loc["White British", "difference_low"]
    assert total["high"] - total["low"] > records
    rung = adjusted_gaps(cells, by="ethnicity", ladder={"M0": ()}, draws=99).set_index("group")
    assert rung.loc["Bangladeshi", "difference"] == pytest.approx(total["estimate"])
    wide = funnel(cells.margin(keep=["sex"]))
    assert wide.dispersion > 2
    assert wide.between_sd > 2
    assert wide.frame["cluster"].is_monotonic_increasing
    assert np.isfinite(wide.frame.loc[wide.frame["status"] == "ok", "z_adjusted"]).all()


def test_records_crossed_in_a_publication(real_data):
    """Suspensions of 2016/17 by ethnicity crossed with sex: 38 strata, whose sums are within rounding of the total."""
    table = read_text(real_data / "ees_test_data_2019" / "exclusions_by_characteristic.csv.gz")
    table = table[(table["time_period"] == "201617") & (table["school_type"] == "Total")]
    rows = table[table["characteristic_group"] == "Ethnicity and gender"]
    parts = split_sex(rows["characteristic"])
    rows = rows.assign(sex=parts["sex"], ethnicity=ethnicity(parts["label"])).dropna(subset="ethnicity")
    rows = rows.assign(area="England", year=2016, start=np.nan)
    for name in ("headcount", "one_plus_fixed"):
        rows[name] = rows[name].astype(float)
    cells = Cells.from_rates(
        rows, cluster="area", period="year", cohort="start", outcome="suspended", numerator="one_plus_fixed",
        denominator="headcount", strata=["ethnicity", "sex"], scale=100, info=OutcomeInfo("per cent"),
    )  # fmt: skip
    total = table[table["characteristic_group"] == "Total"].iloc[0]
    # Each of 38 counts is rounded to 5, so their sum is off by a standard deviation of about 9.
    assert abs(rows["headcount"].sum() - float(total["headcount"])) <= 40
    found = gaps(cells, by="ethnicity", better="lower").set_index(["group", "against"])
    caribbean = found.loc[("Black Caribbean", "White British")]
    assert caribbean["ratio"] == pytest.approx(2.5, abs=0.1)
    assert caribbean["flag"]
    assert caribbean["adverse_ratio"] == caribbean["ratio"]
    crossed = intersections(cells, by=["ethnicity", "sex"])
    assert len(crossed.frame) == 38
    assert crossed.pcv > 0.9
    assert (crossed.frame["low"] > 0).all()


def test_a_topic_that_isnt_there_is_refused(table):
    with pytest.raises(DataError, match="no topic 'Ethnicty'. Did you mean 'Ethnicity'"):
        margin_cells(
            table, cluster="new_la_code", period="period", topic="breakdown_topic", label="breakdown",
            numerator=COUNTS[0], denominator=COUNTS[1], strata={"Ethnicty": "ethnicity"}, outcome="mainstream",
        )  # fmt: skip

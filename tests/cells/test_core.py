"""Cells that are combined, filtered or taken to a margin equal cells made from the records at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendap.cells import Cells, OutcomeInfo
from sendap.cells.compress import compress
from sendap.errors import DataError, UsageError


def make_records(seed: int, rows: int = 300) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    la = draw.integers(0, 4, rows)
    return pd.DataFrame(
        {
            "la": np.array([f"E0{code}" for code in la]),
            "year": 2019 + draw.integers(0, 4, rows),
            "sex": draw.choice(["Female", "Male"], rows),
            "fsm": draw.choice(["Eligible", "Not eligible"], rows),
            "first_treated": np.where(la == 0, np.nan, 2019.0 + la),
            "absence": np.where(draw.random(rows) < 0.1, np.nan, 1000 + draw.gamma(2, 3, rows)),
            "prior": draw.normal(size=rows),
            "weight": draw.choice([0.5, 1.0, 3.0], rows),
        }
    )


def cells_of(records: pd.DataFrame, **changes: object) -> Cells:
    parts: dict = {
        "cluster": "la",
        "outcomes": ["absence"],
        "strata": ["sex", "fsm"],
        "covariates": ["prior"],
        "weights": "weight",
    }
    return compress(records, **{**parts, **changes})


def assert_equal(found: Cells, expected: Cells) -> None:
    pd.testing.assert_frame_equal(
        found.frame.sort_values(found.keys, ignore_index=True),
        expected.frame.sort_values(expected.keys, ignore_index=True),
        check_exact=False,
        rtol=1e-10,
        atol=1e-9,
        check_like=True,
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(8, 300))
def test_adding_two_halves_equals_the_whole(seed, rows):
    records = make_records(seed, rows)
    half = np.random.default_rng(seed).random(rows) < 0.5
    if half.all() or not half.any():
        half[0] = not half[0]
    joined = cells_of(records[half]).combine(cells_of(records[~half]), add=True)
    assert_equal(joined, cells_of(records))
    assert joined.metadata["records"] == rows


def test_a_new_year_and_a_new_area_join_without_the_old_records():
    records = make_records(1)
    for new in (records["year"] == 2022, records["la"] == "E02"):
        joined = cells_of(records[~new]).combine(cells_of(records[new]))
        assert_equal(joined, cells_of(records))
        assert sorted(joined.clusters["cluster"]) == ["E00", "E01", "E02", "E03"]


def test_cells_in_both_are_refused_unless_added():
    records = make_records(1)
    with pytest.raises(DataError, match=r"cell\(s\) are in both.*add=True"):
        cells_of(records).combine(cells_of(records))


def test_records_of_one_file_are_never_added_twice(tmp_path):
    make_records(1).to_parquet(tmp_path / "r.parquet")
    cells = cells_of(tmp_path / "r.parquet")
    with pytest.raises(DataError, match=r"'r\.parquet' is a source of both"):
        cells.combine(cells, add=True)
    # The same file may give different periods.
    joined = cells.filter(period=[2019, 2020]).combine(cells.filter(period=[2021, 2022]))
    assert_equal(joined, cells)
    assert len(joined.metadata["sources"]) == 1


def test_a_cluster_that_started_since_takes_the_newer_cohort():
    records = make_records(1)
    old = records[records["year"] < 2022].assign(first_treated=np.nan)
    new = records[records["year"] == 2022]
    with pytest.raises(DataError, match="3 cluster.s. have another first treated period.*first 'E01'"):
        cells_of(old).combine(cells_of(new))
    assert_equal(cells_of(old).combine(cells_of(new), cohorts="other"), cells_of(records))


def test_cells_that_can_not_be_compared_are_refused():
    records = make_records(1)
    new = records["year"] == 2022
    with pytest.raises(UsageError, match="The strata differ"):
        cells_of(records[~new]).combine(cells_of(records[new], strata=["sex"]))
    with pytest.raises(UsageError, match="The margins differ"):
        cells_of(records[~new]).combine(cells_of(records[new], margins=[["sex"]]))
    share, cent = ({"absence": OutcomeInfo(unit=unit)} for unit in ("share", "per cent"))
    with pytest.raises(DataError, match="'share' here, 'per cent' there"):
        cells_of(records[~new], outcomes=share).combine(cells_of(records[new], outcomes=cent))


def test_synthetic_and_protocol_travel_with_what_is_combined():
    records = make_records(1)
    new = records["year"] == 2022
    real = cells_of(records[~new], metadata={"protocol_hash": "a"})
    made_up = cells_of(records[new], metadata={"protocol_hash": "b", "synthetic": True})
    joined = real.combine(made_up)
    assert joined.synthetic
    assert joined.metadata["protocol_hash"] == "a"
    assert joined.metadata["other_protocol_hashes"] == ["b"]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 300), keep=st.sampled_from([[], ["sex"], ["fsm"]]))
def test_a_margin_equals_cells_compressed_without_the_strata(seed, rows, keep):
    records = make_records(seed, rows)
    expected = cells_of(records, strata=keep)
    assert_equal(cells_of(records).margin(keep=keep), expected)
    drop = [name for name in ("sex", "fsm") if name not in keep]
    assert_equal(cells_of(records).margin(drop=drop), expected)


def test_overlapping_margins_are_never_added_together():
    records = make_records(4)
    several = cells_of(records, margins=[["sex", "fsm"], ["sex"], []])
    assert several.margins == (("sex", "fsm"), ("sex",), ())
    for keep in ([], ["sex"], ["fsm"], ["sex", "fsm"]):
        taken = several.margin(keep=keep)
        assert_equal(taken, cells_of(records, strata=keep))
        assert int(taken.frame["n"].sum()) == len(records)
    with pytest.raises(UsageError, match=r"margins that overlap \(sex by fsm; sex; \(all\)\)"):
        several.panel("absence")
    assert several.margin(keep=["sex"]).panel("absence").n.sum() == records["absence"].notna().sum()


def test_a_margin_that_can_not_be_had_is_refused():
    several = cells_of(make_records(4), margins=[["sex"], []])
    with pytest.raises(UsageError, match=r"hold the margins sex; \(all\), so they can't give fsm"):
        several.margin(keep=["fsm"])
    with pytest.raises(UsageError, match="no stratum 'sx'.*Did you mean 'sex'"):
        several.margin(drop=["sx"])
    with pytest.raises(UsageError, match="either drop or keep"):
        several.margin()


def test_outcomes_with_different_margins_are_each_taken_from_their_own():
    records = make_records(5).assign(late=lambda f: (f["prior"] > 0).astype(int))
    stacked = Cells.stack([cells_of(records), cells_of(records, outcomes=["late"], margins=[["sex"], []])])
    taken = stacked.margin(keep=["sex"])
    assert_equal(taken, cells_of(records, outcomes=["absence", "late"], strata=["sex"]))


def test_published_rates_take_margins_too():
    published = pd.DataFrame(
        {
            "la": ["E01", "E01", "E02", "E02"],
            "sex": ["Female", "Male"] * 2,
            "year": 2023,
            "start": np.nan,
            "part": [3, 5, 2, 8],
            "whole": [10, 20, 10, 10],
        }
    )
    cells = Cells.from_rates(
        published,
        cluster="la",
        period="year",
        cohort="start",
        outcome="late",
        numerator="part",
        denominator="whole",
        strata=["sex"],
    )
    both = cells.margin(drop=["sex"]).frame
    assert both["sum"].tolist() == [8.0, 10.0]
    assert both["weight"].tolist() == [30.0, 20.0]


def test_filter_takes_values_lists_and_columns_of_clusters():
    records = make_records(6)
    cells = cells_of(records)
    expected = cells_of(records[(records["sex"] == "Male") & records["year"].isin([2020, 2021])])
    assert_equal(cells.filter(sex="Male", period=[2020, 2021]), expected)
    regions = pd.DataFrame({"cluster": ["E00", "E01", "E02", "E03"], "region": ["North", "North", "South", "South"]})
    placed = Cells(cells.frame, cells.outcomes, cells.strata, cells.covariates, regions)
    assert set(placed.filter(region="South").frame["cluster"]) == {"E02", "E03"}


def test_filter_refuses_unknown_columns_and_values():
    cells = cells_of(make_records(6))
    with pytest.raises(UsageError, match="no column 'sx'.*Did you mean 'sex'"):
        cells.filter(sx="Male")
    with pytest.raises(DataError, match="No cell has 'Mal' as its sex.*Did you mean 'Male'"):
        cells.filter(sex="Mal")
    with pytest.raises(DataError, match="No cell meets all"):
        cells.filter(cluster="E01", cohort=2021.0)

"""Cells hold what a group-by over the records holds, whatever the records come from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sendap.cells import Cells, OutcomeInfo
from sendap.cells.compress import compress
from sendap.cells.exact import Bounds, restore, shift_for
from sendap.errors import DataError, UsageError

PARTS = {"cluster": "la", "outcomes": ["absence"], "strata": ["sex"]}


def make_records(seed: int, rows: int = 400, *, clusters: int = 5, years: int = 4) -> pd.DataFrame:
    """Pupil-years with movers between areas, gaps, singletons, missing outcomes and weights."""
    draw = np.random.default_rng(seed)
    la = draw.integers(0, clusters, rows)
    year = 2019 + draw.integers(0, years, rows)
    year[la == 0] = 2019  # a cluster with one period
    frame = pd.DataFrame(
        {
            "la": np.array([f"E0{code}" for code in la]),
            "year": year,
            "pupil": draw.integers(0, max(1, rows // 2), rows),
            "sex": pd.Series(draw.choice(["Female", "Male", None], rows, p=[0.5, 0.45, 0.05]), dtype="str"),
            "first_treated": np.where(la <= 1, np.nan, 2019.0 + la),
            "absence": np.where(draw.random(rows) < 0.1, np.nan, draw.gamma(2, 3, rows)),
            "late": np.where(draw.random(rows) < 0.2, np.nan, draw.integers(0, 2, rows)),
            "constant": 7.3,
            "prior": draw.normal(100, 15, rows),
            "idaci": draw.uniform(0, 1, rows),
            "weight": draw.choice([0.0, 0.5, 1.0, 2.25], rows),
        }
    )
    return frame.drop_duplicates(["pupil", "year"]).reset_index(drop=True)


def by_hand(
    records: pd.DataFrame, outcome: str, strata: list[str], weights: str | None = None, covariates: tuple[str, ...] = ()
) -> pd.DataFrame:
    """The same moments by an independent route: pandas, one cell at a time, in extended precision."""
    rows = []
    known = records.assign(**{s: records[s].astype(object).where(records[s].notna(), "Unknown") for s in strata})
    for key, cell in known.groupby(["la", "year", *strata]):
        seen = cell.dropna(subset=[outcome, *covariates])
        y = seen[outcome].to_numpy(dtype=np.longdouble)
        w = seen[weights].to_numpy(dtype=np.longdouble) if weights else np.ones(len(seen), dtype=np.longdouble)
        mean = (w @ y) / w.sum() if w.sum() > 0 else 0
        row = dict(zip(["cluster", "period", *strata], key, strict=True))
        row |= {"n": len(cell), "n_observed": len(seen), "weight": w.sum(), "sum": w @ y, "sum_squares": w @ y**2}
        row["squared_deviations"] = w @ (y - mean) ** 2
        for index, first in enumerate(covariates):
            x = seen[first].to_numpy(dtype=np.longdouble)
            row |= {f"sum[{first}]": w @ x, f"sum[{first}*outcome]": w @ (x * y)}
            for second in covariates[index:]:
                row[f"sum[{first}*{second}]"] = w @ (x * seen[second].to_numpy(dtype=np.longdouble))
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["cluster", "period", *strata], ignore_index=True)


def assert_same_moments(cells: Cells, expected: pd.DataFrame, outcome: str) -> None:
    found = cells.only(outcome).frame
    assert len(found) == len(expected)
    for column in expected.columns:
        if expected[column].dtype.kind in "fi" or expected[column].dtype == np.longdouble:
            scale = max(1.0, float(expected[column].abs().max()))
            np.testing.assert_allclose(
                found[column].astype(float), expected[column].astype(float), rtol=1e-12, atol=1e-12 * scale
            )
        else:
            assert found[column].tolist() == expected[column].tolist()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 300),
    weights=st.sampled_from([None, "weight"]),
    strata=st.sampled_from([[], ["sex"]]),
    outcomes=st.sampled_from([["absence"], ["absence", "late", "constant"]]),
    covariates=st.sampled_from([(), ("prior",), ("prior", "idaci")]),
)
def test_cells_equal_a_group_by_of_random_designs(seed, rows, weights, strata, outcomes, covariates):
    records = make_records(seed, rows)
    cells = compress(
        records, unit="pupil", cluster="la", outcomes=outcomes, strata=strata, covariates=covariates, weights=weights
    )
    for outcome in outcomes:
        assert_same_moments(cells, by_hand(records, outcome, strata, weights, covariates), outcome)


def test_an_outcome_that_never_varies_has_no_variation_at_all():
    cells = compress(make_records(3), cluster="la", outcomes=["constant"])
    assert (cells.frame["squared_deviations"] == 0).all()


@pytest.mark.parametrize("form", ["pandas", "parquet", "csv"])
def test_an_outcome_that_nobody_has_counts_records_and_nothing_else(tmp_path, form):
    records = make_records(3).assign(absence=np.nan, first_treated=np.nan)
    what: object = records
    if form != "pandas":
        what = tmp_path / f"r.{form}"
        records.to_parquet(what) if form == "parquet" else records.to_csv(what, index=False)
    frame = compress(what, cluster="la", outcomes=["absence"]).frame
    assert int(frame["n"].sum()) == len(records)
    assert frame["cohort"].isna().all()
    assert (frame[["n_observed", "weight", "sum", "sum_squares", "squared_deviations"]] == 0).all(axis=None)


def test_cohort_is_kept_and_infinite_means_never():
    records = make_records(1).assign(first_treated=lambda f: f["first_treated"].fillna(np.inf))
    cells = compress(records, **PARTS)
    cohorts = cells.frame.groupby("cluster")["cohort"].first()
    assert cohorts.isna().tolist() == [True, True, False, False, False]
    assert cohorts["E03"] == 2022


def test_missing_stratum_becomes_unknown_and_joins_a_written_unknown():
    records = make_records(5)
    written = records.assign(sex=records["sex"].where(records["sex"] != "Male", "Unknown"))
    cells = compress(written, **PARTS)
    assert set(cells.frame["sex"]) == {"Female", "Unknown"}
    assert int(cells.frame["n"].sum()) == len(records)
    expected = by_hand(written, "absence", ["sex"])
    assert_same_moments(cells, expected, "absence")


def write_everywhere(records: pd.DataFrame, folder: Path) -> dict[str, dict]:
    """The same records in every form that compress takes."""
    records.to_parquet(folder / "one.parquet")
    records.to_csv(folder / "one.csv", index=False)
    half = len(records) // 2
    (folder / "many").mkdir()
    records[:half].to_parquet(folder / "many" / "part-1.parquet")
    records[half:].to_parquet(folder / "many" / "part-2.parquet")
    pq.write_to_dataset(
        pa.Table.from_pandas(records, preserve_index=False), folder / "by_year", partition_cols=["year"]
    )
    with duckdb.connect(str(folder / "store.duckdb")) as con:
        con.sql(f"create table pupils as select * from '{folder / 'one.parquet'}'")
        con.sql("create table other as select 1 as a")
    return {
        "pandas": {"table_or_path": records},
        "arrow": {"table_or_path": pa.Table.from_pandas(records)},
        "parquet": {"table_or_path": folder / "one.parquet"},
        "csv": {"table_or_path": folder / "one.csv"},
        "folder": {"table_or_path": folder / "many"},
        "pattern": {"table_or_path": str(folder / "many" / "part-*.parquet")},
        "partitioned": {"table_or_path": folder / "by_year"},
        "database": {"table_or_path": folder / "store.duckdb", "table": "pupils"},
    }


def test_every_form_of_input_gives_the_same_cells(tmp_path):
    forms = write_everywhere(make_records(11), tmp_path)
    parts = {"cluster": "la", "outcomes": ["absence", "late"], "strata": ["sex"], "weights": "weight"}
    expected = compress(**forms["pandas"], **parts).frame
    for form in forms.values():
        pd.testing.assert_frame_equal(compress(**form, **parts).frame, expected, check_exact=True)
    con = ibis.duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True)
    for what in ({"table_or_path": con.table("pupils")}, {"table_or_path": con, "table": "pupils"}):
        pd.testing.assert_frame_equal(compress(**what, **parts).frame, expected, check_exact=True)


def test_a_list_of_files_may_have_full_addresses_and_partitions(tmp_path):
    records = make_records(1)
    expected = compress(records, **PARTS).frame
    files = []
    for year, rows in records.groupby("year"):
        files.append(tmp_path / f"year={year}" / "part.parquet")
        files[-1].parent.mkdir()
        rows.drop(columns="year").to_parquet(files[-1])
    found = compress([path.absolute() for path in files], **PARTS)
    pd.testing.assert_frame_equal(found.frame, expected, check_exact=True)
    assert {source["name"] for source in found.metadata["sources"]} == {"part.parquet"}


def test_metadata_names_sources_without_folders_and_goes_through_the_file(tmp_path):
    forms = write_everywhere(make_records(2), tmp_path)
    cells = compress(
        **forms["folder"],
        cluster="la",
        strata=["sex"],
        outcomes={"absence": OutcomeInfo(unit="per cent", label="Absence")},
        metadata={"protocol_hash": "abc"},
    )
    assert [source["name"] for source in cells.metadata["sources"]] == ["part-1.parquet", "part-2.parquet"]
    assert all(len(source["sha256"]) == 64 for source in cells.metadata["sources"])
    assert sum(source["rows"] for source in cells.metadata["sources"]) == cells.metadata["records"]
    assert str(tmp_path) not in str(cells.metadata)
    assert cells.metadata["protocol_hash"] == "abc"
    assert cells.metadata["schema"]["absence"] == "float64"
    assert cells.synthetic is False
    cells.write(tmp_path / "cells.parquet")
    back = Cells.read(tmp_path / "cells.parquet")
    pd.testing.assert_frame_equal(back.frame, cells.frame, check_exact=True)
    assert back.metadata == cells.metadata
    assert back.outcomes["absence"].unit == "per cent"


# Sums that keep their digits


def test_large_values_with_tiny_variation_keep_it():
    draw = np.random.default_rng(8)
    steps = draw.integers(-4, 5, 200_000)
    records = pd.DataFrame({"la": "E01", "year": 2020, "y": 1e9 + steps / 1024})
    cells = compress(records, cluster="la", outcomes=["y"], cohort=None)
    row = cells.frame.iloc[0]
    steps = steps.astype(object)  # whole numbers of any size: the true answer, without rounding
    variation = float((sum(steps * steps) * len(steps) - sum(steps) ** 2) / len(steps) / 1024**2)
    assert row["squared_deviations"] == pytest.approx(variation, rel=1e-12)
    assert row["sum"] == float(10**9 * len(steps) + sum(steps) / 1024)
    naive = row["sum_squares"] - row["sum"] ** 2 / row["weight"]
    assert abs(naive / variation - 1) > 0.01  # what the plain formula would have given


def test_sums_beyond_64_bits_and_mixed_sizes_are_right():
    values = np.array([2**52 + 1, 2**51 + 3, 5, 1] * 25_000, dtype=np.int64)
    cells = compress(pd.DataFrame({"la": "E01", "year": 2020, "y": values}), cluster="la", outcomes=["y"], cohort=None)
    row = cells.frame.iloc[0]
    exact = [int(value) for value in values]
    assert row["sum"] == float(sum(exact))
    assert row["sum_squares"] == pytest.approx(float(sum(value * value for value in exact)), rel=2e-16)


def test_the_order_of_records_changes_no_digit(tmp_path):
    records = make_records(21, 5000)
    expected = compress(records, **PARTS, weights="weight").frame
    for seed in range(3):
        records.sample(frac=1, random_state=seed).to_parquet(tmp_path / "shuffled.parquet", row_group_size=700)
        found = compress(tmp_path / "shuffled.parquet", **PARTS, weights="weight").frame
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


@given(st.lists(st.floats(-1e12, 1e12, allow_nan=False, allow_subnormal=False), min_size=1, max_size=20))
def test_scaled_whole_numbers_give_back_their_values(values):
    largest = max(abs(value) for value in values)
    whole = np.floor(np.array(values) * 2.0 ** shift_for(largest)).astype(np.int64)
    assert (np.abs(whole) < 10**18).all()
    restored = restore(whole >> 30, whole & (2**30 - 1), largest=largest)
    np.testing.assert_allclose(restored, values, rtol=0, atol=largest * 2**-52 + 1e-290)


def test_bits_of_very_many_records_are_put_together_without_a_carry_too_many():
    # Eight thousand million records of the largest value: what no test can scan, but a cell must hold.
    records = 2**33 - 1
    upper, lower = np.array([records * (2**29 - 1)]), np.array([records * (2**30 - 1)])
    exact = records * (2**59 - 1)
    assert restore(upper, lower, largest=2.0**59 - 2**6)[0] == pytest.approx(float(exact), rel=3e-16)


@given(st.floats(1e-3, 1e12), st.floats(1, 2))
def test_centre_is_taken_off_without_rounding(low, factor):
    bounds = Bounds(low, low * factor)
    for value in (low, low * factor, low + (low * factor - low) / 3):
        assert float(np.longdouble(value) - np.longdouble(bounds.centre)) == value - bounds.centre
    assert Bounds(-1, 5).centre == 0
    assert Bounds(1, 2.5).centre == 0


# Margins


def test_margins_are_group_bys_of_their_own(tmp_path):
    records = make_records(31).assign(fsm=lambda f: f["pupil"] % 2 == 0)
    records.to_parquet(tmp_path / "r.parquet")
    margins = [["sex"], ["fsm"], []]
    cells = compress(tmp_path / "r.parquet", cluster="la", outcomes=["absence"], strata=["sex", "fsm"], margins=margins)
    assert cells.margins == (("fsm",), ("sex",), ())
    for margin in margins:
        others = [name for name in ("sex", "fsm") if name not in margin]
        rows = cells.frame
        for name in ("sex", "fsm"):
            rows = rows[(rows[name] == "(all)") == (name in others)]
        expected = by_hand(records.assign(fsm=records["fsm"].map({True: "true", False: "false"})), "absence", margin)
        np.testing.assert_array_equal(rows["n"], expected["n"])
        np.testing.assert_allclose(rows["sum"], expected["sum"].astype(float), rtol=1e-12)
        assert "Unknown" in set(rows["sex"]) or "sex" in others  # a missing sex stays apart from "(all)"


def test_a_stratum_of_no_margin_reads_all():
    cells = compress(make_records(1), cluster="la", outcomes="absence", strata=["sex", "pupil"], margins=[["sex"], []])
    assert set(cells.frame["pupil"]) == {"(all)"}
    assert cells.margins == (("sex",), ())


def test_a_margin_of_an_unknown_stratum_is_refused():
    with pytest.raises(UsageError, match="Name at least one margin"):
        compress(make_records(1), **PARTS, margins=[])
    with pytest.raises(UsageError, match=r"Margin 'sx' isn't one of the strata\. Did you mean 'sex'"):
        compress(make_records(1), **PARTS, margins=[["sx"]])


# Refusals


def refused(what: object, **changes: object) -> str:
    with pytest.raises(DataError) as caught:
        compress(what, **{**PARTS, **changes})
    return str(caught.value)


def test_truncated_parquet_is_refused_by_name(tmp_path):
    make_records(1).to_parquet(tmp_path / "good.parquet")
    whole = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "short.parquet").write_bytes(whole[: len(whole) // 2])
    message = refused(tmp_path / "*.parquet")
    assert "short.parquet" in message
    assert "cut short" in message


def test_missing_file_and_missing_column_name_the_nearest(tmp_path):
    assert "doesn't exist" in refused(tmp_path / "none.parquet")
    assert "no column 'absense'. Did you mean 'absence'?" in refused(make_records(1), outcomes=["absense"])


def test_a_file_of_several_that_lacks_a_column_is_named(tmp_path):
    make_records(1).to_parquet(tmp_path / "one.parquet")
    make_records(2).drop(columns="absence").to_parquet(tmp_path / "two.parquet")
    message = refused(tmp_path)
    assert "two.parquet lacks the column 'absence'" in message


def test_rows_are_named_in_partitioned_folders_too(tmp_path):
    forms = write_everywhere(pd.concat([make_records(1), make_records(1)[3:4]]), tmp_path)
    message = refused(forms["partitioned"]["table_or_path"], unit="pupil")
    rows = message.split("first in ")[1]
    assert rows.count("row ") == 2
    assert rows.count("year=") == 2


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_text_in_a_number_is_refused_with_its_row_and_never_its_value(tmp_path, form):
    records = make_records(1)
    records["absence"] = records["absence"].astype(object)
    records.loc[16, "absence"] = "secret"
    path = tmp_path / f"r.{form}"
    if form == "csv":
        records.to_csv(path, index=False)
    else:
        records.assign(absence=records["absence"].map(lambda v: None if pd.isna(v) else str(v))).to_parquet(path)
    message = refused(path)
    assert "row 17" in message
    assert "Expected numbers" in message
    assert "secret" not in message


def test_text_far_down_a_csv_is_refused_with_its_line_and_never_its_value(tmp_path):
    rows = "\n".join(f"E0{i % 3},{2020 + i % 2},Male,,{i % 7}.5" for i in range(60_000))
    bad = "E01,2020,Male,,secret"
    (tmp_path / "r.csv").write_text(f"la,year,sex,first_treated,absence\n{rows}\n{bad}\n")
    message = refused(tmp_path / "r.csv")
    assert "r.csv" in message
    assert "secret" not in message
    assert "line 60002" in message or "row 60,001" in message


@pytest.mark.parametrize("form", ["pandas", "parquet", "csv"])
@pytest.mark.parametrize("column", ["la", "year"])
def test_missing_cluster_or_period_is_refused_with_its_row(tmp_path, form, column):
    records = make_records(1).astype({"year": "Int64"})
    records.loc[[30, 40], column] = None
    what: object = records
    if form != "pandas":
        what = tmp_path / f"r.{form}"
        records.to_parquet(what) if form == "parquet" else records.to_csv(what, index=False)
    message = refused(what)
    assert f"2 record(s) have no '{column}'" in message
    assert "row 31" in message


def test_repeated_unit_and_period_is_refused_with_both_rows_and_never_the_pupil(tmp_path):
    records = make_records(1).assign(pupil=lambda f: 987_654_000 + f["pupil"])
    twice = pd.concat([records, records.iloc[[4]].assign(absence=1.0)], ignore_index=True)
    twice.to_parquet(tmp_path / "r.parquet")
    message = refused(tmp_path / "r.parquet", unit="pupil")
    assert "1 value(s) of 'pupil' appear more than once" in message
    assert "row 5 of" in message
    assert f"row {len(twice)} of" in message
    assert "987654" not in message
    assert compress(tmp_path / "r.parquet", **PARTS).frame["n"].sum() == len(twice)  # nobody asked for the check


def test_repeated_unit_is_found_where_periods_span_more_than_62_bits():
    records = pd.DataFrame(
        {"la": "E01", "year": [1900, 2020, 2020], "pupil": [1, 1, 1], "sex": "Male", "absence": 1.0}
    ).assign(first_treated=np.nan)
    assert "row 2" in refused(records, unit="pupil")
    assert len(compress(records[:2], **PARTS, unit="pupil").frame) == 2


def test_cohort_that_changes_inside_a_cluster_is_refused():
    records = make_records(1)
    some = (records["la"] == "E03").to_numpy().nonzero()[0][:2]
    changed = records.copy()
    changed.loc[some, "first_treated"] = 2020.0
    assert "isn't the same in all records of 1 'la', first 'E03'" in refused(changed)
    lost = records.copy()
    lost.loc[some, "first_treated"] = np.nan
    assert "first 'E03'" in refused(lost)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("weight", -1.0, "negative"), ("weight", np.nan, "no weight"), ("absence", np.inf, "infinite")],
)
def test_impossible_numbers_are_refused_with_their_row(column, value, words):
    records = make_records(1)
    records.loc[8, column] = value
    message = refused(records, weights="weight")
    assert words in message
    assert "row 9" in message


def test_a_measured_stratum_and_a_written_all_are_refused():
    assert "Expected text or whole numbers" in refused(make_records(1), strata=["prior"])
    assert "rename it" in refused(make_records(1).assign(sex="(all)"))


def test_a_covariate_far_from_zero_is_refused():
    records = make_records(1).assign(prior=lambda f: 1e12 + f["prior"])
    assert "Subtract a constant" in refused(records, covariates=["prior"])


def test_no_records_and_a_column_in_two_parts_are_refused():
    assert "no records" in refused(make_records(1)[:0])
    with pytest.raises(UsageError, match="can't have two parts"):
        compress(make_records(1), cluster="la", outcomes=["absence"], strata=["la"])


def test_what_can_not_be_opened_is_refused_with_the_way_to_mend_it(tmp_path):
    forms = write_everywhere(make_records(1), tmp_path)
    store = tmp_path / "store.duckdb"
    for what, changes, words in [
        (forms["pandas"]["table_or_path"], {"engine": "sparc"}, "engine 'sparc' isn't known"),
        (store, {}, "Name the table of .*: other, pupils"),
        (store, {"table": "pupil"}, "no table 'pupil'.*Did you mean 'pupils'"),
        (store, {"table": "pupils", "engine": "spark"}, "Leave the engine out"),
        (42, {}, "can't be read from a int"),
    ]:
        with pytest.raises(UsageError, match=words):
            compress(what, **PARTS, **changes)
    (tmp_path / "r.xlsx").write_bytes(b"")
    assert "isn't of a known kind" in refused(tmp_path / "r.xlsx")
    assert "both Parquet and CSV" in refused([tmp_path / "one.parquet", tmp_path / "one.csv"])


# Stopped half-way

SLOW_WRITE = """
import sys, time
import pyarrow.parquet as pq
from sendap.cells.compress import compress
whole = pq.write_table
def half(table, path):
    whole(table, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    print("half-way", flush=True)
    time.sleep(60)
pq.write_table = half
compress(sys.argv[1], cluster="la", outcomes=["absence"], strata=["sex"]).write(sys.argv[2])
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of this kind don't exist on Windows")
def test_killed_half_way_leaves_no_partial_file_and_the_old_one_whole(tmp_path):
    make_records(1).to_parquet(tmp_path / "r.parquet")
    target = tmp_path / "cells.parquet"
    compress(tmp_path / "r.parquet", cluster="la", outcomes=["late"]).write(target)
    before = target.read_bytes()
    worker = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITE, str(tmp_path / "r.parquet"), str(target)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert worker.stdout.readline().strip() == "half-way"
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(timeout=30)
    assert target.read_bytes() == before
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"cells.parquet", "r.parquet"}


# Spark


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_spark_gives_the_same_cells(tmp_path):
    pytest.importorskip("pyspark", reason="pyspark isn't installed (extra: spark)")
    from shutil import which

    if which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, and there is none")
    forms = write_everywhere(make_records(41, 3000), tmp_path)
    parts = {
        "cluster": "la",
        "outcomes": ["absence", "late"],
        "strata": ["sex"],
        "weights": "weight",
        "covariates": ["prior"],
        "unit": "pupil",
    }
    expected = compress(**forms["pandas"], **parts).frame
    margins = compress(**forms["parquet"], **parts, margins=[["sex"], []]).frame
    for form in ("parquet", "partitioned", "pandas"):
        found = compress(**forms[form], **parts, engine="local[2]").frame
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    found = compress(**forms["parquet"], **parts, engine="local[2]", margins=[["sex"], []]).frame
    pd.testing.assert_frame_equal(found, margins, check_exact=True)
    repeated = pd.concat([make_records(1), make_records(1)[:1]], ignore_index=True)
    with pytest.raises(DataError, match="doesn't number rows"):
        compress(repeated, **PARTS, unit="pupil", engine="local[2]")

"""Path cells hold exactly what the records hold: checked against a plain count of every pupil's path."""

from __future__ import annotations

import os
from shutil import which

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from path_records import draw_records

from sendap.cells import OutcomeInfo
from sendap.cells import compress_paths as module
from sendap.cells.compress_paths import compress_paths
from sendap.cells.paths import PathCells
from sendap.errors import DataError, UsageError


def compressed(records: object, **options: object) -> PathCells:
    return compress_paths(records, **{"unit": "pupil", "outcomes": ["absence"], **options})


def counted(frame: pd.DataFrame, outcome: str = "absence", weights: str | None = None) -> dict:
    """By path (periods and clusters) and period: pupils, weight, and weighted sum, counted pupil by pupil."""
    found: dict = {}
    for _, rows in frame.dropna(subset=outcome).groupby("pupil"):
        rows = rows.sort_values("year")
        path = tuple(zip(rows["year"], rows["la_code"], strict=True))
        if len(path) < 2:
            continue
        for row in rows.to_dict("records"):
            weight = 1.0 if weights is None else row[weights]
            n, total, amount = found.get((path, row["year"]), (0, 0.0, 0.0))
            found[path, row["year"]] = (n + 1, total + weight, amount + weight * row[outcome])
    return found


def held(cells: PathCells, outcome: str = "absence") -> dict:
    """The same from path cells."""
    found: dict = {}
    origin = cells.origins[outcome]
    for _, rows in cells.frame[cells.frame["outcome"] == outcome].groupby("path"):
        path = tuple(zip(rows["period"], rows["cluster"], strict=True))
        for row in rows.to_dict("records"):
            assert (path, row["period"]) not in found
            amount = row["sum"] + origin * row["weight"]
            found[path, row["period"]] = (row["n"], row["weight"], amount)
    return found


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for key, (n, weight, total) in expected.items():
        assert found[key][0] == n
        # A handful of numbers around one are added: some units in the last place.
        assert found[key][1:] == pytest.approx((weight, total), rel=1e-13, abs=1e-13)


def assert_equal(found: PathCells, expected: PathCells) -> None:
    """Equal to the last bit."""
    pd.testing.assert_frame_equal(found.frame, expected.frame, check_exact=True)
    pd.testing.assert_frame_equal(found.counts, expected.counts)
    pd.testing.assert_frame_equal(found.clusters, expected.clusters)


def test_every_path_has_its_pupils_and_sums():
    frame = draw_records(1)
    cells = compressed(frame)
    assert_same(held(cells), counted(frame))
    assert len(cells.frame) < len(frame)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.3]),
    st.integers(2, 7),
)
def test_random_records(seed, moving, gaps, missing, periods):
    frame = draw_records(
        seed, pupils=40, clusters=4, treated=2, periods=periods, moving=moving, gaps=gaps, missing=missing
    )
    expected = counted(frame)
    cells = compressed(frame)
    assert_same(held(cells), expected)
    counts = cells.counts.iloc[0]
    known = frame.dropna(subset="absence")
    seen = known.groupby("pupil")["la_code"].agg(["size", "nunique"])
    assert counts["records"] == len(known)
    assert counts["pupils"] == len(seen)
    assert counts["singletons"] == (seen["size"] == 1).sum()
    assert counts["movers"] == ((seen["size"] > 1) & (seen["nunique"] > 1)).sum()
    assert counts["paths"] == len({path for path, _ in expected})


def test_all_kinds_of_records_give_the_same_bits(tmp_path):
    frame = draw_records(2)
    expected = compressed(frame)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    assert_equal(compressed(table), expected)
    frame.to_parquet(tmp_path / "all.parquet")
    assert_equal(compressed(tmp_path / "all.parquet"), expected)
    frame[:300].to_parquet(tmp_path / "part-1.parquet")
    frame[300:].to_parquet(tmp_path / "part-2.parquet")
    assert_equal(compressed(str(tmp_path / "part-*.parquet")), expected)
    connection = ibis.duckdb.connect(tmp_path / "records.duckdb")
    connection.con.register("lent", table)
    connection.raw_sql("CREATE TABLE records AS SELECT * FROM lent")
    connection.con.unregister("lent")
    assert_equal(compressed(connection.table("records")), expected)
    assert connection.con.sql("SELECT table_name FROM duckdb_tables()").fetchall() == [("records",)]
    connection.disconnect()
    assert_equal(compressed(tmp_path / "records.duckdb"), expected)


def test_spark_gives_the_same_bits(tmp_path):
    pytest.importorskip("pyspark", reason="pyspark isn't installed (extra: spark)")
    if which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, and there is none")
    frame = draw_records(17)
    frame.to_parquet(tmp_path / "records.parquet")
    options = {"weights": "size", "engine": "local[2]"}
    assert_equal(compressed(tmp_path / "records.parquet", **options), compressed(frame, weights="size"))
    pd.concat([frame, frame[:2]]).to_parquet(tmp_path / "records.parquet")
    with pytest.raises(DataError, match=r"2 value\(s\) of 'pupil' appear more than once"):
        compressed(tmp_path / "records.parquet", **options)


def test_order_of_records_changes_no_bit():
    frame = draw_records(3)
    assert_equal(compressed(frame.sample(frac=1.0, random_state=9)), compressed(frame))


def test_each_outcome_has_its_own_paths():
    frame = draw_records(4)
    frame["exclusions"] = np.where(np.arange(len(frame)) % 5 == 0, np.nan, frame["absence"].fillna(0.3) * 2)
    cells = compressed(frame, outcomes={"absence": OutcomeInfo(unit="%"), "exclusions": OutcomeInfo()})
    for outcome in ("absence", "exclusions"):
        assert_same(held(cells, outcome), counted(frame, outcome))
    assert cells.panel("absence").info.unit == "%"
    with pytest.raises(UsageError, match="Did you mean 'absence'"):
        cells.panel("absense")
    with pytest.raises(UsageError, match="Name the outcome"):
        cells.panel()


def test_weights_of_pupils():
    frame = draw_records(5)
    cells = compressed(frame, weights="size")
    assert cells.weighted
    assert_same(held(cells), counted(frame, weights="size"))


def test_large_values_keep_their_digits():
    frame = draw_records(6)
    moved = frame.assign(absence=1e9 + frame["absence"].round(6))
    expected, found = counted(moved.assign(absence=moved["absence"] - 1e9)), held(compressed(moved))
    cells = compressed(moved)
    assert cells.origins["absence"] == pytest.approx(1e9, rel=1e-8)
    shift = cells.origins["absence"] - 1e9
    sums = dict(zip(found, cells.frame["sum"], strict=True))
    for key, (n, _, total) in expected.items():
        # Values keep the digits that a double near 1e9 has (1e-7); their sums lose none.
        assert sums[key] + shift * n == pytest.approx(total, abs=1e-12 * n)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 40_000), st.integers(1, 90), st.integers(1, 50))
def test_what_is_written_of_a_path_is_read_again(data, clusters, periods, paths):
    digits = module._Digits(pd.RangeIndex(clusters), np.arange(periods))
    draw = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    held = draw.integers(1, clusters + 1, (paths, periods)) * (draw.random((paths, periods)) < 0.6)
    held[0] = clusters  # the largest digit in every place
    path, period = np.nonzero(held)
    written = digits.write(held[path, period] - 1, period)
    codes = {code: np.zeros(paths, dtype="int64") for code in digits.codes}
    for code, values in written.items():
        np.bitwise_or.at(codes[code], path, values)
        assert (values >= 0).all()
        assert (values & digits.records != 0).sum() == (period // digits.in_one == digits.codes.index(code)).sum()
    np.testing.assert_array_equal(digits.read(codes), held)
    # What tells a record without an outcome leaves no cluster behind.
    bare = {code: values & digits.records for code, values in codes.items()}
    assert not digits.read(bare).any()


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([3, 40]),
    st.sampled_from([4, 24]),
    st.sampled_from([None, "size"]),
)
def test_several_outcomes_with_gaps_movers_and_weights(seed, clusters, periods, weights):
    frame = draw_records(
        seed, pupils=60, clusters=clusters, treated=1, periods=periods, moving=0.4, gaps=0.3, missing=0.2
    )
    draw = np.random.default_rng(seed)
    frame["late"] = np.where(draw.random(len(frame)) < 0.5, np.nan, draw.integers(0, 2, len(frame)))
    cells = compressed(frame, outcomes=["absence", "late"], weights=weights)
    for outcome in ("absence", "late"):
        assert_same(held(cells, outcome), counted(frame, outcome, weights))


@pytest.mark.parametrize(
    ("years", "areas"),
    [([2014, 2015, 2016, 2017], "XXYY"), ([2014, 2015, 2014, 2016], "XXXX"), ([2014, 2015, 2014, 2015], "XXXY")],
)
def test_paths_that_differ_in_a_period_or_in_an_area_stay_apart(years, areas):
    frame = pd.DataFrame({"pupil": list("aabb"), "la_code": list(areas), "year": years})
    cells = compressed(frame.assign(first_treated=np.nan, absence=[1.0, 2.0, 3.0, 5.0]))
    assert cells.counts["paths"].iloc[0] == 2
    assert cells.frame["n"].tolist() == [1, 1, 1, 1]


def test_many_clusters_and_months():
    clusters, months, pupils = 24_000, 36, 700
    draw = np.random.default_rng(19)
    first, second = draw.integers(0, clusters, (2, pupils))
    moves = draw.integers(1, months, pupils)
    pupil, month = (part.ravel() for part in np.indices((pupils, months)))
    frame = pd.DataFrame({"pupil": pupil, "year": month, "absence": draw.normal(size=pupils * months)})
    frame["la_code"] = np.where(month < moves[pupil], first[pupil], second[pupil])
    everywhere = pd.DataFrame({"pupil": pupils + np.arange(clusters), "year": 0, "la_code": np.arange(clusters)})
    cells = compressed(pd.concat([frame, everywhere], ignore_index=True).assign(first_treated=np.nan))
    assert cells.counts[["pupils", "singletons", "paths"]].iloc[0].tolist() == [pupils, 0, pupils]
    found = cells.frame.assign(la_code=cells.frame["cluster"].astype(int))
    expected = frame.rename(columns={"year": "period", "absence": "sum"})
    keys = ["period", "la_code", "sum"]
    # Each pupil has a path alone, so rows and records are the same; a sum of one value is rounded once, by 2**-58.
    pd.testing.assert_frame_equal(
        found[keys].sort_values(keys, ignore_index=True),
        expected[keys].sort_values(keys, ignore_index=True),
        check_dtype=False,
        rtol=0,
        atol=1e-15,
    )


@pytest.mark.parametrize("apart", [1, 10**6])
def test_periods_may_lie_far_apart(apart):
    frame = draw_records(20)
    moved = frame.assign(year=frame["year"] * apart, first_treated=frame["first_treated"] * apart)
    assert_same(held(compressed(moved)), counted(moved))


def test_records_that_change_while_they_are_read_are_refused(monkeypatch):
    frame, add_up = draw_records(21), module._add_up

    def fewer(plain, placed, largest):
        return add_up(plain.filter(plain.t > plain.t.min()), placed, largest)

    monkeypatch.setattr(module, "_add_up", fewer)
    with pytest.raises(DataError, match="changed while they were read"):
        compressed(frame)


@pytest.mark.parametrize("lost", [False, True])
def test_duplicates_are_refused_without_naming_a_pupil(lost):
    frame = draw_records(8)
    again = frame.iloc[[5, 9]].assign(absence=np.nan if lost else 1.0, la_code="E001", first_treated=np.nan)
    again["first_treated"] = frame.loc[frame["la_code"] == "E001", "first_treated"].iloc[0]
    with pytest.raises(DataError, match=r"2 value\(s\) of 'pupil' appear more than once") as refused:
        compressed(pd.concat([frame, again], ignore_index=True))
    assert not any(pupil in str(refused.value) for pupil in frame["pupil"].unique())


def test_many_periods():
    frame = draw_records(9, pupils=30, periods=70, gaps=0.3)
    assert frame["year"].nunique() > 62
    assert_same(held(compressed(frame)), counted(frame))
    with pytest.raises(DataError, match="appear more than once"):
        compressed(pd.concat([frame, frame.iloc[:1]]))


def with_value(column: str, value: object) -> pd.DataFrame:
    frame = draw_records(10)
    frame[column] = frame[column].astype(object if isinstance(value, str) or value is None else float)
    frame.loc[3, column] = value
    return frame


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("pupil", None, "1 record.* have no 'pupil'"),
        ("la_code", None, "1 record.* have no 'la_code'"),
        ("first_treated", 1999.0, "isn't the same in all records"),
        ("size", 0.0, "zero or less"),
        ("size", np.nan, "have no 'size'"),
        ("size", 77.0, r"changes over the records of 1 value\(s\)"),
        ("absence", np.inf, "infinite"),
    ],
)
def test_refusals(column, value, words):
    frame = with_value(column, value)
    if column == "la_code":
        frame["first_treated"] = np.nan
    with pytest.raises(DataError, match=words) as refused:
        compressed(frame, weights="size" if column == "size" else None)
    assert not any(pupil in str(refused.value) for pupil in frame["pupil"].dropna().unique())


def test_wrong_use():
    frame = draw_records(11)
    with pytest.raises(UsageError, match="at least one outcome"):
        compressed(frame, outcomes=[])
    with pytest.raises(UsageError, match="named twice"):
        compressed(frame, outcomes=["year"])
    with pytest.raises(DataError, match="no column 'absense'.*Did you mean 'absence'"):
        compressed(frame, outcomes=["absense"])
    with pytest.raises(DataError, match="holds no records"):
        compressed(frame.iloc[:0].astype(frame.dtypes))


def test_an_outcome_that_nobody_has_leaves_nothing():
    cells = compressed(draw_records(12).assign(absence=np.nan))
    assert cells.frame.empty
    assert (cells.counts.drop(columns="outcome") == 0).all(axis=None)


def test_pupils_seen_once_leave_nothing():
    frame = draw_records(12).drop_duplicates("pupil")
    cells = compressed(frame)
    assert cells.frame.empty
    assert cells.counts["singletons"].iloc[0] == frame["absence"].notna().sum()
    with pytest.raises(DataError, match="No pupil has 'absence' in two periods"):
        cells.panel()


def test_written_and_read_again(tmp_path):
    cells = compressed(draw_records(13), weights="size", metadata={"protocol_hash": "abc"})
    cells.write(tmp_path / "paths.parquet")
    again = PathCells.read(tmp_path / "paths.parquet")
    assert_equal(again, cells)
    assert (again.outcomes, again.origins, again.weighted) == (cells.outcomes, cells.origins, True)
    assert again.metadata["protocol_hash"] == "abc"
    again.write(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "paths.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.parquet", "paths.parquet"]


def test_areas_and_pupils_may_be_whole_numbers(tmp_path):
    frame = draw_records(18)
    numbers = frame.assign(la_code=frame["la_code"].str[1:].astype(int), pupil=frame["pupil"].str[1:].astype(int))
    cells = compressed(numbers.assign(first_treated=numbers["first_treated"].fillna(np.inf)))
    assert_same(held(cells), counted(numbers))
    cells.write(tmp_path / "paths.parquet")
    assert_equal(PathCells.read(tmp_path / "paths.parquet"), cells)


def test_files_that_cannot_be_read(tmp_path):
    cells = compressed(draw_records(14))
    cells.write(tmp_path / "paths.parquet")
    whole = (tmp_path / "paths.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    draw_records(14).to_parquet(tmp_path / "other.parquet")
    for name, words in (("cut", "cut short"), ("other", "isn't a file of path cells"), ("none", "doesn't exist")):
        with pytest.raises(DataError, match=words):
            PathCells.read(tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match="lack the column"):
        PathCells(cells.frame.drop(columns="sum"), cells.outcomes, cells.clusters, cells.counts)


def test_keeping_rows_counts_the_pupils_left_alone():
    frame = draw_records(15)
    panel = compressed(frame).panel()
    kept = panel.keep(panel.period != 0)
    known = frame.dropna(subset="absence")
    sizes = known[known["year"] > panel.periods[0]].groupby("pupil").size()
    before = known.groupby("pupil").size()
    alone = (sizes[sizes == 1].index.isin(before[before > 1].index)).sum()
    assert kept.singletons - panel.singletons == alone
    assert kept.n.sum() == sizes[sizes > 1].sum()
    assert (kept.lengths >= 2).all()


def test_synthetic_records_stay_marked():
    assert compressed(draw_records(16), metadata={"synthetic": True}).synthetic
    assert not compressed(draw_records(16)).synthetic

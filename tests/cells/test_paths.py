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


def test_colliding_paths_are_told_apart(monkeypatch):
    frame = draw_records(7)
    expected, keys, seeds = compressed(frame), module._keys, []

    def clumsy(records, areas, plain, seed):
        seeds.append(seed)
        made = keys(records, areas, plain, seed)
        return made.mutate(key=made.key % 3) if seed == 0 else made

    monkeypatch.setattr(module, "_keys", clumsy)
    found = compressed(frame)
    assert seeds == [0, 1]
    assert_same(held(found), held(expected))


@pytest.mark.parametrize(
    ("years", "areas"),
    [
        # Alone in their periods: counts by path and period agree even when the two pupils are taken as one path.
        ([2014, 2015, 2016, 2017], "XXYY"),
        # Together in one period only, in the same area.
        ([2014, 2015, 2014, 2016], "XXXX"),
        # Together in all periods, apart in one area.
        ([2014, 2015, 2014, 2015], "XXXY"),
    ],
)
def test_two_pupils_whose_paths_collide_are_never_taken_as_one(monkeypatch, years, areas):
    frame = pd.DataFrame({"pupil": list("aabb"), "la_code": list(areas), "year": years})
    frame = frame.assign(first_treated=np.nan, absence=[1.0, 2.0, 3.0, 5.0])
    assert compressed(frame).counts["paths"].iloc[0] == 2
    keys = module._keys
    monkeypatch.setattr(module, "_keys", lambda *given: keys(*given).mutate(key=ibis.literal(1, "int64")))
    with pytest.raises(DataError, match="can't be told apart"):
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

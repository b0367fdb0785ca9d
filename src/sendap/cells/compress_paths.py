"""From records of any number to path cells: one look at the areas, one group for each pupil, one for each path.

A pupil's path is written as a number with a digit for each period: the area in which the pupil is then, zero where
the outcome isn't known. A digit has bits of its own, so joining a pupil's records by *or* gives the number whatever
their order, and grouping by pupil costs little more than a count. Where one whole number hasn't enough bits, several
hold the digits. Pupils with the same number share a path, and the areas and periods are read from its digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa

from sendap.cells.core import OutcomeInfo
from sendap.cells.engines import plain_errors
from sendap.cells.exact import Bounds, exact_sums, restore
from sendap.cells.inputs import Records, lend, open_records, take_back
from sendap.cells.paths import COUNTS, PathCells
from sendap.cells.refusals import check_columns, check_known, check_types, check_unit_period, rows_where
from sendap.cells.statement import Request, find_bounds, number
from sendap.errors import DataError, UsageError

CODE_BITS = 63
"""Bits of one whole number of a path: as many as every engine holds above zero."""

CHANGED = "the records changed while they were read. Read them again."


@ibis.udf.scalar.builtin
def bit_count(value: int) -> int:
    """How many bits of a whole number are set. Ibis has no name for it, DuckDB and Spark have this one."""


@ibis.udf.agg.builtin
def bit_or(value: int) -> int:
    """The bits set in any row. Ibis has it, but not for Spark."""


@dataclass(frozen=True)
class _Columns:
    unit: str
    cluster: str
    period: str
    cohort: str
    weights: str | None


@dataclass(frozen=True)
class _Digits:
    """How a path is written: ``clusters`` (sorted) count from one, ``periods`` (sorted) have a digit each.

    The lowest bit of a digit is set where there is a record, whether its outcome is known or not.
    """

    clusters: pd.Index
    periods: np.ndarray

    @property
    def width(self) -> int:
        return len(self.clusters).bit_length() + 1

    @property
    def in_one(self) -> int:
        """Digits that one whole number holds."""
        return CODE_BITS // self.width

    @property
    def codes(self) -> list[str]:
        """Names of the whole numbers that hold a path."""
        return [f"code{i}" for i in range(-(-len(self.periods) // self.in_one))]

    @property
    def records(self) -> int:
        """The lowest bits of all digits of a whole number."""
        return sum(1 << (place * self.width) for place in range(self.in_one))

    def write(self, cluster: np.ndarray, period: np.ndarray) -> dict[str, np.ndarray]:
        """The whole numbers of single records, from positions of their clusters and periods."""
        digit = (cluster.astype("int64") + 1) << 1 | 1
        moved = digit << (period % self.in_one * self.width)
        return {code: np.where(period // self.in_one == i, moved, 0) for i, code in enumerate(self.codes)}

    def read(self, codes: Mapping[str, np.ndarray]) -> np.ndarray:
        """Clusters, counted from one, by path and period; zero where the outcome isn't known."""
        found = np.empty((len(codes[self.codes[0]]), len(self.periods)), dtype="int32")
        for period in range(len(self.periods)):
            code, place = codes[self.codes[period // self.in_one]], period % self.in_one
            found[:, period] = (code >> (place * self.width) & ((1 << self.width) - 1)) >> 1
        return found


def compress_paths(
    table_or_path: object,
    *,
    unit: str,
    cluster: str = "la_code",
    period: str = "year",
    cohort: str = "first_treated",
    outcomes: Sequence[str] | Mapping[str, OutcomeInfo],
    weights: str | None = None,
    table: str | None = None,
    engine: str | None = None,
    metadata: Mapping[str, object] | None = None,
) -> PathCells:
    """Path cells of all records: one row for each outcome, path and period.

    Parameters
    ----------
    table_or_path, table, engine
        As for ``sendap.compress``: a table, Parquet or CSV files, a DuckDB database or an Ibis connection.
    unit
        The column that names a pupil.
    cluster, period, cohort
        Columns with the area in which the pupil is at the time, the year (a whole number), and the first treated
        year of the area: missing or infinite for the never treated, the same in all its records.
    outcomes
        Columns of numbers, or a mapping from column to its unit and words. Missing and NaN are not observed.
    weights
        Column of weights, positive and the same in all records of a pupil. Without it each pupil counts once.
    metadata
        Kept with the cells, for example ``{"protocol_hash": ...}``.

    Raises
    ------
    DataError
        For a pupil with two records in one period; a missing pupil, cluster, period or weight; a weight that
        isn't positive or changes within a pupil; a cohort that changes inside a cluster; and whatever
        ``sendap.compress`` refuses in files.
    UsageError
        For no outcome, or a column with two parts.
    """
    infos = dict(outcomes) if isinstance(outcomes, Mapping) else {name: OutcomeInfo() for name in outcomes}
    columns = _Columns(unit, cluster, period, cohort, weights)
    parts = _parts(columns, infos)
    with open_records(table_or_path, table=table, engine=engine) as records:
        check_columns(records, parts)
        numbers = [*infos, cohort, *([weights] if weights else [])]
        check_types(records, numbers=numbers, whole=[period], categories=[], labels=[cluster, unit])
        request = Request(cluster, period, cohort, tuple(infos), (), (), weights, unit)
        bounds = find_bounds(records, request)
        with plain_errors(records.label):
            areas = _areas(records, columns)
        _refuse(records, columns, areas, bounds)
        made = [_one_outcome(records, columns, areas, name, bounds) for name in infos]
        about = dict(metadata or {})
        about["synthetic"] = bool(about.get("synthetic", False)) or records.synthetic
        about["sources"] = [*about.get("sources", []), *records.sources]  # type: ignore[misc]
    clusters = areas.groupby("c", sort=True)["low"].first().astype(float)
    return PathCells(
        frame=_together([frame for frame, _ in made], list(infos)),
        outcomes=infos,
        clusters=pd.DataFrame({"cluster": clusters.index.to_numpy(), "cohort": clusters.to_numpy()}),
        counts=pd.DataFrame([count for _, count in made], columns=list(COUNTS)),
        origins={name: bounds[name].centre for name in infos},
        weighted=weights is not None,
        metadata=about,
    )


def _parts(columns: _Columns, outcomes: Mapping[str, OutcomeInfo]) -> list[str]:
    """All columns that are needed. Raises UsageError where there's no outcome, or one column has two parts."""
    if not outcomes:
        raise UsageError("Name at least one outcome.")
    named = [columns.unit, columns.cluster, columns.period, columns.cohort, *outcomes]
    parts = [*named, *([columns.weights] if columns.weights else [])]
    twice = sorted({name for name in parts if parts.count(name) > 1})
    if twice:
        raise UsageError(f"Column '{twice[0]}' is named twice: each column can have one part.")
    return parts


def _areas(records: Records, columns: _Columns) -> pd.DataFrame:
    """One row for each cluster and period that the records hold, with what the refusals need."""
    source = records.table
    parts = {"n": source.count(), "unit_n": source[columns.unit].count()}
    if columns.weights:
        parts["weights_n"] = number(source, columns.weights).count()
    start = source[columns.cohort]
    # The start is the same in a whole cluster, so as a key it makes no more groups, and where it isn't, it shows.
    keys = {"c": source[columns.cluster], "t": source[columns.period]}
    keys["start"] = start if start.type().is_floating() else number(source, columns.cohort)
    found = source.group_by(**keys).aggregate(**parts).to_pandas()
    found["start"] = found["start"].astype(float).where(lambda start: np.isfinite(start))
    found["start_n"] = found["n"].where(found["start"].notna(), 0)
    sums = dict.fromkeys([*parts, "start_n"], "sum")
    grouped = found.groupby(["c", "t"], dropna=False, as_index=False, observed=True)
    areas = grouped.agg(
        **{name: (name, how) for name, how in sums.items()}, low=("start", "min"), high=("start", "max")
    )
    return areas.sort_values(["t", "c"], ignore_index=True)


def _refuse(records: Records, columns: _Columns, areas: pd.DataFrame, bounds: Mapping[str, Bounds]) -> None:
    """Refuse what the look at the areas found. Raises DataError."""
    if areas.empty:
        raise DataError(f"{records.label} holds no records.")
    check_known(records, columns.unit, int((areas["n"] - areas["unit_n"]).sum()))
    check_known(records, columns.cluster, int(areas.loc[areas["c"].isna(), "n"].sum()))
    check_known(records, columns.period, int(areas.loc[areas["t"].isna(), "n"].sum()))
    if columns.weights:
        check_known(records, columns.weights, int((areas["n"] - areas["weights_n"]).sum()))
        if bounds[columns.weights].low <= 0:
            example = rows_where(records, lambda t: number(t, columns.weights) <= 0)
            raise DataError(f"{example}: a weight in '{columns.weights}' is zero or less. Leave such records out.")
    by_cluster = areas.groupby("c").agg(
        low=("low", "min"), high=("high", "max"), known=("start_n", "sum"), n=("n", "sum")
    )
    known = by_cluster["known"].astype("int64")
    wrong = (known > 0) & ((known < by_cluster["n"]) | (by_cluster["low"] != by_cluster["high"]))
    if wrong.any():
        raise DataError(
            f"{records.label}: '{columns.cohort}' isn't the same in all records of {int(wrong.sum())} "
            f"'{columns.cluster}', first '{by_cluster.index[wrong][0]}'. Expected the first treated period of the "
            "cluster that the pupil is in at the time, the same in all its records, missing where it was never treated."
        )


def _one_outcome(
    records: Records, columns: _Columns, areas: pd.DataFrame, outcome: str, bounds: Mapping[str, Bounds]
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The rows and the counts of one outcome."""
    source = records.table
    parts = {
        "u": source[columns.unit],
        "c": source[columns.cluster],
        "t": source[columns.period],
        "y": number(source, outcome) - bounds[outcome].centre,
    }
    if columns.weights:
        parts["w"] = number(source, columns.weights)
    plain = source.select(**parts)
    cluster, clusters = pd.factorize(areas["c"], sort=True)
    period, periods = pd.factorize(areas["t"], sort=True)
    digits = _Digits(pd.Index(clusters), np.asarray(periods, dtype="int64"))
    heaviest = bounds[columns.weights].high if columns.weights else 1.0
    with plain_errors(records.label), _lent(records, areas, digits.write(cluster, period), plain) as written:
        by_pupil = _by_pupil(plain, written, digits)
        with _held(records, by_pupil) as pupils:
            _check_pupils(records, columns, pupils, digits, int(areas["n"].sum()))
            bare = pupils.mutate(**{code: pupils[code] & ~digits.records for code in digits.codes})
            with _held(records, _by_path(bare, digits, heaviest)) as paths:
                found = _fetch(paths.order_by("path").drop("path"))
                placed = bare.join(paths, digits.codes).select("u", "path")
                sums = _add_up(plain, placed, bounds[outcome].reach * heaviest)
    if columns.weights:
        found["weight"] = restore(found["weight_upper"], found["weight_lower"], largest=heaviest)
    held = digits.read(found)
    path, place = np.nonzero(held)
    if not (np.array_equal(sums["path"], path) and np.array_equal(sums["t"], digits.periods[place])):
        raise DataError(f"{records.label}: {CHANGED}")
    return _frame(outcome, held, found, sums["sum"], digits)


def _by_pupil(plain: ir.Table, written: ir.Table, digits: _Digits) -> ir.Table:
    """One row for each pupil, with the pupil's path."""
    joined = plain.join(written, ["c", "t"])
    kept = joined.y.isnull().ifelse(ibis.literal(digits.records, "int64"), ibis.literal(-1, "int64"))
    parts: dict[str, ir.Value] = {code: bit_or(joined[code] & kept) for code in digits.codes}
    if "w" in plain.columns:
        parts |= {"w": joined.w.min(), "changing": joined.w.min() != joined.w.max()}
    return joined.group_by("u").aggregate(**parts)


def _check_pupils(records: Records, columns: _Columns, pupils: ir.Table, digits: _Digits, expected: int) -> None:
    """Raises DataError for repeated periods and changing weights."""
    # All records of a pupil in one period set the same bit: with a repeat there are fewer bits than records.
    parts = {code: bit_count(pupils[code] & digits.records).sum() for code in digits.codes}
    if columns.weights:
        parts["changing"] = pupils.changing.sum()
    found = pupils.aggregate(**parts).to_pandas().iloc[0]
    if sum(int(found[code]) for code in digits.codes) != expected:
        check_unit_period(records, columns.unit, columns.period)
        raise DataError(f"{records.label}: {CHANGED}")
    if columns.weights and found["changing"]:
        raise DataError(
            f"{records.label}: the weight '{columns.weights}' changes over the records of "
            f"{int(found['changing']):,} value(s) of '{columns.unit}'. Pupil effects from path cells need one "
            "weight for each pupil, such as the weight at baseline."
        )


def _by_path(pupils: ir.Table, digits: _Digits, heaviest: float) -> ir.Table:
    """One row for each path, numbered from zero in the order of its digits, with its pupils and their weights."""
    sums: dict[str, ir.Value] = {"n": pupils.count()}
    if "w" in pupils.columns:
        sums["weight_upper"], sums["weight_lower"] = exact_sums(pupils.w, largest=heaviest)
    paths = pupils.group_by(digits.codes).aggregate(**sums)
    return paths.mutate(path=ibis.row_number().over(order_by=digits.codes).cast("int32"))


def _add_up(plain: ir.Table, placed: ir.Table, largest: float) -> dict[str, np.ndarray]:
    """Sums of (weighted) known outcomes by path and period, in this order."""
    known = plain.filter(plain.y.notnull()).join(placed, "u")
    upper, lower = exact_sums(known.y * known.w if "w" in plain.columns else known.y, largest=largest)
    found = _fetch(known.group_by(["path", "t"]).aggregate(upper=upper, lower=lower).order_by(["path", "t"]))
    return {**found, "sum": restore(found["upper"], found["lower"], largest=largest)}


def _fetch(expression: ir.Table) -> dict[str, np.ndarray]:
    """A result as arrays: through pandas, a copy more."""
    rows = expression.to_pyarrow()
    return {name: rows[name].to_numpy() for name in rows.column_names}


@contextmanager
def _held(records: Records, expression: ir.Table) -> Iterator[ir.Table]:
    """A result that the engine keeps while it's used twice, and forgets afterwards."""
    con = records.backend
    if con.name == "pyspark":
        with expression.cache() as table:
            yield table
        return
    name = ibis.util.gen_name("sendap")
    try:
        # Ibis would ask the engine for the names and types of columns three times, and write DROP without a name.
        con.raw_sql(f"CREATE TEMPORARY TABLE {name} AS {con.compile(expression)}")
        yield con.table(name)
    finally:
        con.raw_sql(f"DROP TABLE IF EXISTS {name}")


@contextmanager
def _lent(
    records: Records, areas: pd.DataFrame, codes: Mapping[str, np.ndarray], plain: ir.Table
) -> Iterator[ir.Table]:
    """For each row of ``areas`` what a record in it adds to a path, as a table that the engine has for a time."""
    data = pa.table({"c": pa.array(areas["c"]), "t": pa.array(areas["t"].astype("int64")), **codes})
    name = ibis.util.gen_name("sendap")
    table = lend(data, name, records.backend)
    try:
        yield table.cast({"c": plain.c.type(), "t": plain.t.type()})
    finally:
        take_back(name, records.backend)


def _frame(
    outcome: str, held: np.ndarray, paths: Mapping[str, np.ndarray], sums: np.ndarray, digits: _Digits
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Rows of the paths with two periods or more, in order, and the counts of all."""
    length, size = np.count_nonzero(held, axis=1), paths["n"]
    several = length > 1
    long, times = held[several], length[several]
    moved = np.where(long > 0, long, len(digits.clusters) + 1).min(axis=1) != long.max(axis=1)
    path, period = np.nonzero(long)
    n = np.repeat(size[several], times)
    frame = pd.DataFrame(
        {
            "outcome": pd.Categorical.from_codes(np.zeros(len(path), dtype="int8"), [outcome]),
            "path": path.astype("int32"),
            "period": digits.periods[period],
            "cluster": pd.Categorical.from_codes(long[path, period] - 1, digits.clusters),
            "n": n,
            "weight": np.repeat(paths["weight"][several], times) if "weight" in paths else n.astype(float),
            "sum": sums[np.repeat(several, length)],
        },
        copy=False,
    )
    counts = (
        outcome,
        int(size @ length),
        int(size[length > 0].sum()),
        int(size[length == 1].sum()),
        int(several.sum()),
        int(size[several][moved].sum()),
    )
    return frame, dict(zip(COUNTS, counts, strict=True))


def _together(frames: list[pd.DataFrame], outcomes: list[str]) -> pd.DataFrame:
    """The rows of all outcomes, in the order of the outcomes."""
    # Joined as text, a column of categories would take some 50 times its size.
    kind = pd.CategoricalDtype(outcomes)
    return pd.concat([frame.astype({"outcome": kind}) for frame in frames], ignore_index=True)

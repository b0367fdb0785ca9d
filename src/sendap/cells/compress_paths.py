"""From records of any number to path cells: one look at the areas, one group for each pupil, one for each path.

Each area and period is given a random whole number. A pupil's numbers, joined by exclusive or over the records whose
outcome is known, name the pupil's path: one number in place of a list, so that grouping by pupil costs little more
than a count. Two paths could share a number by chance, which is seen afterwards (a path's pupils must all be counted
in each of its periods, in one area) and mended with fresh numbers; so the result is exact, not merely probable.
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
from sendap.cells.inputs import Records, open_records
from sendap.cells.paths import COUNTS, PathCells
from sendap.cells.refusals import (
    WIDEST_SPAN,
    check_columns,
    check_known,
    check_types,
    check_unit_period,
    rows_where,
)
from sendap.cells.statement import Request, cohort_start, find_bounds, number
from sendap.errors import DataError, UsageError

KEY_BITS = 62
"""Bits of an area and period's random number: as many as every engine holds in a whole number above zero."""

ATTEMPTS = 5
"""Of a million paths two share a number by chance once in ten million times, so five in a row don't happen."""


@ibis.udf.scalar.builtin
def bit_count(value: int) -> int:
    """How many bits of a whole number are set. Ibis has no name for it, DuckDB and Spark have this one."""


@ibis.udf.agg.builtin
def bit_or(value: int) -> int:
    """The bits set in any row. Ibis has it, but not for Spark."""


@ibis.udf.agg.builtin
def bit_xor(value: int) -> int:
    """The bits set in an odd number of rows. Ibis has it, but not for Spark."""


@dataclass(frozen=True)
class _Columns:
    unit: str
    cluster: str
    period: str
    cohort: str
    weights: str | None


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
    # The start is the same in a whole cluster, so as a key it makes no more groups, and where it isn't, it shows.
    keys = {"c": source[columns.cluster], "t": source[columns.period], "start": cohort_start(source, columns.cohort)}
    found = source.group_by(**keys).aggregate(**parts).to_pandas()
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
    for attempt in range(ATTEMPTS):
        with plain_errors(records.label):
            found, pupils = _sums(records, columns, areas, outcome, bounds, seed=attempt)
        starts = np.flatnonzero(np.r_[True, found["key"][1:] != found["key"][:-1]]) if pupils else np.array([], int)
        length = np.diff(np.r_[starts, len(found["key"])])
        size = found["n"][starts]
        # No pupil is counted twice in a period, so these hold only if every path's pupils are all in all its rows:
        # were some missing from one, or split over two areas, no row could hold the whole number.
        if (found["n"] == np.repeat(size, length)).all() and size.sum() == pupils:
            return _frame(outcome, found, starts, length, areas)
    raise DataError(f"{records.label}: the paths of '{outcome}' can't be told apart. Check that records don't change.")


def _sums(
    records: Records,
    columns: _Columns,
    areas: pd.DataFrame,
    outcome: str,
    bounds: Mapping[str, Bounds],
    *,
    seed: int,
) -> tuple[dict[str, np.ndarray], int]:
    """Pupils and sums by path and area (a row of ``areas``), in this order; pupils with a known outcome."""
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
    keys = _keys(records, areas, plain, seed)
    keyed = plain.join(keys, ["c", "t"])
    by_pupil: dict[str, ir.Scalar] = {"key": bit_xor(keyed.y.isnull().ifelse(ibis.null("int64"), keyed.key))}
    if areas["t"].nunique() <= WIDEST_SPAN:
        by_pupil["repeated"] = keyed.count() != bit_count(bit_or(keyed.bit))
    else:
        check_unit_period(records, columns.unit, columns.period)
    if columns.weights:
        by_pupil["changing"] = keyed.w.min() != keyed.w.max()
    with _held(records, keyed.group_by("u").aggregate(**by_pupil)) as pupils:
        count = _check_pupils(records, columns, pupils)
        placed = plain.join(keys.select("c", "t", "area"), ["c", "t"])
        known = placed.filter(placed.y.notnull()).join(pupils.select("u", "key"), "u")
        return _add_up(known, columns, bounds[outcome].reach, bounds), count


def _check_pupils(records: Records, columns: _Columns, pupils: ir.Table) -> int:
    """How many pupils have a known outcome. Raises DataError for repeated periods and changing weights."""
    wrong = [name for name in ("repeated", "changing") if name in pupils.columns]
    checks = {"known": pupils.key.count(), **{name: pupils[name].sum() for name in wrong}}
    found = pupils.aggregate(**checks).to_pandas().fillna(0).iloc[0]
    if found.get("repeated"):
        check_unit_period(records, columns.unit, columns.period)
    if found.get("changing"):
        raise DataError(
            f"{records.label}: the weight '{columns.weights}' changes over the records of "
            f"{int(found['changing']):,} value(s) of '{columns.unit}'. Pupil effects from path cells need one "
            "weight for each pupil, such as the weight at baseline."
        )
    return int(found["known"])


def _add_up(known: ir.Table, columns: _Columns, reach: float, bounds: Mapping[str, Bounds]) -> dict[str, np.ndarray]:
    """Pupils, weights and sums by path and area, in this order, from the records with a known outcome."""
    heaviest = bounds[columns.weights].high if columns.weights else 1.0
    values = {"sum": (known.y * known.w if columns.weights else known.y, reach * heaviest)}
    if columns.weights:
        values["weight"] = (known.w, heaviest)
    sums = {"n": known.count()}
    for name, (value, largest) in values.items():
        sums[f"{name}_upper"], sums[f"{name}_lower"] = exact_sums(value, largest=largest)
    rows = known.group_by(["key", "area"]).aggregate(**sums).order_by(["key", "area"]).to_pyarrow()
    found = {name: rows[name].to_numpy() for name in rows.column_names}
    for name, (_, largest) in values.items():
        found[name] = restore(found.pop(f"{name}_upper"), found.pop(f"{name}_lower"), largest=largest)
    return found


@contextmanager
def _held(records: Records, expression: ir.Table) -> Iterator[ir.Table]:
    """A result that the engine keeps while it's used twice, and forgets afterwards."""
    if records.backend.name == "pyspark":
        with expression.cache() as table:
            yield table
        return
    name = ibis.util.gen_name("sendap_pupils")
    try:
        yield records.backend.create_table(name, expression, temp=True)
    finally:
        # Ibis 12 with sqlglot 30 writes DROP TABLE without a name, so the statement is written here.
        records.backend.raw_sql(f"DROP TABLE IF EXISTS {name}")


def _keys(records: Records, areas: pd.DataFrame, plain: ir.Table, seed: int) -> ir.Table:
    """For each row of ``areas`` a random number, its position, and a bit for its period."""
    position = pd.factorize(areas["t"], sort=True)[0]
    keys = {
        "c": pa.array(areas["c"]),
        "t": pa.array(areas["t"].astype("int64")),
        "key": np.random.default_rng(seed).integers(1, 2**KEY_BITS, size=len(areas)),
        "area": np.arange(len(areas), dtype="int32"),
        "bit": np.left_shift(np.int64(1), position % WIDEST_SPAN),
    }
    table = pa.table(keys)
    if records.backend.name == "pyspark":
        # What Spark is to keep can't be made from a table in memory that Ibis holds, so it gets a view.
        records.backend._session.createDataFrame(table).createOrReplaceTempView("sendap_areas")
        return records.backend.table("sendap_areas")
    return ibis.memtable(table).cast({"c": plain.c.type(), "t": plain.t.type()})


def _frame(
    outcome: str, found: dict[str, np.ndarray], starts: np.ndarray, length: np.ndarray, areas: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, object]]:
    """Rows of the paths with two periods or more, in order, and the counts of all."""
    size, records = found["n"][starts], int(found["n"].sum())
    several = length > 1
    kept = np.repeat(several, length)
    path = np.repeat(np.arange(several.sum(), dtype="int32"), length[several])
    area, n = found["area"][kept], found["n"][kept]
    codes, clusters = pd.factorize(areas["c"], sort=True)
    cluster = codes[area]
    moved = np.zeros(int(several.sum()), dtype=bool)
    moved[path[1:][(path[1:] == path[:-1]) & (cluster[1:] != cluster[:-1])]] = True
    frame = pd.DataFrame(
        {
            "outcome": pd.Categorical.from_codes(np.zeros(len(path), dtype="int8"), [outcome]),
            "path": path,
            "period": areas["t"].to_numpy(dtype="int64")[area],
            "cluster": pd.Categorical.from_codes(cluster, clusters),
            "n": n,
            "weight": found["weight"][kept] if "weight" in found else n.astype(float),
            "sum": found["sum"][kept],
        },
        copy=False,
    )
    counts = (
        outcome,
        records,
        int(size.sum()),
        int(size[~several].sum()),
        int(several.sum()),
        int(size[several][moved].sum()),
    )
    return frame, dict(zip(COUNTS, counts, strict=True))


def _together(frames: list[pd.DataFrame], outcomes: list[str]) -> pd.DataFrame:
    """The rows of all outcomes, in the order of the outcomes."""
    # Joined as text, a column of categories would take some 50 times its size.
    kind = pd.CategoricalDtype(outcomes)
    return pd.concat([frame.astype({"outcome": kind}) for frame in frames], ignore_index=True)

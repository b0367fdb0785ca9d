"""The one statement that turns records into sums, written with Ibis for any engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot as sg
import sqlglot.expressions as sge

from sendap.cells.engines import plain_errors
from sendap.cells.exact import Bounds, exact_sums
from sendap.cells.inputs import Records
from sendap.cells.moments import covariate_pairs
from sendap.cells.refusals import rows_where
from sendap.errors import DataError

FARTHEST_COVARIATE = 1e6
"""A covariate may lie this many times its spread from zero: beyond it, its sums of squares lose their digits."""


@dataclass(frozen=True)
class Request:
    """Which columns play which part."""

    cluster: str
    period: str
    cohort: str | None
    outcomes: tuple[str, ...]
    strata: tuple[str, ...]
    covariates: tuple[str, ...]
    weights: str | None
    unit: str | None

    @property
    def groups(self) -> tuple[str, ...]:
        return (self.cluster, self.period, *self.strata)

    @property
    def numbers(self) -> tuple[str, ...]:
        return (*self.outcomes, *self.covariates, *([self.weights] if self.weights else []))

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.groups, *(name for name in (self.cohort, self.unit) if name), *self.numbers)


def number(table: ir.Table, column: str) -> ir.FloatingColumn:
    """A column as double, NaN as missing."""
    value = table[column]
    if value.type().is_string() or value.type().is_null():  # refused before, unless it holds nothing
        nothing = ibis.null("float64")
        return value.isnull().ifelse(nothing, nothing)
    if value.type().is_boolean():
        value = value.cast("int8")
    floating = value.type().is_floating()
    value = value.cast("float64")
    return value.isnan().ifelse(ibis.null("float64"), value) if floating else value


def find_bounds(records: Records, request: Request) -> dict[str, Bounds]:
    """Bounds of every column of numbers: from the footers of Parquet files, or by one short query."""
    known = dict(records.bounds or {})
    asked = [name for name in request.numbers if name not in known]
    if asked:
        values = {name: number(records.table, name) for name in asked}
        parts = {f"low_{i}": values[name].min() for i, name in enumerate(asked)}
        parts |= {f"high_{i}": values[name].max() for i, name in enumerate(asked)}
        with plain_errors(records.label):
            row = records.table.aggregate(**parts).to_pandas().iloc[0]
        known |= {name: Bounds(float(row[f"low_{i}"]), float(row[f"high_{i}"])) for i, name in enumerate(asked)}
    for name in request.numbers:
        if math.isinf(known[name].low) or math.isinf(known[name].high):
            example = rows_where(records, lambda t, name=name: number(t, name).isinf())
            raise DataError(f"{example}: column '{name}' is infinite. Expected a number, or a missing value.")
    for name in request.covariates:
        spread = known[name].high - known[name].low
        farthest = max(abs(known[name].low), abs(known[name].high))
        if spread > 0 and farthest > FARTHEST_COVARIATE * spread:
            raise DataError(
                f"{records.label}: covariate '{name}' lies more than {FARTHEST_COVARIATE:,.0f} times its spread from "
                "zero, so its sums of squares would lose their digits. Subtract a constant from it first."
            )
    if request.weights and known[request.weights].low < 0:
        example = rows_where(records, lambda t: t[request.weights] < 0)
        raise DataError(f"{example}: a weight in '{request.weights}' is negative. Expected zero or more.")
    return {name: known[name] for name in request.numbers}


def statement(table: ir.Table, request: Request, bounds: Mapping[str, Bounds]) -> tuple[ir.Table, dict[str, float]]:
    """The grouped statement, and what each of its exact sums holds."""
    zs = {name: number(table, name) - bounds[name].centre for name in request.outcomes}
    plain = table.select(
        **{f"g{i}": table[name] for i, name in enumerate(request.groups)},
        **({"cohort": cohort_start(table, request.cohort)} if request.cohort else {}),
        **{f"y{j}": zs[name] for j, name in enumerate(request.outcomes)},
        **{f"x{k}": number(table, name) for k, name in enumerate(request.covariates)},
        **({"w": number(table, request.weights)} if request.weights else {}),
    )
    parts: dict[str, ir.Scalar] = {"n": plain.count()}
    if request.weights:
        parts["weights_n"] = plain.w.count()
    totals: dict[str, float] = {}
    heaviest = bounds[request.weights].high if request.weights else 1.0
    reach = {f"x{k}": max(abs(bounds[name].low), abs(bounds[name].high)) for k, name in enumerate(request.covariates)}

    def add(name: str, value: ir.FloatingColumn, largest: float) -> None:
        largest = 0.0 if math.isnan(largest) else largest
        if math.isinf(largest):
            raise DataError("The squares of an outcome or covariate are too large for a number: rescale it first.")
        parts[f"{name}_upper"], parts[f"{name}_lower"] = exact_sums(value, largest=largest)
        totals[name] = largest

    xs = [f"x{k}" for k in range(len(request.covariates))]
    for j, name in enumerate(request.outcomes):
        y, far = plain[f"y{j}"], bounds[name].reach
        for x in xs:
            y = plain[x].isnull().ifelse(ibis.null("float64"), y)
        parts[f"n{j}"] = y.count()
        weighted = y * plain.w if request.weights else y
        weight = y.isnull().ifelse(ibis.null("float64"), plain.w if request.weights else ibis.literal(1.0, "float64"))
        if request.weights:
            add(f"w{j}", weight, heaviest)
        add(f"s{j}", weighted, heaviest * far)
        add(f"q{j}", weighted * y, heaviest * far * far)
        for x in xs:
            add(f"{x}_{j}", weight * plain[x], heaviest * reach[x])
            add(f"{x}y_{j}", weighted * plain[x], heaviest * far * reach[x])
        for first, second in covariate_pairs(xs):
            add(f"{first}{second}_{j}", weight * plain[first] * plain[second], heaviest * reach[first] * reach[second])
    # The cohort is the same in a whole cluster, so as a key it makes no more cells, and where it isn't, it shows.
    keys = [*(f"g{i}" for i in range(len(request.groups))), *(["cohort"] if request.cohort else [])]
    return plain.group_by(keys).aggregate(**parts), totals


def cohort_start(table: ir.Table, column: str) -> ir.FloatingColumn:
    value = number(table, column)
    return value.isinf().ifelse(ibis.null("float64"), value) if table[column].type().is_floating() else value


def run(records: Records, expression: ir.Table, request: Request, kept: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    """Run the statement. With margins its ``GROUP BY`` becomes ``GROUPING SETS``.

    Columns ``all2, all3, ...``, one for each stratum, tell a stratum that was summed over (1) from a value that is
    missing (0).
    """
    key_of = {stratum: f"g{i}" for i, stratum in enumerate(request.strata, 2)}
    flag_of = {stratum: f"all{i}" for i, stratum in enumerate(request.strata, 2)}
    if list(kept) == [request.strata]:
        return as_frame(expression.to_pyarrow()).assign(**dict.fromkeys(flag_of.values(), 0))
    dialect = records.backend.dialect
    tree = sg.parse_one(str(records.backend.compile(expression)), dialect=dialect)
    grouped = {item.alias_or_name: item.unalias() for item in tree.expressions}

    always = ["g0", "g1", *(["cohort"] if request.cohort else [])]

    def group(margin: tuple[str, ...]) -> sge.Tuple:
        return sge.Tuple(expressions=[grouped[key].copy() for key in (*always, *(key_of[s] for s in margin))])

    tree.set("group", sge.Group(grouping_sets=[sge.GroupingSets(expressions=[group(margin) for margin in kept])]))
    unused = {key_of[s] for s in request.strata if not any(s in margin for margin in kept)}
    # A stratum of no margin can't be selected from groups that don't know it.
    tree.set(
        "expressions", [sge.Null().as_(e.alias_or_name) if e.alias_or_name in unused else e for e in tree.expressions]
    )
    for stratum, flag in flag_of.items():
        gone = key_of[stratum] in unused
        value = (
            sge.Literal.number(1) if gone else sge.func("GROUPING", grouped[key_of[stratum]].copy(), dialect=dialect)
        )
        tree = tree.select(value.as_(flag), copy=False)
    schema = expression.schema() | ibis.schema(dict.fromkeys(flag_of.values(), "int64"))
    return as_frame(records.backend.sql(tree.sql(dialect=dialect), schema=schema).to_pyarrow())


def as_frame(table: pa.Table) -> pd.DataFrame:
    """What the engine found as a frame: categories for text and groups, zero for sums of nothing.

    Through Ibis a column with a missing value would become a list of Python objects first, one by one.
    """
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_integer(column.type) and name.endswith(("_upper", "_lower")):
            columns[name] = pc.fill_null(column, 0).to_numpy()
        elif pa.types.is_floating(column.type) or (not column.null_count and pa.types.is_integer(column.type)):
            columns[name] = column.to_numpy()
        elif pa.types.is_null(column.type):
            columns[name] = np.full(len(column), None, dtype=object)
        else:
            columns[name] = column.dictionary_encode().to_pandas()
    return pd.DataFrame(columns, copy=False)

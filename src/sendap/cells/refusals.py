"""What is refused before records become cells, each with the file, the row and the way to mend it.

Messages show row numbers, column names and counts. They never show a value of a record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from sendap.cells.engines import plain_errors
from sendap.cells.inputs import Records
from sendap.errors import DataError, did_you_mean

WIDEST_SPAN = 62
"""Periods that fit one bit each into a 64-bit whole number with room for the sign."""


def rows_where(records: Records, condition: Callable[[ir.Table], ir.BooleanValue], *, limit: int = 1) -> str:
    """The first rows that meet a condition, in words: "row 17 of pupils.parquet". Rows count from 1.

    ``condition`` is a function of the table. An engine without an order of records gives no number.
    """
    if not records.numbered:
        return f"{records.label} (this engine doesn't number rows)"
    con = records.backend
    with plain_errors(records.label):
        if records.files:
            table = con.read_parquet(list(records.files), filename=True, file_row_number=True)
            place = table.filter(condition(table)).order_by(["filename", "file_row_number"]).limit(limit)
            found = place.select("filename", "file_row_number").to_pandas()
            rows = [f"row {row + 1:,} of {name}" for name, row in found.itertuples(index=False)]
        else:
            numbered = records.table.mutate(row_in_file=ibis.row_number())
            found = numbered.filter(condition(numbered)).order_by("row_in_file").limit(limit).row_in_file.to_pandas()
            rows = [f"row {row + 1:,} of {records.label}" for row in found]
    return " and ".join(rows) or records.label


def check_columns(records: Records, columns: Sequence[str]) -> None:
    """Every column is there. Raises DataError naming the nearest column that is."""
    known = records.table.columns
    for column in columns:
        if column not in known:
            raise DataError(f"{records.label}: there is no column '{column}'.{did_you_mean(column, known)}")


def check_types(
    records: Records, *, numbers: Sequence[str], whole: Sequence[str], categories: Sequence[str], labels: Sequence[str]
) -> None:
    """Columns have a type that their use allows.

    ``numbers`` are measured, ``whole`` count years or other periods, ``categories`` divide records (text, whole
    numbers or yes and no), ``labels`` name clusters and units. Raises DataError with the first row that is wrong.
    """
    schema = records.table.schema()
    for column in numbers:
        kind = schema[column]
        if not (kind.is_numeric() or kind.is_boolean() or kind.is_null() or is_empty(records, column)):
            raise DataError(_not_a_number(records, column, kind))
    for column in whole:
        if not schema[column].is_integer():
            raise DataError(
                f"{records.label}: column '{column}' has type {schema[column]}. Expected whole numbers, such as the "
                "year in which a school year starts, in every row."
            )
    for column in (*categories, *labels):
        kind = schema[column]
        if not (kind.is_string() or kind.is_integer() or (kind.is_boolean() and column in categories)):
            raise DataError(
                f"{records.label}: column '{column}' has type {kind}. Expected text or whole numbers that name groups: "
                "make bands of a measured number first, and store missing whole numbers as missing, not as NaN."
            )


def is_empty(records: Records, column: str) -> bool:
    """Whether a column of text holds nothing: a CSV file can't say which type its missing values have."""
    if not records.table.schema()[column].is_string():
        return False
    with plain_errors(records.label):
        return records.table[column].count().to_pandas() == 0


def _not_a_number(records: Records, column: str, kind: object) -> str:
    where = records.label
    if str(kind).lstrip("!").startswith("string"):
        wrong = rows_where(records, lambda t: t[column].notnull() & t[column].try_cast("float64").isnull())
        where = wrong if wrong != records.label else where
    return (
        f"{where}: column '{column}' has type {kind}. Expected numbers: turn symbols such as 'c' or 'z' into missing "
        "values, and store the column as a number."
    )


def check_unit_period(records: Records, unit: str, period: str) -> None:
    """No unit is seen twice in one period. One query more, because it needs a group for every unit.

    Each period is a bit. Added up over a unit's records, the bits give the same number as when they are united,
    unless one of them comes twice: so one group a unit is enough, and not one a unit and period. Where periods are
    more than 62 apart, or Ibis knows no union of bits for the engine (Spark), it is one a unit and period.

    Raises DataError with the rows of the first unit that is.
    """
    table = records.table
    with plain_errors(records.label):
        span = table.aggregate(low=table[period].min(), high=table[period].max()).to_pandas().iloc[0]
        narrow = int(span["high"]) - int(span["low"]) < WIDEST_SPAN
        if narrow and records.backend.has_operation(ops.BitOr):
            bit = ibis.literal(1, type="int64") << (table[period].cast("int64") - int(span["low"]))
            parts = table.select(table[unit], bit=bit)
            wide = "decimal(38, 0)"
            units = parts.group_by(unit).aggregate(added=parts.bit.cast(wide).sum(), united=parts.bit.bit_or())
            repeated = units.filter(units.added != units.united.cast(wide))
        else:
            units = table.group_by([unit, period]).aggregate(times=table.count())
            repeated = units.filter(units.times > 1)
        count = repeated.count().to_pandas()
        if not count:
            return
        first = repeated.order_by(unit).limit(1)[unit].to_pandas().iloc[0]
        of_unit = table.filter(table[unit] == first)
        twice = of_unit.group_by(period).aggregate(times=of_unit.count())
        when = twice.filter(twice.times > 1)[period].min().to_pandas()
    example = rows_where(records, lambda t: (t[unit] == first) & (t[period] == when), limit=2)
    raise DataError(
        f"{records.label}: {int(count):,} value(s) of '{unit}' appear more than once in the same '{period}', first in "
        f"{example}. Expected one record for each {unit} and {period}: keep one, or add the records of a unit up."
    )


def check_known(records: Records, column: str, missing: int) -> None:
    """Every record names its cluster or period. Raises DataError with the first row that doesn't."""
    if missing:
        example = rows_where(records, lambda t: t[column].isnull())
        raise DataError(
            f"{records.label}: {missing:,} record(s) have no '{column}', first {example}. Every record needs one: find "
            "it, or leave these records out and say so in the protocol."
        )

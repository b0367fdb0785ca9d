"""What is refused before records of cases become duration cells: rows are named, values of records never."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import ibis.expr.types as ir
import pandas as pd

from sendap.cells.duration_statement import Columns, event_kind, since
from sendap.cells.engines import plain_errors
from sendap.cells.inputs import Records
from sendap.cells.refusals import check_known, rows_where
from sendap.errors import DataError, UsageError


def check_moments(records: Records, names: Columns) -> None:
    """All moments are dates, or all are whole numbers."""
    schema = records.table.schema()
    dated = schema[names.clock].is_date() or schema[names.clock].is_timestamp()
    wanted = "a date" if dated else "whole numbers"
    for column in names.moments:
        kind = schema[column]
        right = (kind.is_date() or kind.is_timestamp()) if dated else kind.is_integer()
        if not (right or kind.is_null()):
            raise DataError(
                f"{records.label}: column '{column}' has type {kind}. Expected {wanted} "
                f"as in '{names.clock}': moments must all be dates, or all be counted in the same whole units."
            )
    if not isinstance(names.until, str) and isinstance(names.until, dt.date) != dated:
        raise UsageError(f"until must be {'a date' if dated else 'a whole number'}, as the clock is.")


def refuse_found(
    records: Records, names: Columns, wide: pd.DataFrame, causes: Sequence[str], leaving: Sequence[str]
) -> None:
    """Refuse what only the scan could find. Raises DataError; it names rows, never values."""
    if wide.empty:
        raise DataError(f"{records.label} holds no records.")
    for index, column in enumerate((names.cluster, names.period)):
        check_known(records, column, int(wide.loc[wide[f"g{index}"].isna(), "cases"].sum()))
    check_known(records, names.clock, int(wide["no_clock"].sum()))
    kinds = [*causes, *leaving]
    checks: list[tuple[str, Callable[[ir.Table], ir.BooleanValue], str]] = [
        (
            "beyond",
            lambda t: (since(t, names, names.until) < 0).fill_null(True),
            f"lie after the end of the data, or have none. Expected '{names.clock}' up to it",
        ),
        (
            "early",
            lambda t: since(t, names, names.ended) < 0,
            f"ended before the decision. Expected '{names.ended}' on or after '{names.clock}': correct the moments. "
            "Where cases came under observation late, name that moment in entered; the clock stays at the decision",
        ),
        (
            "unknown",
            lambda t: ~event_kind(t, names).isin(kinds),
            f"have a type of event in '{names.event}' that isn't named. Expected one of {', '.join(kinds)}, or a "
            "missing value for a case that's still open: add the type to causes or leaving",
        ),
        (
            "halved",
            lambda t: event_kind(t, names).isnull() != t[names.ended].isnull(),
            f"have only one of '{names.ended}' and '{names.event}'. Expected both, or neither for an open case",
        ),
    ]
    for flag, condition, words in checks:
        if count := int(wide[flag].sum()):
            raise DataError(f"{records.label}: {count:,} case(s), first {rows_where(records, condition)}, {words}.")
    _refuse_service_clock(records, names, wide)
    _refuse_other_periods(records, names, wide)
    starts = wide[["g0", "cohort"]].drop_duplicates().groupby("g0").size()
    if (starts > 1).any():
        raise DataError(
            f"{records.label}: '{names.cohort}' isn't the same in all records of {int((starts > 1).sum())} "
            f"'{names.cluster}', first '{starts.index[starts > 1][0]}'. Expected the first treated period of the area."
        )


def _refuse_service_clock(records: Records, names: Columns, wide: pd.DataFrame) -> None:
    """A clock that never starts before the service was started at the service."""
    if names.service is None:
        return
    served, together = int(wide["waited"].sum()), int(wide["at_service"].sum())
    if served and together == served:
        raise DataError(
            f"{records.label}: '{names.clock}' is never before '{names.service}' in the {served:,} case(s) with a "
            "service, so the clock was started at the service. Expected the moment of the decision: the wait for the "
            "service belongs to the time that is measured, or an effect shows where there is none."
        )


def _refuse_other_periods(records: Records, names: Columns, wide: pd.DataFrame) -> None:
    """Inside an area the decisions of one period all come before those of the next."""
    spans = wide.groupby(["g0", "g1"], sort=True).agg(low=("clock_low", "min"), high=("clock_high", "max"))
    earlier = spans.groupby(level=0)["high"].transform(lambda high: high.cummax().shift())
    wrong = (spans["low"] < earlier).sum()
    if wrong:
        raise DataError(
            f"{records.label}: the periods in '{names.period}' don't follow the moments in '{names.clock}' (in "
            f"{int(wrong):,} area(s) and period(s)). Expected the period in which the decision was made, not that of "
            "the service or of the end."
        )


def refuse_repeated(records: Records, unit: str) -> None:
    """Each case once. One query more, with a group for every case."""
    table = records.table
    with plain_errors(records.label):
        found = table.group_by(unit).aggregate(times=table.count())
        repeated = found.filter((found.times > 1) | found[unit].isnull())
        count = int(repeated.count().to_pandas())
        if not count:
            return
        first = repeated.order_by(unit).limit(1)[unit].to_pandas().iloc[0]
    missing = pd.isna(first)
    where = rows_where(records, lambda t: t[unit].isnull() if missing else t[unit] == first, limit=2)
    raise DataError(
        f"{records.label}: {count:,} value(s) of '{unit}' are missing or appear more than once, first in {where}. "
        "Expected one record for each case: keep the first decision, or give each decision a name of its own."
    )

"""The one statement that turns records of cases into counts, written with Ibis for any engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from sendap.cells.statement import cohort_start


@dataclass(frozen=True)
class Columns:
    unit: str
    cluster: str
    period: str
    cohort: str
    clock: str
    ended: str
    event: str
    service: str | None
    entered: str | None
    until: str | dt.date | int
    strata: tuple[str, ...]

    @property
    def moments(self) -> list[str]:
        """The columns that are points in time."""
        optional = (self.service, self.entered, self.until if isinstance(self.until, str) else None)
        return [self.clock, self.ended, *(name for name in optional if name)]

    @property
    def every(self) -> list[str]:
        return [self.unit, self.cluster, self.period, self.cohort, self.event, *self.moments, *self.strata]


def since(table: ir.Table, names: Columns, moment: str | dt.date | int) -> ir.IntegerValue:
    """Days, or units of time, from the decision to a moment."""
    start = table[names.clock]
    other = table[moment] if isinstance(moment, str) else ibis.literal(moment)
    if start.type().is_integer():
        return other.cast("int64") - start.cast("int64")
    return other.cast("date").delta(start.cast("date"), unit="day").cast("int64")


def event_kind(table: ir.Table, names: Columns) -> ir.StringValue:
    return table[names.event].cast("string")


def statement(table: ir.Table, names: Columns, causes: Sequence[str], leaving: Sequence[str], width: int) -> ir.Table:
    """One group for each cell, first and last interval at risk: cases, events of each cause, and what is wrong.

    A case is followed for the whole intervals before the data end. An event inside the last, unfinished interval isn't
    counted, or cases would be counted as at risk only if they had one.
    """
    kind = event_kind(table, names)
    lasted, followed = since(table, names, names.ended), since(table, names, names.until) // width
    reached = ibis.coalesce(lasted // width + 1, followed + 1)
    seen = reached <= followed
    first = ibis.literal(0, type="int64")
    gone = ibis.literal(False)
    if names.entered:
        late = ibis.coalesce(since(table, names, names.entered), 0)
        first = ibis.greatest((late + width - 1) // width, 0)
        gone = (lasted < late).fill_null(False)
    known = kind.isin([*causes, *leaving])
    parts = {
        **{f"g{i}": table[name] for i, name in enumerate((names.cluster, names.period, *names.strata))},
        "cohort": cohort_start(table, names.cohort),
        "first": first,
        "last": gone.ifelse(ibis.literal(0, type="int64"), ibis.least(reached, followed)),
        "follow": followed,
        "clock": moment_number(table[names.clock]),
        "early": (lasted < 0).fill_null(False),
        "halved": kind.isnull() != lasted.isnull(),
        "unknown": (~known).fill_null(False),
        "beyond": (followed < 0).fill_null(True),
    }
    for k, cause in enumerate(causes):
        parts[f"k{k}"] = ((kind == cause) & seen).fill_null(False)
    if names.service:
        wait = since(table, names, names.service)
        parts |= {"waited": wait.notnull(), "at_service": (wait <= 0).fill_null(False)}
    plain = table.select(**parts)
    keys = [name for name in parts if name.startswith("g")] + ["cohort", "first", "last"]
    flags = [name for name in parts if name not in (*keys, "follow", "clock")]
    return plain.group_by(keys).aggregate(
        cases=plain.count(),
        followed=plain.follow.min(),
        clock_low=plain.clock.min(),
        clock_high=plain.clock.max(),
        no_clock=plain.clock.isnull().sum(),
        **{flag: plain[flag].sum() for flag in flags},
    )


def moment_number(moment: ir.Value) -> ir.IntegerValue:
    if moment.type().is_integer():
        return moment.cast("int64")
    return moment.cast("date").delta(ibis.literal(dt.date(1970, 1, 1)), unit="day").cast("int64")

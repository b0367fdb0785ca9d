"""From records of cases to duration cells, in one statement and one scan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sendap.cells.compress import _strata_text
from sendap.cells.duration_refusals import check_moments, refuse_found, refuse_repeated
from sendap.cells.duration_statement import Columns, statement
from sendap.cells.durations import Clock, DurationCells, event_column
from sendap.cells.engines import plain_errors
from sendap.cells.inputs import open_records
from sendap.cells.refusals import check_columns, check_types
from sendap.errors import UsageError

RESERVED = {"cluster", "period", "cohort", "interval", "entered", "n", "censored", "followed"}


def compress_durations(
    table_or_path: object,
    *,
    unit: str,
    clock: str | None = None,
    starts: str = "decision",
    service: str | None = None,
    ended: str,
    event: str,
    causes: Sequence[str],
    leaving: Sequence[str] = (),
    until: str | dt.date | int,
    entered: str | None = None,
    cluster: str = "la_code",
    period: str,
    cohort: str = "first_treated",
    strata: Sequence[str] = (),
    width: int = 7,
    interval: str = "weeks",
    table: str | None = None,
    engine: str | None = None,
    metadata: Mapping[str, object] | None = None,
) -> DurationCells:
    """Duration cells of all cases: one row for each cluster, decision period, stratum and interval.

    Parameters
    ----------
    table_or_path, table, engine
        As for ``sendap.compress``.
    unit
        The column that names a case. Each case has one record.
    clock, starts
        The column with the moment of the decision, and what that decision is, in words.
    service
        The column with the moment the service began (missing without one), where the records hold it: it shows
        whether the clock was started there.
    ended, event
        The moment and the type of what ended the case. Both are missing for a case that's still open.
    causes, leaving
        The types of event, which compete; and types that only mean that the case was lost from sight (moved away).
        Leaving is taken to say nothing of what would have happened.
    until
        The moment at which the data end: a column, a date or a number.
    entered
        The column with the moment a case came under observation, where some did so after the decision (left
        truncation). Cases that had ended by then are left out and counted in the metadata.
    cluster, cohort, strata
        As for ``sendap.compress``. The cohort is the first treated decision period of the area.
    period
        The column with the period of the **decision** (a whole number).
    width, interval
        Days in an interval and its name, or, where moments are whole numbers, units of time in an interval.

    Raises
    ------
    DataError
        For a case that ended before its decision, an event of unknown type or without a moment, a repeated case, a
        decision after the data end, a clock that was started at the service, periods that aren't of the decision, and
        whatever ``sendap.compress`` refuses in files.
    UsageError
        For no clock, a clock that is the service, or parts that contradict each other.
    """
    if clock is None:
        raise UsageError(
            "Name the column with the moment of the decision: clock='decision_date'. Time must be counted from the "
            "decision. Counted from the service, it leaves out the wait for the service, in which nothing could end "
            "the case, and shows an effect where there is none."
        )
    names = Columns(
        unit, cluster, period, cohort, clock, ended, event, service, entered, until, tuple(dict.fromkeys(strata))
    )
    _check_request(names, causes, leaving, width)
    with open_records(table_or_path, table=table, engine=engine) as records:
        check_columns(records, names.every)
        check_types(
            records,
            numbers=[cohort],
            whole=[period],
            categories=[*names.strata, event],
            labels=[cluster, unit],
        )
        check_moments(records, names)
        expression = statement(records.table, names, causes, leaving, width)
        with plain_errors(records.label):
            wide = expression.to_pandas()
        refuse_found(records, names, wide, causes, leaving)
        refuse_repeated(records, unit)
        schema = records.table.schema()
        given = dict(metadata or {})
        about = {
            **given,
            "synthetic": bool(given.get("synthetic", False)) or records.synthetic,
            "sources": [*given.get("sources", []), *records.sources],
            "records": int(wide["cases"].sum()),
            "never_at_risk": int(wide.loc[wide["last"] <= wide["first"], "cases"].sum()),
            "schema": {name: str(schema[name]) for name in names.every},
        }
    frame = _frame(wide, names, tuple(causes))
    followed = wide.groupby("g1", sort=True)["followed"].min()
    return DurationCells(
        frame=frame,
        causes=tuple(causes),
        clock=Clock(starts, width, interval),
        periods=pd.DataFrame({"period": followed.index.astype(int), "followed": followed.to_numpy(dtype=int)}),
        strata=names.strata,
        clusters=pd.DataFrame({"cluster": sorted(frame["cluster"].unique())}),
        metadata=about,
    )


def _check_request(names: Columns, causes: Sequence[str], leaving: Sequence[str], width: int) -> None:
    if names.service is not None and names.clock == names.service:
        raise UsageError(
            f"'{names.clock}' is named both as the clock and as the service. The clock must start at the decision: "
            "started at the service it leaves out the wait, and shows an effect where there is none."
        )
    if isinstance(causes, str) or isinstance(leaving, str) or not causes:
        raise UsageError("Give causes (at least one) and leaving as lists of types of event.")
    kinds = [*causes, *leaving]
    twice = sorted({kind for kind in kinds if kinds.count(kind) > 1})
    if twice:
        raise UsageError(f"'{twice[0]}' is named twice among causes and leaving. Each type of event has one meaning.")
    if width < 1 or int(width) != width:
        raise UsageError(f"width must be a whole number of at least 1, not {width}.")
    parts = names.every
    twice = sorted({name for name in parts if parts.count(name) > 1})
    if twice:
        raise UsageError(f"Column '{twice[0]}' can't have two parts: it's named twice.")
    for name in names.strata:
        if name in RESERVED or name.startswith("events["):
            raise UsageError(f"Duration cells have a column '{name}' of their own: rename the stratum.")


def _frame(wide: pd.DataFrame, names: Columns, causes: tuple[str, ...]) -> pd.DataFrame:
    """One row for each cell and interval, from one row for each cell, first and last interval."""
    keys = {"cluster": wide["g0"], "period": wide["g1"].astype("int64")}
    zero = pd.Series(0, index=wide.index)
    for i, stratum in enumerate(names.strata, 2):
        keys[stratum] = _strata_text(wide[f"g{i}"], zero, stratum)
    rows = pd.DataFrame({**keys, "cohort": wide["cohort"].astype(float)})
    columns = [*keys, "cohort"]
    grouped = rows.groupby(columns, sort=True, dropna=False, observed=True)
    cell = grouped.ngroup().to_numpy()
    labels = rows.groupby(columns, sort=True, dropna=False, observed=True).size().reset_index()[columns]
    at_risk = (wide["last"] > wide["first"]).to_numpy()
    first, last = wide["first"].to_numpy(dtype=int), wide["last"].to_numpy(dtype=int)
    length = max(int(last[at_risk].max(initial=1)), 1)
    cases = np.where(at_risk, wide["cases"].to_numpy(dtype=np.int64), 0)

    def spread(counts: np.ndarray, at: np.ndarray) -> np.ndarray:
        made = np.zeros((len(labels), length + 1), dtype=np.int64)
        np.add.at(made, (cell, np.minimum(at, length)), np.where(at_risk, counts, 0))
        return made

    entered = spread(cases, first)[:, :length]
    ended = spread(cases, last)
    events = [spread(wide[f"k{k}"].to_numpy(dtype=np.int64), last)[:, 1:] for k in range(len(causes))]
    n = np.cumsum(entered, axis=1) - np.cumsum(ended[:, :length], axis=1)
    shown = np.arange(length)[None, :] < np.maximum(last_seen(ended), 1)[:, None]
    row, position = np.nonzero(shown)
    frame = labels.iloc[row].reset_index(drop=True)
    frame["interval"] = position + 1
    frame["entered"], frame["n"] = entered[shown], n[shown]
    frame["censored"] = (ended[:, 1:] - sum(events))[shown]
    for cause, counted in zip(causes, events, strict=True):
        frame[event_column(cause)] = counted[shown]
    return frame


def last_seen(ended: np.ndarray) -> np.ndarray:
    """The last interval in which some case of a cell ended or was last seen (C), from counts C by J + 1."""
    positions = np.arange(ended.shape[1])
    return np.where(ended > 0, positions[None, :], 0).max(axis=1)

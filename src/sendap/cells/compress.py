"""From records of any number to cells, in one statement and one scan.

The statement is written once with Ibis, and DuckDB, Spark or another engine runs it. Where several margins are
wanted its ``GROUP BY`` becomes ``GROUPING SETS``, which Ibis can't write. Sums are exact: see
``sendap.cells.exact``. They need the largest value of each column beforehand, which Parquet files hold in their
footers; for records of any other kind one short query finds it first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from sendap.cells.core import Cells, OutcomeInfo
from sendap.cells.engines import plain_errors
from sendap.cells.exact import Bounds, restore
from sendap.cells.inputs import Records, open_records
from sendap.cells.moments import ALL, SQUARED_DEVIATIONS, UNKNOWN, add_up, covariate_pairs
from sendap.cells.refusals import check_columns, check_known, check_types, check_unit_period, rows_where
from sendap.cells.statement import Request, find_bounds, number, run, statement
from sendap.errors import DataError, UsageError, did_you_mean


def compress(
    table_or_path: object,
    *,
    unit: str | None = None,
    cluster: str = "la_code",
    period: str = "year",
    cohort: str | None = "first_treated",
    outcomes: Sequence[str] | Mapping[str, OutcomeInfo],
    strata: Sequence[str] = (),
    covariates: Sequence[str] = (),
    weights: str | None = None,
    margins: Sequence[Sequence[str]] | None = None,
    table: str | None = None,
    engine: str | None = None,
    metadata: Mapping[str, object] | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> Cells:
    """Cells of all records: one row for each outcome, cluster, period and combination of strata.

    Parameters
    ----------
    table_or_path
        A pandas, pyarrow or Ibis table; Parquet or CSV files (one, a list, a pattern, a folder, partitioned or
        not); a DuckDB database or an Ibis connection, with ``table``.
    unit
        The column that names a pupil. With it, a pupil seen twice in a period is refused: one more query, with a
        group for every pupil.
    cluster, period, cohort
        Columns with the area, the year (a whole number), and the first treated year of the area: missing or
        infinite for the never treated, the same in all its records. ``cohort=None`` where nothing was treated.
    outcomes
        Columns of numbers, or a mapping from column to its unit and words. Missing and NaN are not observed.
    strata
        Columns of categories. A missing value becomes the category "Unknown".
    covariates
        Columns of numbers whose weighted sums and cross-products are kept (names in ``sendap.cells.moments``). A
        record that lacks one of them counts as not observed.
    weights
        Column of weights, none negative or missing. Without it each record has weight one.
    margins
        Sets of strata to keep apart, for example ``[["sex"], ["ethnicity"], []]``, in place of their full
        crossing. A stratum that a margin sums over reads "(all)".
    engine
        See ``sendap.cells.engines.connect``. Not used for Ibis tables and connections, which bring their own.
    metadata
        Kept with the cells, for example ``{"protocol_hash": ...}``.
    tell
        Called before each step with what it does, for whoever is waiting.

    Raises
    ------
    DataError
        For a file cut short, a missing column, a wrong type, a missing cluster or period, a cohort that changes
        inside a cluster, a repeated unit and period.
    UsageError
        For a margin of unknown strata, or a column in two parts.
    """
    infos = dict(outcomes) if isinstance(outcomes, Mapping) else {name: OutcomeInfo() for name in _names(outcomes)}
    request = Request(cluster, period, cohort, tuple(infos), _names(strata), _names(covariates), weights, unit)
    kept = _check_request(request, margins)
    tell("opening the records")
    with open_records(table_or_path, table=table, engine=engine) as records:
        many = "all records" if records.rows is None else f"{records.rows:,} records"
        check_columns(records, request.columns)
        check_types(
            records,
            numbers=[*request.numbers, *([cohort] if cohort else [])],
            whole=[period],
            categories=request.strata,
            labels=[cluster, *([unit] if unit else [])],
        )
        bounds = find_bounds(records, request)
        expression, totals = statement(records.table, request, bounds)
        tell(f"adding up {many}")
        with plain_errors(records.label):
            wide = run(records, expression, request, kept)
        _refuse(records, request, wide, kept)
        if unit is not None:
            tell(f"looking for repeats in {many}")
            check_unit_period(records, unit, period)
        about = _about(records, request, wide, kept, metadata)
    tell("putting the cells in order")
    frame = _long(wide, request, totals, bounds)
    clusters = pd.DataFrame({"cluster": sorted(frame["cluster"].unique())})
    return Cells(frame, infos, request.strata, request.covariates, clusters, about)


def _names(given: Sequence[str]) -> tuple[str, ...]:
    """Several names, or one that was given without a list."""
    return (given,) if isinstance(given, str) else tuple(given)


def _check_request(request: Request, margins: Sequence[Sequence[str]] | None) -> list[tuple[str, ...]]:
    """The margins to make, each in the order of the strata. Raises UsageError where the parts contradict."""
    if not request.outcomes:
        raise UsageError("Name at least one outcome.")
    parts = [name for name in request.columns if name is not None]
    twice = sorted({name for name in parts if parts.count(name) > 1})
    if twice:
        raise UsageError(
            f"Column '{twice[0]}' can't have two parts: it's named twice among cluster, period, strata and numbers."
        )
    reserved = {"outcome", "cluster", "period", "cohort", "n", "n_observed", "weight", "sum", "sum_squares"}
    for name in (*request.strata, *request.covariates):
        if name in reserved | {SQUARED_DEVIATIONS}:
            raise UsageError(f"Cells have a column '{name}' of their own: rename the stratum or covariate.")
    wanted = [request.strata] if margins is None else [_names(margin) for margin in margins]
    if not wanted:
        raise UsageError("Name at least one margin, or leave margins out for the full crossing.")
    for margin in wanted:
        for name in margin:
            if name not in request.strata:
                raise UsageError(f"Margin '{name}' isn't one of the strata.{did_you_mean(name, request.strata)}")
    return list(dict.fromkeys(tuple(name for name in request.strata if name in margin) for margin in wanted))


def _refuse(records: Records, request: Request, wide: pd.DataFrame, kept: Sequence[tuple[str, ...]]) -> None:
    """Refuse what only the scan could find. Raises DataError."""
    if wide.empty:
        raise DataError(f"{records.label} holds no records.")
    one = _one_margin(wide, request, kept)
    for index, column in enumerate((request.cluster, request.period)):
        check_known(records, column, int(one.loc[one[f"g{index}"].isna(), "n"].sum()))
    if request.weights:
        missing = int((one["n"] - one["weights_n"]).sum())
        if missing:
            example = rows_where(records, lambda t: number(t, request.weights).isnull())
            raise DataError(
                f"{records.label}: {missing:,} record(s) have no weight in '{request.weights}', first {example}. Every "
                "record needs one: zero leaves it out."
            )
    if request.cohort:
        starts = one[["g0", "cohort"]].drop_duplicates().groupby("g0", observed=True).size()
        wrong = starts > 1
        if wrong.any():
            raise DataError(
                f"{records.label}: '{request.cohort}' isn't the same in all records of {int(wrong.sum())} "
                f"'{request.cluster}', first '{starts.index[wrong][0]}'. Expected the first treated period of the "
                "cluster, the same in all its records, missing in all of them where it was never treated."
            )
    counted = int(one["n"].sum())
    if records.rows is not None and counted != records.rows:
        raise DataError(
            f"{records.label}: {records.rows:,} records were expected and {counted:,} found. Read it again."
        )


def _one_margin(wide: pd.DataFrame, request: Request, kept: Sequence[tuple[str, ...]]) -> pd.DataFrame:
    rows = np.ones(len(wide), dtype=bool)
    for i, stratum in enumerate(request.strata):
        rows &= (wide[f"all{i + 2}"] == (stratum not in kept[0])).to_numpy()
    return wide[rows]


def _strata_text(values: pd.Series, aggregated: pd.Series, stratum: str) -> pd.Series:
    """A stratum as text, with the marks of what is missing and what was summed over."""
    codes, found = pd.factorize(values)  # missing values have the code -1
    names = np.array([*(str(value).strip() or UNKNOWN for value in found), UNKNOWN], dtype=object)
    if ALL in names:
        raise DataError(f"Column '{stratum}' holds the value '{ALL}', which marks a sum over the stratum: rename it.")
    return pd.Series(np.where(aggregated.astype(bool), ALL, names[codes]), index=values.index, dtype="str")


def _long(
    wide: pd.DataFrame, request: Request, totals: Mapping[str, float], bounds: Mapping[str, Bounds]
) -> pd.DataFrame:
    """One row for each outcome and cell, sorted, from one row for each cell."""

    def total(name: str) -> np.ndarray:
        parts = (wide[f"{name}_{bits}"].to_numpy() for bits in ("upper", "lower"))
        return restore(*parts, largest=totals[name])

    labels = wide["g0"]
    keys = {
        "cluster": labels.astype(labels.cat.categories.dtype)
        if isinstance(labels.dtype, pd.CategoricalDtype)
        else labels,
        "period": wide["g1"].astype("int64"),
    }
    for i, stratum in enumerate(request.strata, 2):
        keys[stratum] = _strata_text(wide[f"g{i}"], wide[f"all{i}"], stratum)
    cohort = wide["cohort"].astype(float) if request.cohort else np.nan
    parts = []
    for j, outcome in enumerate(request.outcomes):
        centre, observed = bounds[outcome].centre, wide[f"n{j}"].astype("int64")
        weight = total(f"w{j}") if request.weights else observed.to_numpy(dtype=float)
        moved, squares = total(f"s{j}"), total(f"q{j}")
        mean = np.divide(moved, weight, out=np.zeros_like(moved), where=weight > 0)
        frame = pd.DataFrame({"outcome": outcome, **keys, "cohort": cohort, "n": wide["n"].astype("int64")})
        frame["n_observed"] = observed
        frame["weight"] = weight
        frame["sum"] = moved + centre * weight
        frame["sum_squares"] = squares + 2 * centre * moved + centre * centre * weight
        frame[SQUARED_DEVIATIONS] = np.maximum(squares - moved * mean, 0.0)
        for k, name in enumerate(request.covariates):
            frame[f"sum[{name}]"] = total(f"x{k}_{j}")
        for k, name in enumerate(request.covariates):
            frame[f"sum[{name}*outcome]"] = total(f"x{k}y_{j}") + centre * frame[f"sum[{name}]"]
        for (k, first), (m, second) in covariate_pairs(list(enumerate(request.covariates))):
            frame[f"sum[{first}*{second}]"] = total(f"x{k}x{m}_{j}")
        parts.append(frame)
    result = pd.concat(parts, ignore_index=True)
    names = ["outcome", *keys]
    if result.duplicated(names).any():  # a written "Unknown" beside a missing value: one category
        return add_up(result, names, request.covariates)
    return result.sort_values(names, kind="stable", ignore_index=True)


def _about(
    records: Records,
    request: Request,
    wide: pd.DataFrame,
    kept: Sequence[tuple[str, ...]],
    metadata: Mapping[str, object] | None,
) -> dict[str, object]:
    """What the cells say of themselves: sources, schema, the parts of columns, margins, whether synthetic."""
    given = dict(metadata or {})
    schema = records.table.schema()
    return {
        **given,
        "synthetic": bool(given.get("synthetic", False)) or records.synthetic,
        "sources": [*given.get("sources", []), *records.sources],
        "records": int(_one_margin(wide, request, kept)["n"].sum()),
        "schema": {name: str(schema[name]) for name in request.columns},
        "columns": {
            "unit": request.unit,
            "cluster": request.cluster,
            "period": request.period,
            "cohort": request.cohort,
            "weights": request.weights,
        },
    }

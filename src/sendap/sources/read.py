"""One series of the catalogue, from its publisher's file to tidy rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pandas as pd

from sendap.catalog import Catalog, Dataset, Doubtful, Series
from sendap.errors import DataError
from sendap.files import sha256
from sendap.periods import Period, parse_dfe, parse_lait
from sendap.sources.locate import locate
from sendap.sources.tables import (
    check_columns,
    check_key,
    check_values,
    read_text,
    rows_in_words,
    to_numbers,
)
from sendap.sources.tribunal import read_tribunal_table


@dataclass(frozen=True)
class MeasuredSeries:
    """A series as read: one row an area and period.

    ``frame`` has ``la_code, period`` (the year in which it starts), ``value`` (in the unit of the series),
    ``numerator`` and ``denominator`` where the file gives counts, and ``reason`` for a missing value.
    ``set_aside`` lists what the boundary rule took out; ``path`` and ``digest`` say what was read.
    """

    dataset: Dataset
    series: Series
    frame: pd.DataFrame
    set_aside: pd.DataFrame
    path: Path
    digest: str


def read_series(catalog: Catalog, dataset_id: str, series_id: str, data_dir: Path) -> MeasuredSeries:
    """Read one series and check it against its description.

    Raises DataError for a missing file, a missing or unknown column, text in a number, a value out of bounds,
    a numerator over its denominator, a repeated key, or an unknown area.
    """
    dataset = catalog.dataset(dataset_id)
    series = dataset.find_series(series_id)
    path = locate(dataset, series.file, data_dir)
    state = path.stat()
    found = _remembered_series(catalog, dataset_id, series_id, path, state.st_mtime_ns, state.st_size)
    return replace(found, frame=found.frame.copy(), set_aside=found.set_aside.copy())


@lru_cache(maxsize=256)
def _remembered_series(
    catalog: Catalog, dataset_id: str, series_id: str, path: Path, modified: int, size: int
) -> MeasuredSeries:
    """Many pilots share few series: each is read and checked once while its file stays the same."""
    dataset = catalog.dataset(dataset_id)
    series = dataset.find_series(series_id)
    described = dataset.file(series.file)
    if dataset.reader == "ees":
        rows = _from_ees(catalog, dataset, series, path)
    elif dataset.reader == "lait":
        rows = _from_lait(catalog, dataset, series, path)
    else:
        table = read_tribunal_table(path, catalog.places)
        check_columns(table, described, path)
        check_key(table, described.key, path=path)
        rows = table.rename(columns={"year": "period"})
        rows["period"] = rows["period"].astype(int)
    values = _values(rows, dataset, series, path)
    kept, set_aside = catalog.places.keep_todays_boundaries(values, kind=series.period_kind, measured=series.measured)
    check_key(kept, ["la_code", "period"], path=path)
    frame = kept.sort_values(["la_code", "period"]).rename_axis("row").reset_index()
    return MeasuredSeries(
        dataset=dataset, series=series, frame=frame, set_aside=set_aside, path=path, digest=sha256(path)
    )


def _plain(label: str) -> str:
    return " ".join(label.split()).lower()


def _selected(rows: pd.DataFrame, select: dict[str, str], path: Path) -> pd.DataFrame:
    """Rows whose columns hold the selected labels, whatever their case and spacing."""
    keep = pd.Series(True, index=rows.index)
    for column, wanted in select.items():
        # A long table repeats few labels many times: only the different ones are tidied.
        meant = [label for label in rows[column].unique() if _plain(label) == _plain(wanted)]
        keep &= rows[column].isin(meant)
    if not keep.any():
        wanted = ", ".join(f"{column} '{label}'" for column, label in select.items())
        raise DataError(f"{path.name} has no row with {wanted}. Has the publisher changed its labels?")
    return rows[keep]


def _from_ees(catalog: Catalog, dataset: Dataset, series: Series, path: Path) -> pd.DataFrame:
    described = dataset.file(series.file)
    table = read_text(path)
    check_columns(table, described, path)
    check_values(table, [column for column in described.columns if column.codes], path=path)
    check_key(table, described.key, path=path)
    areas = _selected(table, {"geographic_level": "Local authority", **series.select}, path)
    return areas.assign(
        la_code=catalog.places.canonical(areas["new_la_code"], where=path.name),
        period=_periods(areas, ("time_period", "time_identifier"), parse_dfe, series, path),
    )


def _periods(
    rows: pd.DataFrame, columns: tuple[str, str], parse: Callable[[str, str], Period], series: Series, path: Path
) -> pd.Series:
    """The year in which each row's period starts.

    Raises DataError naming file and rows where a label can't be read, or is of another kind than the series.
    """
    years = pd.Series(0, index=rows.index)
    for labels, chosen in rows.groupby(list(columns), sort=False):
        where = f"{path.name}, {rows_in_words(chosen.index)}"
        try:
            period = parse(*labels)
        except DataError as error:
            raise DataError(f"{where}: {error} Correct the file.") from None
        if period.kind is not series.period_kind:
            raise DataError(
                f"{where}, column '{columns[1]}': found '{labels[1]}', expected {series.period_kind.value} for series "
                f"'{series.id}'. Correct period_kind in data-catalog/datasets."
            )
        years[chosen.index] = period.year
    return years


def _from_lait(catalog: Catalog, dataset: Dataset, series: Series, path: Path) -> pd.DataFrame:
    described = dataset.file(series.file)
    table = read_text(path)
    check_columns(table, described, path)
    rows = _selected(table, series.select, path)
    check_key(rows, described.key, path=path)
    digits = rows["LA Number"].str.strip().str.removesuffix(".0")
    aggregates = digits.between("970", "999")  # England 970, regions 980 to 990: never an area
    rows, digits = rows[~aggregates], digits[~aggregates]
    return rows.assign(
        la_code=catalog.places.canonical(digits, where=path.name),
        period=_periods(rows, ("Years", "Year_Type"), parse_lait, series, path),
    )


def _values(rows: pd.DataFrame, dataset: Dataset, series: Series, path: Path) -> pd.DataFrame:
    """``value``, ``numerator``, ``denominator`` and ``reason``, within their bounds."""
    described = dataset.file(series.file).by_name
    found = rows[["la_code", "period"]].copy()
    symbols = dict(dataset.symbols)
    if series.value is not None:
        found["value"], found["reason"] = to_numbers(rows[series.value], symbols, path=path)
        found["numerator"] = found["denominator"] = float("nan")
    else:
        for role, column in (("numerator", series.numerator), ("denominator", series.denominator)):
            assert column is not None
            numbers, reasons = to_numbers(rows[column], symbols, path=path)
            check_values(numbers.rename(column).to_frame(), [described[column]], path=path)
            found[role] = numbers
            found["reason"] = reasons if role == "numerator" else found["reason"].fillna(reasons)
        for doubtful, wrong in _doubtful(found, dataset, series):
            if doubtful.denominator:
                parts = [to_numbers(rows.loc[wrong, name], symbols, path=path)[0] for name in doubtful.denominator]
                found.loc[wrong, "denominator"] = pd.concat(parts, axis=1).sum(axis=1, skipna=False)
                unknown = wrong & found["denominator"].isna() & found["reason"].isna()
                found.loc[unknown, "reason"] = doubtful.reason
        over = found["numerator"] > found["denominator"]
        if over.any():
            raise DataError(
                f"{path.name}, {rows_in_words(found.index[over])}: column '{series.numerator}' is larger than "
                f"'{series.denominator}': found {found.loc[over, 'numerator'].iloc[0]:.12g} of "
                f"{found.loc[over, 'denominator'].iloc[0]:.12g}, expected a numerator of at most its denominator. "
                "Correct the file."
            )
        found.loc[found["denominator"] == 0, "reason"] = "the denominator is zero"
        scale = 100.0 if series.unit == "per cent" else 1.0
        found["value"] = (scale * found["numerator"] / found["denominator"]).where(found["denominator"] > 0)
    if series.value is not None:
        own = {"minimum": series.minimum, "maximum": series.maximum}
        limited = described[series.value].model_copy(update={name: at for name, at in own.items() if at is not None})
        check_values(found["value"].rename(series.value).to_frame(), [limited], path=path)
    for doubtful, wrong in _doubtful(found, dataset, series):
        if not doubtful.denominator:
            found.loc[wrong, ["value", "numerator", "denominator"]] = float("nan")
            found.loc[wrong, "reason"] = doubtful.reason
    return found


def _doubtful(found: pd.DataFrame, dataset: Dataset, series: Series) -> Iterator[tuple[Doubtful, pd.Series]]:
    """What the description says against figures of a series, with the rows that it means."""
    for doubtful in dataset.doubtful:
        if series.id in doubtful.series:
            yield doubtful, found["la_code"].isin(doubtful.areas) & (found["period"] == doubtful.period)

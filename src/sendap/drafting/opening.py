"""A file as it lies there, with the metadata beside it, before anything is known about it."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sendap.drafting.symbols import not_numbers
from sendap.errors import DataError, UsageError
from sendap.sources.tables import read_text

META_COLUMNS = ("col_name", "col_type", "label")
NULLS = ("NULL", "Null", "null", "NA", "na")
CODE = re.compile(r"[EKNSW]\d{8}")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Opened:
    """A table as text by row number, and its metadata by column name (None where there's none).

    ``header`` is False where the first row is data already; columns are then called ``column_1`` and on.
    """

    path: Path
    table: pd.DataFrame
    header: bool
    meta: pd.DataFrame | None
    meta_path: Path | None
    _signs: dict[str, pd.Series] = field(default_factory=dict, repr=False, compare=False)

    def signs(self, name: str) -> pd.Series:
        """The values of a column that aren't numbers, each with how often it is there."""
        if name not in self._signs:
            self._signs[name] = not_numbers(self.table[name])
        return self._signs[name]

    @property
    def of_today(self) -> bool:
        """Whether the metadata are laid out as publishers must lay them out today, so that today's rules hold."""
        return self.meta is not None and "indicator_dp" in self.meta.columns

    def meta_of(self, name: str) -> dict[str, str]:
        """What the metadata say of a column; empty where they say nothing. NULL and NA count as nothing."""
        if self.meta is None or name not in self.meta.index:
            return {}
        row = self.meta.loc[name]
        row = row.iloc[0] if isinstance(row, pd.DataFrame) else row
        return {str(key): "" if value in NULLS else str(value).strip() for key, value in row.items()}


def stem(path: Path) -> str:
    """The name of a file without its endings, and without the version that a fetched file may carry."""
    name = re.sub(r"\.(gz|zip)$", "", path.name)
    name = re.sub(r"\.csv$", "", name)
    return re.sub(r"\.version-[\d.]+$", "", name)


def meta_beside(path: Path) -> Path | None:
    """The metadata file of a CSV file: ``name.meta.csv``, or the older ``name_metadata.csv``."""
    base = re.sub(r"\.csv$", "", re.sub(r"\.(gz|zip)$", "", path.name))  # a version has metadata of its own
    for name in (f"{base}.meta.csv", f"{re.sub('_data$', '', base)}_metadata.csv"):
        candidate = path.with_name(name)
        if candidate.is_file() and candidate != path:
            return candidate
    return None


def _has_heading(first: list[str]) -> bool:
    """Whether a first row names columns: it holds no code of an area, and isn't made of numbers for the most part.

    Years may be names of columns, so they don't count as numbers.
    """
    filled = [cell.strip() for cell in first if cell.strip()]
    if any(CODE.fullmatch(cell) for cell in filled):
        return False
    numbers = [cell for cell in filled if NUMBER.fullmatch(cell) and not re.fullmatch(r"(19|20)\d\d", cell)]
    return len(numbers) * 2 < max(len(filled), 1)


def open_file(path: Path) -> Opened:
    """Read a CSV file, gzipped or alone in a zip file, and its metadata.

    Raises UsageError for a file that isn't there or isn't CSV, DataError for one that can't be read.
    """
    if not path.is_file():
        raise UsageError(f"{path} doesn't exist.")
    if not re.search(r"\.csv(\.gz)?$|\.zip$", path.name, flags=re.IGNORECASE):
        raise UsageError(f"{path.name} isn't a CSV file. Save the table as CSV (UTF-8) and name that file.")
    try:
        first = read_text(path, header=None, nrows=1).fillna("")
    except (zipfile.BadZipFile, ValueError) as error:
        raise DataError(f"{path.name} can't be read as a table: {error}.") from None
    if first.empty:
        raise DataError(f"{path.name} is empty.")
    header = _has_heading([str(cell) for cell in first.iloc[0]])
    if header:
        table = read_text(path)
        table = table.loc[:, [not _is_second_copy(table, name) for name in table.columns]]
    else:
        names = [f"column_{number}" for number in range(1, first.shape[1] + 1)]
        table = read_text(path, header=None, names=names).fillna("")
        table.index = pd.RangeIndex(1, len(table) + 1, name="row")
    if table.empty:
        raise DataError(f"{path.name} has a heading and no rows.")
    meta_path = meta_beside(path)
    return Opened(path, table, header, _read_meta(meta_path) if meta_path else None, meta_path)


def _is_second_copy(table: pd.DataFrame, name: str) -> bool:
    """Whether pandas made this name (``a.1``) for a column that is there twice, alike in every row."""
    original = re.sub(r"\.\d+$", "", name)
    return original != name and original in table.columns and bool((table[name] == table[original]).all())


def _read_meta(path: Path) -> pd.DataFrame:
    meta = read_text(path)
    missing = [name for name in META_COLUMNS if name not in meta.columns]
    if missing:
        raise DataError(f"{path.name} lacks the column '{missing[0]}'. Expected: {', '.join(META_COLUMNS)}.")
    meta["col_name"] = meta["col_name"].str.strip()
    return meta.set_index("col_name", drop=False)

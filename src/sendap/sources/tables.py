"""Reading text tables and checking them against the catalogue.

Rows are named by their row number in the file, the heading being row 1, so that a reader of an error can go
and look. Symbols are kept as the reason why a value is missing; text that is neither a number nor a symbol of
the dataset is refused.
"""

from __future__ import annotations

import gzip
import math
import re
import warnings
import zlib
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import pandas as pd

from sendap.catalog import Column, DataFile
from sendap.errors import DataError

with warnings.catch_warnings():
    # Where PySpark is installed pandera loads it, and it warns of pandas 3; nothing of it is used here.
    warnings.simplefilter("ignore", FutureWarning)
    import pandera.pandas as pa
    from pandera.errors import SchemaErrors

FIRST_DATA_ROW = 2
ROWS_SHOWN = 5


def read_text(path: Path, **options: object) -> pd.DataFrame:
    """A delimited file as text, gzipped or not, with or without a byte-order mark; indexed by row number.

    Raises DataError for a file that is damaged or isn't UTF-8.
    """
    if options:
        return _read_text(path, **options)
    state = path.stat()
    return _remembered(path, state.st_mtime_ns, state.st_size).copy()


@lru_cache(maxsize=12)
def _remembered(path: Path, modified: int, size: int) -> pd.DataFrame:
    """One long table holds many series: read once while it stays the same."""
    return _read_text(path)


_READING: dict[str, object] = {"skip_blank_lines": False}  # so that row numbers stay those of the file


def _read_text(path: Path, **options: object) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False, **_READING | options)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} isn't UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else "the file ends too early"
        raise DataError(f"{path.name} can't be read as a table: {reason}. Download it again.") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes one field too many for an index
        raise DataError(
            f"{path.name}: its first row of data has more fields than the heading, which has {frame.shape[1]}. "
            "Expected as many. Download it again."
        )
    frame.index = pd.RangeIndex(FIRST_DATA_ROW, FIRST_DATA_ROW + len(frame), name="row")
    if "header" in options:
        return frame
    blank = frame[frame.iloc[:, 0] == ""]
    return frame.drop(index=blank.index[(blank == "").all(axis=1)])


def rows_in_words(index: Iterable[object]) -> str:
    rows = [str(row) for row in index]
    shown = ", ".join(rows[:ROWS_SHOWN])
    more = f" and {len(rows) - ROWS_SHOWN} more" if len(rows) > ROWS_SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


def check_columns(frame: pd.DataFrame, described: DataFile, path: Path) -> None:
    """Refuse a table that lacks a described column, or has one that isn't described.

    A second column of the same name (pandas adds ``.1``) is a known quirk of some files. It is passed over where it
    is a copy, and refused where it isn't.
    """
    known = set(described.by_name)
    missing = [column.name for column in described.columns if column.name not in frame.columns]
    if missing:
        near = get_close_matches(missing[0], [name for name in frame.columns if name not in known], n=1)
        raise DataError(
            f"{path.name} lacks the column '{missing[0]}'"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + ", which its description expects."
            + (f" It has '{near[0]}', which isn't described." if near else "")
            + " If the publisher has changed the file, change its description in data-catalog/datasets."
        )
    extra = []
    for name in frame.columns:
        original = re.sub(r"\.\d+$", "", name)
        if name in known:
            continue
        if original not in known:
            extra.append(name)
            continue
        differs = frame.index[frame[name] != frame[original]]
        if len(differs):
            raise DataError(
                f"{path.name} has the column '{original}' twice, and the two differ in {rows_in_words(differs)}. "
                "Expected it once. Remove the wrong one, or download the file again."
            )
    if extra:
        raise DataError(
            f"{path.name} has the column '{extra[0]}', which isn't described. Add it to the description in "
            "data-catalog/datasets, or read a file of the described release."
        )


_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def to_numbers(text: pd.Series, symbols: dict[str, str], *, path: Path) -> tuple[pd.Series, pd.Series]:
    """Numbers, and the reason for each missing one.

    Commas between groups of three digits and a per cent sign are read as such; a comma elsewhere (``1,5``) is
    refused. Symbols that the catalogue explains as ``zero`` are zero.

    Raises DataError naming file, column and rows where something is neither a number nor a known symbol.
    """
    stripped = text.fillna("").astype(str).str.strip()
    reasons = stripped.map(symbols)
    cleaned = stripped.str.removesuffix("%").str.rstrip()
    grouped = cleaned.str.contains(",", regex=False)
    if grouped.any():
        grouped &= cleaned.str.fullmatch(_GROUPED)
        cleaned = cleaned.mask(grouped, cleaned.str.replace(",", "", regex=False))
    numbers = pd.to_numeric(cleaned.where(reasons.isna()), errors="coerce").astype(float)
    numbers = numbers.where(numbers.map(math.isfinite, na_action="ignore").fillna(False).astype(bool))
    numbers = numbers.mask(reasons == "zero", 0.0)
    reasons = reasons.mask(reasons == "zero")
    wrong = numbers.isna() & reasons.isna()
    if wrong.any():
        example = stripped[wrong].iloc[0]
        allowed = ", ".join(repr(symbol) for symbol in symbols) or "none"
        raise DataError(
            f"{path.name}, column '{text.name}', {rows_in_words(text.index[wrong])}: found '{example[:40]}', expected "
            f"a number or one of the symbols {allowed}. Correct the file, or describe the symbol in "
            "data-catalog/datasets."
        )
    return numbers, reasons.astype(object)


def _expected(column: Column) -> str:
    if column.codes:
        return f"one of {', '.join(column.codes)}"
    parts = ["a whole number" if column.type == "integer" else "a number"]
    if column.minimum is not None:
        parts.append(f"of at least {column.minimum:g}")
    if column.maximum is not None:
        parts.append(f"{'and ' if column.minimum is not None else ''}at most {column.maximum:g}")
    return " ".join(parts)


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else f"{value:.12g}"


def _schema(columns: Iterable[Column]) -> pa.DataFrameSchema:
    built = {}
    for column in columns:
        checks = []
        if column.codes:
            checks.append(pa.Check.isin(column.codes))
        if column.minimum is not None:
            checks.append(pa.Check.ge(column.minimum))
        if column.maximum is not None:
            checks.append(pa.Check.le(column.maximum))
        if column.type == "integer":
            checks.append(pa.Check(lambda values: values % 1 == 0, name="whole"))
        built[column.name] = pa.Column(checks=checks, nullable=True)
    return pa.DataFrameSchema(built)


def check_values(frame: pd.DataFrame, columns: Iterable[Column], *, path: Path) -> None:
    """Refuse values outside the described codes and bounds. ``frame`` holds numbers and codes, by row number.

    Raises DataError naming file, column, rows, what was found and what was expected.
    """
    columns = list(columns)
    try:
        _schema(columns).validate(frame, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        name = cases["column"].iloc[0]
        column = next(column for column in columns if column.name == name)
        bad = cases[cases["column"] == name].drop_duplicates("index").sort_values("index")
        raise DataError(
            f"{path.name}, column '{name}', {rows_in_words(bad['index'])}: found "
            f"{_shown(bad['failure_case'].iloc[0])}, expected {_expected(column)}. Correct the file, or its "
            f"description in data-catalog/datasets."
        ) from None


def check_key(frame: pd.DataFrame, key: Iterable[str], *, path: Path) -> None:
    """Refuse rows that repeat a key."""
    key = list(key)
    repeated = frame.duplicated(key, keep=False)
    if repeated.any():
        first = frame.loc[repeated, key].iloc[0].to_dict()
        same = frame.index[(frame[key] == pd.Series(first)).all(axis=1)]
        named = ", ".join(f"{column} '{value}'" for column, value in first.items() if value != "")
        raise DataError(
            f"{path.name}, {rows_in_words(same)}: the key is repeated ({named}). Each row must have a key of its own: "
            "remove the copy, or describe which rows a series selects."
        )

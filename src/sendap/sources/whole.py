"""All of a described file: every column read and checked as its description says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sendap.catalog import DataFile, Dataset
from sendap.places import Places
from sendap.sources.locate import locate
from sendap.sources.tables import check_columns, check_key, check_values, read_text, to_numbers
from sendap.sources.tribunal import read_tribunal_table


@dataclass(frozen=True)
class WholeTable:
    """A file as read, by row number. ``frame`` holds its described columns, numbers as numbers; ``reasons`` why a
    number is missing, in the same columns and rows (None where it isn't)."""

    frame: pd.DataFrame
    reasons: pd.DataFrame


def as_text(path: Path, file: DataFile | None = None) -> pd.DataFrame:
    """A file as text by row number. One without a heading takes the described names, and its first row is row 1."""
    if file is None or file.header:
        return read_text(path)
    frame = read_text(path, header=None, names=[column.name for column in file.columns]).fillna("")
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    return frame


def read_whole(dataset: Dataset, name: str, data_dir: Path, places: Places) -> WholeTable:
    """Read a described file with all its columns.

    Raises DataError, naming file, column and rows, for whatever breaks the description.
    """
    file = dataset.file(name)
    path = locate(dataset, name, data_dir)
    table = read_tribunal_table(path, places) if dataset.reader == "tribunal" else as_text(path, file)
    check_columns(table, file, path)
    check_values(table, [column for column in file.columns if column.codes], path=path)
    check_key(table, file.key, path=path)
    frame = table[[column.name for column in file.columns]].copy()
    reasons = pd.DataFrame(index=frame.index)
    for column in file.columns:
        if column.type in ("integer", "number"):
            frame[column.name], reasons[column.name] = to_numbers(table[column.name], dict(dataset.symbols), path=path)
    check_values(frame, [column for column in file.columns if column.name in reasons], path=path)
    return WholeTable(frame=frame, reasons=reasons)

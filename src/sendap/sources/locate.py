"""Where the files of a dataset lie in a data folder."""

from __future__ import annotations

import json
from pathlib import Path

from sendap.catalog import Dataset
from sendap.errors import DataError

SYNTHETIC_MARK = "SYNTHETIC-DATA.json"


def is_synthetic(data_dir: Path) -> bool:
    """Whether a data folder holds stand-ins and not publishers' files."""
    return (data_dir / SYNTHETIC_MARK).is_file()


def planted(data_dir: Path) -> dict[str, float]:
    """The effects planted in synthetic data, by outcome; none in real data."""
    path = data_dir / SYNTHETIC_MARK
    found = json.loads(path.read_text(encoding="utf-8")).get("effect") if path.is_file() else None
    return found if isinstance(found, dict) else {}


def locate(dataset: Dataset, name: str, data_dir: Path) -> Path:
    """The file of a dataset in the data folder, gzipped or not.

    Raises DataError saying where it was looked for and where to get it.
    """
    folder = data_dir / dataset.folder
    plain = name.removesuffix(".gz")
    for candidate in (folder / name, folder / plain, folder / f"{plain}.gz"):
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{folder / name} doesn't exist. It is part of '{dataset.title}' ({dataset.publisher}). Download it from "
        f"{dataset.address} and put it there, or name another data folder with --data-dir or SENDAP_DATA."
    )

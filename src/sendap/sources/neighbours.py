"""The published table of statistical neighbours: for each local authority, the ten that are most like it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sendap.errors import DataError
from sendap.places import Places
from sendap.sources.tables import read_text

FOLDER = "social_care_outcomes"
FILE = "sn_model_2025_wide.csv"
TITLE = "Statistical neighbours model 2025"
PUBLISHER = "Department for Education"
NEAREST = 10


def read_neighbours(places: Places, data_dir: Path) -> pd.DataFrame:
    """Ten rows an area: ``cluster, rank`` (1 to 10, the nearest first), ``neighbour`` and ``closeness`` in words.

    The publisher's table is wide (SN_1, SN_1P, SN_2, ...), with three-digit codes and trailing spaces in the words.

    Raises DataError for a missing file or column, an unknown code, an area twice, or its own neighbour.
    """
    path = _path(data_dir)
    wide = read_text(path)
    wanted = ["old_la_code", *(f"SN_{rank}{part}" for rank in range(1, NEAREST + 1) for part in ("", "P"))]
    missing = [name for name in wanted if name not in wide.columns]
    if missing:
        raise DataError(f"{path.name} lacks the column '{missing[0]}'. Has the publisher changed its layout?")
    clusters = places.canonical(wide["old_la_code"], where=path.name)
    parts = [
        pd.DataFrame(
            {
                "cluster": clusters,
                "rank": rank,
                "neighbour": places.canonical(wide[f"SN_{rank}"], where=path.name),
                "closeness": wide[f"SN_{rank}P"].str.strip(),
            }
        )
        for rank in range(1, NEAREST + 1)
    ]
    found = pd.concat(parts).sort_values(["cluster", "rank"], ignore_index=True)
    for wrong, what in (
        (found.duplicated(["cluster", "rank"]), "is there twice"),
        (found.duplicated(["cluster", "neighbour"]), "has one neighbour twice"),
        (found["cluster"] == found["neighbour"], "is its own neighbour"),
    ):
        if wrong.any():
            raise DataError(f"{path.name}: area {found['cluster'][wrong].iloc[0]} {what}. Correct the file.")
    return found


def _path(data_dir: Path) -> Path:
    folder = data_dir / FOLDER
    for candidate in (folder / FILE, folder / f"{FILE}.gz"):
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{folder / FILE} doesn't exist. It is '{TITLE}' ({PUBLISHER}), published with its tool for statistical "
        "neighbours. Put it there, or name another data folder with --data-dir or SENDAP_DATA."
    )

"""Descriptive pilots: their figures from the data folder, or the part of them that is there."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path

import pandas as pd

from sendap.errors import DataError, Problems
from sendap.files import whole
from sendap.protocol import Protocol, read_protocol
from sendap.report.described import Described
from sendap.runs.cells_of import Measured, read_all
from sendap.runs.data import data_folder
from sendap.runs.measured import measurable
from sendap.sources.locate import is_synthetic
from sendap.workspace import Workspace

COLUMNS = ("outcome", "period", "areas", "mean", "low", "middle", "high", "spread")


class Description:
    """One descriptive pilot in one folder: figures are read where an earlier notebook left them, else made."""

    def __init__(self, pilot: str, folder: Path, workspace: Workspace, data_dir: Path):
        self.protocol: Protocol = read_protocol(workspace.analysis, pilot)
        if not self.protocol.descriptive:
            raise Problems(f"{pilot} isn't descriptive:", ["open it with open_evaluation in the notebook 'impact'."])
        self.folder, self.workspace, self.data_dir = folder, workspace, data_dir

    @cached_property
    def described(self) -> Described:
        path = self.folder / "series.csv"
        if path.is_file():
            series = pd.read_csv(path)
            part = measurable(self.protocol, self.workspace.catalog, self.data_dir)
        else:
            part, found = read_all(self.protocol, self.workspace.catalog, self.data_dir)
            rows = [_by_period(name, measured) for name, measured in found.items()]
            series = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=list(COLUMNS))
            with whole(path) as temporary:
                series.to_csv(temporary, index=False, lineterminator="\n", float_format="%.12g")
        return Described(
            protocol=self.protocol,
            measured=part.protocol,
            awaiting=part.awaiting,
            catalog=self.workspace.catalog,
            series=series,
            synthetic=bool(part.protocol.outcomes) and is_synthetic(self.data_dir),
        )


def _by_period(outcome: str, measured: Measured) -> pd.DataFrame:
    known = measured.frame.dropna(subset=["value"]).groupby("period")["value"]
    table = pd.DataFrame(
        {
            "areas": known.size(),
            "mean": known.mean(),
            "low": known.quantile(0.1),
            "middle": known.median(),
            "high": known.quantile(0.9),
            "spread": known.std(),
        }
    ).reset_index()
    return table.assign(outcome=outcome)[list(COLUMNS)]


def open_description(pilot: str, run: str = "") -> Described:
    """What a descriptive notebook shows. ``run`` as for ``open_evaluation``.

    Raises UsageError for an unknown pilot, Problems for one that isn't descriptive, DataError for a missing folder.
    """
    workspace = Workspace.find()
    protocol = read_protocol(workspace.analysis, pilot)
    folder = Path(run) if run else Path(tempfile.mkdtemp(prefix=f"sendap-{pilot.lower()}-"))
    if not folder.is_dir():
        raise DataError(f"The run folder {folder} doesn't exist. Leave run empty to work in a temporary one.")
    return Description(pilot, folder, workspace, data_folder(workspace, folder.parent, protocol)).described

"""What a notebook holds in its hands: one pilot, its folder, and everything computed so far.

Each part is read from the run's folder where an earlier notebook left it, and computed and written there
where not, so that any notebook opened by hand works on its own.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sendap.adopters import Adopters
from sendap.cells import Cells
from sendap.comparison import ComparisonGroup
from sendap.errors import DataError
from sendap.files import whole, write_json
from sendap.probe import TrendCheck
from sendap.protocol import Protocol, read_protocol
from sendap.report.context import Evaluated
from sendap.results import Estimates, tidy
from sendap.runs.cells_of import Prepared, prepare
from sendap.runs.compared import comparison_groups
from sendap.runs.data import data_folder
from sendap.runs.estimate import estimate_all, left_out
from sendap.runs.grouped import group_effects
from sendap.runs.probing import plain, probe_all
from sendap.sources.neighbours import read_neighbours
from sendap.workspace import Workspace

TABLES = ("coverage", "cohorts", "set_aside", "missing")


class Evaluation:
    """One pilot evaluated in one folder."""

    def __init__(self, pilot: str, folder: Path, workspace: Workspace, data_dir: Path):
        self.workspace = workspace
        self.folder = folder
        self.data_dir = data_dir
        self.protocol: Protocol = read_protocol(workspace.analysis, pilot)

    def _file(self, name: str) -> Path:
        return self.folder / name

    @cached_property
    def prepared(self) -> Prepared:
        """Cells and the tables of the data page: read where they're there, else made and written."""
        paths = {name: self._file(f"{name.replace('_', '-')}.csv") for name in TABLES}
        if self._file("cells.parquet").is_file() and all(path.is_file() for path in paths.values()):
            cells = Cells.read(self._file("cells.parquet"))
            if cells.metadata.get("protocol") != self.protocol.digest:
                raise DataError(
                    f"{self._file('cells.parquet').name} was made with another protocol of {self.protocol.id}. "
                    "Remove it, or run `sendap run` again."
                )
            tables = {name: pd.read_csv(path) for name, path in paths.items()}
            groups = self._file("group-cells.parquet")
            return Prepared(
                cells=cells,
                groups=Cells.read(groups) if groups.is_file() else None,
                anticipation=dict(cells.metadata["anticipation"]),  # type: ignore[call-overload]
                **tables,
            )
        made = prepare(self.protocol, self.workspace.catalog, self.data_dir)
        for name, path in paths.items():
            with whole(path) as temporary:
                getattr(made, name).to_csv(temporary, index=False, lineterminator="\n")
        if made.groups is not None:
            made.groups.write(self._file("group-cells.parquet"))
        # The cells come last: where they are, everything is.
        made.cells.write(self._file("cells.parquet"))
        return made

    @property
    def cells(self) -> Cells:
        return self.prepared.cells

    @cached_property
    def measured(self) -> Protocol:
        """The protocol with those of its outcomes that could be measured."""
        return self.protocol.keeping(self.cells.outcomes)

    @cached_property
    def neighbours(self) -> pd.DataFrame | None:
        """The published statistical neighbours of areas, where the data folder holds them."""
        try:
            return read_neighbours(self.workspace.catalog.places, self.data_dir)
        except DataError:
            return None

    @cached_property
    def _estimated(self) -> tuple[Estimates, dict[str, TrendCheck]]:
        path, trends = self._file("estimates.parquet"), self._file("trends.json")
        if path.is_file() and trends.is_file():
            found = json.loads(trends.read_text(encoding="utf-8"))
            checks = {
                name: TrendCheck(**{key: np.nan if value is None else value for key, value in check.items()})
                for name, check in found.items()
            }
            return Estimates.read(path), checks
        estimates, checks = estimate_all(self.cells, self.measured, self.workspace.catalog, self.neighbours)
        write_json(
            trends,
            {name: {key: plain(value) for key, value in asdict(check).items()} for name, check in checks.items()},
        )
        estimates.write(path)
        return estimates, checks

    @cached_property
    def probes(self) -> dict[str, Any]:
        """What could be wrong with each headline effect."""
        path = self._file("probes.json")
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        without = left_out(self.cells, self.measured, self.workspace.catalog)
        found = probe_all(self.cells, self.measured, left_out=without)
        write_json(path, found)
        return found

    @cached_property
    def described(self) -> Evaluated:
        """What was read and assigned, before anything is estimated: for the data page."""
        return self._pages(tidy([]), {}, {}, {})

    @cached_property
    def evaluated(self) -> Evaluated:
        """Everything, estimates included."""
        return self._pages(self._estimated[0].frame, self._estimated[1], self.probes, self.groups)

    @cached_property
    def groups(self) -> dict[str, Any]:
        """What happened to gaps between groups, where records tell."""
        path = self._file("groups.json")
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        found = group_effects(self.prepared.groups, self.measured)
        write_json(path, found)
        return found

    def _pages(
        self,
        estimates: pd.DataFrame,
        trends: dict[str, TrendCheck],
        probes: dict[str, Any],
        groups: dict[str, Any],
    ) -> Evaluated:
        prepared = self.prepared
        about = self.cells.metadata["adopters"]
        assert isinstance(about, dict)
        return Evaluated(
            protocol=self.measured,
            awaiting=tuple(each for each in self.protocol.outcomes if each.id not in self.cells.outcomes),
            adopters=Adopters.of_content(self.protocol.programme, about),
            catalog=self.workspace.catalog,
            cells=prepared.cells,
            estimates=estimates,
            trends=trends,
            probes=probes,
            coverage=prepared.coverage,
            cohorts=prepared.cohorts,
            set_aside=prepared.set_aside,
            missing=prepared.missing,
            groups=groups,
            compared=self._compared,
        )

    def _compared(self) -> dict[str, ComparisonGroup | str]:
        """The comparison groups of the primary outcome, chosen again from its cells: the same each time."""
        primary = self.measured.primary
        return comparison_groups(self.cells.only(primary.id), self.measured, primary, self.neighbours)


def open_evaluation(pilot: str, run: str = "") -> Evaluation:
    """The evaluation that a notebook shows.

    ``run`` is the folder of a run in the making. Without one, as when a notebook is opened by hand, a fresh
    temporary folder is used and everything is computed there.

    Raises UsageError for an unknown pilot, DataError for a folder that doesn't exist.
    """
    workspace = Workspace.find()
    protocol = read_protocol(workspace.analysis, pilot)
    if run:
        folder = Path(run)
        if not folder.is_dir():
            raise DataError(f"The run folder {folder} doesn't exist. Leave run empty to work in a temporary one.")
        return Evaluation(pilot, folder, workspace, data_folder(workspace, folder.parent, protocol))
    folder = Path(tempfile.mkdtemp(prefix=f"sendap-{pilot.lower()}-"))
    return Evaluation(pilot, folder, workspace, data_folder(workspace, folder, protocol))

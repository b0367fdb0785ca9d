"""Where things are: the catalogue, the protocols, the notebooks and the data folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sendap.catalog import Catalog
from sendap.errors import UsageError

DATA_VARIABLE = "SENDAP_DATA"
HOME_VARIABLE = "SENDAP_HOME"
_MARKERS = ("data-catalog", "analysis", "notebooks")


def _is_workspace(folder: Path) -> bool:
    return all((folder / marker).is_dir() for marker in _MARKERS)


def find_root(start: Path | None = None) -> Path:
    """The workspace around a folder: the nearest that holds data-catalog, analysis and notebooks.

    SENDAP_HOME decides where it is set. Else looks upwards from the folder, then around the installed package.

    Raises UsageError where there is none, or SENDAP_HOME names something else.
    """
    named = os.environ.get(HOME_VARIABLE)
    if named:
        folder = Path(named).expanduser().resolve()
        if not _is_workspace(folder):
            raise UsageError(
                f"{HOME_VARIABLE} names {folder}, which isn't a workspace: a folder with {', '.join(_MARKERS)} was "
                "expected. Correct it, or leave it out."
            )
        return folder
    start = (start or Path.cwd()).resolve()
    candidates = [start, *start.parents, *Path(__file__).resolve().parents]
    for folder in candidates:
        if _is_workspace(folder):
            return folder
    raise UsageError(
        f"No workspace around {start}: a folder with {', '.join(_MARKERS)} was expected. Go to the folder of the "
        f"project, or name it with {HOME_VARIABLE}."
    )


@dataclass(frozen=True)
class Workspace:
    """A checkout of the project, and the data folder (None: no data, so synthetic stand-ins are made)."""

    root: Path
    data_dir: Path | None = None

    @classmethod
    def find(cls, data_dir: Path | str | None = None) -> Workspace:
        """The workspace here, with the data folder given, of SENDAP_DATA, or ``data`` where it exists.

        Raises UsageError where a data folder is named that doesn't exist.
        """
        root = find_root()
        named = data_dir or os.environ.get(DATA_VARIABLE) or None
        if named is not None:
            folder = Path(named).expanduser().resolve()
            if not folder.is_dir():
                raise UsageError(
                    f"The data folder {folder} doesn't exist. Correct --data-dir or {DATA_VARIABLE}, or leave both "
                    "out to run on synthetic data."
                )
            return cls(root, folder)
        usual = root / "data"
        return cls(root, usual if usual.is_dir() else None)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.root / "data-catalog")

    @property
    def analysis(self) -> Path:
        return self.root / "analysis"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

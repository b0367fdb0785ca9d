"""Which data folder a run reads: the user's, or a synthetic stand-in."""

from __future__ import annotations

import json
from pathlib import Path

from sendap.files import fingerprint, sha256
from sendap.sources.locate import SYNTHETIC_MARK
from sendap.workspace import Workspace

MADE_FROM = "made-from.json"


def data_folder(workspace: Workspace, beside: Path) -> Path:
    """The data folder of the workspace, or a synthetic stand-in written beside the runs.

    The stand-in is made once, and again only where the catalogue or its maker has changed.
    """
    if workspace.data_dir is not None:
        return workspace.data_dir
    folder = beside / "synthetic-data"
    maker = Path(__file__).resolve().parent.parent / "sources" / "stand_in.py"
    described = sorted((workspace.root / "data-catalog").rglob("*.*"))
    wanted = fingerprint([sha256(path) for path in (maker, *described) if path.is_file()])
    note = folder / MADE_FROM
    if (folder / SYNTHETIC_MARK).is_file() and note.is_file() and json.loads(note.read_text()) == wanted:
        return folder
    from sendap.sources.stand_in import write_stand_in

    write_stand_in(workspace.catalog, folder)
    note.write_text(json.dumps(wanted), encoding="utf-8")
    return folder

"""Executed notebooks as they may leave the machine: without its paths, its warnings and its times."""

from __future__ import annotations

import re

from nbformat import NotebookNode

PARAMETER_TAGS = frozenset({"parameters", "injected-parameters"})
_RUN = re.compile(r"^run\s*=.*$", re.MULTILINE)


def is_parameters(cell: NotebookNode) -> bool:
    return bool(PARAMETER_TAGS & set(cell.metadata.get("tags", ())))


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """The same notebook without what papermill noted, what went to the error stream, and the path of the run.

    Changes the notebook it's given and returns it.
    """
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for noted in ("papermill", "execution"):
            cell.metadata.pop(noted, None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        if is_parameters(cell):
            # An empty name opens the last run, wherever the reader keeps it.
            cell.source = _RUN.sub('run = ""', cell.source)
    return notebook

"""``sendap catalog``: descriptions drafted from files, and files compared with what is described."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from sendap.drafting.compare import compare, used_by
from sendap.drafting.draft import draft
from sendap.drafting.opening import open_file, stem
from sendap.drafting.wording import in_words
from sendap.errors import UsageError
from sendap.files import write_text
from sendap.workspace import Workspace


def add_dataset(
    file: Path, workspace: Workspace, *, out: Path | None = None, dataset_id: str | None = None, anyway: bool = False
) -> str:
    """Draft the description of a file into the catalogue, or to ``out``; what was written, and what to confirm.

    Raises UsageError where the description is there already, Problems where the file breaks its publisher's rules.
    """
    path = file.expanduser().resolve()
    made = draft(
        open_file(path), workspace.catalog.places, folder=_folder(path, workspace), dataset_id=dataset_id, anyway=anyway
    )
    dataset = made.dataset
    target = out or workspace.catalog.folder / "datasets" / f"{dataset.id}.yaml"
    if target.exists():
        raise UsageError(f"{target} is there already. Remove it, or name another with --id or --out.")
    if out is None and dataset.id in workspace.catalog.datasets:
        raise UsageError(f"The catalogue has a dataset '{dataset.id}' already. Name another with --id.")
    write_text(target, made.to_yaml())
    columns = len(dataset.files[0].columns)
    data = workspace.data_dir or workspace.root / "data"
    place = data / dataset.folder / path.name
    lines = [
        f"{target}: drafted from {path.name} ({dataset.what.rstrip('.')}): {columns} columns, "
        f"{len(dataset.series)} series, read as '{dataset.reader}'.",
    ]
    if place != path:
        lines.append(f"Put the file where it will be looked for: {place}.")
    if dataset.quirks:
        lines.append("It breaks rules by which the publisher screens files today:")
        lines += [f"  - {text}" for text in dataset.quirks]
    lines.append("Guesses to confirm, then remove from to_confirm:")
    lines += [f"  - {text}" for text in dataset.to_confirm]
    return "\n".join(lines)


def _folder(path: Path, workspace: Workspace) -> str:
    """Where a file lies in the data folder; else the name of the folder it is in."""
    if workspace.data_dir is not None and path.is_relative_to(workspace.data_dir):
        return path.parent.relative_to(workspace.data_dir).as_posix()
    return path.parent.name or "."


def compare_files(old: Path, new: Path, workspace: Workspace, *, as_json: bool = False) -> tuple[str, bool]:
    """What differs between two files, as text or JSON, and whether a description relies on what has changed."""
    found = compare(open_file(old), open_file(new))
    names = {stem(old).lower(), stem(new).lower()}
    described = [
        (dataset, file.name)
        for dataset in workspace.catalog.datasets.values()
        for file in dataset.files
        if stem(Path(file.name)).lower() in names
    ]
    found = replace(found, used=[line for dataset, name in described for line in used_by(found, dataset, name)])
    if as_json:
        text = json.dumps({**found.content(), "described": bool(described)}, indent=2, ensure_ascii=False)
    else:
        text = in_words(found, described=bool(described))
    return text, bool(found.used)

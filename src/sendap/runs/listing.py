"""Plain-text answers: which pilots there are, whether they can run, and where data come from."""

from __future__ import annotations

import json
from pathlib import Path

from sendap.errors import DataError, Problems, SendapError
from sendap.protocol import known_pilots, problems_with, protocol_path, read_protocol
from sendap.runs.cells_of import read_all
from sendap.sources.locate import locate
from sendap.workspace import Workspace


def last_summary(runs_dir: Path, pilot: str) -> dict[str, object] | None:
    """The summary of a pilot's last good run, or None."""
    pointer = runs_dir / pilot / "latest.json"
    if not pointer.is_file():
        return None
    folder = runs_dir / pilot / json.loads(pointer.read_text(encoding="utf-8"))["run"]
    path = folder / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def list_pilots(workspace: Workspace, runs_dir: Path) -> str:
    lines = []
    for pilot in known_pilots(workspace.analysis):
        protocol = read_protocol(workspace.analysis, pilot)
        found = last_summary(runs_dir, pilot)
        lines.append(f"{protocol.id}  {protocol.name}")
        lines.append(f"    design: {protocol.design}; primary outcome: {protocol.primary.heading}")
        lines.append(f"    registered: {'yes' if protocol.registered else 'no'}")
        if found is None:
            lines.append(f"    not run yet: sendap run {protocol.id}")
        else:
            kind = "synthetic data, not a finding: " if found["synthetic"] else ""
            lines.append(f"    last run: {kind}{found['headline']} (confidence: {found['confidence']})")
    return "\n".join(lines)


def check_pilots(pilots: list[str], workspace: Workspace) -> str:
    """One line for each pilot that can run.

    Raises UsageError for an unknown pilot, and Problems with every problem of every pilot.
    """
    problems: list[str] = []
    lines: list[str] = []
    for pilot in pilots:
        protocol_path(workspace.analysis, pilot)
    for pilot in pilots or known_pilots(workspace.analysis):
        try:
            protocol = read_protocol(workspace.analysis, pilot)
            if workspace.data_dir is None:
                found = problems_with(protocol, workspace.catalog)
                if found:
                    raise Problems(f"{protocol.id}:", found)
                lines.append(
                    f"{protocol.id}: protocol and catalogue fit. No data folder, so it runs on synthetic data."
                )
            else:
                series = read_all(protocol, workspace.catalog, workspace.data_dir)
                lines.append(f"{protocol.id}: ready, {len(series)} outcomes read from {workspace.data_dir}.")
        except Problems as error:
            problems += [f"{pilot.upper()}: {text}" for text in error.problems]
        except SendapError as error:
            problems.append(f"{pilot.upper()}: {error}")
    if problems:
        raise Problems("These must be mended before a run:", problems)
    return "\n".join(lines)


def fetch_instructions(datasets: list[str], workspace: Workspace) -> str:
    """For each published dataset: its address, the folder to put it in, and which files are there."""
    chosen = [workspace.catalog.dataset(name) for name in datasets] or list(workspace.catalog.datasets.values())
    folder = workspace.data_dir or workspace.root / "data"
    lines = ["Downloads are made by hand: save each file under the name given here.", ""]
    for dataset in chosen:
        lines.append(f"{dataset.title} ({dataset.publisher}, {dataset.release}, {dataset.licence})")
        lines.append(f"  from {dataset.address}")
        for file in dataset.files:
            try:
                locate(dataset, file.name, folder)
                state = "there"
            except DataError:
                state = "missing"
            lines.append(f"  {state:8} {folder / dataset.folder / file.name}")
        lines.append("")
    lines.append(f"Then run: sendap run --data-dir {folder}")
    return "\n".join(lines)

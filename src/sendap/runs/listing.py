"""Plain-text answers: which pilots there are, and whether they can run."""

from __future__ import annotations

import json
from pathlib import Path

from sendap.errors import Problems, SendapError
from sendap.protocol import Protocol, known_pilots, problems_with, protocol_path, read_protocol
from sendap.runs.cells_of import read_all
from sendap.runs.measured import can_be_real, to_supply
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
        named = protocol.primary.heading if protocol.outcomes else "none with public figures"
        kind = "first outcome" if protocol.descriptive else "primary outcome"
        lines.append(f"    design: {protocol.design}; {kind}: {named}")
        lines.append(f"    registered: {'yes' if protocol.registered else 'no'}")
        if found is None:
            lines.append(f"    not run yet: sendap run {protocol.id}")
        else:
            kind = "synthetic data, not a finding: " if found["synthetic"] else ""
            lines.append(f"    last run: {kind}{found['headline']} (confidence: {found['confidence']})")
    return "\n".join(lines)


def check_pilots(pilots: list[str], workspace: Workspace) -> str:
    """For each pilot that it's ready, or what the user must still supply; a pilot that waits runs on synthetic data.

    Raises UsageError for an unknown pilot, and Problems with every problem of every pilot.
    """
    problems: list[str] = []
    lines: list[str] = []
    for pilot in pilots:
        protocol_path(workspace.analysis, pilot)
    for pilot in pilots or known_pilots(workspace.analysis):
        try:
            protocol = read_protocol(workspace.analysis, pilot)
            lines += _checked(protocol, workspace)
        except Problems as error:
            problems += [f"{pilot.upper()}: {text}" for text in error.problems]
        except SendapError as error:
            problems.append(f"{pilot.upper()}: {error}")
    if problems:
        raise Problems("These must be mended before a run:", problems)
    return "\n".join(lines)


def _checked(protocol: Protocol, workspace: Workspace) -> list[str]:
    catalog, data_dir = workspace.catalog, workspace.data_dir
    found = problems_with(protocol, catalog)
    if found:
        raise Problems(f"{protocol.id}:", found)
    supply = [f"    {number}. {text}" for number, text in enumerate(to_supply(protocol, catalog, data_dir), 1)]
    if data_dir is None:
        state = "protocol and catalogue fit. No data folder, so it runs on synthetic data."
        return [f"{protocol.id}: {state}", *([_HEADING, *supply] if supply else [])]
    if not can_be_real(protocol, catalog, data_dir):
        return [f"{protocol.id}: runs on synthetic data until this is supplied:", *supply]
    part, series = read_all(protocol, catalog, data_dir)
    waiting = f", {len(part.awaiting)} wait for data" if part.awaiting else ""
    ready = f"{protocol.id}: ready, {len(series)} outcomes read from {data_dir}{waiting}."
    return [ready, *([_HEADING, *supply] if supply else [])]


_HEADING = "  For real results on every outcome, supply:"

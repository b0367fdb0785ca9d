"""Run disparity reports: one notebook a published table by group, each in a folder that is whole or absent."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from sendap.errors import DataError, Problems, SendapError
from sendap.files import fingerprint, sha256, whole, write_json
from sendap.runs.execute import Done, Report, execute_notebook, whole_run
from sendap.runs.manifest import code_digest, versions
from sendap.sources.group_catalog import GroupTable, find_group_table, read_group_tables
from sendap.sources.groups_tables import group_files, read_group_table
from sendap.sources.locate import SYNTHETIC_MARK, is_synthetic
from sendap.workspace import Workspace

if TYPE_CHECKING:
    from sendap.disparity.findings import Findings

FOLDER, NOTEBOOK = "DISPARITY", "disparity"
STAND_IN = "synthetic-groups"


def report_names(workspace: Workspace) -> list[str]:
    """Every disparity report that the catalogue describes."""
    return list(read_group_tables(workspace.catalog.folder))


def group_data_folder(workspace: Workspace, beside: Path) -> Path:
    """The data folder of the workspace, or synthetic tables by group, written beside the runs once."""
    if workspace.data_dir is not None:
        return workspace.data_dir
    folder, catalog = beside / STAND_IN, workspace.catalog
    tables = read_group_tables(catalog.folder)
    wanted = fingerprint([table.model_dump(mode="json") for table in tables.values()])
    note = folder / "made-from.json"
    if not note.is_file() or json.loads(note.read_text(encoding="utf-8")) != wanted:
        from sendap.sources.groups_stand_in import write_group_stand_in

        write_group_stand_in(tables.values(), catalog.places, folder)
        write_json(note, wanted)
    return folder


def run_reports(
    reports: Iterable[str],
    workspace: Workspace,
    runs_dir: Path,
    *,
    jobs: int = 1,
    force: bool = False,
    report: Report = lambda *step: None,
) -> tuple[list[Done], dict[str, str]]:
    """Run the reports named, or every report whose files are there, ``jobs`` at a time.

    Returns the finished runs, and for each report that was passed over because its file isn't there, which one. One
    that fails doesn't stop the others. Raises UsageError for an unknown report, DataError where a report that was
    named lacks its file, and Problems naming every report that failed, after the others have ended.
    """
    named = list(dict.fromkeys(name.upper() for name in reports))
    tables = [find_group_table(workspace.catalog.folder, name) for name in named or report_names(workspace)]
    runs_dir.mkdir(parents=True, exist_ok=True)
    data_dir, code = group_data_folder(workspace, runs_dir), code_digest(workspace)
    ready, absent = [], {}
    for table in tables:
        try:
            group_files(table, data_dir)
            ready.append(table)
        except DataError as error:
            if named:
                raise
            absent[table.id] = str(error)
    failures: dict[str, str] = {}
    finished: list[Done] = []
    stop = threading.Event()

    def one(table: GroupTable) -> None:
        try:
            finished.append(_run_one(table, workspace, runs_dir / FOLDER, data_dir, code, force, report, stop))
        except SendapError as error:
            failures[table.id] = str(error)

    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool:
        try:
            list(pool.map(one, ready))
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failures:
        heading = f"{len(failures)} of {len(ready)} disparity report(s) failed and left no run:"
        raise Problems(heading, [f"{name}: {text}" for name, text in sorted(failures.items())])
    return sorted(finished, key=lambda done: done.pilot), absent


def _inputs(table: GroupTable, data_dir: Path) -> dict[str, str]:
    found = {f"{table.folder}/{path.name}": sha256(path) for path in group_files(table, data_dir)}
    if is_synthetic(data_dir):
        found[SYNTHETIC_MARK] = sha256(data_dir / SYNTHETIC_MARK)
    return dict(sorted(found.items()))


def _run_one(
    table: GroupTable,
    workspace: Workspace,
    folder: Path,
    data_dir: Path,
    code: str,
    force: bool,
    report: Report,
    stop: threading.Event,
) -> Done:
    started = time.monotonic()
    inputs, description = _inputs(table, data_dir), fingerprint(table.model_dump(mode="json"))
    parts = {"report": description, "inputs": inputs, "code": code, "versions": versions()}

    def make(making: Path) -> None:
        report(table.id, "gaps by group and area", 0, 2)
        source = workspace.notebooks / f"{NOTEBOOK}.ipynb"
        execute_notebook(source, making / source.name, table.id, making, data_dir, stop)
        report(table.id, "manifest", 1, 2)
        write_json(making / "table.json", table.model_dump(mode="json"))

    own: dict[str, object] = {
        "report": table.id,
        "name": table.title,
        "parameters": {"report": table.id},
        "table": description,
        "inputs": inputs,
        "code": code,
    }
    target = folder / table.id / fingerprint(parts)[:12]
    return whole_run(table.id, target, make, own, workspace.root, started=started, force=force)


def open_findings(report: str, run: str = "") -> Findings:
    """The findings that the notebook shows.

    ``run`` is the folder of a run in the making: cells, tables and summary are written there. Without one, as when the
    notebook is opened by hand, nothing is written.

    Raises UsageError for an unknown report, DataError for a folder or a file that doesn't exist.
    """
    # Imported here, so that a command which finds nothing to do doesn't wait for what draws and estimates.
    from sendap.disparity.findings import Findings
    from sendap.report.disparity_page import summary
    from sendap.report.tables import safe_csv

    workspace = Workspace.find()
    table = find_group_table(workspace.catalog.folder, report)
    folder = Path(run) if run else None
    if folder is not None and not folder.is_dir():
        raise DataError(f"The run folder {folder} doesn't exist. Leave run empty to write nothing.")
    data_dir = group_data_folder(workspace, folder or Path(tempfile.mkdtemp(prefix="sendap-groups-")))
    counts = read_group_table(table, workspace.catalog.places, data_dir)
    found = Findings.of(counts, workspace.catalog, synthetic=is_synthetic(data_dir))
    if folder is not None:
        found.cells.write(folder / "cells.parquet")
        for name, frame in found.tables().items():
            with whole(folder / f"{name}.csv") as temporary:
                temporary.write_text(safe_csv(frame), encoding="utf-8")
        write_json(folder / "summary.json", summary(found))
    return found

"""Run pilots: each in a folder that is whole or absent, several side by side, unchanged work not done again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sendap.errors import Problems, SendapError
from sendap.files import sha256, write_json
from sendap.protocol import Protocol, protocol_path, read_protocol
from sendap.runs.data import data_folder
from sendap.runs.manifest import code_digest, git_state, input_files, lock_digest, run_id, versions
from sendap.workspace import DATA_VARIABLE, HOME_VARIABLE, Workspace


@dataclass(frozen=True)
class Step:
    """One notebook of a run: which, what it leaves, and what the user is told meanwhile."""

    notebook: str
    leaves: str
    doing: str


IMPACT_STEPS = (
    Step("power", "power", "what could be found"),
    Step("data", "data", "reading and checking data"),
    Step("impact", "impact", "estimating"),
    Step("sensitivity", "sensitivity", "whether to believe it"),
    Step("board", "board", "Board page"),
)
DESCRIPTION_STEPS = (
    Step("description", "impact", "describing"),
    Step("description_board", "board", "Board page"),
)
NOTEBOOK_LIMIT_SECONDS = 3600
KEPT_OUT_OF_HASHES = {"manifest.json"}

Report = Callable[[str, str, int, int], None]
"""Progress: pilot, what is being done, steps done, steps in all."""


@dataclass(frozen=True)
class Done:
    """A finished run."""

    pilot: str
    folder: Path
    seconds: float
    fresh: bool
    synthetic: bool


def run_pilots(
    pilots: Iterable[str],
    workspace: Workspace,
    runs_dir: Path,
    *,
    jobs: int = 1,
    force: bool = False,
    report: Report = lambda *step: None,
) -> list[Done]:
    """Run every pilot, ``jobs`` at a time.

    A pilot whose run fails doesn't stop the others and leaves no folder; earlier good runs stay.

    Raises UsageError for an unknown pilot, before anything runs, and Problems naming every pilot that failed,
    after the others have ended.
    """
    pilots = list(dict.fromkeys(pilots))
    for pilot in pilots:
        protocol_path(workspace.analysis, pilot)
    runs_dir.mkdir(parents=True, exist_ok=True)
    code = code_digest(workspace)
    failures: dict[str, str] = {}
    finished: list[Done] = []
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool:
        waiting = {
            pool.submit(_run_one, pilot, workspace, runs_dir, code, force, report, stop): pilot for pilot in pilots
        }
        try:
            for future in as_completed(waiting):
                try:
                    finished.append(future.result())
                except SendapError as error:
                    failures[waiting[future]] = str(error)
        except KeyboardInterrupt:
            # The notebooks run in sessions of their own, so the terminal's interrupt doesn't reach them.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failures:
        raise Problems(
            f"{len(failures)} of {len(waiting)} pilot(s) failed and left no run:",
            [f"{pilot}: {text}" for pilot, text in sorted(failures.items())],
        )
    return sorted(finished, key=lambda done: done.pilot)


def _run_one(
    pilot: str,
    workspace: Workspace,
    runs_dir: Path,
    code: str,
    force: bool,
    report: Report,
    stop: threading.Event,
) -> Done:
    started = time.monotonic()
    protocol = read_protocol(workspace.analysis, pilot)
    data_dir = data_folder(workspace, runs_dir, protocol)
    inputs = input_files(protocol, workspace, data_dir)
    name = run_id(protocol, inputs, code)
    own: dict[str, object] = {
        "pilot": protocol.id,
        "name": protocol.name,
        "parameters": {"pilot": protocol.id},
        "protocol": protocol.digest,
        "registered": protocol.registered,
        "seed": protocol.seed,
        "draws": protocol.draws,
        "inputs": inputs,
        "code": code,
    }
    return whole_run(
        protocol.id,
        runs_dir / protocol.id / name,
        lambda making: _make(protocol, workspace, making, data_dir, report, stop),
        own,
        workspace.root,
        started=started,
        force=force,
    )


def whole_run(
    of: str,
    folder: Path,
    make: Callable[[Path], None],
    own: Mapping[str, object],
    root: Path,
    *,
    started: float,
    force: bool,
) -> Done:
    """A run's folder, whole or absent: ``make`` fills a temporary one, and the manifest is written last of all.

    ``of`` names the pilot or report, ``own`` is what its manifest says beside what every run does. A folder that is
    there already is left as it is, unless ``force``.
    """
    if (folder / "manifest.json").is_file() and not force:
        _point_to(folder)
        known = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return Done(of, folder, time.monotonic() - started, False, bool(known["synthetic"]))
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        begun = datetime.now(UTC)
        make(making)
        synthetic = _write_manifest(making, {**own, "run": folder.name}, root, begun, started)
        making.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    _point_to(folder)
    return Done(of, folder, time.monotonic() - started, True, synthetic)


def _sweep(folder: Path) -> None:
    """Remove what a run that was killed left behind: unfinished folders over a day old."""
    for path in folder.glob(".*.tmp"):
        if path.is_dir() and time.time() - path.stat().st_mtime > 86_400:
            shutil.rmtree(path, ignore_errors=True)


def _point_to(folder: Path) -> None:
    write_json(folder.parent / "latest.json", {"run": folder.name})


def _make(
    protocol: Protocol, workspace: Workspace, folder: Path, data_dir: Path, report: Report, stop: threading.Event
) -> None:
    """Execute the notebooks in order; each leaves in the folder what the next one reads."""
    steps = DESCRIPTION_STEPS if protocol.descriptive else IMPACT_STEPS
    for number, step in enumerate(steps):
        report(protocol.id, step.doing, number, len(steps) + 1)
        source = workspace.notebooks / f"{step.notebook}.ipynb"
        execute_notebook(source, folder / f"{step.leaves}.ipynb", protocol.id, folder, data_dir, stop)
    report(protocol.id, "summary and manifest", len(steps), len(steps) + 1)
    write_json(folder / "protocol.json", protocol.model_dump(mode="json"))
    write_json(folder / "summary.json", _summary(protocol, workspace, folder, data_dir))


def _summary(protocol: Protocol, workspace: Workspace, folder: Path, data_dir: Path) -> dict[str, object]:
    # Imported here, so that a command which finds nothing to do doesn't wait for what draws and estimates.
    if protocol.descriptive:
        from sendap.report.described import summary as describe
        from sendap.runs.describe import Description

        return describe(Description(protocol.id, folder, workspace, data_dir).described)
    from sendap.report.board_page import summary
    from sendap.runs.evaluation import Evaluation

    return summary(Evaluation(protocol.id, folder, workspace, data_dir).evaluated)


def execute_notebook(
    source: Path, target: Path, pilot: str, folder: Path, data_dir: Path, stop: threading.Event
) -> None:
    """One notebook, with its own time limit; the whole process group ends with it, or when ``stop`` is set."""
    environment = {
        **os.environ,
        DATA_VARIABLE: str(data_dir),
        HOME_VARIABLE: str(source.parent.parent),
        "PYTHONHASHSEED": "0",
        # One thread each: the same bytes on any machine, and pilots side by side don't fight over cores.
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
    command = [sys.executable, "-m", "sendap.runs.notebook", str(source), str(target), pilot, str(folder)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + NOTEBOOK_LIMIT_SECONDS
    try:
        errors = _wait(process, deadline, stop)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if errors is None:
        why = "was stopped" if stop.is_set() else f"took over {NOTEBOOK_LIMIT_SECONDS // 60} minutes"
        raise SendapError(f"Notebook {source.name} {why}.")
    if process.returncode:
        last = errors.strip().splitlines()[-12:]
        text = "\n     ".join(last) if last else f"it ended with code {process.returncode}"
        raise SendapError(f"Notebook {source.name} failed: {text}")


def _wait(process: subprocess.Popen[str], deadline: float, stop: threading.Event) -> str | None:
    """What the process wrote on standard error, or None where it must be ended."""
    while time.monotonic() < deadline and not stop.is_set():
        try:
            return process.communicate(timeout=0.5)[1]
        except subprocess.TimeoutExpired:
            continue
    return None


def _write_manifest(folder: Path, own: Mapping[str, object], root: Path, begun: datetime, started: float) -> bool:
    """Write the manifest, so that a folder with one is whole. Returns whether the run is synthetic."""
    synthetic = bool(json.loads((folder / "summary.json").read_text(encoding="utf-8"))["synthetic"])
    outputs = {
        path.name: sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name not in KEPT_OUT_OF_HASHES
    }
    write_json(
        folder / "manifest.json",
        {
            **own,
            "synthetic": synthetic,
            "lock": lock_digest(root),
            "versions": versions(),
            "git": git_state(root),
            "started": begun.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
            "outputs": outputs,
        },
    )
    return synthetic

"""What a run rests on, and what it made: enough to tell whether two runs are the same, and to run one again."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sendap import __version__
from sendap.files import fingerprint, sha256
from sendap.protocol import Protocol, series_of
from sendap.runs.measured import measurable
from sendap.sources.locate import SYNTHETIC_MARK, locate
from sendap.workspace import Workspace

PACKAGES = ("duckdb", "linearmodels", "matplotlib", "numpy", "pandas", "papermill", "pyarrow", "scipy", "statsmodels")


def _tree(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    files = sorted(path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def code_digest(workspace: Workspace) -> str:
    """Hash of the library, the notebooks and the catalogue: what a result depends on beside data and protocol."""
    package = Path(__file__).resolve().parent.parent
    return fingerprint(
        {
            "library": _tree(package, ("*.py",)),
            "notebooks": _tree(workspace.notebooks, ("*.ipynb",)),
            "catalogue": _tree(workspace.root / "data-catalog", ("*.yaml", "*.csv")),
        }
    )


def input_files(protocol: Protocol, workspace: Workspace, data_dir: Path) -> dict[str, str]:
    """Every file that the protocol reads, with its hash.

    Raises DataError for a missing file, Problems where nothing can be measured.
    """
    found = {}
    part = measurable(protocol, workspace.catalog, data_dir)
    if part.adopters is not None and part.adopters.path is not None:
        found[f"rollouts/{part.adopters.path.name}"] = sha256(part.adopters.path)
    for outcome in part.protocol.outcomes:
        dataset, series = series_of(workspace.catalog, outcome)
        path = locate(dataset, series.file, data_dir)
        found[f"{dataset.folder}/{path.name}"] = sha256(path)
    mark = data_dir / SYNTHETIC_MARK
    if mark.is_file():
        found[mark.name] = sha256(mark)
    return dict(sorted(found.items()))


def versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3])), "sendap": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def run_id(protocol: Protocol, inputs: dict[str, str], code: str) -> str:
    """The same protocol, data, code and package versions give the same run."""
    return fingerprint({"protocol": protocol.digest, "inputs": inputs, "code": code, "versions": versions()})[:12]


def git_state(root: Path) -> dict[str, object]:
    """Commit and whether the tree was clean; unknown outside a checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return {"commit": commit or "unknown", "clean": None if changes is None else changes == ""}


def lock_digest(root: Path) -> str:
    path = root / "requirements.lock"
    return sha256(path) if path.is_file() else "no lock file"
